#include "lab_node.h"

#include "lab_backoff.h"
#include "lab_node_internal.h"

#include <stdlib.h>
#include <string.h>

static const char *const TAG = "lab_node";

enum {
    CHECK_SECONDS = 3600,    /* how often the certificate is looked at */
    UNSET_CHECK_SECONDS = 60 /* and as long as the clock is not set */
};

uint32_t lab_node_ticks(const lab_node_t *node)
{
    return node->parts.clock->ticks_ms(node->parts.clock->context);
}

lab_service_t lab_node_service(const lab_node_t *node)
{
    return (lab_service_t){
        .store = &node->store,
        .http = node->parts.http,
        .url = node->provision_url,
        .root = node->root,
        .device = node->device,
    };
}

/* Reads a setting from the storage, or takes the image's own. */
static lab_status_t read_setting(const lab_storage_t *storage, const char *key, size_t longest, const char *usual,
                                 char **out)
{
    lab_status_t status = lab_store_text(storage, LAB_SPACE_SERVICE, key, longest, out);
    if (status != LAB_NVS_MISSING) {
        return status;
    }
    const size_t room = strlen(usual) + 1;
    *out = malloc(room);
    if (*out == NULL) {
        return LAB_MEMORY_SHORT;
    }
    memcpy(*out, usual, room);
    return LAB_OK;
}

/* Reads a number between two bounds; the usual one where it is missing or outside. */
static uint32_t read_number(const lab_storage_t *storage, const char *space, const char *key, uint32_t low, uint32_t high,
                            uint32_t usual)
{
    uint64_t number = 0;
    const lab_status_t status = storage->get_number(storage->context, space, key, &number);
    if (status == LAB_OK && number >= low && number <= high) {
        return (uint32_t)number;
    }
    if (status != LAB_NVS_MISSING) {
        lab_line_t line = lab_line(status == LAB_OK ? LAB_NVS_CONTENT : status);
        lab_line_text(&line, "key", lab_span(key));
        lab_log(TAG, &line);
    }
    return usual;
}

/* The authority comes from the image. Only an image without one takes the factory's word for it: whoever can write the flash could
 * write another authority there. */
static lab_status_t read_root(lab_node_t *node)
{
    const lab_storage_t *storage = node->parts.storage;
    lab_status_t status = LAB_OK;
    if (node->parts.root[0] == '\0') {
        status = lab_store_text(storage, LAB_SPACE_IDENTITY, LAB_AT_ROOT, LAB_LONGEST_PEM, &node->root);
    } else {
        node->root = malloc(strlen(node->parts.root) + 1);
        if (node->root == NULL) {
            return LAB_MEMORY_SHORT;
        }
        memcpy(node->root, node->parts.root, strlen(node->parts.root) + 1);
    }
    if (status == LAB_OK) {
        status = lab_chain_check(lab_span(node->root));
    }
    return status == LAB_OK ? LAB_OK : LAB_TRUST_MISSING;
}

static lab_status_t read_settings(lab_node_t *node)
{
    const lab_parts_t *parts = &node->parts;
    const lab_storage_t *storage = parts->storage;
    lab_status_t status = read_root(node);
    if (status == LAB_OK) {
        status = read_setting(storage, LAB_AT_BROKER_HOST, LAB_LONGEST_HOST, parts->broker_host, &node->broker_host);
    }
    if (status == LAB_OK) {
        status = read_setting(storage, LAB_AT_PROVISION_URL, LAB_LONGEST_URL, parts->provision_url, &node->provision_url);
    }
    if (status == LAB_OK) {
        status = read_setting(storage, LAB_AT_UPDATE_URL, LAB_LONGEST_URL, parts->update_url, &node->update_url);
    }
    node->broker_port =
        (uint16_t)read_number(storage, LAB_SPACE_SERVICE, LAB_AT_BROKER_PORT, 1, UINT16_MAX, parts->broker_port);
    node->interval = read_number(storage, LAB_SPACE_SETTINGS, LAB_AT_INTERVAL, LAB_INTERVAL_SHORTEST,
                                 LAB_INTERVAL_LONGEST, LAB_INTERVAL_USUAL);
    node->parts.target.hardware = (uint16_t)read_number(storage, LAB_SPACE_IDENTITY, LAB_AT_HARDWARE, 0, UINT16_MAX,
                                                        parts->target.hardware);
    return status;
}

