#include "fake_service.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int status;
    char text[4096];
} answer_t;

void fake_service_init(fake_service_t *service, fake_board_t *board)
{
    *service = (fake_service_t){.board = board, .token = "good-token", .fails = LAB_OK, .interval = 60, .chunk = 100};
}

static answer_t problem(int status, const char *code)
{
    answer_t answer = {.status = status};
    snprintf(answer.text, sizeof(answer.text), "{\"code\":\"%s\",\"title\":\"No\"}", code);
    return answer;
}

static answer_t granted(int key)
{
    answer_t answer = {.status = 200};
    char chain[512];
    fake_chain(key, chain);
    cJSON *body = cJSON_CreateObject();
    cJSON_AddStringToObject(body, "device_id", "sensor-001");
    cJSON_AddStringToObject(body, "chain", chain);
    cJSON_AddStringToObject(body, "renew_after", "2027-04-01T00:00:00Z");
    cJSON_AddBoolToObject(body, "repeated", false);
    cJSON_PrintPreallocated(body, answer.text, sizeof(answer.text), 1);
    cJSON_Delete(body);
    return answer;
}

/* Returns the number of the key that a body asks a certificate for; 0 where it is no request. */
static int asked_key(const cJSON *body)
{
    int key = 0;
    char device[64] = "";
    const cJSON *csr = cJSON_GetObjectItem(body, "csr");
    if (cJSON_IsString(csr) && sscanf(csr->valuestring, "REQUEST %d\nfor \"%63[^\"]\"", &key, device) == 2) {
        return strcmp(device, "sensor-001") == 0 ? key : 0;
    }
    return 0;
}

static int own_key(const lab_http_request_t *request)
{
    int key = 0;
    if (request->key != NULL) {
        (void)sscanf(request->key, "KEY %d", &key);
    }
    return key;
}

static answer_t provision(fake_service_t *service, const cJSON *body)
{
    const cJSON *token = cJSON_GetObjectItem(body, "token");
    const int key = asked_key(body);
    if (!cJSON_IsString(token) || strcmp(token->valuestring, service->token) != 0) {
        return problem(403, "token-unknown");
    }
    if (key == 0) {
        return problem(400, "csr-unreadable");
    }
    if (service->spent_on != 0 && service->spent_on != key) {
        return problem(409, "token-spent");
    }
    service->spent_on = key;
    service->current = key;
    return granted(key);
}

static answer_t renew(fake_service_t *service, const lab_http_request_t *request, const cJSON *body)
{
    const int key = asked_key(body);
    if (own_key(request) != service->current) {
        return problem(403, "certificate-superseded");
    }
    if (key == 0 || key == service->current) {
        return problem(400, "key-not-new");
    }
    if (service->renewed != 0 && service->renewed != key) {
        return problem(409, "clone-alarm");
    }
    service->renewed = key;
    return granted(key);
}

static answer_t confirm(fake_service_t *service, const lab_http_request_t *request)
{
    const int key = own_key(request);
    if (key == service->current) {
        return problem(409, "nothing-to-confirm");
    }
    if (key == 0 || key != service->renewed) {
        return problem(403, "certificate-unknown");
    }
    service->current = key;
    service->renewed = 0;
    return (answer_t){.status = 200, .text = "{\"device_id\":\"sensor-001\",\"status\":\"active\"}"};
}

static answer_t config(fake_service_t *service, const lab_http_request_t *request)
{
    if (own_key(request) != service->current) {
        return problem(403, "certificate-superseded");
    }
    answer_t answer = {.status = 200};
    snprintf(answer.text, sizeof(answer.text),
             "{\"device_id\":\"sensor-001\",\"settings\":{\"telemetry_seconds\":%d,\"label\":\"\"},"
             "\"renew_after\":\"2027-04-01T00:00:00Z\"}",
             service->interval);
    return answer;
}

