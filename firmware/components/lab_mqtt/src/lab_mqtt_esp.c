#include "lab_mqtt_esp.h"

#include <freertos/FreeRTOS.h>
#include <freertos/queue.h>
#include <mqtt_client.h>
#include <sdkconfig.h>
#include <stdlib.h>
#include <string.h>

/* The client runs in a task of its own and hands over what happens through a queue of pointers. */
enum { EVENTS = 8 };

typedef struct {
    QueueHandle_t events;
    esp_mqtt_client_handle_t client;
    char *texts[3]; /* root, chain, key: esp-mqtt goes on reading what it was given */
    bool ended;     /* it was said that the session ended, or never came to be */
    /* What must not be missed has its place beforehand: without it the node would wait, or talk to nobody, for ever. */
    lab_mqtt_event_t accepted;
    lab_mqtt_event_t end;
} session_t;

static session_t s_session;

static void release(const session_t *session, lab_mqtt_event_t *event)
{
    if (event != &session->accepted && event != &session->end) {
        free(event);
    }
}

static void post(session_t *session, lab_mqtt_event_t *event)
{
    if (event != NULL && xQueueSend(session->events, &event, 0) != pdTRUE) {
        free(event); /* nobody reads: the messages that wait are older and come first */
    }
}

/* The node does not read while it renews or updates, and messages may have filled the queue: the oldest makes room. */
static void post_surely(session_t *session, lab_mqtt_event_t *event)
{
    lab_mqtt_event_t *oldest;
    if (xQueueSend(session->events, &event, 0) == pdTRUE) {
        return;
    }
    if (xQueueReceive(session->events, &oldest, 0) == pdTRUE) {
        release(session, oldest);
    }
    (void)xQueueSend(session->events, &event, 0); /* this task alone sends, so the room is still there */
}

static lab_mqtt_event_t *make_event(lab_mqtt_event_kind_t kind)
{
    lab_mqtt_event_t *event = calloc(1, sizeof(*event));
    if (event != NULL) {
        event->kind = kind;
    }
    return event;
}

/* A session ends once, whatever the client says of it afterwards. */
static void post_end(session_t *session, lab_mqtt_event_kind_t kind, int reason)
{
    if (!session->ended) {
        session->ended = true;
        session->end = (lab_mqtt_event_t){.kind = kind, .reason = reason};
        post_surely(session, &session->end);
    }
}

static void post_error(session_t *session, const esp_mqtt_error_codes_t *error)
{
    if (error->error_type == MQTT_ERROR_TYPE_CONNECTION_REFUSED) {
        post_end(session, LAB_MQTT_DENIED, (int)error->connect_return_code);
    } else if (error->error_type == MQTT_ERROR_TYPE_TCP_TRANSPORT) {
        const int tls = error->esp_tls_stack_err;
        post_end(session, LAB_MQTT_NO_CONNECTION, tls != 0 ? tls : (int)error->esp_tls_last_esp_err);
    }
}

/* A message that comes in parts, or is longer than any command, is handed over as cut and without content. */
static void post_message(session_t *session, const esp_mqtt_event_t *message)
{
    if (message->current_data_offset > 0) {
        return; /* a later part of one that was handed over as cut */
    }
    lab_mqtt_event_t *event = make_event(LAB_MQTT_MESSAGE);
    if (event == NULL) {
        return;
    }
    const size_t topic_len = (size_t)message->topic_len;
    const size_t payload_len = (size_t)message->data_len;
    event->retained = message->retain;
    event->cut = message->data_len < message->total_data_len || topic_len > sizeof(event->topic) ||
                 payload_len > sizeof(event->payload);
    if (!event->cut) {
        event->topic_len = topic_len;
        event->payload_len = payload_len;
        memcpy(event->topic, message->topic, topic_len);
        memcpy(event->payload, message->data, payload_len);
    }
    post(session, event);
}

static void handle(void *context, esp_event_base_t base, int32_t id, void *data)
{
    session_t *session = context;
    const esp_mqtt_event_t *event = data;
    (void)base;
    switch ((esp_mqtt_event_id_t)id) {
    case MQTT_EVENT_CONNECTED:
        session->accepted = (lab_mqtt_event_t){.kind = LAB_MQTT_ACCEPTED};
        post_surely(session, &session->accepted);
        break;
    case MQTT_EVENT_DISCONNECTED:
        post_end(session, LAB_MQTT_ENDED, 0);
        break;
    case MQTT_EVENT_ERROR:
        post_error(session, event->error_handle);
        break;
    case MQTT_EVENT_SUBSCRIBED:
        if (event->error_handle->error_type == MQTT_ERROR_TYPE_SUBSCRIBE_FAILED) {
            post(session, make_event(LAB_MQTT_SUBSCRIPTION_DENIED));
        }
        break;
    case MQTT_EVENT_DATA:
        post_message(session, event);
        break;
    default:
        break;
    }
}

