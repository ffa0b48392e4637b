#include "lab_mbedtls_versions.h"

#if MBEDTLS_VERSION_MAJOR >= 3

#include <psa/crypto.h>

lab_status_t lab_mbedtls_begin(void)
{
    return psa_crypto_init() == PSA_SUCCESS ? LAB_OK : LAB_RANDOM_FAILED;
}

lab_status_t lab_mbedtls_generate(mbedtls_pk_context *pk)
{
    psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;
    psa_key_id_t key = PSA_KEY_ID_NULL;
    psa_set_key_type(&attributes, PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1));
    psa_set_key_bits(&attributes, 256);
    psa_set_key_algorithm(&attributes, PSA_ALG_ECDSA(PSA_ALG_SHA_256));
    /* It is exported once, into the store: the TLS stack of ESP-IDF reads PEM. */
    psa_set_key_usage_flags(&attributes, PSA_KEY_USAGE_SIGN_HASH | PSA_KEY_USAGE_EXPORT);
    const psa_status_t made = psa_generate_key(&attributes, &key);
    if (made != PSA_SUCCESS) {
        return made == PSA_ERROR_INSUFFICIENT_ENTROPY ? LAB_RANDOM_FAILED : LAB_KEY_FAILED;
    }
    const int copied = mbedtls_pk_copy_from_psa(key, pk);
    (void)psa_destroy_key(key);
    return copied == 0 ? LAB_OK : LAB_KEY_FAILED;
}

bool lab_mbedtls_write_request(mbedtls_x509write_csr *csr, char *buffer, size_t room)
{
#if MBEDTLS_VERSION_MAJOR >= 4
    return mbedtls_x509write_csr_pem(csr, (unsigned char *)buffer, room) == 0;
#else
    return mbedtls_x509write_csr_pem(csr, (unsigned char *)buffer, room, mbedtls_psa_get_random,
                                     MBEDTLS_PSA_RANDOM_STATE) == 0;
#endif
}

#else /* 2.28, on the host alone */

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/ecp.h>
#include <mbedtls/entropy.h>
#include <mbedtls/pem.h>
#include <string.h>

static mbedtls_entropy_context s_entropy;
static mbedtls_ctr_drbg_context s_generator;
static bool s_ready;

static int take_random(void *context, unsigned char *out, size_t len)
{
    (void)context;
    return mbedtls_ctr_drbg_random(&s_generator, out, len);
}

lab_status_t lab_mbedtls_begin(void)
{
    if (!s_ready) {
        mbedtls_entropy_init(&s_entropy);
        mbedtls_ctr_drbg_init(&s_generator);
        s_ready = mbedtls_ctr_drbg_seed(&s_generator, mbedtls_entropy_func, &s_entropy, NULL, 0) == 0;
    }
    return s_ready ? LAB_OK : LAB_RANDOM_FAILED;
}

lab_status_t lab_mbedtls_generate(mbedtls_pk_context *pk)
{
    if (mbedtls_pk_setup(pk, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY)) != 0) {
        return LAB_KEY_FAILED;
    }
    const int code = mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(*pk), take_random, NULL);
    return code == 0 ? LAB_OK : LAB_KEY_FAILED;
}

/* 2.28 writes NULL for the parameters of ecdsa-with-SHA256, where nothing may stand (RFC 5758 §3.2); later versions don't. The
 * signature is over what stands before, so the two bytes can be taken out: behind the end of the identifier, and out of two lengths. */
static size_t take_out_null(unsigned char *der, size_t len)
{
    static const unsigned char s_wrong[] = {0x30, 0x0C, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02, 0x05, 0x00};
    for (size_t at = 4; at + sizeof(s_wrong) < len; at++) {
        if (memcmp(der + at, s_wrong, sizeof(s_wrong)) == 0) {
            der[at + 1] = 0x0A;
            memmove(der + 2, der, at + sizeof(s_wrong) - 2);
            return 2;
        }
    }
    return 0;
}

/* Writes the length of the outermost SEQUENCE anew, which is two less than it was. */
static bool shorten(unsigned char *der)
{
    const size_t head = der[1] == 0x81 ? 3 : 4;
    unsigned length = head == 3 ? der[2] : (unsigned)(der[2] << 8 | der[3]);
    length -= 2;
    der[head - 1] = (unsigned char)(length & 0xFF);
    if (head == 4) {
        der[2] = (unsigned char)(length >> 8);
    }
    return (der[1] == 0x81 || der[1] == 0x82) && length >= (head == 3 ? 0x80U : 0x100U); /* DER: no shorter form would do */
}

bool lab_mbedtls_write_request(mbedtls_x509write_csr *csr, char *buffer, size_t room)
{
    size_t written;
    unsigned char der[1024];
    const int len = mbedtls_x509write_csr_der(csr, der, sizeof(der), take_random, NULL);
    if (len <= 0) {
        return false;
    }
    unsigned char *begin = der + sizeof(der) - (size_t)len;
    const size_t gone = take_out_null(begin, (size_t)len);
    if (gone > 0 && !shorten(begin + gone)) {
        return false;
    }
    return mbedtls_pem_write_buffer("-----BEGIN CERTIFICATE REQUEST-----\n", "-----END CERTIFICATE REQUEST-----\n",
                                    begin + gone, (size_t)len - gone, (unsigned char *)buffer, room, &written) == 0;
}

#endif
