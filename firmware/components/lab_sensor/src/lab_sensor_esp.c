#include "lab_sensor_esp.h"

#include <sdkconfig.h>

#ifdef CONFIG_LAB_SENSOR_BME280

#include "lab_bme280.h"

#include <driver/i2c_master.h>
#include <freertos/FreeRTOS.h>
#include <freertos/task.h>

enum { TIMEOUT_MS = 100, SPEED_HZ = 100000 };

static i2c_master_dev_handle_t s_device;
static lab_bme280_t s_sensor;

static bool read_registers(void *context, uint8_t first, uint8_t *out, size_t len)
{
    (void)context;
    return s_device != NULL && i2c_master_transmit_receive(s_device, &first, 1, out, len, TIMEOUT_MS) == ESP_OK;
}

static bool write_register(void *context, uint8_t at, uint8_t value)
{
    const uint8_t data[] = {at, value};
    (void)context;
    return s_device != NULL && i2c_master_transmit(s_device, data, sizeof(data), TIMEOUT_MS) == ESP_OK;
}

static void wait_ms(void *context, uint32_t ms)
{
    (void)context;
    vTaskDelay(pdMS_TO_TICKS(ms) + 1);
}

static const lab_bme280_bus_t s_bus = {NULL, read_registers, write_register, wait_ms};

lab_sensor_t lab_sensor_esp(const lab_clock_t *clock, const lab_random_t *random)
{
    const i2c_master_bus_config_t bus_config = {
        .i2c_port = -1, /* whichever is free */
        .sda_io_num = CONFIG_LAB_SENSOR_SDA,
        .scl_io_num = CONFIG_LAB_SENSOR_SCL,
        .clk_source = I2C_CLK_SRC_DEFAULT,
        .glitch_ignore_cnt = 7,
        .flags.enable_internal_pullup = true,
    };
    const i2c_device_config_t device_config = {
        .dev_addr_length = I2C_ADDR_BIT_LEN_7,
        .device_address = CONFIG_LAB_SENSOR_ADDRESS,
        .scl_speed_hz = SPEED_HZ,
    };
    i2c_master_bus_handle_t bus;
    (void)clock;
    (void)random;
    if (i2c_new_master_bus(&bus_config, &bus) != ESP_OK ||
        i2c_master_bus_add_device(bus, &device_config, &s_device) != ESP_OK) {
        s_device = NULL; /* each reading fails then, and says so */
    }
    return lab_bme280(&s_sensor, &s_bus);
}

#else

#include "lab_sensor_simulated.h"

static lab_sensor_simulated_t s_simulation;

lab_sensor_t lab_sensor_esp(const lab_clock_t *clock, const lab_random_t *random)
{
    s_simulation = (lab_sensor_simulated_t){clock, random};
    return lab_sensor_simulated(&s_simulation);
}

#endif