static void drain(session_t *session)
{
    lab_mqtt_event_t *event;
    while (xQueueReceive(session->events, &event, 0) == pdTRUE) {
        release(session, event);
    }
}

static void forget_texts(session_t *session)
{
    for (size_t at = 0; at < sizeof(session->texts) / sizeof(session->texts[0]); at++) {
        if (session->texts[at] != NULL) {
            lab_wipe(session->texts[at], strlen(session->texts[at]));
            free(session->texts[at]);
            session->texts[at] = NULL;
        }
    }
}

static void disconnect(void *context)
{
    session_t *session = context;
    if (session->client != NULL) {
        /* A DISCONNECT that the broker has read makes it drop the will (MQTT 5 §3.14.4). */
        (void)esp_mqtt_client_disconnect(session->client);
        (void)esp_mqtt_client_stop(session->client);
        (void)esp_mqtt_client_destroy(session->client);
        session->client = NULL;
    }
    drain(session);
    forget_texts(session);
}

static bool keep_texts(session_t *session, const lab_mqtt_session_t *wanted)
{
    session->texts[0] = strdup(wanted->root);
    session->texts[1] = strdup(wanted->chain);
    session->texts[2] = strdup(wanted->key);
    return session->texts[0] != NULL && session->texts[1] != NULL && session->texts[2] != NULL;
}

static bool start(session_t *session, const lab_mqtt_session_t *wanted)
{
    const esp_mqtt_client_config_t config = {
        .broker.address.hostname = wanted->host,
        .broker.address.port = wanted->port,
        .broker.address.transport = MQTT_TRANSPORT_OVER_SSL,
        .broker.verification.certificate = session->texts[0],
        .credentials.client_id = wanted->device,
        .credentials.authentication.certificate = session->texts[1],
        .credentials.authentication.key = session->texts[2],
        .session.protocol_ver = MQTT_PROTOCOL_V_5,
        .session.keepalive = CONFIG_LAB_MQTT_KEEPALIVE,
        .session.last_will.topic = wanted->will_topic,
        .session.last_will.msg = LAB_OFFLINE,
        .session.last_will.msg_len = (int)strlen(LAB_OFFLINE),
        .session.last_will.qos = 1,
        .session.last_will.retain = 1,
        .network.timeout_ms = CONFIG_LAB_MQTT_TIMEOUT_MS,
        .network.disable_auto_reconnect = true, /* the node waits longer each time, and may have another identity then */
        .task.stack_size = CONFIG_LAB_MQTT_TASK_STACK,
    };
    session->client = esp_mqtt_client_init(&config);
    if (session->client == NULL) {
        return false;
    }
    return esp_mqtt_client_register_event(session->client, MQTT_EVENT_ANY, handle, session) == ESP_OK &&
           esp_mqtt_client_start(session->client) == ESP_OK;
}

static lab_status_t mqtt_connect(void *context, const lab_mqtt_session_t *wanted)
{
    session_t *session = context;
    disconnect(session);
    session->ended = false;
    if (!keep_texts(session, wanted) || !start(session, wanted)) {
        disconnect(session);
        return LAB_MEMORY_SHORT;
    }
    return LAB_OK;
}

static lab_status_t publish(void *context, const char *topic, const char *payload, bool retain)
{
    const session_t *session = context;
    if (session->client == NULL || esp_mqtt_client_publish(session->client, topic, payload, 0, 1, retain) < 0) {
        return LAB_MQTT_DISCONNECTED;
    }
    return LAB_OK;
}

static lab_status_t subscribe(void *context, const char *filter)
{
    const session_t *session = context;
    /* What was retained before we came is old: it is not to be sent (MQTT 5 §3.8.3.1, Retain Handling 2). */
    const esp_mqtt5_subscribe_property_config_t property = {.retain_handle = 2};
    if (session->client == NULL || esp_mqtt5_client_set_subscribe_property(session->client, &property) != ESP_OK) {
        return LAB_MQTT_DISCONNECTED;
    }
    return esp_mqtt_client_subscribe_single(session->client, filter, 1) < 0 ? LAB_MQTT_DISCONNECTED : LAB_OK;
}

static void next(void *context, uint32_t timeout_ms, lab_mqtt_event_t *event)
{
    session_t *session = context;
    lab_mqtt_event_t *waiting;
    *event = (lab_mqtt_event_t){.kind = LAB_MQTT_NOTHING};
    if (xQueueReceive(session->events, &waiting, pdMS_TO_TICKS(timeout_ms)) == pdTRUE) {
        *event = *waiting;
        release(session, waiting);
    }
}

lab_status_t lab_mqtt_esp(lab_mqtt_t *mqtt)
{
    s_session = (session_t){.events = xQueueCreate(EVENTS, sizeof(lab_mqtt_event_t *))};
    *mqtt = (lab_mqtt_t){&s_session, mqtt_connect, disconnect, publish, subscribe, next};
    return s_session.events == NULL ? LAB_MEMORY_SHORT : LAB_OK;
}
