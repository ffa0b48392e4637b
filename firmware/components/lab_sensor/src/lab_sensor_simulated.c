#include "lab_sensor_simulated.h"

enum {
    HALF_DAY = 43200,
    COLD = 1950,  /* at midnight, in hundredths of a degree */
    RISE = 500,   /* until noon */
    HUMID = 6200, /* at midnight, in hundredths of a percent */
    FALL = 1700,
    NOISE = 15,
};

/* Returns how far it is from midnight: 0 there, HALF_DAY at noon. */
static int32_t height(int64_t now)
{
    const int64_t day = INT64_C(2) * HALF_DAY;
    const int64_t second = (now % day + day) % day; /* from 0 on, whatever the sign */
    return (int32_t)(second < HALF_DAY ? second : day - second);
}

static lab_status_t read_simulation(void *context, lab_reading_t *reading)
{
    const lab_sensor_simulated_t *simulation = context;
    uint8_t noise[2];
    const lab_status_t status = simulation->random->fill(simulation->random->context, noise, sizeof(noise));
    *reading = (lab_reading_t){0, 0};
    if (status != LAB_OK) {
        return LAB_READING_FAILED;
    }
    const int32_t day = height(simulation->clock->now(simulation->clock->context));
    reading->temperature = COLD + RISE * day / HALF_DAY + noise[0] % (2 * NOISE + 1) - NOISE;
    reading->humidity = HUMID - FALL * day / HALF_DAY + noise[1] % (2 * NOISE + 1) - NOISE;
    return LAB_OK;
}

lab_sensor_t lab_sensor_simulated(lab_sensor_simulated_t *simulation)
{
    return (lab_sensor_t){simulation, read_simulation};
}
