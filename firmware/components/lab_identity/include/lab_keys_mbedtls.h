/* The device's keys by Mbed TLS and PSA: 3.6 (ESP-IDF 5.5), 4.x (ESP-IDF 6.x), and 2.28 (Debian, for the host's tests). */
#ifndef LAB_KEYS_MBEDTLS_H
#define LAB_KEYS_MBEDTLS_H

#include "lab_keys.h"

/* Gets the random number generator ready: LAB_OK or LAB_RANDOM_FAILED. Keys need no state beyond that. */
lab_status_t lab_keys_mbedtls(lab_keys_t *keys);

#endif
