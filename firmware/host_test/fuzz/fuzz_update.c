/* Any bytes as an update, in two chunks, under a verifier that says yes to every signature: parser and policy have to hold alone. */
#include "lab_update.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static lab_verdict_t verify(void *context, const uint8_t key_id[LAB_KEY_ID], lab_span_t message,
                            const uint8_t signature[LAB_UPDATE_SIGNATURE], lab_status_t *code)
{
    uint8_t der[LAB_SIGNATURE_DER];
    (void)context;
    (void)key_id;
    (void)message;
    if (lab_signature_der(signature, der) > sizeof(der)) {
        abort();
    }
    *code = LAB_OK;
    return LAB_VERDICT_ACCEPTED;
}

static lab_status_t begin(void *context)
{
    (void)context;
    return LAB_OK;
}

static lab_status_t more(void *context, lab_span_t data)
{
    (void)context;
    (void)data;
    return LAB_OK;
}

static lab_status_t end(void *context, uint8_t digest[LAB_DIGEST])
{
    memcpy(digest, context, LAB_DIGEST);
    return LAB_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t s_digest[LAB_DIGEST];
    const lab_update_crypto_t crypto = {s_digest, verify, begin, more, end};
    const lab_target_t target = {.product = "course-node", .hardware = 2, .version = {1, 4, 2}, .slot_size = 4096};
    lab_update_stream_t stream;
    lab_span_t image;
    lab_status_t code;
    const size_t first = size > 0 ? data[0] % (size + 1) : 0;
    lab_update_begin(&stream, &crypto, &target, NULL);
    (void)lab_update_feed(&stream, (lab_span_t){data, first}, &image);
    (void)lab_update_feed(&stream, (lab_span_t){data + first, size - first}, &image);
    if (lab_update_end(&stream, &code) == LAB_VERDICT_ACCEPTED && stream.received != size - LAB_UPDATE_HEADER) {
        abort();
    }
    return 0;
}
