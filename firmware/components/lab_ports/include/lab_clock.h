/* Port: time. */
#ifndef LAB_CLOCK_H
#define LAB_CLOCK_H

#include <stdint.h>

typedef struct {
    void *context;
    /* Milliseconds since some moment; begins at zero again after 2^32 of them. Compare with lab_clock_reached. */
    uint32_t (*ticks_ms)(void *context);
    /* Seconds since 1970, or less than LAB_CLOCK_EARLIEST where the clock was never set. */
    int64_t (*now)(void *context);
} lab_clock_t;

#endif
