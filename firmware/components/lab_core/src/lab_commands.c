#include "lab_commands.h"

#include "lab_json.h"

static const char *const s_words[] = {"", "interval", "report", "renew", "update", "restart"};

enum { WORDS = sizeof(s_words) / sizeof(s_words[0]) };

const char *lab_command_name(lab_command_word_t word)
{
    return (size_t)word < WORDS ? s_words[word] : "";
}

static lab_command_word_t find_word(lab_span_t word)
{
    for (size_t number = 1; number < WORDS; number++) {
        if (lab_span_is(word, s_words[number])) {
            return (lab_command_word_t)number;
        }
    }
    return LAB_COMMAND_NONE;
}

/* A command that needs nothing takes nothing, or an empty object. */
static lab_status_t check_empty(lab_span_t payload)
{
    lab_json_t object;
    if (payload.len == 0) {
        return LAB_OK;
    }
    const lab_status_t status = lab_json_open(payload, LAB_PAYLOAD_LONGEST, &object);
    return status == LAB_OK ? lab_json_only(object, NULL, 0) : status;
}

lab_status_t lab_command_read(const char *device, lab_span_t topic, lab_span_t payload, lab_command_t *command)
{
    lab_span_t text;
    *command = (lab_command_t){LAB_COMMAND_NONE, 0};
    lab_status_t status = lab_topic_command(device, topic, &text);
    if (status != LAB_OK) {
        return status;
    }
    const lab_command_word_t word = find_word(text);
    if (word == LAB_COMMAND_NONE) {
        return LAB_COMMAND_UNKNOWN;
    }
    uint32_t seconds = 0;
    status = word == LAB_COMMAND_INTERVAL ? lab_command_interval(payload, &seconds) : check_empty(payload);
    if (status == LAB_OK) {
        *command = (lab_command_t){word, seconds};
    }
    return status;
}
