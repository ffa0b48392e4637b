#include "lab_bme280.h"

#include <string.h>

enum {
    REG_TRIM = 0x88, /* T1 to T3, pressure's, a gap, H1 */
    TRIM_LEN = 26,
    REG_ID = 0xD0,
    CHIP_ID = 0x60,
    REG_TRIM_HUMIDITY = 0xE1,
    TRIM_HUMIDITY_LEN = 7,
    REG_CTRL_HUMIDITY = 0xF2,
    REG_STATUS = 0xF3,
    MEASURING = 0x08,
    REG_CTRL = 0xF4,
    REG_DATA = 0xF7, /* pressure 3, temperature 3, humidity 2 */
    DATA_LEN = 8,
    OVERSAMPLE_ONCE = 1,
    FORCED_ONCE = 1 << 5 | 1, /* temperature once, no pressure, then sleep */
    WAITS = 20,
    WAIT_MS = 5,
};

static uint16_t u16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static int16_t i16(const uint8_t *at)
{
    const int32_t number = u16(at);
    return (int16_t)(number < 0x8000 ? number : number - 0x10000);
}

/* Puts together a number of 12 bits with a sign. */
static int16_t i12(unsigned high, unsigned low)
{
    const int32_t number = (int32_t)(high << 4 | low);
    return (int16_t)(number < 0x800 ? number : number - 0x1000);
}

static bool read_trimming(lab_bme280_t *sensor)
{
    const lab_bme280_bus_t *bus = sensor->bus;
    uint8_t id = 0;
    uint8_t trim[TRIM_LEN];
    uint8_t humidity[TRIM_HUMIDITY_LEN];
    if (!bus->read(bus->context, REG_ID, &id, 1) || id != CHIP_ID) {
        return false;
    }
    if (!bus->read(bus->context, REG_TRIM, trim, sizeof(trim)) ||
        !bus->read(bus->context, REG_TRIM_HUMIDITY, humidity, sizeof(humidity))) {
        return false;
    }
    sensor->t1 = u16(trim);
    sensor->t2 = i16(trim + 2);
    sensor->t3 = i16(trim + 4);
    sensor->h1 = trim[TRIM_LEN - 1];
    sensor->h2 = i16(humidity);
    sensor->h3 = humidity[2];
    sensor->h4 = i12(humidity[3], humidity[4] & 0x0FU);
    sensor->h5 = i12(humidity[5], (unsigned)(humidity[4] >> 4));
    sensor->h6 = (int8_t)(humidity[6] < 0x80 ? humidity[6] : humidity[6] - 0x100);
    return true;
}

/* Divides by a power of two and rounds down, whatever the sign: what the datasheet writes as a shift. */
static int64_t down(int64_t number, unsigned bits)
{
    const int64_t divisor = INT64_C(1) << bits;
    const int64_t quotient = number / divisor;
    return number % divisor < 0 ? quotient - 1 : quotient;
}

static int64_t fine_temperature(const lab_bme280_t *sensor, int32_t raw)
{
    const int64_t coarse = (down(raw, 3) - (int64_t)sensor->t1 * 2) * sensor->t2;
    const int64_t offset = down(raw, 4) - sensor->t1;
    return down(coarse, 11) + down(down(offset * offset, 12) * sensor->t3, 14);
}

/* Returns the humidity in 1,024ths of a percent. */
static int64_t fine_humidity(const lab_bme280_t *sensor, int32_t raw, int64_t fine)
{
    const int64_t warmth = fine - 76800;
    const int64_t linear = down((int64_t)raw * 16384 - (int64_t)sensor->h4 * 1048576 - sensor->h5 * warmth + 16384, 15);
    const int64_t slope = down(down(warmth * sensor->h6, 10) * (down(warmth * sensor->h3, 11) + 32768), 10) + 2097152;
    int64_t value = linear * down(slope * sensor->h2 + 8192, 14);
    value -= down(down(down(value, 15) * down(value, 15), 7) * sensor->h1, 4);
    if (value < 0) {
        return 0;
    }
    return down(value > 419430400 ? 419430400 : value, 12);
}

lab_reading_t lab_bme280_compensate(const lab_bme280_t *sensor, int32_t raw_temperature, int32_t raw_humidity)
{
    const int64_t fine = fine_temperature(sensor, raw_temperature);
    const int64_t humidity = fine_humidity(sensor, raw_humidity, fine);
    return (lab_reading_t){(int32_t)down(fine * 5 + 128, 8), (int32_t)(humidity * 100 / 1024)};
}

/* Waits until the chip has measured; false where it takes too long. */
static bool wait_for_reading(const lab_bme280_bus_t *bus)
{
    for (int count = 0; count < WAITS; count++) {
        uint8_t status = MEASURING;
        bus->wait_ms(bus->context, WAIT_MS);
        if (!bus->read(bus->context, REG_STATUS, &status, 1)) {
            return false;
        }
        if ((status & MEASURING) == 0) {
            return true;
        }
    }
    return false;
}

static bool measure(const lab_bme280_bus_t *bus, uint8_t data[DATA_LEN])
{
    return bus->write(bus->context, REG_CTRL_HUMIDITY, OVERSAMPLE_ONCE) &&
           bus->write(bus->context, REG_CTRL, FORCED_ONCE) && wait_for_reading(bus) &&
           bus->read(bus->context, REG_DATA, data, DATA_LEN);
}

static lab_status_t read_sensor(void *context, lab_reading_t *reading)
{
    lab_bme280_t *sensor = context;
    uint8_t data[DATA_LEN];
    *reading = (lab_reading_t){0, 0};
    sensor->ready = sensor->ready || read_trimming(sensor);
    if (!sensor->ready || !measure(sensor->bus, data)) {
        sensor->ready = false;
        return LAB_READING_FAILED;
    }
    const int32_t temperature = data[3] << 12 | data[4] << 4 | data[5] >> 4;
    const int32_t humidity = data[6] << 8 | data[7];
    *reading = lab_bme280_compensate(sensor, temperature, humidity);
    return LAB_OK;
}

lab_sensor_t lab_bme280(lab_bme280_t *sensor, const lab_bme280_bus_t *bus)
{
    memset(sensor, 0, sizeof(*sensor));
    sensor->bus = bus;
    return (lab_sensor_t){sensor, read_sensor};
}
