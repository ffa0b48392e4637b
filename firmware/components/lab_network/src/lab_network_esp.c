#include "lab_network.h"

#include "lab_backoff.h"
#include "lab_layout.h"
#include "lab_network_link.h"
#include "lab_system.h"

#include <esp_event.h>
#include <esp_netif.h>
#include <esp_netif_sntp.h>
#include <freertos/FreeRTOS.h>
#include <freertos/event_groups.h>
#include <nvs_flash.h>
#include <sdkconfig.h>
#include <string.h>

static const char *const TAG = "lab_network";

enum { HAS_ADDRESS = 1 };

static EventGroupHandle_t s_group;
static bool s_clock_started;
static char s_time_server[LAB_LONGEST_HOST + 1];

uint32_t lab_network_pause(const lab_random_t *random, uint32_t tries)
{
    uint32_t chance = 0;
    (void)random->fill(random->context, (uint8_t *)&chance, sizeof(chance));
    return lab_backoff_ms(tries, chance, LAB_BACKOFF_BASE_MS, LAB_BACKOFF_CAP_MS);
}

static void got_address(void *context, esp_event_base_t base, int32_t id, void *data)
{
    (void)context;
    (void)base;
    (void)id;
    (void)data;
    lab_log_code(TAG, LAB_NETWORK_UP);
    xEventGroupSetBits(s_group, HAS_ADDRESS);
}

static void lost_address(void *context, esp_event_base_t base, int32_t id, void *data)
{
    (void)context;
    (void)base;
    (void)id;
    (void)data;
    lab_log_code(TAG, LAB_NETWORK_DOWN);
    xEventGroupClearBits(s_group, HAS_ADDRESS);
}

/* The default partition is Wi-Fi's: it holds calibration, and can be made anew where it is worn or of another version. */
static esp_err_t open_default_nvs(void)
{
    esp_err_t code = nvs_flash_init();
    if (code == ESP_ERR_NVS_NO_FREE_PAGES || code == ESP_ERR_NVS_NEW_VERSION_FOUND) {
        code = nvs_flash_erase();
        code = code == ESP_OK ? nvs_flash_init() : code;
    }
    return code;
}

static esp_err_t start(const lab_storage_t *storage, const lab_random_t *random)
{
    esp_err_t code = open_default_nvs();
    if (code == ESP_OK) {
        code = esp_netif_init();
    }
    if (code == ESP_OK) {
        code = esp_event_loop_create_default();
    }
    if (code == ESP_OK) {
        code = esp_event_handler_register(IP_EVENT, IP_EVENT_STA_GOT_IP, got_address, NULL);
    }
    if (code == ESP_OK) {
        code = esp_event_handler_register(IP_EVENT, IP_EVENT_ETH_GOT_IP, got_address, NULL);
    }
    if (code == ESP_OK) {
        code = esp_event_handler_register(IP_EVENT, IP_EVENT_STA_LOST_IP, lost_address, NULL);
    }
    return code == ESP_OK ? lab_network_link_start(storage, random) : code;
}

static void read_time_server(const lab_storage_t *storage)
{
    const lab_status_t status = storage->get_text(storage->context, LAB_SPACE_SERVICE, LAB_AT_TIME_SERVER, s_time_server,
                                                  sizeof(s_time_server));
    if (status != LAB_OK) {
        lab_text_t text = lab_text(s_time_server, sizeof(s_time_server));
        lab_text_put(&text, CONFIG_LAB_NETWORK_TIME_SERVER);
    }
}

lab_status_t lab_network_begin(const lab_storage_t *storage, const lab_random_t *random)
{
    s_group = xEventGroupCreate();
    if (s_group == NULL) {
        return LAB_MEMORY_SHORT;
    }
    read_time_server(storage);
    switch (start(storage, random)) {
    case ESP_OK:
        return LAB_OK;
    case ESP_ERR_NOT_FOUND:
        return LAB_NETWORK_NO_CREDENTIALS;
    case ESP_ERR_NO_MEM:
        return LAB_MEMORY_SHORT;
    default:
        return LAB_NETWORK_DOWN;
    }
}

static bool start_clock(void)
{
    const esp_sntp_config_t config = ESP_NETIF_SNTP_DEFAULT_CONFIG(s_time_server);
    if (!s_clock_started) {
        s_clock_started = esp_netif_sntp_init(&config) == ESP_OK;
    }
    return s_clock_started;
}

static lab_status_t wait_for_both(TickType_t ticks)
{
    const EventBits_t bits = xEventGroupWaitBits(s_group, HAS_ADDRESS, pdFALSE, pdTRUE, ticks);
    if ((bits & HAS_ADDRESS) == 0) {
        return LAB_NETWORK_DOWN;
    }
    return start_clock() && esp_netif_sntp_sync_wait(ticks) == ESP_OK ? LAB_OK : LAB_CLOCK_UNSET;
}

lab_status_t lab_network_wait(uint32_t timeout_ms)
{
    const lab_status_t status = wait_for_both(pdMS_TO_TICKS(timeout_ms));
    lab_log_code(TAG, status == LAB_OK ? LAB_CLOCK_SET : status);
    return status;
}
