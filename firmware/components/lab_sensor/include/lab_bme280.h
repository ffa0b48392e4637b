/* Bosch's BME280 over a bus of registers; the datasheet is BST-BME280-DS002. */
#ifndef LAB_BME280_H
#define LAB_BME280_H

#include "lab_sensor.h"

#include <stddef.h>

/* What leads to the sensor's registers; false where the bus fails. */
typedef struct {
    void *context;
    bool (*read)(void *context, uint8_t first, uint8_t *out, size_t len);
    bool (*write)(void *context, uint8_t at, uint8_t value);
    void (*wait_ms)(void *context, uint32_t ms);
} lab_bme280_bus_t;

typedef struct {
    const lab_bme280_bus_t *bus;
    bool ready; /* the trimming was read */
    uint16_t t1;
    int16_t t2;
    int16_t t3;
    uint8_t h1;
    int16_t h2;
    uint8_t h3;
    int16_t h4;
    int16_t h5;
    int8_t h6;
} lab_bme280_t;

/* Makes a sensor out of a bus. The chip is looked for at the first reading, and again after each one that failed. */
lab_sensor_t lab_bme280(lab_bme280_t *sensor, const lab_bme280_bus_t *bus);

/* Returns what a raw reading means after trimming (datasheet, section 4.2.3). */
lab_reading_t lab_bme280_compensate(const lab_bme280_t *sensor, int32_t raw_temperature, int32_t raw_humidity);

#endif
