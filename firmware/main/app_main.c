/* Wires the node: which ports it gets, and nothing else. */
#include "lab_esp.h"
#include "lab_https_esp.h"
#include "lab_keys_mbedtls.h"
#include "lab_mqtt_esp.h"
#include "lab_network.h"
#include "lab_node.h"
#include "lab_nvs_esp.h"
#include "lab_self.h"
#include "lab_sensor_esp.h"
#include "lab_slot_esp.h"
#include "lab_verify_mbedtls.h"

#include <sdkconfig.h>

static const char *const TAG = "app_main";

enum { NETWORK_WAIT_MS = 30000, TURN_MS = 1000, GIVE_UP_MS = 60000 };

static lab_clock_t s_clock;
static lab_random_t s_random;
static lab_storage_t s_storage;
static lab_keys_t s_keys;
static lab_http_t s_http;
static lab_mqtt_t s_mqtt;
static lab_slot_t s_slot;
static lab_sensor_t s_sensor;
static lab_system_t s_system;
static lab_verify_mbedtls_t s_verify;
static lab_update_crypto_t s_crypto;
static lab_node_t s_node;

/* Gives the node its ports. LAB_OK, or the first that could not be had. */
static lab_status_t wire(lab_parts_t *parts)
{
    s_clock = lab_esp_clock();
    s_random = lab_esp_random();
    s_system = lab_esp_system();
    s_http = lab_https_esp();
    s_slot = lab_slot_esp();
    s_sensor = lab_sensor_esp(&s_clock, &s_random);
    lab_verify_mbedtls(&s_crypto, &s_verify, lab_self_update_keys());
    *parts = (lab_parts_t){
        .clock = &s_clock, .random = &s_random, .storage = &s_storage, .keys = &s_keys, .http = &s_http,
        .mqtt = &s_mqtt, .slot = &s_slot, .sensor = &s_sensor, .system = &s_system, .crypto = &s_crypto,
        .root = lab_self_root(),
        .broker_host = CONFIG_LAB_NODE_BROKER_HOST,
        .broker_port = CONFIG_LAB_NODE_BROKER_PORT,
        .provision_url = CONFIG_LAB_PROVISIONING_URL,
        .update_url = CONFIG_LAB_UPDATE_URL,
        .trial_seconds = CONFIG_LAB_UPDATE_TRIAL_SECONDS,
        .target = lab_self_target(s_slot.size),
    };
    lab_status_t status = lab_keys_mbedtls(&s_keys);
    status = status == LAB_OK ? lab_nvs_begin(&s_storage) : status;
    status = status == LAB_OK ? lab_mqtt_esp(&s_mqtt) : status;
    return status == LAB_OK ? lab_network_begin(&s_storage, &s_random) : status;
}

void app_main(void)
{
    lab_parts_t parts;
    lab_status_t status = wire(&parts);
    if (status == LAB_OK) {
        status = lab_node_begin(&s_node, &parts); /* an image on trial that can't begin goes back by itself */
    }
    if (status != LAB_OK) {
        lab_self_give_up(TAG, status, &s_slot, GIVE_UP_MS);
    }
    while (lab_network_wait(NETWORK_WAIT_MS) != LAB_OK) {
        lab_node_wait(&s_node); /* no connection before there are an address and the time */
    }
    for (;;) {
        lab_node_turn(&s_node, TURN_MS);
    }
}
