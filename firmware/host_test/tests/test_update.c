/* Every update of the vectors, in chunks of many sizes, with real signatures and hashes. */
#include "lab_verify_mbedtls.h"
#include "update_vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    cJSON *root;
    char *trusted;
    lab_verify_mbedtls_t context;
    lab_update_crypto_t crypto;
    lab_target_t target;
} world_t;

static void begin(world_t *world)
{
    const cJSON *one;
    world->root = vectors_load("updates");
    world->trusted = strdup("");
    cJSON_ArrayForEach(one, cJSON_GetObjectItem(world->root, "keys"))
    {
        if (vectors_truth(one, "trusted")) {
            free(world->trusted);
            world->trusted = strdup(vectors_text(one, "pem"));
        }
    }
    lab_verify_mbedtls(&world->crypto, &world->context, world->trusted);
    world->target = update_target(world->root);
}

static void end(world_t *world)
{
    cJSON_Delete(world->root);
    free(world->trusted);
}

/* Gives an update to a stream in chunks of a size; what belongs into the slot goes to `out`. */
static lab_verdict_t run(world_t *world, const uint8_t *data, size_t len, size_t chunk, uint8_t *out, size_t *out_len,
                         lab_status_t *code)
{
    lab_update_stream_t stream;
    *out_len = 0;
    lab_update_begin(&stream, &world->crypto, &world->target, NULL);
    for (size_t at = 0; at < len; at += chunk) {
        lab_span_t image;
        const size_t part = len - at < chunk ? len - at : chunk;
        const lab_status_t status = lab_update_feed(&stream, (lab_span_t){data + at, part}, &image);
        assert_true(status == LAB_OK || image.len == 0);
        memcpy(out + *out_len, image.data, image.len);
        *out_len += image.len;
    }
    return lab_update_end(&stream, code);
}

static void test_all_cases(void **state)
{
    (void)state;
    static const size_t s_chunks[] = {1, 7, 191, 192, 193, 4096};
    world_t world;
    const cJSON *one;
    int accepted = 0;
    begin(&world);
    cJSON_ArrayForEach(one, cJSON_GetObjectItem(world.root, "cases"))
    {
        size_t len;
        uint8_t *data = update_case(one, &len);
        uint8_t *out = malloc(len + 1);
        for (size_t number = 0; number < sizeof(s_chunks) / sizeof(s_chunks[0]); number++) {
            size_t out_len;
            lab_status_t code;
            const lab_verdict_t verdict = run(&world, data, len, s_chunks[number], out, &out_len, &code);
            vectors_expect(one, code);
            assert_int_equal(code == LAB_OK ? LAB_VERDICT_ACCEPTED : LAB_VERDICT_REFUSED, verdict);
            accepted += verdict == LAB_VERDICT_ACCEPTED;
            if (verdict == LAB_VERDICT_ACCEPTED) {
                assert_int_equal(len - LAB_UPDATE_HEADER, out_len);
                assert_memory_equal(data + LAB_UPDATE_HEADER, out, out_len);
            }
            const char *text = lab_code_name(code);
            const bool image_was_wrong = strncmp(text, "image-", 6) == 0 || code == LAB_OK;
            assert_true(image_was_wrong || out_len == 0); /* nothing goes into the slot before the header is good */
        }
        free(out);
        free(data);
    }
    assert_true(accepted >= 18);
    end(&world);
}

