#include "lab_network_link.h"

#include <sdkconfig.h>

#ifdef CONFIG_LAB_NETWORK_WIFI

#include "lab_layout.h"
#include "lab_text.h"

#include <esp_event.h>
#include <esp_netif.h>
#include <esp_timer.h>
#include <esp_wifi.h>
#include <string.h>

static const lab_random_t *s_random;
static esp_timer_handle_t s_timer;
static uint32_t s_tries;

static void try_again(void *context)
{
    (void)context;
    (void)esp_wifi_connect();
}

/* The access point is gone, or does not want us: try again, later each time. The handler must not wait itself. */
static void handle(void *context, esp_event_base_t base, int32_t id, void *data)
{
    (void)context;
    (void)base;
    (void)data;
    if (id == WIFI_EVENT_STA_START) {
        (void)esp_wifi_connect();
    } else if (id == WIFI_EVENT_STA_CONNECTED) {
        s_tries = 0;
    } else if (id == WIFI_EVENT_STA_DISCONNECTED) {
        s_tries++;
        (void)esp_timer_start_once(s_timer, (uint64_t)lab_network_pause(s_random, s_tries) * 1000U);
    }
}

/* Reads name and password out of the storage into the driver's own structure, and nowhere else. */
static esp_err_t read_credentials(const lab_storage_t *storage, wifi_config_t *config)
{
    char ssid[LAB_LONGEST_SSID + 1];
    char password[LAB_LONGEST_PASSWORD + 1] = "";
    memset(config, 0, sizeof(*config));
    lab_status_t status = storage->get_text(storage->context, LAB_SPACE_NETWORK, LAB_AT_SSID, ssid, sizeof(ssid));
    if (status == LAB_OK) {
        memcpy(config->sta.ssid, ssid, strlen(ssid)); /* 32 bytes, of which all may be used: no NUL is needed */
        status = storage->get_text(storage->context, LAB_SPACE_NETWORK, LAB_AT_PASSWORD, password, sizeof(password));
    }
    if (status == LAB_OK) {
        memcpy(config->sta.password, password, strlen(password));
    }
    lab_wipe(password, sizeof(password));
    /* An access point with the same name and no password, or an older cipher, is not ours. */
    config->sta.threshold.authmode = WIFI_AUTH_WPA2_PSK;
    config->sta.pmf_cfg.capable = true;
    return status == LAB_OK ? ESP_OK : ESP_ERR_NOT_FOUND;
}

static esp_err_t start_driver(void)
{
    const wifi_init_config_t config = WIFI_INIT_CONFIG_DEFAULT();
    const esp_timer_create_args_t timer = {.callback = try_again, .name = "lab_wifi"};
    if (esp_netif_create_default_wifi_sta() == NULL) {
        return ESP_ERR_NO_MEM;
    }
    esp_err_t code = esp_wifi_init(&config);
    if (code == ESP_OK) {
        code = esp_timer_create(&timer, &s_timer);
    }
    if (code == ESP_OK) {
        code = esp_event_handler_register(WIFI_EVENT, ESP_EVENT_ANY_ID, handle, NULL);
    }
    /* Otherwise the driver would write the password into the partition nvs, a second time and in the clear. */
    return code == ESP_OK ? esp_wifi_set_storage(WIFI_STORAGE_RAM) : code;
}

esp_err_t lab_network_link_start(const lab_storage_t *storage, const lab_random_t *random)
{
    wifi_config_t credentials;
    s_random = random;
    esp_err_t code = read_credentials(storage, &credentials);
    if (code == ESP_OK) {
        code = start_driver();
    }
    if (code == ESP_OK) {
        code = esp_wifi_set_mode(WIFI_MODE_STA);
    }
    if (code == ESP_OK) {
        code = esp_wifi_set_config(WIFI_IF_STA, &credentials);
    }
    lab_wipe(&credentials, sizeof(credentials));
    return code == ESP_OK ? esp_wifi_start() : code;
}

#endif
