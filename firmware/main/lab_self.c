#include "lab_self.h"

#include "lab_system.h"

#include <esp_app_desc.h>
#include <esp_system.h>
#include <freertos/FreeRTOS.h>
#include <freertos/task.h>
#include <sdkconfig.h>
#include <string.h>

/* Both files end with a NUL (EMBED_TXTFILES). Where labkit has put none into firmware/trust, they say so and are no PEM. */
extern const char s_root_start[] asm("_binary_root_pem_start");
extern const char s_update_keys_start[] asm("_binary_update_keys_pem_start");

const char *lab_self_root(void)
{
    return strstr(s_root_start, "-----BEGIN CERTIFICATE-----") == NULL ? "" : s_root_start;
}

const char *lab_self_update_keys(void)
{
    return s_update_keys_start;
}

lab_target_t lab_self_target(uint32_t slot_size)
{
    const esp_app_desc_t *own = esp_app_get_description();
    lab_target_t target = {
        .product = own->project_name,
        .hardware = CONFIG_LAB_NODE_HARDWARE,
        .secure_version = own->secure_version,
        .slot_size = slot_size,
    };
    (void)lab_version_read(lab_span(own->version), &target.version); /* 0.0.0 for a version that is none: any update is newer */
    return target;
}

void lab_self_give_up(const char *tag, lab_status_t status, const lab_slot_t *slot, uint32_t after_ms)
{
    lab_log_code(tag, status);
    if (slot->pending(slot->context)) {
        slot->roll_back(slot->context);
    }
    vTaskDelay(pdMS_TO_TICKS(after_ms));
    esp_restart();
}