static void log_state(const lab_node_t *node)
{
    static const lab_status_t s_codes[LAB_STATE_COUNT] = {
        [LAB_STATE_UNPROVISIONED] = LAB_BOOT_UNPROVISIONED, [LAB_STATE_PROVISIONED] = LAB_BOOT_PROVISIONED,
        [LAB_STATE_RENEWING] = LAB_BOOT_RENEWING,           [LAB_STATE_UPDATING] = LAB_BOOT_UPDATING,
        [LAB_STATE_ROLLED_BACK] = LAB_BOOT_ROLLED_BACK,
    };
    char version[LAB_VERSION_ROOM];
    lab_version_write(node->parts.target.version, version);
    lab_line_t line = lab_line(s_codes[node->state]);
    lab_line_text(&line, "device", lab_span(node->device));
    lab_line_text(&line, "version", lab_span(version));
    lab_log(TAG, &line);
}

static lab_status_t find_state(lab_node_t *node)
{
    lab_stored_t stored;
    bool rolled_back = false;
    const bool pending = node->parts.slot->pending(node->parts.slot->context);
    lab_status_t status = lab_store_look(&node->store, &stored);
    if (status == LAB_OK) {
        status = lab_updater_history(node->parts.storage, pending, &node->parts.target, &rolled_back);
    }
    if (status == LAB_OK) {
        node->state = lab_state_at_boot((lab_boot_t){
            .pending = pending,
            .identity = stored.in_use,
            .rolled_back = rolled_back,
            .renewing = stored.staged,
        });
        log_state(node);
    }
    return status;
}

/* An image on trial that can't even begin has failed. */
static void go_back(lab_node_t *node)
{
    const lab_slot_t *slot = node->parts.slot;
    if (slot->pending(slot->context)) {
        lab_log_code(TAG, LAB_UPDATE_ROLLING_BACK);
        slot->roll_back(slot->context);
    }
}

lab_status_t lab_node_begin(lab_node_t *node, const lab_parts_t *parts)
{
    memset(node, 0, sizeof(*node));
    node->parts = *parts;
    node->store = (lab_store_t){parts->storage, parts->keys, parts->random};
    node->ticks = lab_node_ticks(node);
    node->report_at = node->ticks;
    node->reconnect_at = node->ticks;
    lab_status_t status = lab_store_device(&node->store, node->device);
    if (status == LAB_OK) {
        status = read_settings(node);
    }
    if (status == LAB_OK) {
        status = find_state(node);
    }
    if (status != LAB_OK) {
        lab_log_code(TAG, status);
        go_back(node);
    }
    return status;
}

void lab_node_end(lab_node_t *node)
{
    free(node->root);
    free(node->broker_host);
    free(node->provision_url);
    free(node->update_url);
    memset(node, 0, sizeof(*node));
}

/* Counts the seconds since the start out of ticks that run over. */
static void count_seconds(lab_node_t *node)
{
    const uint32_t passed = (lab_node_ticks(node) - node->ticks) / 1000;
    node->seconds += passed;
    node->ticks += passed * 1000;
}

/* A device can work without the service's settings: it has its own, and there is one line of the log. */
static void configure(lab_node_t *node, const lab_service_t *service)
{
    lab_configured_t configured;
    if (lab_service_config(service, &configured) == LAB_OK) {
        node->interval = configured.interval;
    }
}

