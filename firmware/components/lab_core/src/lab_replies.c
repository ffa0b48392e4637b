#include "lab_replies.h"

#include "lab_commands.h"
#include "lab_id.h"
#include "lab_json.h"

#include <string.h>

enum { TIME_ROOM = 41 };

static lab_status_t open_reply(lab_span_t body, const char *device, lab_json_t *object)
{
    char told[LAB_ID_LONGEST + 1];
    lab_status_t status = lab_json_open(body, LAB_REPLY_LONGEST, object);
    if (status == LAB_OK) {
        status = lab_json_text(*object, "device_id", told, sizeof(told));
    }
    if (status == LAB_OK && strcmp(told, device) != 0) {
        status = LAB_REPLY_DEVICE;
    }
    return status;
}

static lab_status_t read_time(lab_json_t object, const char *name, int64_t *seconds)
{
    char text[TIME_ROOM];
    *seconds = 0;
    const lab_status_t status = lab_json_text(object, name, text, sizeof(text));
    return status == LAB_OK ? lab_time_read(lab_span(text), seconds) : status;
}

lab_status_t lab_reply_grant(lab_span_t body, const char *device, lab_grant_t *grant)
{
    lab_json_t object;
    size_t room = 0;
    int64_t renew_after = 0;
    *grant = (lab_grant_t){.body = body};
    lab_status_t status = open_reply(body, device, &object);
    if (status == LAB_OK) {
        status = lab_json_text_room(object, "chain", LAB_LONGEST_PEM, &room);
    }
    if (status == LAB_OK) {
        status = read_time(object, "renew_after", &renew_after);
    }
    if (status == LAB_OK) {
        *grant = (lab_grant_t){body, room, renew_after};
    }
    return status;
}

lab_status_t lab_reply_chain(const lab_grant_t *grant, char *out)
{
    lab_json_t object;
    out[0] = '\0';
    lab_status_t status = lab_json_open(grant->body, LAB_REPLY_LONGEST, &object);
    if (status == LAB_OK) {
        status = lab_json_text(object, "chain", out, grant->chain_room);
    }
    if (status == LAB_OK) {
        status = lab_chain_check(lab_span(out));
    }
    if (status != LAB_OK) {
        out[0] = '\0';
    }
    return status;
}

lab_status_t lab_reply_config(lab_span_t body, const char *device, lab_configured_t *configured)
{
    lab_json_t object;
    lab_json_t settings;
    int64_t interval = 0;
    int64_t renew_after = 0;
    *configured = (lab_configured_t){0, 0};
    lab_status_t status = open_reply(body, device, &object);
    if (status == LAB_OK) {
        status = lab_json_get(object, "settings", LAB_JSON_OBJECT, &settings);
    }
    if (status == LAB_OK) {
        status =
            lab_json_integer(settings, "telemetry_seconds", LAB_INTERVAL_SHORTEST, LAB_INTERVAL_LONGEST, &interval);
    }
    if (status == LAB_OK) {
        status = read_time(object, "renew_after", &renew_after);
    }
    if (status == LAB_OK) {
        *configured = (lab_configured_t){(uint32_t)interval, renew_after};
    }
    return status;
}

/* The service's codes are words of small letters and dashes; anything else must not get into the log. */
static bool is_code(const char *reason)
{
    const char *at = reason;
    while ((*at >= 'a' && *at <= 'z') || (*at == '-' && at > reason)) {
        at++;
    }
    return at > reason && *at == '\0';
}

lab_status_t lab_reply_refusal(int http_status, lab_span_t body, char reason[LAB_REASON_ROOM])
{
    lab_json_t object;
    lab_status_t status = lab_json_open(body, LAB_REPLY_LONGEST, &object);
    if (status == LAB_OK) {
        status = lab_json_text(object, "code", reason, LAB_REASON_ROOM);
    }
    if (status != LAB_OK || !is_code(reason)) {
        lab_text_t text = lab_text(reason, LAB_REASON_ROOM);
        lab_text_put(&text, "internal");
    }
    const bool later = http_status == 408 || http_status == 429 || http_status >= 500;
    return later ? LAB_SERVICE_LATER : LAB_SERVICE_REFUSED;
}
