/* Names, topics, readings, JSON, commands, manifests: every vector that labkit has written is met. */
#include "lab_commands.h"
#include "lab_json.h"
#include "lab_telemetry.h"
#include "lab_update.h"
#include "vectors.h"

#include <stdlib.h>
#include <string.h>

static void test_codes(void **state)
{
    (void)state;
    static const char *const s_levels[] = {"info", "warning", "error"};
    cJSON *root = vectors_load("codes");
    int number = 0;
    const cJSON *one;
    cJSON_ArrayForEach(one, root)
    {
        const lab_status_t code = (lab_status_t)(++number);
        assert_string_equal(vectors_text(one, "name"), lab_code_name(code));
        assert_string_equal(vectors_text(one, "level"), s_levels[lab_code_level(code)]);
    }
    assert_int_equal(LAB_CODE_COUNT, number + 1);
    assert_string_equal("ok", lab_code_name(LAB_OK));
    cJSON_Delete(root);
}

static void test_identifiers(void **state)
{
    (void)state;
    cJSON *root = vectors_load("identifiers");
    const cJSON *one;
    cJSON_ArrayForEach(one, root)
    {
        size_t len;
        uint8_t *text = vectors_bytes(one, "text", &len);
        vectors_expect(one, lab_id_check((lab_span_t){text, len}));
        free(text);
    }
    cJSON_Delete(root);
}

static void test_topics(void **state)
{
    (void)state;
    cJSON *root = vectors_load("topics");
    const cJSON *one;
    cJSON_ArrayForEach(one, cJSON_GetObjectItem(root, "made"))
    {
        char topic[LAB_TOPIC_ROOM];
        const char *device = vectors_text(one, "device");
        lab_topic_telemetry(device, topic);
        assert_string_equal(vectors_text(one, "telemetry"), topic);
        lab_topic_status(device, topic);
        assert_string_equal(vectors_text(one, "status"), topic);
        lab_topic_commands(device, topic);
        assert_string_equal(vectors_text(one, "commands"), topic);
    }
    cJSON_ArrayForEach(one, cJSON_GetObjectItem(root, "words"))
    {
        size_t len;
        lab_span_t word;
        uint8_t *topic = vectors_bytes(one, "topic", &len);
        const lab_status_t status = lab_topic_command(vectors_text(one, "device"), (lab_span_t){topic, len}, &word);
        vectors_expect(one, status);
        assert_true(status == LAB_OK ? lab_span_is(word, vectors_text(one, "word")) : word.len == 0);
        free(topic);
    }
    cJSON_Delete(root);
}

static void test_telemetry(void **state)
{
    (void)state;
    cJSON *root = vectors_load("telemetry");
    const cJSON *one;
    cJSON_ArrayForEach(one, root)
    {
        char text[LAB_TELEMETRY_ROOM];
        const lab_reading_t reading = {(int32_t)vectors_number(one, "temperature"),
                                       (int32_t)vectors_number(one, "humidity")};
        const lab_status_t status =
            lab_telemetry_render(vectors_text(one, "device"), reading, (uint32_t)vectors_number(one, "uptime"),
                                 (uint32_t)vectors_number(one, "sequence"), text);
        vectors_expect(one, status);
        assert_string_equal(status == LAB_OK ? vectors_text(one, "text") : "", text);
    }
    cJSON_Delete(root);
}

static void test_the_longest_reading_fits(void **state)
{
    (void)state;
    char device[LAB_ID_LONGEST + 1];
    char text[LAB_TELEMETRY_ROOM];
    memset(device, 'x', LAB_ID_LONGEST);
    device[LAB_ID_LONGEST] = '\0';
    assert_int_equal(LAB_OK, lab_telemetry_render(device, (lab_reading_t){-4000, 10000}, UINT32_MAX, UINT32_MAX, text));
    assert_int_equal(LAB_TELEMETRY_ROOM - 1, strlen(text));
}

static void test_syntax(void **state)
{
    (void)state;
    cJSON *root = vectors_load("syntax");
    const cJSON *one;
    cJSON_ArrayForEach(one, root)
    {
        size_t len;
        lab_json_t object;
        uint8_t *data = vectors_bytes(one, "data", &len);
        vectors_expect(one, lab_json_open((lab_span_t){data, len}, 256, &object));
        free(data);
    }
    cJSON_Delete(root);
}

static void test_commands(void **state)
{
    (void)state;
    cJSON *root = vectors_load("commands");
    const cJSON *one;
    cJSON_ArrayForEach(one, root)
    {
        size_t topic_len;
        size_t payload_len;
        lab_command_t command;
        uint8_t *topic = vectors_bytes(one, "topic", &topic_len);
        uint8_t *payload = vectors_bytes(one, "payload", &payload_len);
        const lab_status_t status = lab_command_read(vectors_text(one, "device"), (lab_span_t){topic, topic_len},
                                                     (lab_span_t){payload, payload_len}, &command);
        vectors_expect(one, status);
        const cJSON *seconds = cJSON_GetObjectItem(one, "seconds");
        assert_string_equal(status == LAB_OK ? vectors_text(one, "word") : "", lab_command_name(command.word));
        assert_int_equal(cJSON_IsNumber(seconds) ? (uint32_t)seconds->valuedouble : 0, command.seconds);
        free(topic);
        free(payload);
    }
    cJSON_Delete(root);
}

static void test_manifests(void **state)
{
    (void)state;
    cJSON *root = vectors_load("manifests");
    const cJSON *one;
    cJSON_ArrayForEach(one, root)
    {
        size_t len;
        lab_manifest_t manifest;
        static const lab_manifest_t s_nothing;
        uint8_t *data = vectors_bytes(one, "data", &len);
        const lab_status_t status = lab_manifest_read((lab_span_t){data, len}, &manifest);
        vectors_expect(one, status);
        if (status == LAB_OK) {
            lab_header_t header;
            size_t signed_len;
            uint8_t *part = vectors_bytes(one, "signed", &signed_len);
            uint8_t whole[LAB_UPDATE_HEADER] = {0};
            memcpy(whole, part, signed_len);
            assert_int_equal(LAB_OK, lab_header_read(whole, &header));
            assert_true(lab_header_same(&header, &manifest.header));
            assert_string_equal(vectors_text(one, "path"), manifest.path);
            free(part);
        } else {
            assert_memory_equal(&s_nothing, &manifest, sizeof(manifest));
        }
        free(data);
    }
    cJSON_Delete(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codes),     cmocka_unit_test(test_identifiers),
        cmocka_unit_test(test_topics),    cmocka_unit_test(test_telemetry),
        cmocka_unit_test(test_syntax),    cmocka_unit_test(test_the_longest_reading_fits),
        cmocka_unit_test(test_commands),  cmocka_unit_test(test_manifests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
