#include "fake_crypto.h"

#include <stdio.h>
#include <string.h>

static lab_verdict_t verify(void *context, const uint8_t key_id[LAB_KEY_ID], lab_span_t message,
                            const uint8_t signature[LAB_UPDATE_SIGNATURE], lab_status_t *code)
{
    (void)context;
    (void)key_id;
    (void)message;
    const bool good = signature[0] == 1;
    *code = good ? LAB_OK : LAB_SIGNATURE_WRONG;
    return good ? LAB_VERDICT_ACCEPTED : LAB_VERDICT_REFUSED;
}

static lab_status_t hash_begin(void *context)
{
    memset(context, 0, sizeof(fake_crypto_t));
    return LAB_OK;
}

static lab_status_t hash_more(void *context, lab_span_t data)
{
    fake_crypto_t *crypto = context;
    for (size_t at = 0; at < data.len; at++, crypto->at++) {
        uint8_t *byte = &crypto->digest[crypto->at % LAB_DIGEST];
        *byte = (uint8_t)((*byte * 3U + data.data[at]) & 0xFFU);
    }
    return LAB_OK;
}

static lab_status_t hash_end(void *context, uint8_t digest[LAB_DIGEST])
{
    memcpy(digest, ((const fake_crypto_t *)context)->digest, LAB_DIGEST);
    return LAB_OK;
}

lab_update_crypto_t fake_crypto(fake_crypto_t *crypto)
{
    return (lab_update_crypto_t){crypto, verify, hash_begin, hash_more, hash_end};
}

static void put16(uint8_t *at, unsigned value)
{
    at[0] = (uint8_t)(value & 0xFF);
    at[1] = (uint8_t)(value >> 8 & 0xFF);
}

size_t fake_update(const char *version, size_t size, uint8_t out[8192])
{
    unsigned major;
    unsigned minor;
    unsigned patch;
    fake_crypto_t crypto;
    (void)sscanf(version, "%u.%u.%u", &major, &minor, &patch);
    memset(out, 0, LAB_UPDATE_HEADER);
    for (size_t at = 0; at < size; at++) {
        out[LAB_UPDATE_HEADER + at] = (uint8_t)(at % 251);
    }
    hash_begin(&crypto);
    hash_more(&crypto, (lab_span_t){out + LAB_UPDATE_HEADER, size});
    memcpy(out, "LABUPD1", 8);
    put16(out + 8, LAB_UPDATE_HEADER);
    put16(out + 10, 1);
    strcpy((char *)out + 20, "course-node");
    put16(out + 54, 65535);
    put16(out + 56, major);
    put16(out + 58, minor);
    put16(out + 60, patch);
    put16(out + 68, (unsigned)size);
    memcpy(out + 72, crypto.digest, LAB_DIGEST);
    out[LAB_UPDATE_SIGNED] = 1;
    return LAB_UPDATE_HEADER + size;
}

void fake_manifest(const uint8_t *update, const char *version, char out[1024])
{
    char digest[2 * LAB_DIGEST + 1];
    for (size_t at = 0; at < LAB_DIGEST; at++) {
        snprintf(digest + 2 * at, 3, "%02x", update[72 + at]);
    }
    snprintf(out, 1024,
             "{\"format\":1,\"path\":\"/updates/course-node/next.bin\",\"product\":\"course-node\",\"hardware_min\":0,"
             "\"hardware_max\":65535,\"version\":\"%s\",\"secure_version\":0,\"size\":%d,\"sha256\":\"%s\","
             "\"key_id\":\"0000000000000000\"}",
             version, update[68] + 256 * update[69], digest);
}