static void test_who_is_trusted(void **state)
{
    (void)state;
    world_t world;
    size_t len;
    size_t out_len;
    lab_status_t code;
    char text[2048];
    uint8_t out[8192];
    begin(&world);
    const cJSON *good = cJSON_GetArrayItem(cJSON_GetObjectItem(world.root, "cases"), 0);
    const cJSON *keys = cJSON_GetObjectItem(world.root, "keys");
    const cJSON *first = cJSON_GetArrayItem(keys, 0);
    const cJSON *second = cJSON_GetArrayItem(keys, 1);
    uint8_t *data = update_case(good, &len);
    const struct {
        const char *before;
        const char *one;
        const char *other;
        const char *after;
        const char *revoked;
        lab_status_t expected;
    } cases[] = {
        {"", vectors_text(first, "pem"), vectors_text(second, "pem"), "", "", LAB_OK},
        {"# the old key\n", vectors_text(second, "pem"), vectors_text(first, "pem"), "revoked ",
         vectors_text(second, "id_hex"), LAB_OK},
        {"", vectors_text(second, "pem"), "", "", "", LAB_KEY_UNKNOWN},
        {"", "", "", "", "", LAB_KEY_UNKNOWN},
        {"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", vectors_text(first, "pem"), "", "", "", LAB_OK},
        {"", vectors_text(first, "pem"), "", "revoked ", vectors_text(first, "id_hex"), LAB_KEY_REVOKED},
    };
    for (size_t at = 0; at < sizeof(cases) / sizeof(cases[0]); at++) {
        snprintf(text, sizeof(text), "%s%s%s%s%s\n", cases[at].before, cases[at].one, cases[at].other, cases[at].after,
                 cases[at].revoked);
        lab_verify_mbedtls(&world.crypto, &world.context, text);
        const lab_verdict_t verdict = run(&world, data, len, 4096, out, &out_len, &code);
        assert_int_equal(cases[at].expected, code);
        assert_int_equal(code == LAB_OK ? LAB_VERDICT_ACCEPTED : LAB_VERDICT_REFUSED, verdict);
    }
    free(data);
    end(&world);
}

static void test_a_manifest_has_to_agree(void **state)
{
    (void)state;
    world_t world;
    size_t len;
    lab_manifest_t manifest;
    lab_span_t image;
    lab_update_stream_t stream;
    begin(&world);
    uint8_t *data = update_case(cJSON_GetArrayItem(cJSON_GetObjectItem(world.root, "cases"), 0), &len);
    memset(&manifest, 0, sizeof(manifest));
    assert_int_equal(LAB_OK, lab_header_read(data, &manifest.header));
    lab_update_begin(&stream, &world.crypto, &world.target, &manifest);
    assert_int_equal(LAB_OK, lab_update_feed(&stream, (lab_span_t){data, LAB_UPDATE_HEADER}, &image));
    lab_status_t code;
    assert_int_equal(LAB_VERDICT_REFUSED, lab_update_end(&stream, &code));
    assert_int_equal(LAB_IMAGE_SHORT, code);
    manifest.header.size++;
    lab_update_begin(&stream, &world.crypto, &world.target, &manifest);
    assert_int_equal(LAB_MANIFEST_DIFFERS, lab_update_feed(&stream, (lab_span_t){data, LAB_UPDATE_HEADER}, &image));
    assert_int_equal(LAB_MANIFEST_DIFFERS, lab_update_feed(&stream, (lab_span_t){data, len}, &image));
    assert_int_equal(0, image.len);
    free(data);
    end(&world);
}

/* A yes without an accepting pattern is a no, whatever code comes with it. */
static lab_verdict_t nearly(void *context, const uint8_t key_id[LAB_KEY_ID], lab_span_t message,
                            const uint8_t signature[LAB_UPDATE_SIGNATURE], lab_status_t *code)
{
    (void)key_id;
    (void)message;
    (void)signature;
    *code = LAB_OK;
    return (lab_verdict_t)*(const uint32_t *)context;
}

static void test_a_verdict_with_a_flipped_bit_is_a_refusal(void **state)
{
    (void)state;
    world_t world;
    size_t len;
    lab_span_t image;
    begin(&world);
    uint8_t *data = update_case(cJSON_GetArrayItem(cJSON_GetObjectItem(world.root, "cases"), 0), &len);
    const uint32_t patterns[] = {0, 1, LAB_VERDICT_REFUSED, LAB_VERDICT_ACCEPTED ^ 1U, UINT32_C(0x7FFFFFFF)};
    lab_update_crypto_t crypto = world.crypto;
    crypto.verify = nearly;
    for (size_t at = 0; at < sizeof(patterns) / sizeof(patterns[0]); at++) {
        uint32_t pattern = patterns[at];
        lab_update_stream_t stream;
        crypto.context = &pattern;
        lab_update_begin(&stream, &crypto, &world.target, NULL);
        assert_int_equal(LAB_SIGNATURE_WRONG, lab_update_feed(&stream, (lab_span_t){data, len}, &image));
    }
    free(data);
    end(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_cases),
        cmocka_unit_test(test_who_is_trusted),
        cmocka_unit_test(test_a_manifest_has_to_agree),
        cmocka_unit_test(test_a_verdict_with_a_flipped_bit_is_a_refusal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
