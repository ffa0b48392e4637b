/* Port: randomness. */
#ifndef LAB_RANDOM_H
#define LAB_RANDOM_H

#include "lab_codes.h"

#include <stddef.h>
#include <stdint.h>

typedef struct {
    void *context;
    /* Fills a buffer with bytes that nobody can foretell; LAB_RANDOM_FAILED, and zeroes, where that is not possible. */
    lab_status_t (*fill)(void *context, uint8_t *out, size_t len);
} lab_random_t;

#endif
