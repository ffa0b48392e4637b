#include "lab_updater.h"

#include "lab_backoff.h"

#include <stdlib.h>
#include <string.h>

static const char *const TAG = "lab_update";

typedef struct {
    const lab_updater_t *updater;
    lab_update_stream_t stream;
    bool begun;    /* the slot is open */
    uint32_t from; /* the byte of the update that this connection was asked to begin with */
} download_t;

typedef struct {
    size_t len;
    uint8_t data[LAB_MANIFEST_LONGEST];
} manifest_body_t;

static lab_status_t keep_manifest(void *context, int http_status, lab_span_t part)
{
    manifest_body_t *body = context;
    if (http_status != 200 || part.len == 0) {
        return LAB_OK; /* an error's page is of no interest */
    }
    /* A subtraction that can't wrap: len never passes the longest. */
    if (part.len > sizeof(body->data) - body->len) {
        return LAB_JSON_TOO_LONG;
    }
    memcpy(body->data + body->len, part.data, part.len);
    body->len += part.len;
    return LAB_OK;
}

static lab_status_t write_slot(download_t *download, lab_span_t image)
{
    const lab_slot_t *slot = download->updater->slot;
    lab_status_t status = LAB_OK;
    if (!download->begun) {
        status = slot->begin(slot->context, download->stream.header.size);
        download->begun = status == LAB_OK;
    }
    return status == LAB_OK ? slot->write(slot->context, image) : status;
}

/* 206 means that a reply begins where we asked (RFC 9110 §15.3.7). */
static int wanted(const download_t *download)
{
    return download->from == 0 ? 200 : 206;
}

static lab_status_t keep_image(void *context, int http_status, lab_span_t part)
{
    download_t *download = context;
    lab_span_t image;
    if (http_status != wanted(download)) {
        return LAB_OK;
    }
    const lab_status_t status = lab_update_feed(&download->stream, part, &image);
    return status == LAB_OK && image.len > 0 ? write_slot(download, image) : status;
}

/* Sends a request to the update server: the caller says what, this says where, and who we are. */
static lab_status_t send(const lab_updater_t *updater, const char *path, lab_http_request_t request, int *http_status)
{
    const size_t room = strlen(updater->url) + strlen(path) + 1;
    char *url = malloc(room);
    if (url == NULL) {
        return LAB_MEMORY_SHORT;
    }
    lab_text_t text = lab_text(url, room);
    lab_text_put(&text, updater->url);
    lab_text_put(&text, path);
    request.url = url;
    request.root = updater->root;
    request.chain = updater->chain;
    request.key = updater->key;
    const lab_status_t status = updater->http->perform(updater->http->context, &request, http_status);
    free(url);
    return status;
}

/* Says what a status of HTTP other than 200 means here. */
static lab_status_t judge(int http_status)
{
    if (http_status == 200) {
        return LAB_OK;
    }
    if (http_status == 204 || http_status == 404) {
        return LAB_UPDATE_NONE;
    }
    const bool later = http_status == 408 || http_status == 429 || http_status >= 500;
    return later ? LAB_SERVICE_LATER : LAB_SERVICE_REFUSED;
}

static lab_status_t fetch_manifest(const lab_updater_t *updater, lab_manifest_t *manifest)
{
    char path[sizeof("/updates/?hardware=65535&version=") + LAB_PRODUCT_ROOM + LAB_VERSION_ROOM];
    char version[LAB_VERSION_ROOM];
    int http_status = 0;
    manifest_body_t *body = calloc(1, sizeof(*body));
    if (body == NULL) {
        return LAB_MEMORY_SHORT;
    }
    lab_text_t text = lab_text(path, sizeof(path));
    lab_text_put(&text, "/updates/");
    lab_text_put(&text, updater->target->product);
    lab_text_put(&text, "?hardware=");
    lab_text_put_number(&text, updater->target->hardware);
    lab_text_put(&text, "&version=");
    lab_version_write(updater->target->version, version);
    lab_text_put(&text, version);
    lab_status_t status =
        send(updater, path, (lab_http_request_t){.sink = keep_manifest, .sink_context = body}, &http_status);
    if (status == LAB_OK) {
        status = judge(http_status);
    }
    if (status == LAB_OK) {
        status = lab_manifest_read((lab_span_t){body->data, body->len}, manifest);
    }
    free(body);
    return status;
}

/* Makes the slot the one that boots next, and remembers what is on trial. In this order: where the power goes in between, a bad
 * image is tried once more, and a good one is not given up for ever. */
static lab_status_t activate(const lab_updater_t *updater, const lab_header_t *header)
{
    char version[LAB_VERSION_ROOM];
    lab_status_t status = updater->slot->finish(updater->slot->context);
    if (status == LAB_OK) {
        status = updater->slot->activate(updater->slot->context);
    }
    if (status == LAB_OK) {
        lab_version_write(header->version, version);
        (void)updater->storage->set_text(updater->storage->context, LAB_SPACE_UPDATE, LAB_AT_TRIED, version);
    }
    return status;
}

static void wait_before(const lab_updater_t *updater, uint32_t tries)
{
    uint8_t chance = 0;
    (void)updater->random->fill(updater->random->context, &chance, sizeof(chance)); /* without it the wait is short */
    const uint32_t ms = lab_backoff_ms(tries, (uint32_t)chance << 24, LAB_BACKOFF_BASE_MS, LAB_BACKOFF_CAP_MS);
    updater->system->wait(updater->system->context, ms);
}

