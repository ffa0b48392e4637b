/* What differs between the versions of Mbed TLS that we meet: how a key is made, how a request is written, and whether functions
 * want a generator of randomness passed to them. Nothing else knows of versions. */
#ifndef LAB_MBEDTLS_VERSIONS_H
#define LAB_MBEDTLS_VERSIONS_H

#include "lab_codes.h"

#include <mbedtls/pk.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_csr.h>
#include <stddef.h>

#if MBEDTLS_VERSION_MAJOR >= 4
/* The library takes its randomness from PSA by itself. */
#define LAB_MBEDTLS_PARSE_RANDOM
#elif MBEDTLS_VERSION_MAJOR == 3
#include <mbedtls/psa_util.h>
#define LAB_MBEDTLS_PARSE_RANDOM , mbedtls_psa_get_random, MBEDTLS_PSA_RANDOM_STATE
#else
/* 2.28 parses keys and compares pairs without one. */
#define LAB_MBEDTLS_PARSE_RANDOM
#endif

/* Gets the generator ready: LAB_OK or LAB_RANDOM_FAILED. */
lab_status_t lab_mbedtls_begin(void);

/* Makes a key on P-256: LAB_OK, LAB_RANDOM_FAILED or LAB_KEY_FAILED. */
lab_status_t lab_mbedtls_generate(mbedtls_pk_context *pk);

/* Writes a request for a key on P-256 as PEM into a buffer of at least 1,024 bytes; false where that fails. */
bool lab_mbedtls_write_request(mbedtls_x509write_csr *csr, char *buffer, size_t room);

#endif
