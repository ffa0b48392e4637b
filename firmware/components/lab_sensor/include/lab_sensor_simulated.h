/* Readings that look like a room's over a day; nothing is measured. */
#ifndef LAB_SENSOR_SIMULATED_H
#define LAB_SENSOR_SIMULATED_H

#include "lab_clock.h"
#include "lab_random.h"
#include "lab_sensor.h"

typedef struct {
    const lab_clock_t *clock;
    const lab_random_t *random;
} lab_sensor_simulated_t;

lab_sensor_t lab_sensor_simulated(lab_sensor_simulated_t *simulation);

#endif
