#include "lab_id.h"

#include <string.h>

/* Names that no device may have, because something else answers to them; com0 to com9 and lpt0 to lpt9 besides. */
static const char *const s_reserved[] = {
    "admin", "all", "anonymous", "any", "auditor", "aux", "broker", "ca", "con", "intermediate", "localhost",
    "nul", "operator", "prn", "provisioning", "root", "server", "sys", "system",
};

static bool has(lab_span_t id, const char *any)
{
    for (size_t at = 0; at < id.len; at++) {
        /* strchr would find the NUL that ends its text. */
        if (id.data[at] != 0 && strchr(any, id.data[at]) != NULL) {
            return true;
        }
    }
    return false;
}

static bool has_two_dots(lab_span_t id)
{
    for (size_t at = 1; at < id.len; at++) {
        if (id.data[at - 1] == '.' && id.data[at] == '.') {
            return true;
        }
    }
    return false;
}

static bool is_ascii(lab_span_t id)
{
    for (size_t at = 0; at < id.len; at++) {
        if (id.data[at] >= 0x80) {
            return false;
        }
    }
    return true;
}

/* Counts characters of UTF-8: every byte but those that continue one. */
static size_t characters(lab_span_t id)
{
    size_t count = 0;
    for (size_t at = 0; at < id.len; at++) {
        count += (id.data[at] & 0xC0) != 0x80;
    }
    return count;
}

static uint8_t small(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte - 'A' + 'a') : byte;
}

static bool same_letters(lab_span_t id, const char *name)
{
    if (id.len != strlen(name)) {
        return false;
    }
    for (size_t at = 0; at < id.len; at++) {
        if (small(id.data[at]) != (uint8_t)name[at]) {
            return false;
        }
    }
    return true;
}

static bool is_reserved(lab_span_t id)
{
    if (has(id, "$")) {
        return true;
    }
    for (size_t at = 0; at < sizeof(s_reserved) / sizeof(s_reserved[0]); at++) {
        if (same_letters(id, s_reserved[at])) {
            return true;
        }
    }
    const lab_span_t port = {id.data, id.len > 0 ? id.len - 1 : 0};
    const bool is_port = same_letters(port, "com") || same_letters(port, "lpt");
    return is_port && id.data[id.len - 1] >= '0' && id.data[id.len - 1] <= '9';
}

bool lab_word_check(lab_span_t id)
{
    for (size_t at = 0; at < id.len; at++) {
        const uint8_t byte = id.data[at];
        const bool letter = byte >= 'a' && byte <= 'z';
        const bool digit = byte >= '0' && byte <= '9';
        if (!letter && !digit && !(byte == '-' && at > 0)) {
            return false;
        }
    }
    return true;
}

static lab_status_t check_characters(lab_span_t id)
{
    if (has(id, "/\\")) {
        return LAB_ID_SEPARATOR;
    }
    if (has(id, "+#")) {
        return LAB_ID_WILDCARD;
    }
    if (has(id, "%")) {
        return LAB_ID_SUBSTITUTION;
    }
    if (is_reserved(id)) {
        return LAB_ID_RESERVED;
    }
    return lab_word_check(id) ? LAB_OK : LAB_ID_GRAMMAR;
}

lab_status_t lab_id_check(lab_span_t id)
{
    if (id.len == 0) {
        return LAB_ID_EMPTY;
    }
    if (characters(id) > LAB_ID_LONGEST) {
        return LAB_ID_TOO_LONG;
    }
    if (!is_ascii(id)) {
        return LAB_ID_NOT_ASCII;
    }
    if (has_two_dots(id)) {
        return LAB_ID_PATH;
    }
    return check_characters(id);
}
