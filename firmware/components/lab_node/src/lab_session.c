/* What comes from the broker. */
#include "lab_node_internal.h"

static const char *const TAG = "lab_session";

enum { CHECK_AFTER_REFUSAL = 60 }; /* seconds */

static void accepted(lab_node_t *node)
{
    char topic[LAB_TOPIC_ROOM];
    lab_line_t line = lab_line(LAB_MQTT_CONNECTED);
    lab_line_text(&line, "broker", lab_span(node->broker_host));
    lab_log(TAG, &line);
    node->session = true;
    node->attempting = false;
    node->tries = 0;
    node->report_at = lab_node_ticks(node);
    node->check_at = node->seconds;
    lab_topic_status(node->device, topic);
    (void)node->parts.mqtt->publish(node->parts.mqtt->context, topic, LAB_ONLINE, true);
    lab_topic_commands(node->device, topic);
    (void)node->parts.mqtt->subscribe(node->parts.mqtt->context, topic);
    lab_node_happened(node, LAB_EVENT_CONNECTED);
}

static void lost(lab_node_t *node, lab_status_t code, int32_t reason)
{
    lab_line_t line = lab_line(code);
    lab_line_number(&line, "reason", reason);
    lab_log(TAG, &line);
    /* A refusal may mean that the service knows a newer certificate than the one in use. */
    if (code != LAB_MQTT_DISCONNECTED && node->check_at > node->seconds + CHECK_AFTER_REFUSAL) {
        node->check_at = node->seconds + CHECK_AFTER_REFUSAL;
    }
    lab_node_try_later(node);
}

/* Sets the interval, and keeps it; where it can't be kept it is not set. */
static lab_status_t set_interval(lab_node_t *node, uint32_t seconds)
{
    const lab_storage_t *storage = node->parts.storage;
    const lab_status_t status = storage->set_u32(storage->context, LAB_SPACE_SETTINGS, LAB_AT_INTERVAL, seconds);
    if (status == LAB_OK) {
        node->interval = seconds;
        node->report_at = lab_node_ticks(node) + seconds * 1000;
    }
    return status;
}

/* The line is written before the deed: a restart would swallow it. */
static void log_command(lab_command_t command, lab_status_t status)
{
    lab_line_t line = lab_line(status == LAB_OK ? LAB_COMMAND_DONE : status);
    lab_line_text(&line, "command", lab_span(lab_command_name(command.word)));
    if (command.seconds > 0) {
        lab_line_number(&line, "seconds", command.seconds);
    }
    lab_log(TAG, &line);
}

static void do_command(lab_node_t *node, lab_command_t command)
{
    switch (command.word) {
    case LAB_COMMAND_REPORT:
        lab_node_report(node);
        break;
    case LAB_COMMAND_RENEW:
        lab_node_happened(node, LAB_EVENT_RENEWAL_DUE);
        break;
    case LAB_COMMAND_UPDATE:
        lab_node_update(node);
        break;
    case LAB_COMMAND_RESTART:
        lab_node_restart(node);
        break;
    case LAB_COMMAND_INTERVAL:
    case LAB_COMMAND_NONE:
        break;
    }
}

static lab_status_t read_message(const lab_node_t *node, const lab_mqtt_event_t *event, lab_command_t *command)
{
    const lab_span_t topic = {event->topic, event->topic_len};
    const lab_span_t payload = {event->payload, event->payload_len};
    if (event->retained) {
        return LAB_COMMAND_RETAINED; /* a retained restart would restart the device for ever */
    }
    return event->cut ? LAB_JSON_TOO_LONG : lab_command_read(node->device, topic, payload, command);
}

static void message(lab_node_t *node, const lab_mqtt_event_t *event)
{
    lab_command_t command = {LAB_COMMAND_NONE, 0};
    lab_status_t status = read_message(node, event, &command);
    if (status == LAB_OK && command.word == LAB_COMMAND_INTERVAL) {
        status = set_interval(node, command.seconds);
    }
    log_command(command, status);
    if (status == LAB_OK) {
        do_command(node, command);
    }
}

void lab_node_handle(lab_node_t *node, const lab_mqtt_event_t *event)
{
    switch (event->kind) {
    case LAB_MQTT_ACCEPTED:
        accepted(node);
        break;
    case LAB_MQTT_ENDED:
        lost(node, LAB_MQTT_DISCONNECTED, event->reason);
        break;
    case LAB_MQTT_DENIED:
        lost(node, LAB_MQTT_REFUSED, event->reason);
        break;
    case LAB_MQTT_NO_CONNECTION:
        lost(node, LAB_TLS_REFUSED, event->reason);
        break;
    case LAB_MQTT_SUBSCRIPTION_DENIED:
        lab_log_code(TAG, LAB_MQTT_SUBSCRIBE_REFUSED);
        break;
    case LAB_MQTT_MESSAGE:
        message(node, event);
        break;
    case LAB_MQTT_NOTHING:
        break;
    }
}
