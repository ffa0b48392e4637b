#include "lab_keys_mbedtls.h"

#include "lab_id.h"
#include "lab_mbedtls_versions.h"
#include "lab_replies.h"

#include <mbedtls/pk.h>
#include <mbedtls/x509_crt.h>
#include <stdlib.h>
#include <string.h>

/* A key on P-256 and a request for a name of 63 characters take fewer than 700 bytes in PEM; the library keeps the request's DER at the
 * end of the buffer while it writes. */
enum { PEM_ROOM = 1536 };

/* Returns a text of just its size, and wipes the buffer that it was written in. */
static lab_status_t to_heap(char *buffer, char **out)
{
    const size_t room = strlen(buffer) + 1;
    *out = malloc(room);
    if (*out != NULL) {
        memcpy(*out, buffer, room);
    }
    lab_wipe(buffer, PEM_ROOM);
    return *out == NULL ? LAB_MEMORY_SHORT : LAB_OK;
}

static lab_status_t make_key(void *context, char **key)
{
    (void)context;
    mbedtls_pk_context pk;
    *key = NULL;
    char *buffer = calloc(1, PEM_ROOM);
    if (buffer == NULL) {
        return LAB_MEMORY_SHORT;
    }
    mbedtls_pk_init(&pk);
    lab_status_t status = lab_mbedtls_generate(&pk);
    if (status == LAB_OK && mbedtls_pk_write_key_pem(&pk, (unsigned char *)buffer, PEM_ROOM) != 0) {
        status = LAB_KEY_FAILED;
    }
    mbedtls_pk_free(&pk);
    if (status == LAB_OK) {
        status = to_heap(buffer, key);
    }
    lab_wipe(buffer, PEM_ROOM);
    free(buffer);
    return status;
}

static lab_status_t parse_key(const char *key, mbedtls_pk_context *pk)
{
    const int code = mbedtls_pk_parse_key(pk, (const unsigned char *)key, strlen(key) + 1, NULL, 0 LAB_MBEDTLS_PARSE_RANDOM);
    return code == 0 ? LAB_OK : LAB_KEY_FAILED;
}

static lab_status_t write_request(mbedtls_pk_context *pk, const char *device, char *buffer)
{
    char subject[sizeof("CN=") + LAB_ID_LONGEST];
    mbedtls_x509write_csr csr;
    lab_text_t text = lab_text(subject, sizeof(subject));
    lab_text_put(&text, "CN=");
    lab_text_put(&text, device);
    mbedtls_x509write_csr_init(&csr);
    mbedtls_x509write_csr_set_md_alg(&csr, MBEDTLS_MD_SHA256);
    mbedtls_x509write_csr_set_key(&csr, pk);
    const bool written = !text.full && mbedtls_x509write_csr_set_subject_name(&csr, subject) == 0 &&
                         lab_mbedtls_write_request(&csr, buffer, PEM_ROOM);
    mbedtls_x509write_csr_free(&csr);
    return written ? LAB_OK : LAB_CSR_FAILED;
}

static lab_status_t make_request(void *context, const char *key, const char *device, char **request)
{
    (void)context;
    mbedtls_pk_context pk;
    *request = NULL;
    char *buffer = calloc(1, PEM_ROOM);
    if (buffer == NULL) {
        return LAB_MEMORY_SHORT;
    }
    mbedtls_pk_init(&pk);
    lab_status_t status = parse_key(key, &pk);
    if (status == LAB_OK) {
        status = write_request(&pk, device, buffer);
    }
    if (status == LAB_OK) {
        status = to_heap(buffer, request);
    }
    mbedtls_pk_free(&pk);
    free(buffer);
    return status;
}

static int64_t seconds_of(const mbedtls_x509_time *time)
{
    return lab_time_seconds(time->year, time->mon, time->day, time->hour, time->min, time->sec);
}

static lab_status_t match(void *context, const char *key, const char *chain, lab_validity_t *validity)
{
    (void)context;
    mbedtls_pk_context pk;
    mbedtls_x509_crt certificate;
    *validity = (lab_validity_t){0, 0, 0};
    mbedtls_pk_init(&pk);
    mbedtls_x509_crt_init(&certificate);
    lab_status_t status = parse_key(key, &pk);
    /* A positive number says how many certificates did not parse: one is too many. */
    if (status == LAB_OK &&
        mbedtls_x509_crt_parse(&certificate, (const unsigned char *)chain, strlen(chain) + 1) != 0) {
        status = LAB_IDENTITY_MISMATCH;
    }
    if (status == LAB_OK && mbedtls_pk_check_pair(&certificate.pk, &pk LAB_MBEDTLS_PARSE_RANDOM) != 0) {
        status = LAB_IDENTITY_MISMATCH;
    }
    if (status == LAB_OK) {
        *validity = (lab_validity_t){seconds_of(&certificate.valid_from), seconds_of(&certificate.valid_to), 0};
    }
    mbedtls_x509_crt_free(&certificate);
    mbedtls_pk_free(&pk);
    return status;
}

lab_status_t lab_keys_mbedtls(lab_keys_t *keys)
{
    *keys = (lab_keys_t){.context = NULL, .make_key = make_key, .make_request = make_request, .match = match};
    return lab_mbedtls_begin();
}
