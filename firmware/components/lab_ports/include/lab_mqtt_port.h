/* Port: one session with the broker, MQTT 5 over mutual TLS. */
#ifndef LAB_MQTT_PORT_H
#define LAB_MQTT_PORT_H

#include "lab_commands.h"

typedef struct {
    const char *host; /* the broker's certificate must have this name */
    uint16_t port;
    const char *device; /* client id */
    const char *root;
    const char *chain;
    const char *key;
    const char *will_topic; /* LAB_OFFLINE is retained there when the session is lost */
} lab_mqtt_session_t;

typedef enum {
    LAB_MQTT_NOTHING, /* time is up */
    LAB_MQTT_ACCEPTED,
    LAB_MQTT_ENDED,
    LAB_MQTT_DENIED,            /* CONNACK said no; `reason` is its code */
    LAB_MQTT_NO_CONNECTION,     /* there is no connection; `reason` is the TLS library's code */
    LAB_MQTT_SUBSCRIPTION_DENIED, /* SUBACK said no */
    LAB_MQTT_MESSAGE,
} lab_mqtt_event_kind_t;

/* What happened. A message longer than fits comes with `cut` set, and must not be acted upon. */
typedef struct {
    lab_mqtt_event_kind_t kind;
    int32_t reason;
    bool cut;
    bool retained; /* it lay at the broker before we came */
    size_t topic_len;
    size_t payload_len;
    uint8_t topic[LAB_TOPIC_ROOM + 32];
    uint8_t payload[LAB_PAYLOAD_LONGEST + 1];
} lab_mqtt_event_t;

typedef struct {
    void *context;
    /* Begins a session; the texts are the caller's again when it returns. LAB_OK, or LAB_MEMORY_SHORT. The end of the attempt is
     * an event. A session that is there is ended first. */
    lab_status_t (*connect)(void *context, const lab_mqtt_session_t *session);
    /* Ends the session without the will, if there is one. */
    void (*disconnect)(void *context);
    /* Hands a message to the broker: LAB_OK, or LAB_MQTT_DISCONNECTED. */
    lab_status_t (*publish)(void *context, const char *topic, const char *payload, bool retain);
    lab_status_t (*subscribe)(void *context, const char *filter);
    /* Waits for the next event, at most so many milliseconds. */
    void (*next)(void *context, uint32_t timeout_ms, lab_mqtt_event_t *event);
} lab_mqtt_t;

#endif
