/* What the files of the node share. */
#ifndef LAB_NODE_INTERNAL_H
#define LAB_NODE_INTERNAL_H

#include "lab_node.h"

/* Tells the machine of states what happened, and does what it says. */
void lab_node_happened(lab_node_t *node, lab_event_t event);

/* Begins a session with the identity in use. */
void lab_node_connect(lab_node_t *node);

/* Notes a failure, and when to try again. */
void lab_node_try_later(lab_node_t *node);

/* Sends a reading now. */
void lab_node_report(lab_node_t *node);

/* Does what an event of the session asks for. */
void lab_node_handle(lab_node_t *node, const lab_mqtt_event_t *event);

/* Looks for an update. */
void lab_node_update(lab_node_t *node);

/* Renews the certificate, or ends a renewal that was cut off. */
void lab_node_renew(lab_node_t *node);

/* Says goodbye, and restarts. */
void lab_node_restart(lab_node_t *node);

lab_service_t lab_node_service(const lab_node_t *node);

uint32_t lab_node_ticks(const lab_node_t *node);

#endif
