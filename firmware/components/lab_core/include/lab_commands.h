/* What the device does when it is told to. */
#ifndef LAB_COMMANDS_H
#define LAB_COMMANDS_H

#include "lab_topics.h"

enum {
    LAB_PAYLOAD_LONGEST = 256,
    LAB_INTERVAL_SHORTEST = 5, /* seconds between readings */
    LAB_INTERVAL_LONGEST = 86400,
    LAB_INTERVAL_USUAL = 60,
};

typedef enum {
    LAB_COMMAND_NONE,
    LAB_COMMAND_INTERVAL, /* set the seconds between readings */
    LAB_COMMAND_REPORT,   /* send a reading now */
    LAB_COMMAND_RENEW,    /* renew the certificate */
    LAB_COMMAND_UPDATE,   /* look for an update */
    LAB_COMMAND_RESTART,
} lab_command_word_t;

typedef struct {
    lab_command_word_t word;
    uint32_t seconds; /* for LAB_COMMAND_INTERVAL; 0 otherwise */
} lab_command_t;

/* Reads a payload like {"seconds": 30}. Returns a code LAB_JSON_…, and leaves `seconds` 0, for anything else. */
lab_status_t lab_command_interval(lab_span_t payload, uint32_t *seconds);

/* Reads a message. Returns LAB_COMMAND_NOT_OURS, LAB_COMMAND_UNKNOWN or a code LAB_JSON_…; `command` is then none.
 *
 * Does not check: who sent it; see lab_topic_command. */
lab_status_t lab_command_read(const char *device, lab_span_t topic, lab_span_t payload, lab_command_t *command);

/* Returns the word of a command. */
const char *lab_command_name(lab_command_word_t word);

#endif
