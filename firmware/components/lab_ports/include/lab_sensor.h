/* Port: temperature and humidity. */
#ifndef LAB_SENSOR_H
#define LAB_SENSOR_H

#include "lab_telemetry.h"

typedef struct {
    void *context;
    /* Takes a reading: LAB_OK, or LAB_READING_FAILED. */
    lab_status_t (*read)(void *context, lab_reading_t *reading);
} lab_sensor_t;

#endif
