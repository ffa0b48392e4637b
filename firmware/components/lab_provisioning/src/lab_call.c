#include "lab_call.h"

#include "lab_system.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const char *const TAG = "lab_service";

void lab_reply_free(lab_reply_t *reply)
{
    free(reply->body);
    *reply = (lab_reply_t){0};
}

/* Keeps what comes, up to the longest reply that anybody would read. */
static lab_status_t keep(void *context, int http_status, lab_span_t part)
{
    lab_reply_t *reply = context;
    (void)http_status;
    if (part.len == 0) {
        return LAB_OK;
    }
    /* A subtraction that can't wrap: len never passes the longest. */
    if (part.len > LAB_REPLY_LONGEST - reply->len) {
        return LAB_JSON_TOO_LONG;
    }
    uint8_t *body = realloc(reply->body, reply->len + part.len);
    if (body == NULL) {
        return LAB_MEMORY_SHORT;
    }
    memcpy(body + reply->len, part.data, part.len);
    reply->body = body;
    reply->len += part.len;
    return LAB_OK;
}

static lab_status_t judge(const char *path, const lab_reply_t *reply)
{
    char reason[LAB_REASON_ROOM];
    if (reply->http_status == 200) {
        return LAB_OK;
    }
    const lab_status_t status =
        lab_reply_refusal(reply->http_status, (lab_span_t){reply->body, reply->len}, reason);
    lab_line_t line = lab_line(status);
    lab_line_text(&line, "path", lab_span(path));
    lab_line_number(&line, "http", reply->http_status);
    lab_line_text(&line, "reason", lab_span(reason));
    lab_log(TAG, &line);
    return status;
}

static lab_status_t perform(const lab_service_t *service, const char *path, const lab_http_request_t *request,
                            lab_reply_t *reply)
{
    const lab_status_t status = service->http->perform(service->http->context, request, &reply->http_status);
    if (status == LAB_OK) {
        return judge(path, reply);
    }
    lab_line_t line = lab_line(status);
    lab_line_text(&line, "path", lab_span(path));
    lab_log(TAG, &line);
    return status;
}

lab_status_t lab_call(const lab_service_t *service, const char *path, const lab_identity_t *identity, const char *body,
                      lab_reply_t *reply)
{
    const size_t room = strlen(service->url) + strlen(path) + 1;
    *reply = (lab_reply_t){0};
    char *url = malloc(room);
    if (url == NULL) {
        return LAB_MEMORY_SHORT;
    }
    lab_text_t text = lab_text(url, room);
    lab_text_put(&text, service->url);
    lab_text_put(&text, path);
    const lab_http_request_t request = {
        .post = body != NULL,
        .url = url,
        .root = service->root,
        .chain = identity == NULL ? NULL : identity->chain,
        .key = identity == NULL ? NULL : identity->key,
        .body = lab_span(body == NULL ? "" : body),
        .sink = keep,
        .sink_context = reply,
    };
    const lab_status_t status = perform(service, path, &request, reply);
    free(url);
    return status;
}

/* Writes what may stand between quotes (RFC 8259 §7): 1 to 6 bytes for each. */
static void put_escaped(lab_text_t *text, const char *value)
{
    static const char s_hex[] = "0123456789abcdef";
    for (; *value != '\0'; value++) {
        const uint8_t byte = (uint8_t)*value;
        char one[8] = {(char)byte, '\0'};
        if (byte == '\n') {
            memcpy(one, "\\n", 3);
        } else if (byte == '"' || byte == '\\') {
            one[0] = '\\';
            one[1] = (char)byte;
            one[2] = '\0';
        } else if (byte < ' ') {
            memcpy(one, "\\u00", 4);
            one[4] = s_hex[byte >> 4];
            one[5] = s_hex[byte & 15];
            one[6] = '\0';
        }
        lab_text_put(text, one);
    }
}

char *lab_call_object(const char *const *texts)
{
    size_t room = sizeof("{}");
    for (size_t at = 0; texts[at] != NULL; at++) {
        room += 6 * strlen(texts[at]) + sizeof("\"\":");
    }
    char *out = malloc(room);
    if (out == NULL) {
        return NULL;
    }
    lab_text_t text = lab_text(out, room);
    lab_text_put(&text, "{");
    for (size_t at = 0; texts[at] != NULL; at += 2) {
        assert(texts[at + 1] != NULL); /* names and values by turns */
        lab_text_put(&text, at == 0 ? "\"" : ",\"");
        put_escaped(&text, texts[at]);
        lab_text_put(&text, "\":\"");
        put_escaped(&text, texts[at + 1]);
        lab_text_put(&text, "\"");
    }
    lab_text_put(&text, "}");
    return out;
}
