/* The cryptography of updates without any: a signature is good when its first byte is 1, and the digest is a sum. */
#ifndef FAKE_CRYPTO_H
#define FAKE_CRYPTO_H

#include "lab_update.h"

typedef struct {
    uint8_t digest[LAB_DIGEST];
    size_t at;
} fake_crypto_t;

lab_update_crypto_t fake_crypto(fake_crypto_t *crypto);

/* Makes an update of the fake kind: header and image; returns its length. */
size_t fake_update(const char *version, size_t size, uint8_t out[8192]);

/* Writes the manifest that announces it. */
void fake_manifest(const uint8_t *update, const char *version, char out[1024]);

#endif
