/* The sensor node: what it does from its start on. It knows ports and nothing of the chip; main/app_main.c gives them to it. */
#ifndef LAB_NODE_H
#define LAB_NODE_H

#include "lab_clock.h"
#include "lab_mqtt_port.h"
#include "lab_sensor.h"
#include "lab_service.h"
#include "lab_system.h"
#include "lab_updater.h"

/* What the node is made of. Everything must outlive it. */
typedef struct {
    const lab_clock_t *clock;
    const lab_random_t *random;
    const lab_storage_t *storage;
    const lab_keys_t *keys;
    const lab_http_t *http;
    const lab_mqtt_t *mqtt;
    const lab_slot_t *slot;
    const lab_sensor_t *sensor;
    const lab_system_t *system;
    const lab_update_crypto_t *crypto;
    const char *root; /* PEM of the authority in the image; empty where there is none */
    const char *broker_host;
    uint16_t broker_port;
    const char *provision_url;
    const char *update_url;
    uint32_t trial_seconds; /* how long an image on trial may take to reach the broker */
    lab_target_t target;    /* product, hardware and versions of this device and image */
} lab_parts_t;

typedef struct {
    lab_parts_t parts;
    lab_store_t store;
    lab_state_t state;
    char device[LAB_ID_LONGEST + 1];
    char *root; /* on the heap, out of the storage or the image */
    char *broker_host;
    char *provision_url;
    char *update_url;
    uint16_t broker_port;
    uint32_t interval; /* seconds between readings */
    uint32_t sequence;
    uint32_t seconds; /* since the start */
    uint32_t ticks;   /* when `seconds` was counted last */
    bool session;     /* the broker has accepted us */
    bool attempting;  /* a connection was begun and has neither come nor failed */
    uint32_t tries;   /* failures since the last success */
    uint32_t reconnect_at; /* when to try again; while attempting, when to give the attempt up */
    uint32_t report_at;
    uint32_t check_at; /* when to look at the certificate next, in `seconds` */
} lab_node_t;

/* Finds out who and what we are. LAB_OK, or why the node can't work: LAB_TRUST_MISSING, LAB_NVS_MISSING, a rule for device ids, …;
 * the log has a line about it, and there is no use in going on. */
lab_status_t lab_node_begin(lab_node_t *node, const lab_parts_t *parts);

/* Does one turn of the node's work: waits for what the broker says, at most `longest_ms`, and does what is due. Call it for ever. */
void lab_node_turn(lab_node_t *node, uint32_t longest_ms);

/* To be called now and then while there is no network yet: an image on trial that does not even get that far goes back in time. */
void lab_node_wait(lab_node_t *node);

/* Frees what the node holds; on a chip nobody calls it. */
void lab_node_end(lab_node_t *node);

#endif
