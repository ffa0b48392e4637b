#include "vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

cJSON *vectors_load(const char *name)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s.json", VECTORS, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(0, fseek(file, 0, SEEK_END));
    const long size = ftell(file);
    assert_true(size > 0);
    rewind(file);
    char *text = calloc(1, (size_t)size + 1);
    assert_non_null(text);
    assert_int_equal((size_t)size, fread(text, 1, (size_t)size, file));
    fclose(file);
    cJSON *root = cJSON_Parse(text);
    free(text);
    assert_non_null(root);
    return root;
}

static unsigned digit(char character)
{
    return (unsigned)(character <= '9' ? character - '0' : character - 'a' + 10);
}

uint8_t *vectors_bytes(const cJSON *one, const char *name, size_t *len)
{
    char hex_name[40];
    snprintf(hex_name, sizeof(hex_name), "%s_hex", name);
    const cJSON *hex = cJSON_GetObjectItemCaseSensitive(one, hex_name);
    const char *text = hex == NULL ? vectors_text(one, name) : hex->valuestring;
    *len = hex == NULL ? strlen(text) : strlen(text) / 2;
    /* Just the size, so that a read beyond it is seen by the sanitizer; never NULL. */
    uint8_t *bytes = malloc(*len > 0 ? *len : 1);
    assert_non_null(bytes);
    for (size_t at = 0; at < *len; at++) {
        bytes[at] = hex == NULL ? (uint8_t)text[at] : (uint8_t)(digit(text[2 * at]) << 4 | digit(text[2 * at + 1]));
    }
    return bytes;
}

const char *vectors_text(const cJSON *one, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(one, name);
    assert_true(cJSON_IsString(item));
    return item->valuestring;
}

double vectors_number(const cJSON *one, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(one, name);
    assert_true(cJSON_IsNumber(item));
    return item->valuedouble;
}

bool vectors_truth(const cJSON *one, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(one, name);
    assert_true(cJSON_IsBool(item));
    return cJSON_IsTrue(item);
}

void vectors_expect(const cJSON *one, lab_status_t status)
{
    const char *expected = vectors_text(one, "code");
    if (strcmp(expected, lab_code_name(status)) != 0) {
        char *text = cJSON_PrintUnformatted(one);
        fail_msg("%s where %s stands: %.300s", lab_code_name(status), expected, text);
    }
}
