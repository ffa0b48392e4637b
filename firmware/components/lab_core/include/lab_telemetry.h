/* A reading as it goes over the wire. Temperature and humidity are counted in hundredths: no floating point. */
#ifndef LAB_TELEMETRY_H
#define LAB_TELEMETRY_H

#include "lab_id.h"

enum {
    LAB_COLDEST = -4000, /* what the BME280 can measure (datasheet, table 1), in hundredths of a degree Celsius */
    LAB_HOTTEST = 8500,
    LAB_DRIEST = 0, /* in hundredths of a percent of relative humidity */
    LAB_WETTEST = 10000,
};

typedef struct {
    int32_t temperature;
    int32_t humidity;
} lab_reading_t;

enum {
    LAB_TELEMETRY_ROOM =
        sizeof("{\"device\":\"\",\"temp\":-40.00,\"hum\":100.00,\"uptime\":4294967295,\"seq\":4294967295}") + LAB_ID_LONGEST
};

/* Writes the JSON of a reading. Returns LAB_READING_RANGE, and an empty text, for one that no sensor of ours can give. */
lab_status_t lab_telemetry_render(const char *device, lab_reading_t reading, uint32_t uptime, uint32_t sequence,
                                  char out[LAB_TELEMETRY_ROOM]);

#endif
