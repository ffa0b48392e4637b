#include "lab_topics.h"

#include <assert.h>
#include <string.h>

static void write_topic(const char *device, const char *rest, char *out)
{
    lab_text_t text = lab_text(out, LAB_TOPIC_ROOM);
    lab_text_put(&text, "devices/");
    lab_text_put(&text, device);
    lab_text_put(&text, rest);
    assert(!text.full);
}

void lab_topic_telemetry(const char *device, char out[LAB_TOPIC_ROOM])
{
    write_topic(device, "/telemetry/environment", out);
}

void lab_topic_status(const char *device, char out[LAB_TOPIC_ROOM])
{
    write_topic(device, "/status", out);
}

void lab_topic_commands(const char *device, char out[LAB_TOPIC_ROOM])
{
    write_topic(device, "/commands/#", out);
}

lab_status_t lab_topic_command(const char *device, lab_span_t topic, lab_span_t *word)
{
    char prefix[LAB_TOPIC_ROOM];
    write_topic(device, "/commands/", prefix);
    const size_t len = strlen(prefix);
    *word = (lab_span_t){topic.data, 0};
    if (topic.len <= len || memcmp(topic.data, prefix, len) != 0) {
        return LAB_COMMAND_NOT_OURS;
    }
    if (memchr(topic.data + len, '/', topic.len - len) != NULL) {
        return LAB_COMMAND_NOT_OURS;
    }
    *word = (lab_span_t){topic.data + len, topic.len - len};
    return LAB_OK;
}
