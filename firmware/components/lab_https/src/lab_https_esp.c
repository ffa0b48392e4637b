#include "lab_https_esp.h"

#include <esp_http_client.h>
#include <sdkconfig.h>
#include <stdlib.h>
#include <string.h>

/* Sends the body; a client that writes less than all has lost its connection. */
static lab_status_t send_body(esp_http_client_handle_t client, lab_span_t body)
{
    size_t sent = 0;
    while (sent < body.len) {
        const int count = esp_http_client_write(client, (const char *)body.data + sent, (int)(body.len - sent));
        if (count <= 0) {
            return LAB_SERVICE_UNREACHABLE;
        }
        sent += (size_t)count;
    }
    return LAB_OK;
}

static lab_status_t receive_body(esp_http_client_handle_t client, const lab_http_request_t *request, int http_status)
{
    lab_status_t status = LAB_OK;
    char *buffer = malloc(CONFIG_LAB_HTTPS_BUFFER);
    if (buffer == NULL) {
        return LAB_MEMORY_SHORT;
    }
    int count = esp_http_client_read(client, buffer, CONFIG_LAB_HTTPS_BUFFER);
    while (count > 0 && status == LAB_OK) {
        const lab_span_t part = {(const uint8_t *)buffer, (size_t)count};
        status = request->sink(request->sink_context, http_status, part);
        if (status == LAB_OK) {
            count = esp_http_client_read(client, buffer, CONFIG_LAB_HTTPS_BUFFER);
        }
    }
    free(buffer);
    if (status == LAB_OK && (count < 0 || !esp_http_client_is_complete_data_received(client))) {
        status = LAB_SERVICE_UNREACHABLE; /* it was cut off */
    }
    return status;
}

static lab_status_t exchange(esp_http_client_handle_t client, const lab_http_request_t *request, int *http_status)
{
    if (esp_http_client_open(client, (int)request->body.len) != ESP_OK) {
        return LAB_SERVICE_UNREACHABLE;
    }
    lab_status_t status = send_body(client, request->body);
    if (status == LAB_OK && esp_http_client_fetch_headers(client) < 0) {
        status = LAB_SERVICE_UNREACHABLE;
    }
    if (status == LAB_OK) {
        *http_status = esp_http_client_get_status_code(client);
        /* 204 has no body (RFC 9110 §15.3.5), and nothing that says how long it would be. */
        status = *http_status == 204 ? LAB_OK : receive_body(client, request, *http_status);
    }
    (void)esp_http_client_close(client);
    return status;
}

static lab_status_t set_headers(esp_http_client_handle_t client, const lab_http_request_t *request)
{
    char range[sizeof("bytes=4294967295-")];
    esp_err_t code = ESP_OK;
    if (request->post) {
        code = esp_http_client_set_header(client, "Content-Type", "application/json");
    }
    if (code == ESP_OK && request->from > 0) {
        lab_text_t text = lab_text(range, sizeof(range));
        lab_text_put(&text, "bytes=");
        lab_text_put_number(&text, request->from);
        lab_text_put(&text, "-");
        code = esp_http_client_set_header(client, "Range", range);
    }
    return code == ESP_OK ? LAB_OK : LAB_MEMORY_SHORT;
}

static lab_status_t perform(void *context, const lab_http_request_t *request, int *http_status)
{
    (void)context;
    *http_status = 0;
    /* A reply is trusted because of who sends it: no other scheme, whatever is stored. */
    if (strncmp(request->url, "https://", strlen("https://")) != 0) {
        return LAB_SERVICE_UNREACHABLE;
    }
    const esp_http_client_config_t config = {
        .url = request->url,
        .method = request->post ? HTTP_METHOD_POST : HTTP_METHOD_GET,
        .cert_pem = request->root,
        .client_cert_pem = request->chain,
        .client_key_pem = request->key,
        .timeout_ms = CONFIG_LAB_HTTPS_TIMEOUT_MS,
        .disable_auto_redirect = true,
        .transport_type = HTTP_TRANSPORT_OVER_SSL,
    };
    esp_http_client_handle_t client = esp_http_client_init(&config);
    if (client == NULL) {
        return LAB_MEMORY_SHORT;
    }
    lab_status_t status = set_headers(client, request);
    if (status == LAB_OK) {
        status = exchange(client, request, http_status);
    }
    (void)esp_http_client_cleanup(client);
    return status;
}

lab_http_t lab_https_esp(void)
{
    return (lab_http_t){NULL, perform};
}
