/* The BME280 behind a bus of registers, and the simulation. */
#include "fake_board.h"
#include "lab_bme280.h"
#include "lab_sensor_simulated.h"
#include "vectors.h"

#include <string.h>

typedef struct {
    uint8_t registers[256];
    bool dead;
    bool busy;
    uint32_t waited;
} chip_t;

static bool read_registers(void *context, uint8_t first, uint8_t *out, size_t len)
{
    chip_t *chip = context;
    if (chip->dead) {
        return false;
    }
    memcpy(out, chip->registers + first, len);
    return true;
}

static bool write_register(void *context, uint8_t at, uint8_t value)
{
    chip_t *chip = context;
    chip->registers[at] = value;
    return !chip->dead;
}

static void wait_ms(void *context, uint32_t ms)
{
    chip_t *chip = context;
    chip->waited += ms;
    chip->registers[0xF3] = chip->busy || chip->waited < 10 ? 0x08 : 0;
}

static void put16(chip_t *chip, uint8_t at, int value)
{
    chip->registers[at] = (uint8_t)(value & 0xFF);
    chip->registers[at + 1] = (uint8_t)((value >> 8) & 0xFF);
}

/* The example for temperature in Bosch's datasheet of the BMP280 (BST-BMP280-DS001, section 3.12), whose formula is the same: trimming 27504,
 * 26435, -1000 and a raw 519888 are 25.08 degrees. Humidity: trimming as chips have it. */
static void begin(chip_t *chip)
{
    memset(chip, 0, sizeof(*chip));
    chip->registers[0xD0] = 0x60;
    put16(chip, 0x88, 27504);
    put16(chip, 0x8A, 26435);
    put16(chip, 0x8C, -1000);
    chip->registers[0xA1] = 75;
    put16(chip, 0xE1, 362);
    chip->registers[0xE4] = 0x14;
    chip->registers[0xE5] = 0x29;
    chip->registers[0xE6] = 0x03;
    chip->registers[0xE7] = 30;
    const int raw = 519888;
    chip->registers[0xFA] = (uint8_t)(raw >> 12);
    chip->registers[0xFB] = (uint8_t)((raw >> 4) & 0xFF);
    chip->registers[0xFC] = (uint8_t)((raw & 0x0F) << 4);
    chip->registers[0xFD] = 0x6E;
    chip->registers[0xFE] = 0x00;
}

static lab_bme280_bus_t bus_of(chip_t *chip)
{
    return (lab_bme280_bus_t){chip, read_registers, write_register, wait_ms};
}

static void test_the_datasheet_s_example(void **state)
{
    (void)state;
    chip_t chip;
    lab_bme280_t sensor;
    lab_reading_t reading;
    begin(&chip);
    const lab_bme280_bus_t bus = bus_of(&chip);
    const lab_sensor_t port = lab_bme280(&sensor, &bus);
    assert_int_equal(LAB_OK, port.read(port.context, &reading));
    assert_int_equal(2508, reading.temperature);
    assert_int_equal(0x149, sensor.h4); /* 0xE4 and the low half of 0xE5 */
    assert_int_equal(0x032, sensor.h5); /* 0xE6 and the high half of 0xE5 */
    assert_true(reading.humidity > 3000 && reading.humidity < 7000);
    assert_int_equal(0x21, chip.registers[0xF4]);
}