static answer_t announce(const fake_service_t *service, const char *path)
{
    answer_t answer = problem(404, "not-found");
    if (strncmp(path, "/updates/course-node?hardware=", 30) != 0 || strstr(path, "&version=1.") == NULL) {
        return answer;
    }
    if (service->manifest != NULL) {
        answer.status = 200;
        snprintf(answer.text, sizeof(answer.text), "%s", service->manifest);
    }
    return answer;
}

static answer_t honest(fake_service_t *service, const lab_http_request_t *request, const char *path, const cJSON *body)
{
    if (strcmp(path, "/provision") == 0 && request->key == NULL) {
        return provision(service, body);
    }
    if (strcmp(path, "/renew") == 0) {
        return renew(service, request, body);
    }
    if (strcmp(path, "/renew/confirm") == 0) {
        return confirm(service, request);
    }
    if (strcmp(path, "/updates/course-node/report") == 0) {
        snprintf(service->reported, sizeof(service->reported), "%.*s", (int)request->body.len,
                 (const char *)request->body.data);
        return (answer_t){.status = cJSON_IsString(cJSON_GetObjectItem(body, "code")) ? 200 : 400, .text = "{}"};
    }
    return strcmp(path, "/config") == 0 ? config(service, request) : announce(service, path);
}

static answer_t decide(fake_service_t *service, const lab_http_request_t *request)
{
    const char *path = strstr(request->url, ".local");
    char *text = request->body.len == 0 ? strdup("") : strndup((const char *)request->body.data, request->body.len);
    cJSON *body = cJSON_Parse(text);
    answer_t answer = {.status = service->http_status};
    if (service->http_status != 0) {
        snprintf(answer.text, sizeof(answer.text), "%s", service->body);
    } else {
        answer = honest(service, request, path == NULL ? "" : path + strlen(".local"), body);
    }
    cJSON_Delete(body);
    free(text);
    return answer;
}

/* Hands the body over in parts. */
static lab_status_t deliver(const fake_service_t *service, const lab_http_request_t *request, int status,
                            const uint8_t *data, size_t len)
{
    for (size_t at = 0; at < len; at += service->chunk) {
        const size_t part = len - at < service->chunk ? len - at : service->chunk;
        /* On the heap and of just its size, so that a read beyond it is seen. */
        uint8_t *copy = malloc(part);
        memcpy(copy, data + at, part);
        const lab_status_t said = request->sink(request->sink_context, status, (lab_span_t){copy, part});
        free(copy);
        if (said != LAB_OK) {
            return said;
        }
    }
    return LAB_OK;
}

static lab_status_t deliver_update(fake_service_t *service, const lab_http_request_t *request, int *http_status)
{
    const size_t from = service->no_ranges ? 0 : request->from;
    const size_t left = service->update_len - from;
    const bool breaks = service->breaks_most > 0 && service->breaks_after < left;
    *http_status = from > 0 ? 206 : 200;
    service->breaks_most -= breaks;
    const lab_status_t said =
        deliver(service, request, *http_status, service->update + from, breaks ? service->breaks_after : left);
    return said == LAB_OK && breaks ? LAB_SERVICE_UNREACHABLE : said;
}

static lab_status_t perform(void *context, const lab_http_request_t *request, int *http_status)
{
    fake_service_t *service = context;
    *http_status = 0;
    service->requests++;
    snprintf(service->last_url, sizeof(service->last_url), "%s", request->url);
    if (service->board->dead || service->fails != LAB_OK) {
        return service->fails != LAB_OK ? service->fails : LAB_SERVICE_UNREACHABLE;
    }
    if (service->update != NULL && strstr(request->url, ".bin") != NULL) {
        return deliver_update(service, request, http_status);
    }
    const answer_t answer = decide(service, request);
    if (service->requests == service->lose_reply) {
        return LAB_SERVICE_UNREACHABLE;
    }
    *http_status = answer.status;
    return deliver(service, request, answer.status, (const uint8_t *)answer.text, strlen(answer.text));
}

lab_http_t fake_http(fake_service_t *service)
{
    return (lab_http_t){service, perform};
}
