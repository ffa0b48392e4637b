#include "lab_verify_mbedtls.h"

#include <mbedtls/pk.h>
#include <string.h>

static const char s_begin[] = "-----BEGIN PUBLIC KEY-----";
static const char s_end[] = "-----END PUBLIC KEY-----";

enum { PUBLIC_DER_ROOM = 128, PUBLIC_PEM_ROOM = 512 };

/* Computes the id of a key: the first bytes of the SHA-256 of its SubjectPublicKeyInfo. */
static bool id_of(mbedtls_pk_context *pk, uint8_t id[LAB_KEY_ID])
{
    unsigned char der[PUBLIC_DER_ROOM];
    unsigned char digest[LAB_DIGEST];
    const int len = mbedtls_pk_write_pubkey_der(pk, der, sizeof(der));
    if (len <= 0) {
        return false;
    }
    /* The library writes to the end of the buffer. */
    const mbedtls_md_info_t *sha256 = mbedtls_md_info_from_type(MBEDTLS_MD_SHA256);
    if (mbedtls_md(sha256, der + sizeof(der) - (size_t)len, (size_t)len, digest) != 0) {
        return false;
    }
    memcpy(id, digest, LAB_KEY_ID);
    return true;
}

/* Parses the key that begins at some place of the text; `next` is where to look for another one, NULL at the end. */
static bool parse_next(const char *from, mbedtls_pk_context *pk, const char **next)
{
    char pem[PUBLIC_PEM_ROOM];
    const char *begin = strstr(from, s_begin);
    const char *end = begin == NULL ? NULL : strstr(begin, s_end);
    *next = end == NULL ? NULL : end + strlen(s_end);
    if (end == NULL || (size_t)(*next - begin) + 2 > sizeof(pem)) {
        return false;
    }
    lab_text_t text = lab_text(pem, sizeof(pem));
    lab_text_put_span(&text, (lab_span_t){(const uint8_t *)begin, (size_t)(*next - begin)});
    lab_text_put(&text, "\n");
    const int code = mbedtls_pk_parse_public_key(pk, (const unsigned char *)pem, strlen(pem) + 1);
    return code == 0 && mbedtls_pk_get_bitlen(pk) == 256; /* RSA is never that short, so it is a curve of 256 bits */
}

static bool is_revoked(const char *trusted, const uint8_t id[LAB_KEY_ID])
{
    static const char s_hex[] = "0123456789abcdef";
    char line[sizeof("revoked ") + (size_t)2 * LAB_KEY_ID];
    lab_text_t text = lab_text(line, sizeof(line));
    lab_text_put(&text, "revoked ");
    for (size_t at = 0; at < LAB_KEY_ID; at++) {
        const char digits[] = {s_hex[id[at] >> 4], s_hex[id[at] & 15], '\0'};
        lab_text_put(&text, digits);
    }
    return strstr(trusted, line) != NULL;
}

/* Finds the key with an id; false where none has it. */
static bool find_key(const char *trusted, const uint8_t id[LAB_KEY_ID], mbedtls_pk_context *pk)
{
    const char *from = trusted;
    while (from != NULL) {
        uint8_t own[LAB_KEY_ID];
        mbedtls_pk_init(pk);
        if (parse_next(from, pk, &from) && id_of(pk, own) && memcmp(own, id, LAB_KEY_ID) == 0) {
            return true;
        }
        mbedtls_pk_free(pk);
    }
    return false;
}

static bool is_signed(mbedtls_pk_context *pk, lab_span_t message, const uint8_t signature[LAB_UPDATE_SIGNATURE])
{
    unsigned char digest[LAB_DIGEST];
    uint8_t der[LAB_SIGNATURE_DER];
    const size_t len = lab_signature_der(signature, der);
    const mbedtls_md_info_t *sha256 = mbedtls_md_info_from_type(MBEDTLS_MD_SHA256);
    if (mbedtls_md(sha256, message.data, message.len, digest) != 0) {
        return false;
    }
    return mbedtls_pk_verify(pk, MBEDTLS_MD_SHA256, digest, sizeof(digest), der, len) == 0;
}

static lab_verdict_t verify(void *context, const uint8_t key_id[LAB_KEY_ID], lab_span_t message,
                            const uint8_t signature[LAB_UPDATE_SIGNATURE], lab_status_t *code)
{
    const lab_verify_mbedtls_t *own = context;
    mbedtls_pk_context pk;
    if (is_revoked(own->trusted, key_id)) {
        *code = LAB_KEY_REVOKED;
        return LAB_VERDICT_REFUSED;
    }
    if (!find_key(own->trusted, key_id, &pk)) {
        *code = LAB_KEY_UNKNOWN;
        return LAB_VERDICT_REFUSED;
    }
    const bool good = is_signed(&pk, message, signature);
    mbedtls_pk_free(&pk);
    *code = good ? LAB_OK : LAB_SIGNATURE_WRONG;
    return good ? LAB_VERDICT_ACCEPTED : LAB_VERDICT_REFUSED;
}

static lab_status_t hash_begin(void *context)
{
    lab_verify_mbedtls_t *own = context;
    if (own->hashing) {
        mbedtls_md_free(&own->hash);
    }
    mbedtls_md_init(&own->hash);
    own->hashing = true;
    const mbedtls_md_info_t *sha256 = mbedtls_md_info_from_type(MBEDTLS_MD_SHA256);
    if (mbedtls_md_setup(&own->hash, sha256, 0) != 0 || mbedtls_md_starts(&own->hash) != 0) {
        return LAB_MEMORY_SHORT;
    }
    return LAB_OK;
}

static lab_status_t hash_more(void *context, lab_span_t data)
{
    lab_verify_mbedtls_t *own = context;
    return mbedtls_md_update(&own->hash, data.data, data.len) == 0 ? LAB_OK : LAB_IMAGE_DIGEST;
}

static lab_status_t hash_end(void *context, uint8_t digest[LAB_DIGEST])
{
    lab_verify_mbedtls_t *own = context;
    memset(digest, 0, LAB_DIGEST);
    if (!own->hashing) {
        return LAB_IMAGE_DIGEST;
    }
    const int code = mbedtls_md_finish(&own->hash, digest);
    mbedtls_md_free(&own->hash);
    own->hashing = false;
    return code == 0 ? LAB_OK : LAB_IMAGE_DIGEST;
}

void lab_verify_mbedtls(lab_update_crypto_t *crypto, lab_verify_mbedtls_t *context, const char *trusted)
{
    *context = (lab_verify_mbedtls_t){.trusted = trusted, .hashing = false};
    *crypto = (lab_update_crypto_t){
        .context = context,
        .verify = verify,
        .hash_begin = hash_begin,
        .hash_more = hash_more,
        .hash_end = hash_end,
    };
}
