/* What the provisioning service says, honest and not. */
#include "lab_replies.h"
#include "vectors.h"

#include <stdlib.h>
#include <string.h>

static void test_grants(void **state)
{
    (void)state;
    cJSON *root = vectors_load("replies");
    const cJSON *one;
    cJSON_ArrayForEach(one, cJSON_GetObjectItem(root, "grants"))
    {
        size_t len;
        lab_grant_t grant;
        char *chain = NULL;
        uint8_t *body = vectors_bytes(one, "body", &len);
        lab_status_t status = lab_reply_grant((lab_span_t){body, len}, vectors_text(one, "device"), &grant);
        if (status == LAB_OK) {
            chain = malloc(grant.chain_room); /* just its size: the sanitizer sees a byte more */
            status = lab_reply_chain(&grant, chain);
        }
        vectors_expect(one, status);
        if (status == LAB_OK) {
            assert_string_equal(vectors_text(one, "chain"), chain);
            assert_int_equal(grant.chain_room, strlen(chain) + 1);
            assert_true(grant.renew_after == (int64_t)vectors_number(one, "renew_after"));
        } else if (chain != NULL) {
            assert_string_equal("", chain);
        }
        free(chain);
        free(body);
    }
    cJSON_Delete(root);
}

static void test_configurations(void **state)
{
    (void)state;
    cJSON *root = vectors_load("replies");
    const cJSON *one;
    cJSON_ArrayForEach(one, cJSON_GetObjectItem(root, "configurations"))
    {
        size_t len;
        lab_configured_t configured;
        uint8_t *body = vectors_bytes(one, "body", &len);
        const lab_status_t status =
            lab_reply_config((lab_span_t){body, len}, vectors_text(one, "device"), &configured);
        vectors_expect(one, status);
        assert_int_equal(status == LAB_OK ? (uint32_t)vectors_number(one, "interval") : 0, configured.interval);
        free(body);
    }
    cJSON_Delete(root);
}

static void test_refusals(void **state)
{
    (void)state;
    cJSON *root = vectors_load("replies");
    const cJSON *one;
    cJSON_ArrayForEach(one, cJSON_GetObjectItem(root, "refusals"))
    {
        size_t len;
        char reason[LAB_REASON_ROOM];
        uint8_t *body = vectors_bytes(one, "body", &len);
        vectors_expect(one, lab_reply_refusal((int)vectors_number(one, "status"), (lab_span_t){body, len}, reason));
        assert_string_equal(vectors_text(one, "reason"), reason);
        free(body);
    }
    cJSON_Delete(root);
}

static void test_times(void **state)
{
    (void)state;
    cJSON *root = vectors_load("replies");
    const cJSON *one;
    cJSON_ArrayForEach(one, cJSON_GetObjectItem(root, "times"))
    {
        size_t len;
        int64_t seconds = -1;
        uint8_t *text = vectors_bytes(one, "text", &len);
        const lab_status_t status = lab_time_read((lab_span_t){text, len}, &seconds);
        vectors_expect(one, status);
        assert_true(seconds == (status == LAB_OK ? (int64_t)vectors_number(one, "seconds") : 0));
        free(text);
    }
    cJSON_Delete(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grants),
        cmocka_unit_test(test_configurations),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