static void enrol(lab_node_t *node)
{
    const lab_service_t service = lab_node_service(node);
    const lab_status_t status = lab_service_enrol(&service);
    if (status == LAB_ENROL_DONE) {
        configure(node, &service);
    }
    if (status == LAB_OK || status == LAB_ENROL_DONE) {
        node->tries = 0;
        lab_node_happened(node, LAB_EVENT_ENROLLED);
        return;
    }
    if (status == LAB_BOOT_NO_TOKEN) {
        lab_log_code(TAG, status);
    }
    lab_node_try_later(node);
}

/* Says whether the certificate is to be renewed; a renewal that was cut off before its confirmation is to be ended first, because
 * the service may have confirmed it already and then the identity in use counts no more. */
static lab_status_t judge_certificate(const lab_node_t *node)
{
    lab_identity_t identity;
    lab_stored_t stored;
    lab_status_t status = lab_store_look(&node->store, &stored);
    if (status != LAB_OK || stored.installed) {
        return status == LAB_OK ? LAB_RENEW_DUE : status;
    }
    status = lab_store_current(&node->store, &identity);
    if (status == LAB_OK) {
        const int64_t now = node->parts.clock->now(node->parts.clock->context);
        status = lab_renewal_decide(now, identity.validity, lab_store_share(&node->store));
    }
    lab_identity_free(&identity);
    return status;
}

/* Looks at the certificate, now and then. */
static void check_certificate(lab_node_t *node)
{
    const lab_status_t status = judge_certificate(node);
    node->check_at = node->seconds + (status == LAB_CLOCK_UNSET ? UNSET_CHECK_SECONDS : CHECK_SECONDS);
    if (status != LAB_OK) {
        lab_log_code(TAG, status);
    }
    if (status == LAB_RENEW_DUE) {
        lab_node_happened(node, LAB_EVENT_RENEWAL_DUE);
    }
}

/* Tries what leads to a session, in the order in which it has to be done. */
static void approach(lab_node_t *node)
{
    if (node->attempting) {
        lab_log_code(TAG, LAB_MQTT_DISCONNECTED);
        node->parts.mqtt->disconnect(node->parts.mqtt->context);
        lab_node_try_later(node);
    } else if (node->state == LAB_STATE_UNPROVISIONED) {
        enrol(node);
    } else if (node->state == LAB_STATE_RENEWING) {
        lab_node_renew(node); /* one that was cut off; see judge_certificate */
    } else {
        lab_node_connect(node);
    }
}

/* Reports while there is a session, and works towards one while there is none. */
static void keep_talking(lab_node_t *node)
{
    const uint32_t now = lab_node_ticks(node);
    if (node->session) {
        if (lab_clock_reached(now, node->report_at)) {
            lab_node_report(node);
        }
    } else if (lab_clock_reached(now, node->reconnect_at)) {
        approach(node);
    }
}

static void judge_trial(lab_node_t *node)
{
    if (node->state == LAB_STATE_UPDATING && node->seconds >= node->parts.trial_seconds) {
        lab_node_happened(node, LAB_EVENT_TIMEOUT);
    }
}

void lab_node_wait(lab_node_t *node)
{
    count_seconds(node);
    judge_trial(node);
}

static void do_what_is_due(lab_node_t *node)
{
    keep_talking(node);
    judge_trial(node);
    if (node->state == LAB_STATE_PROVISIONED && node->seconds >= node->check_at) {
        check_certificate(node);
    }
}

/* Returns how long to wait for the broker at most, so that nothing that is due comes late. */
static uint32_t patience(const lab_node_t *node, uint32_t longest_ms)
{
    const uint32_t now = lab_node_ticks(node);
    const uint32_t due = node->session ? node->report_at : node->reconnect_at;
    if (lab_clock_reached(now, due)) {
        return 0;
    }
    return due - now < longest_ms ? due - now : longest_ms;
}

void lab_node_turn(lab_node_t *node, uint32_t longest_ms)
{
    lab_mqtt_event_t event;
    memset(&event, 0, sizeof(event));
    node->parts.mqtt->next(node->parts.mqtt->context, patience(node, longest_ms), &event);
    count_seconds(node);
    lab_node_handle(node, &event);
    do_what_is_due(node);
}
