#include "lab_update.h"

#include <string.h>

static bool is_for_hardware(const lab_header_t *header, uint16_t hardware)
{
    return hardware >= header->hardware_min && hardware <= header->hardware_max;
}

static bool was_rolled_back(const lab_header_t *header, const lab_target_t *target)
{
    return target->has_rolled_back && lab_version_compare(header->version, target->rolled_back) == 0;
}

lab_status_t lab_update_decide(const lab_header_t *header, const lab_target_t *target)
{
    if (strcmp(header->product, target->product) != 0) {
        return LAB_PRODUCT_WRONG;
    }
    if (!is_for_hardware(header, target->hardware)) {
        return LAB_HARDWARE_UNSUPPORTED;
    }
    if (header->secure_version < target->secure_version) {
        return LAB_SECURE_VERSION_OLDER;
    }
    if (lab_version_compare(header->version, target->version) <= 0) {
        return LAB_VERSION_NOT_NEWER;
    }
    if (was_rolled_back(header, target)) {
        return LAB_VERSION_ROLLED_BACK;
    }
    return header->size > target->slot_size ? LAB_SIZE_TOO_LARGE : LAB_OK;
}

void lab_update_begin(lab_update_stream_t *stream, const lab_update_crypto_t *crypto, const lab_target_t *target,
                      const lab_manifest_t *manifest)
{
    memset(stream, 0, sizeof(*stream));
    stream->crypto = crypto;
    stream->target = target;
    stream->manifest = manifest;
    stream->header_verdict = LAB_VERDICT_REFUSED;
    stream->refusal = LAB_OK;
}

static lab_status_t verify_signature(lab_update_stream_t *stream)
{
    const lab_update_crypto_t *crypto = stream->crypto;
    lab_status_t code = LAB_SIGNATURE_WRONG;
    const lab_verdict_t verdict =
        crypto->verify(crypto->context, stream->header.key_id, (lab_span_t){stream->head, LAB_UPDATE_SIGNED},
                       stream->head + LAB_UPDATE_SIGNED, &code);
    if (verdict == LAB_VERDICT_ACCEPTED) {
        return LAB_OK;
    }
    return code == LAB_OK ? LAB_SIGNATURE_WRONG : code; /* a refusal with no reason is a refusal all the same */
}

static lab_status_t verify_header(lab_update_stream_t *stream)
{
    lab_status_t status = lab_header_read(stream->head, &stream->header);
    if (status == LAB_OK) {
        status = verify_signature(stream);
    }
    if (status == LAB_OK) {
        status = lab_update_decide(&stream->header, stream->target);
    }
    if (status == LAB_OK && stream->manifest != NULL && !lab_header_same(&stream->manifest->header, &stream->header)) {
        status = LAB_MANIFEST_DIFFERS;
    }
    if (status == LAB_OK) {
        status = stream->crypto->hash_begin(stream->crypto->context);
    }
    if (status == LAB_OK) {
        stream->header_verdict = LAB_VERDICT_ACCEPTED;
    }
    return status;
}

/* Gathers the header out of the front of a chunk, and verifies it when it is whole. */
static lab_status_t take_head(lab_update_stream_t *stream, lab_span_t *chunk)
{
    const size_t missing = LAB_UPDATE_HEADER - stream->head_len;
    const size_t taken = chunk->len < missing ? chunk->len : missing;
    if (taken > 0) {
        memcpy(stream->head + stream->head_len, chunk->data, taken);
    }
    stream->head_len += taken;
    *chunk = (lab_span_t){chunk->data + taken, chunk->len - taken};
    return stream->head_len == LAB_UPDATE_HEADER ? verify_header(stream) : LAB_OK;
}

static lab_status_t take_image(lab_update_stream_t *stream, lab_span_t chunk, lab_span_t *image)
{
    if (stream->header_verdict != LAB_VERDICT_ACCEPTED || chunk.len == 0) {
        return LAB_OK; /* the header is not whole yet, or ended with the chunk */
    }
    /* A subtraction that can't wrap: received never passes size. */
    if (chunk.len > stream->header.size - stream->received) {
        return LAB_IMAGE_LONG;
    }
    const lab_status_t status = stream->crypto->hash_more(stream->crypto->context, chunk);
    if (status == LAB_OK) {
        stream->received += (uint32_t)chunk.len;
        *image = chunk;
    }
    return status;
}

lab_status_t lab_update_feed(lab_update_stream_t *stream, lab_span_t chunk, lab_span_t *image)
{
    lab_span_t rest = chunk;
    *image = (lab_span_t){chunk.data, 0};
    if (chunk.len == 0) {
        return stream->refusal;
    }
    if (stream->refusal == LAB_OK && stream->head_len < LAB_UPDATE_HEADER) {
        stream->refusal = take_head(stream, &rest);
    }
    if (stream->refusal == LAB_OK) {
        stream->refusal = take_image(stream, rest, image);
    }
    return stream->refusal;
}

static lab_status_t end_status(const lab_update_stream_t *stream, lab_status_t hashed, const uint8_t digest[LAB_DIGEST])
{
    if (stream->refusal != LAB_OK) {
        return stream->refusal;
    }
    if (stream->header_verdict != LAB_VERDICT_ACCEPTED) {
        return LAB_HEADER_SHORT;
    }
    if (stream->received != stream->header.size) {
        return LAB_IMAGE_SHORT;
    }
    if (hashed != LAB_OK) {
        return hashed;
    }
    return memcmp(digest, stream->header.digest, LAB_DIGEST) == 0 ? LAB_OK : LAB_IMAGE_DIGEST;
}

lab_verdict_t lab_update_end(lab_update_stream_t *stream, lab_status_t *code)
{
    uint8_t digest[LAB_DIGEST] = {0};
    lab_status_t hashed = LAB_IMAGE_DIGEST;
    if (stream->header_verdict == LAB_VERDICT_ACCEPTED) {
        hashed = stream->crypto->hash_end(stream->crypto->context, digest); /* also after a refusal: it frees what it has */
    }
    stream->refusal = end_status(stream, hashed, digest);
    stream->header_verdict = LAB_VERDICT_REFUSED; /* there is one verdict */
    *code = stream->refusal;
    return *code == LAB_OK ? LAB_VERDICT_ACCEPTED : LAB_VERDICT_REFUSED;
}
