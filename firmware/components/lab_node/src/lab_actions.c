/* What the node does: connecting, confirming, renewing, updating, reporting. */
#include "lab_backoff.h"
#include "lab_node_internal.h"

static const char *const TAG = "lab_actions";

/* Each of an attempt's steps has a shorter time of its own; a client that says nothing for so long never will. */
enum { ATTEMPT_MS = 120000 };

void lab_node_try_later(lab_node_t *node)
{
    uint8_t bytes[4] = {0};
    /* Without chance the wait is the shortest one; the failure itself is logged where it happened. */
    (void)node->parts.random->fill(node->parts.random->context, bytes, sizeof(bytes));
    const uint32_t chance = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
    node->tries += node->tries < UINT32_MAX;
    node->session = false;
    node->attempting = false;
    node->reconnect_at =
        lab_node_ticks(node) + lab_backoff_ms(node->tries, chance, LAB_BACKOFF_BASE_MS, LAB_BACKOFF_CAP_MS);
}

void lab_node_connect(lab_node_t *node)
{
    char will[LAB_TOPIC_ROOM];
    lab_identity_t identity;
    lab_status_t status = lab_store_current(&node->store, &identity);
    lab_topic_status(node->device, will);
    if (status == LAB_OK) {
        const lab_mqtt_session_t session = {
            .host = node->broker_host,
            .port = node->broker_port,
            .device = node->device,
            .root = node->root,
            .chain = identity.chain,
            .key = identity.key,
            .will_topic = will,
        };
        status = node->parts.mqtt->connect(node->parts.mqtt->context, &session);
    }
    lab_identity_free(&identity);
    if (status != LAB_OK) {
        lab_log_code(TAG, status);
        lab_node_try_later(node);
        return;
    }
    node->attempting = true;
    node->reconnect_at = lab_node_ticks(node) + ATTEMPT_MS;
}

static lab_updater_t updater_of(const lab_node_t *node, const lab_identity_t *identity)
{
    return (lab_updater_t){
        .http = node->parts.http,
        .slot = node->parts.slot,
        .storage = node->parts.storage,
        .random = node->parts.random,
        .system = node->parts.system,
        .crypto = node->parts.crypto,
        .target = &node->parts.target,
        .url = node->update_url,
        .root = node->root,
        .chain = identity->chain,
        .key = identity->key,
    };
}

/* Tells the update server what became of a version. */
static void tell(const lab_node_t *node, lab_version_t version, lab_status_t code)
{
    lab_identity_t identity;
    if (lab_store_current(&node->store, &identity) == LAB_OK) {
        const lab_updater_t updater = updater_of(node, &identity);
        lab_updater_report(&updater, version, code);
    }
    lab_identity_free(&identity);
}

static void confirm_image(lab_node_t *node)
{
    lab_status_t status = node->parts.slot->confirm(node->parts.slot->context);
    if (status == LAB_OK) {
        (void)lab_updater_proved(node->parts.storage); /* a note that stays names the version that runs, and means nothing */
    }
    lab_log_code(TAG, status == LAB_OK ? LAB_UPDATE_CONFIRMED : status);
    tell(node, node->parts.target.version, status);
}

void lab_node_renew(lab_node_t *node)
{
    const lab_service_t service = lab_node_service(node);
    const lab_status_t status = lab_service_renew(&service);
    lab_node_happened(node, status == LAB_RENEW_DONE ? LAB_EVENT_RENEWED : LAB_EVENT_RENEWAL_FAILED);
}

void lab_node_restart(lab_node_t *node)
{
    char topic[LAB_TOPIC_ROOM];
    if (node->session) {
        lab_topic_status(node->device, topic);
        (void)node->parts.mqtt->publish(node->parts.mqtt->context, topic, LAB_OFFLINE, true);
    }
    node->parts.mqtt->disconnect(node->parts.mqtt->context);
    node->session = false;
    node->parts.system->restart(node->parts.system->context);
}

static void reconnect(lab_node_t *node)
{
    node->parts.mqtt->disconnect(node->parts.mqtt->context);
    node->session = false;
    node->attempting = false;
    node->reconnect_at = lab_node_ticks(node);
}

static void roll_back(lab_node_t *node)
{
    lab_log_code(TAG, LAB_UPDATE_ROLLING_BACK);
    node->parts.slot->roll_back(node->parts.slot->context);
}

void lab_node_happened(lab_node_t *node, lab_event_t event)
{
    switch (lab_state_after(&node->state, event)) {
    case LAB_ACTION_CONNECT:
        node->reconnect_at = lab_node_ticks(node);
        break;
    case LAB_ACTION_RENEW:
        lab_node_renew(node);
        break;
    case LAB_ACTION_RECONNECT:
        reconnect(node);
        break;
    case LAB_ACTION_RESTART:
        lab_node_restart(node);
        break;
    case LAB_ACTION_CONFIRM_IMAGE:
        confirm_image(node);
        break;
    case LAB_ACTION_ROLL_BACK:
        roll_back(node);
        break;
    case LAB_ACTION_REPORT: /* the state was logged at the start, and the version is remembered */
        tell(node, node->parts.target.rolled_back, LAB_BOOT_ROLLED_BACK);
        break;
    case LAB_ACTION_NONE:
        break;
    }
}

void lab_node_report(lab_node_t *node)
{
    char topic[LAB_TOPIC_ROOM];
    char text[LAB_TELEMETRY_ROOM];
    lab_reading_t reading = {0, 0};
    node->report_at = lab_node_ticks(node) + node->interval * 1000;
    lab_topic_telemetry(node->device, topic);
    lab_status_t status = node->parts.sensor->read(node->parts.sensor->context, &reading);
    if (status == LAB_OK) {
        status = lab_telemetry_render(node->device, reading, node->seconds, node->sequence, text);
    }
    if (status == LAB_OK) {
        status = node->parts.mqtt->publish(node->parts.mqtt->context, topic, text, false);
    }
    lab_line_t line = lab_line(status == LAB_OK ? LAB_TELEMETRY_SENT : status);
    lab_line_number(&line, "seq", node->sequence);
    lab_log(TAG, &line);
    node->sequence += status == LAB_OK;
}

void lab_node_update(lab_node_t *node)
{
    lab_identity_t identity;
    if (node->state != LAB_STATE_PROVISIONED) {
        return; /* one thing at a time; the server is asked again */
    }
    const lab_status_t found = lab_store_current(&node->store, &identity);
    if (found != LAB_OK) {
        lab_log_code(TAG, found);
        return;
    }
    const lab_updater_t updater = updater_of(node, &identity);
    const lab_status_t status = lab_updater_run(&updater);
    lab_identity_free(&identity);
    if (status == LAB_UPDATE_STAGED) {
        lab_node_happened(node, LAB_EVENT_UPDATE_STAGED);
    }
}
