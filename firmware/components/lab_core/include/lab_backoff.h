/* When to try again, and how to compare times on a clock that runs over. */
#ifndef LAB_BACKOFF_H
#define LAB_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

enum { LAB_BACKOFF_BASE_MS = 1000, LAB_BACKOFF_CAP_MS = 60000 };

/* Returns how long to wait before the next try: doubled with each failure, up to a cap, and scattered over the whole of that
 * ("full jitter"), so that a fleet that lost its broker together does not come back together.
 *
 * tries: how many tries have failed since the last success, at least 1. chance: 32 random bits. */
uint32_t lab_backoff_ms(uint32_t tries, uint32_t chance, uint32_t base_ms, uint32_t cap_ms);

/* Returns whether a deadline has come. Milliseconds are counted in 32 bits and begin at zero again after 49.7 days; deadlines
 * lie less than 2^31 ms ahead, so the shorter way round the clock is the right one. */
bool lab_clock_reached(uint32_t now_ms, uint32_t deadline_ms);

#endif