/* The same formula in floating point (datasheet of the BME280, section 8.1) stays within a tenth of a percent. */
static void test_humidity_is_what_floating_point_says(void **state)
{
    (void)state;
    chip_t chip;
    lab_bme280_t sensor;
    lab_reading_t reading;
    begin(&chip);
    const lab_bme280_bus_t bus = bus_of(&chip);
    const lab_sensor_t port = lab_bme280(&sensor, &bus);
    assert_int_equal(LAB_OK, port.read(port.context, &reading));
    for (int raw = 20000; raw < 36000; raw += 500) {
        const double fine = 128422.0 - 76800.0; /* the example's */
        const double linear = raw - (sensor.h4 * 64.0 + sensor.h5 / 16384.0 * fine);
        const double slope = sensor.h2 / 65536.0 * (1.0 + sensor.h6 / 67108864.0 * fine * (1.0 + sensor.h3 / 67108864.0 * fine));
        double expected = linear * slope;
        expected *= 1.0 - sensor.h1 * expected / 524288.0;
        expected = expected < 0 ? 0 : (expected > 100 ? 100 : expected);
        const double found = lab_bme280_compensate(&sensor, 519888, raw).humidity / 100.0;
        assert_true(found > expected - 0.1 && found < expected + 0.1);
    }
}

static void test_a_sensor_that_comes_and_goes(void **state)
{
    (void)state;
    chip_t chip;
    lab_bme280_t sensor;
    lab_reading_t reading;
    begin(&chip);
    const lab_bme280_bus_t bus = bus_of(&chip);
    const lab_sensor_t port = lab_bme280(&sensor, &bus);
    chip.dead = true;
    assert_int_equal(LAB_READING_FAILED, port.read(port.context, &reading));
    chip.dead = false;
    assert_int_equal(LAB_OK, port.read(port.context, &reading));
    chip.busy = true;
    assert_int_equal(LAB_READING_FAILED, port.read(port.context, &reading));
    chip.busy = false;
    chip.registers[0xD0] = 0x58; /* a BMP280, which has no humidity */
    assert_int_equal(LAB_READING_FAILED, port.read(port.context, &reading));
}

/* Whatever trimming and readings come from the bus, no step of the computation overflows. */
static void test_hostile_registers(void **state)
{
    (void)state;
    static const uint8_t s_fills[] = {0x00, 0xFF, 0x7F, 0x80, 0x55};
    for (size_t at = 0; at < sizeof(s_fills); at++) {
        for (size_t other = 0; other < sizeof(s_fills); other++) {
            chip_t chip = {.dead = false};
            lab_bme280_t sensor;
            lab_reading_t reading;
            memset(chip.registers, s_fills[at], sizeof(chip.registers));
            memset(chip.registers + 0xF7, s_fills[other], 8);
            chip.registers[0xD0] = 0x60;
            const lab_bme280_bus_t bus = bus_of(&chip);
            const lab_sensor_t port = lab_bme280(&sensor, &bus);
            assert_int_equal(LAB_OK, port.read(port.context, &reading));
            assert_true(reading.humidity >= 0 && reading.humidity <= 10000);
        }
    }
}

static void test_the_simulation_stays_in_a_room(void **state)
{
    (void)state;
    fake_board_t board;
    char text[LAB_TELEMETRY_ROOM];
    fake_board_init(&board);
    const lab_clock_t clock = fake_clock(&board);
    const lab_random_t random = fake_random(&board);
    lab_sensor_simulated_t simulation = {&clock, &random};
    const lab_sensor_t port = lab_sensor_simulated(&simulation);
    for (board.now = -90000; board.now < 200000; board.now += 1777) {
        lab_reading_t reading;
        board.random = (uint32_t)board.now * 2654435761U;
        assert_int_equal(LAB_OK, port.read(port.context, &reading));
        assert_true(reading.temperature > 1900 && reading.temperature < 2500);
        assert_int_equal(LAB_OK, lab_telemetry_render("sensor-001", reading, 0, 0, text));
    }
    board.random_fails = true;
    lab_reading_t reading;
    assert_int_equal(LAB_READING_FAILED, port.read(port.context, &reading));
    fake_board_free(&board);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_datasheet_s_example),
        cmocka_unit_test(test_humidity_is_what_floating_point_says),
        cmocka_unit_test(test_a_sensor_that_comes_and_goes),
        cmocka_unit_test(test_hostile_registers),
        cmocka_unit_test(test_the_simulation_stays_in_a_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
