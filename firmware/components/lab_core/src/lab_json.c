#include "lab_json.h"

#include "lab_json_scan.h"

#include <string.h>

lab_status_t lab_json_open(lab_span_t document, size_t longest, lab_json_t *object)
{
    *object = (lab_json_t){LAB_JSON_OBJECT, {document.data, 0}};
    if (document.len > longest) {
        return LAB_JSON_TOO_LONG;
    }
    lab_json_cursor_t cursor = {document, 0};
    lab_json_t value;
    if (!lab_json_scan_value(&cursor, &value)) {
        return LAB_JSON_SYNTAX;
    }
    lab_json_skip_blanks(&cursor);
    if (cursor.at != document.len || value.kind != LAB_JSON_OBJECT) {
        return LAB_JSON_SYNTAX;
    }
    *object = value;
    return LAB_OK;
}

/* Walks over the fields of an object that was looked at already: `at` begins at 0. */
static bool next_field(lab_json_t object, size_t *at, lab_json_t *name, lab_json_t *value)
{
    lab_json_cursor_t cursor = {object.text, *at > 0 ? *at : 1};
    lab_json_take(&cursor, ',');
    if (lab_json_take(&cursor, '}') || !lab_json_scan_value(&cursor, name)) {
        return false;
    }
    lab_json_take(&cursor, ':');
    if (!lab_json_scan_value(&cursor, value)) {
        return false;
    }
    *at = cursor.at;
    return true;
}

lab_status_t lab_json_get(lab_json_t object, const char *name, lab_json_kind_t kind, lab_json_t *value)
{
    size_t at = 0;
    size_t found = 0;
    lab_json_t field;
    lab_json_t candidate;
    *value = (lab_json_t){kind, {object.text.data, 0}};
    while (next_field(object, &at, &field, &candidate)) {
        if (lab_json_string_is(field, name)) {
            *value = candidate;
            found++;
        }
    }
    if (found != 1) {
        return found == 0 ? LAB_JSON_FIELD_MISSING : LAB_JSON_FIELD_TWICE;
    }
    return value->kind == kind ? LAB_OK : LAB_JSON_FIELD_KIND;
}

static bool is_one_of(lab_json_t field, const char *const *names, size_t count)
{
    for (size_t number = 0; number < count; number++) {
        if (lab_json_string_is(field, names[number])) {
            return true;
        }
    }
    return false;
}

lab_status_t lab_json_only(lab_json_t object, const char *const *names, size_t count)
{
    size_t at = 0;
    lab_json_t field;
    lab_json_t value;
    while (next_field(object, &at, &field, &value)) {
        if (!is_one_of(field, names, count)) {
            return LAB_JSON_FIELD_UNKNOWN;
        }
    }
    return LAB_OK;
}

lab_status_t lab_json_text_room(lab_json_t object, const char *name, size_t longest, size_t *room)
{
    lab_json_t value;
    *room = 0;
    const lab_status_t status = lab_json_get(object, name, LAB_JSON_STRING, &value);
    if (status != LAB_OK) {
        return status;
    }
    lab_json_cursor_t cursor = lab_json_string_begin(value);
    uint8_t bytes[4];
    size_t len = 0;
    bool nul = false;
    for (size_t more = 1; more > 0; len += more) {
        more = lab_json_string_next(&cursor, bytes);
        nul = nul || (more > 0 && bytes[0] == 0);
    }
    if (len == 0 || len > longest || nul) {
        return LAB_JSON_RANGE;
    }
    *room = len + 1;
    return LAB_OK;
}

lab_status_t lab_json_text(lab_json_t object, const char *name, char *out, size_t room)
{
    lab_json_t value;
    size_t needed;
    lab_text_t text = lab_text(out, room);
    const lab_status_t status = lab_json_text_room(object, name, room - 1, &needed);
    if (status != LAB_OK) {
        return status;
    }
    (void)lab_json_get(object, name, LAB_JSON_STRING, &value);
    lab_json_cursor_t cursor = lab_json_string_begin(value);
    uint8_t bytes[4];
    for (size_t more = 1; more > 0;) {
        more = lab_json_string_next(&cursor, bytes);
        lab_text_put_span(&text, (lab_span_t){bytes, more});
    }
    return LAB_OK;
}

/* Reads at most 18 digits, which fit into 64 bits whatever they are. */
static lab_status_t read_integer(lab_span_t text, int64_t *out)
{
    const bool negative = text.data[0] == '-';
    int64_t number = 0;
    for (size_t at = negative; at < text.len; at++) {
        if (text.data[at] < '0' || text.data[at] > '9') {
            return LAB_JSON_FIELD_KIND;
        }
        if (at - negative < 18) {
            number = number * 10 + (text.data[at] - '0');
        }
    }
    *out = negative ? -number : number;
    return text.len - negative <= 18 ? LAB_OK : LAB_JSON_RANGE;
}

lab_status_t lab_json_integer(lab_json_t object, const char *name, int64_t low, int64_t high, int64_t *out)
{
    lab_json_t value;
    int64_t number = 0;
    *out = low;
    lab_status_t status = lab_json_get(object, name, LAB_JSON_NUMBER, &value);
    if (status == LAB_OK) {
        status = read_integer(value.text, &number);
    }
    if (status == LAB_OK && (number < low || number > high)) {
        status = LAB_JSON_RANGE;
    }
    if (status == LAB_OK) {
        *out = number;
    }
    return status;
}
