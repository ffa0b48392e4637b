/* The device's keys, with the real library. What other programs say of them is asked in tests/firmware/test_host.py. */
#include "lab_keys_mbedtls.h"
#include "vectors.h"

#include <stdlib.h>
#include <string.h>

static void test_a_key_and_its_request(void **state)
{
    (void)state;
    char *key;
    char *other;
    char *request;
    char device[64];
    lab_keys_t keys;
    assert_int_equal(LAB_OK, lab_keys_mbedtls(&keys));
    assert_int_equal(LAB_OK, keys.make_key(keys.context, &key));
    assert_int_equal(LAB_OK, keys.make_key(keys.context, &other));
    assert_string_not_equal(key, other);
    memset(device, 'x', 63);
    device[63] = '\0';
    assert_int_equal(LAB_OK, keys.make_request(keys.context, key, device, &request));
    assert_int_equal(0, strncmp(request, "-----BEGIN CERTIFICATE REQUEST-----\n", 36));
    free(key);
    free(other);
    free(request);
}

static void test_what_is_no_key(void **state)
{
    (void)state;
    static const char *const s_texts[] = {
        "", "x", "-----BEGIN EC PRIVATE KEY-----\n-----END EC PRIVATE KEY-----\n",
        "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n-----END EC PRIVATE KEY-----\n",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"};
    lab_keys_t keys;
    assert_int_equal(LAB_OK, lab_keys_mbedtls(&keys));
    for (size_t at = 0; at < sizeof(s_texts) / sizeof(s_texts[0]); at++) {
        char *request;
        lab_validity_t validity;
        assert_int_equal(LAB_KEY_FAILED, keys.make_request(keys.context, s_texts[at], "sensor-001", &request));
        assert_null(request);
        assert_int_equal(LAB_KEY_FAILED, keys.match(keys.context, s_texts[at], "", &validity));
    }
}

static void test_what_is_no_certificate(void **state)
{
    (void)state;
    static const char *const s_texts[] = {"", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"};
    char *key;
    lab_keys_t keys;
    lab_validity_t validity = {1, 1, 1};
    assert_int_equal(LAB_OK, lab_keys_mbedtls(&keys));
    assert_int_equal(LAB_OK, keys.make_key(keys.context, &key));
    for (size_t at = 0; at < sizeof(s_texts) / sizeof(s_texts[0]); at++) {
        assert_int_equal(LAB_IDENTITY_MISMATCH, keys.match(keys.context, key, s_texts[at], &validity));
        assert_true(validity.not_after == 0);
    }
    free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_key_and_its_request),
        cmocka_unit_test(test_what_is_no_key),
        cmocka_unit_test(test_what_is_no_certificate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
