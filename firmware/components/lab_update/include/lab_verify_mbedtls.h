/* The cryptography of updates by Mbed TLS. */
#ifndef LAB_VERIFY_MBEDTLS_H
#define LAB_VERIFY_MBEDTLS_H

#include "lab_update.h"

#include <mbedtls/md.h>

typedef struct {
    const char *trusted;
    mbedtls_md_context_t hash;
    bool hashing;
} lab_verify_mbedtls_t;

/* Makes the cryptography of updates out of a text that says whose signatures count: public keys on P-256 in PEM, one after another, and
 * lines like `revoked 0123456789abcdef` for key ids that count no more, wherever else they stand. The text is looked at when an update
 * comes; it must outlive the rest. An empty text trusts nobody. */
void lab_verify_mbedtls(lab_update_crypto_t *crypto, lab_verify_mbedtls_t *context, const char *trusted);

#endif
