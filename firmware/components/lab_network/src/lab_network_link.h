/* What a link tells the network, and what it needs of it. */
#ifndef LAB_NETWORK_LINK_H
#define LAB_NETWORK_LINK_H

#include "lab_network.h"

#include <esp_err.h>

/* Starts the link that was configured; ESP_ERR_NOT_FOUND where no credentials are stored. */
esp_err_t lab_network_link_start(const lab_storage_t *storage, const lab_random_t *random);

/* Returns a number of milliseconds for the next try after so many failures. */
uint32_t lab_network_pause(const lab_random_t *random, uint32_t tries);

#endif
