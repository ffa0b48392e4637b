/* Where the device publishes and what it listens to. */
#ifndef LAB_TOPICS_H
#define LAB_TOPICS_H

#include "lab_id.h"

/* The longest topic that the device publishes to, with its NUL. */
enum { LAB_TOPIC_ROOM = sizeof("devices//telemetry/environment") + LAB_ID_LONGEST };

#define LAB_ONLINE "online"
#define LAB_OFFLINE "offline"

/* Each writes a topic; the id must have been checked. */
void lab_topic_telemetry(const char *device, char out[LAB_TOPIC_ROOM]);
void lab_topic_status(const char *device, char out[LAB_TOPIC_ROOM]);
void lab_topic_commands(const char *device, char out[LAB_TOPIC_ROOM]);

/* Finds which command a topic is for. Returns LAB_COMMAND_NOT_OURS for another device's, for no command's, and for one
 * with more levels; `word` is then empty.
 *
 * Does not check: who sent it. The broker's rules decide who may write there. */
lab_status_t lab_topic_command(const char *device, lab_span_t topic, lab_span_t *word);

#endif
