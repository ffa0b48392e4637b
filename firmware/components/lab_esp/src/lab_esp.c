#include "lab_esp.h"

#include <esp_log.h>
#include <esp_system.h>
#include <freertos/FreeRTOS.h>
#include <freertos/task.h>
#include <psa/crypto.h>
#include <string.h>
#include <time.h>

/* The tick counter has 32 bits too, and where it begins anew so does this. */
static uint32_t ticks_ms(void *context)
{
    (void)context;
    return (uint32_t)xTaskGetTickCount() * (uint32_t)portTICK_PERIOD_MS;
}

static int64_t now(void *context)
{
    (void)context;
    return (int64_t)time(NULL);
}

lab_clock_t lab_esp_clock(void)
{
    return (lab_clock_t){NULL, ticks_ms, now};
}

static lab_status_t fill(void *context, uint8_t *out, size_t len)
{
    (void)context;
    if (psa_generate_random(out, len) == PSA_SUCCESS) {
        return LAB_OK;
    }
    memset(out, 0, len);
    return LAB_RANDOM_FAILED;
}

lab_random_t lab_esp_random(void)
{
    return (lab_random_t){NULL, fill};
}

static void restart(void *context)
{
    (void)context;
    esp_restart();
}

static void wait_ms(void *context, uint32_t ms)
{
    (void)context;
    vTaskDelay(pdMS_TO_TICKS(ms) + 1);
}

lab_system_t lab_esp_system(void)
{
    return (lab_system_t){NULL, restart, wait_ms};
}

void lab_log(const char *tag, const lab_line_t *line)
{
    switch (lab_code_level(line->code)) {
    case LAB_LEVEL_ERROR:
        ESP_LOGE(tag, "%s", line->text);
        break;
    case LAB_LEVEL_WARNING:
        ESP_LOGW(tag, "%s", line->text);
        break;
    case LAB_LEVEL_INFO:
        ESP_LOGI(tag, "%s", line->text);
        break;
    }
}

void lab_log_code(const char *tag, lab_status_t code)
{
    const lab_line_t line = lab_line(code);
    lab_log(tag, &line);
}