/* Receives header and image over as many connections as it takes. That all of them brought the same update shows at the end: the image
 * has the SHA-256 of the signed header, or is refused. */
static lab_status_t receive(download_t *download, const char *path)
{
    int http_status = 0;
    for (uint32_t fruitless = 0;;) {
        const lab_http_request_t request = {.from = download->from, .sink = keep_image, .sink_context = download};
        const lab_status_t status = send(download->updater, path, request, &http_status);
        const uint32_t taken = (uint32_t)download->stream.head_len + download->stream.received;
        fruitless = taken > download->from ? 0 : fruitless + 1;
        if (status == LAB_OK) {
            return http_status == wanted(download) ? LAB_OK : judge(http_status);
        }
        if (status != LAB_SERVICE_UNREACHABLE || fruitless == LAB_UPDATER_TRIES) {
            return status;
        }
        download->from = taken;
        wait_before(download->updater, fruitless + 1);
    }
}

static lab_status_t fetch_image(const lab_updater_t *updater, const lab_manifest_t *manifest)
{
    lab_status_t code = LAB_OK;
    download_t *download = calloc(1, sizeof(*download));
    if (download == NULL) {
        return LAB_MEMORY_SHORT;
    }
    download->updater = updater;
    lab_update_begin(&download->stream, updater->crypto, updater->target, manifest);
    lab_status_t status = receive(download, manifest->path);
    const lab_verdict_t verdict = lab_update_end(&download->stream, &code);
    if (status == LAB_OK && verdict != LAB_VERDICT_ACCEPTED) {
        status = code == LAB_OK ? LAB_IMAGE_DIGEST : code;
    }
    if (status == LAB_OK) {
        status = activate(updater, &download->stream.header);
    } else if (download->begun) {
        updater->slot->abandon(updater->slot->context);
    }
    free(download);
    return status;
}

static lab_status_t drop(void *context, int http_status, lab_span_t part)
{
    (void)context;
    (void)http_status;
    (void)part;
    return LAB_OK;
}

void lab_updater_report(const lab_updater_t *updater, lab_version_t version, lab_status_t code)
{
    char path[sizeof("/updates//report") + LAB_PRODUCT_ROOM];
    char body[sizeof("{\"version\":\"\",\"code\":\"\"}") + LAB_VERSION_ROOM + LAB_CODE_ROOM];
    char number[LAB_VERSION_ROOM];
    int http_status = 0;
    lab_text_t text = lab_text(path, sizeof(path));
    lab_text_put(&text, "/updates/");
    lab_text_put(&text, updater->target->product);
    lab_text_put(&text, "/report");
    lab_version_write(version, number);
    text = lab_text(body, sizeof(body));
    lab_text_put(&text, "{\"version\":\"");
    lab_text_put(&text, number);
    lab_text_put(&text, "\",\"code\":\"");
    lab_text_put(&text, lab_code_name(code));
    lab_text_put(&text, "\"}");
    lab_status_t status = send(
        updater, path, (lab_http_request_t){.post = true, .body = lab_span(body), .sink = drop}, &http_status);
    if (status == LAB_OK && http_status != 200) {
        status = http_status >= 500 ? LAB_SERVICE_LATER : LAB_SERVICE_REFUSED;
    }
    if (status != LAB_OK) {
        lab_line_t line = lab_line(status);
        lab_line_text(&line, "what", lab_span("report"));
        lab_log(TAG, &line);
    }
}

/* Some codes say nothing about an update: there is none, or nobody could be asked. */
static bool is_worth_telling(lab_status_t status)
{
    switch (status) {
    case LAB_UPDATE_NONE:
    case LAB_UPDATE_STAGED:
    case LAB_VERSION_ROLLED_BACK:
    case LAB_SERVICE_UNREACHABLE:
    case LAB_SERVICE_REFUSED:
    case LAB_SERVICE_LATER:
        return false;
    default:
        return true;
    }
}

static void log_result(lab_status_t status, const lab_manifest_t *manifest)
{
    char version[LAB_VERSION_ROOM];
    lab_line_t line = lab_line(status);
    if (manifest->path[0] != '\0') {
        lab_version_write(manifest->header.version, version);
        lab_line_text(&line, "version", lab_span(version));
    }
    lab_log(TAG, &line);
}

lab_status_t lab_updater_run(const lab_updater_t *updater)
{
    lab_manifest_t manifest;
    memset(&manifest, 0, sizeof(manifest));
    lab_status_t status = fetch_manifest(updater, &manifest);
    if (status == LAB_OK) {
        status = lab_update_decide(&manifest.header, updater->target);
        status = status == LAB_VERSION_NOT_NEWER ? LAB_UPDATE_NONE : status;
    }
    if (status == LAB_OK) {
        status = fetch_image(updater, &manifest);
    }
    if (status == LAB_OK) {
        status = LAB_UPDATE_STAGED;
    }
    log_result(status, &manifest);
    if (manifest.path[0] != '\0' && is_worth_telling(status)) {
        lab_updater_report(updater, manifest.header.version, status);
    }
    return status;
}
