/* Clock, randomness, reboot and log by ESP-IDF; they work on chips and on the linux target. */
#ifndef LAB_ESP_H
#define LAB_ESP_H

#include "lab_clock.h"
#include "lab_random.h"
#include "lab_system.h"

lab_clock_t lab_esp_clock(void);

/* PSA's generator; psa_crypto_init has to come first (lab_keys_mbedtls does it). */
lab_random_t lab_esp_random(void);

lab_system_t lab_esp_system(void);

#endif
