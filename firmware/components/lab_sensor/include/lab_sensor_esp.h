/* The sensor that Kconfig chose. */
#ifndef LAB_SENSOR_ESP_H
#define LAB_SENSOR_ESP_H

#include "lab_clock.h"
#include "lab_random.h"
#include "lab_sensor.h"

/* Both ports must outlive it. */
lab_sensor_t lab_sensor_esp(const lab_clock_t *clock, const lab_random_t *random);

#endif
