#include "lab_json_scan.h"

#include <string.h>

/* What is open: the character that closes each level. */
typedef struct {
    char closers[LAB_JSON_DEPTH];
    size_t depth;
} levels_t;

/* Returns the next byte, or -1 at the end. */
static int peek(const lab_json_cursor_t *cursor)
{
    return cursor->at < cursor->in.len ? cursor->in.data[cursor->at] : -1;
}

void lab_json_skip_blanks(lab_json_cursor_t *cursor)
{
    for (int byte = peek(cursor); byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n'; byte = peek(cursor)) {
        cursor->at++;
    }
}

bool lab_json_take(lab_json_cursor_t *cursor, char character)
{
    lab_json_skip_blanks(cursor);
    if (peek(cursor) != character) {
        return false;
    }
    cursor->at++;
    return true;
}

/* Returns the value of a hexadecimal digit, or -1. */
static int hex(int byte)
{
    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    const int letter = byte | 0x20;
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

/* Reads four hexadecimal digits; -1 where there are none. */
static int32_t take_hex4(lab_json_cursor_t *cursor)
{
    int32_t unit = 0;
    for (int digit = 0; digit < 4; digit++) {
        const int value = hex(peek(cursor));
        if (value < 0) {
            return -1;
        }
        unit = unit * 16 + value;
        cursor->at++;
    }
    return unit;
}

/* Reads what follows \u: one unit of UTF-16 or a pair of surrogates; -1 for half a pair (RFC 8259 §8.2). */
static int32_t take_utf16(lab_json_cursor_t *cursor)
{
    const int32_t first = take_hex4(cursor);
    if (first < 0xD800 || first > 0xDFFF) {
        return first;
    }
    /* A subtraction that can't wrap: at is at most len. */
    if (first > 0xDBFF || cursor->in.len - cursor->at < 2 || memcmp(cursor->in.data + cursor->at, "\\u", 2) != 0) {
        return -1;
    }
    cursor->at += 2;
    const int32_t second = take_hex4(cursor);
    if (second < 0xDC00 || second > 0xDFFF) {
        return -1;
    }
    return 0x10000 + (first - 0xD800) * 0x400 + (second - 0xDC00);
}

/* Reads what follows a backslash; -1 where that is nothing. */
static int32_t take_escape(lab_json_cursor_t *cursor)
{
    static const char s_from[] = "\"\\/bfnrt";
    static const char s_to[] = "\"\\/\b\f\n\r\t";
    const int byte = peek(cursor);
    if (byte < 0) {
        return -1;
    }
    cursor->at++;
    if (byte == 'u') {
        return take_utf16(cursor);
    }
    const char *found = byte == 0 ? NULL : strchr(s_from, byte);
    return found == NULL ? -1 : s_to[found - s_from];
}

/* Returns how many bytes a character of UTF-8 has, and its lead's own bits; 0 where the byte leads none. */
static size_t utf8_lead(int byte, int32_t *bits)
{
    if (byte < 0xC2 || byte > 0xF4) {
        return 0; /* 0xC0 and 0xC1 would lead overlong forms, above 0xF4 there is no Unicode */
    }
    const size_t size = byte < 0xE0 ? 2 : (byte < 0xF0 ? 3 : 4);
    *bits = byte & (0xFF >> (size + 1));
    return size;
}

/* Reads a character beyond ASCII; -1 where it is none (RFC 3629 §3: no overlong forms, no surrogates). */
static int32_t take_utf8(lab_json_cursor_t *cursor)
{
    static const int32_t s_smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    int32_t character = 0;
    const size_t size = utf8_lead(peek(cursor), &character);
    cursor->at++;
    for (size_t left = size; left > 1; left--) {
        const int byte = peek(cursor);
        if ((byte & ~0x3F) != 0x80) {
            return -1; /* also at the end, where byte is -1 */
        }
        character = character * 64 + (byte & 0x3F);
        cursor->at++;
    }
    const bool surrogate = character >= 0xD800 && character <= 0xDFFF;
    const bool outside = size == 0 || character < s_smallest[size] || character > 0x10FFFF;
    return surrogate || outside ? -1 : character;
}

/* Reads one character of a string; -1 where it is none, and at the quote that ends the string. */
static int32_t take_character(lab_json_cursor_t *cursor)
{
    const int byte = peek(cursor);
    if (byte < ' ' || byte == '"') {
        return -1; /* the end, a control character, the closing quote */
    }
    if (byte >= 0x80) {
        return take_utf8(cursor);
    }
    cursor->at++;
    return byte == '\\' ? take_escape(cursor) : byte;
}

static bool scan_string(lab_json_cursor_t *cursor)
{
    if (peek(cursor) != '"') {
        return false;
    }
    cursor->at++;
    size_t before;
    do {
        before = cursor->at;
        if (peek(cursor) == '"') {
            cursor->at++;
            return true;
        }
    } while (take_character(cursor) >= 0 && cursor->at > before);
    return false;
}

static size_t skip_digits(lab_json_cursor_t *cursor)
{
    const size_t begin = cursor->at;
    while (peek(cursor) >= '0' && peek(cursor) <= '9') {
        cursor->at++;
    }
    return cursor->at - begin;
}

static bool skip_one(lab_json_cursor_t *cursor, const char *any)
{
    const int byte = peek(cursor);
    if (byte <= 0 || strchr(any, byte) == NULL) {
        return false;
    }
    cursor->at++;
    return true;
}

/* -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)? (RFC 8259 §6) */
static bool scan_number(lab_json_cursor_t *cursor)
{
    skip_one(cursor, "-");
    if (!skip_one(cursor, "0") && skip_digits(cursor) == 0) {
        return false;
    }
    if (skip_one(cursor, ".") && skip_digits(cursor) == 0) {
        return false;
    }
    if (skip_one(cursor, "eE")) {
        skip_one(cursor, "+-");
        return skip_digits(cursor) > 0;
    }
    return true;
}

static bool scan_word(lab_json_cursor_t *cursor)
{
    static const char *const s_words[] = {"true", "false", "null"};
    for (size_t number = 0; number < 3; number++) {
        const size_t len = strlen(s_words[number]);
        if (cursor->in.len - cursor->at >= len && memcmp(cursor->in.data + cursor->at, s_words[number], len) == 0) {
            cursor->at += len;
            return true;
        }
    }
    return false;
}

static bool scan_scalar(lab_json_cursor_t *cursor)
{
    const int byte = peek(cursor);
    if (byte == '"') {
        return scan_string(cursor);
    }
    return byte == '-' || (byte >= '0' && byte <= '9') ? scan_number(cursor) : scan_word(cursor);
}

static bool scan_name(lab_json_cursor_t *cursor)
{
    lab_json_skip_blanks(cursor);
    return scan_string(cursor) && lab_json_take(cursor, ':');
}

/* Opens a level, or scans a scalar; `opened` says which. */
static bool begin_value(lab_json_cursor_t *cursor, levels_t *levels, bool *opened)
{
    lab_json_skip_blanks(cursor);
    const int byte = peek(cursor);
    *opened = byte == '{' || byte == '[';
    if (!*opened) {
        return scan_scalar(cursor);
    }
    if (levels->depth == LAB_JSON_DEPTH) {
        return false;
    }
    levels->closers[levels->depth++] = byte == '{' ? '}' : ']';
    cursor->at++;
    return true;
}

/* After a value: closes what closes, and stands before the next value. Returns false at an error. */
static bool end_value(lab_json_cursor_t *cursor, levels_t *levels)
{
    while (levels->depth > 0) {
        const char closer = levels->closers[levels->depth - 1];
        if (lab_json_take(cursor, ',')) {
            return closer == ']' || scan_name(cursor);
        }
        if (!lab_json_take(cursor, closer)) {
            return false;
        }
        levels->depth--;
    }
    return true;
}

/* After a level was opened: stands before its first value, or closes it if it has none. */
static bool enter(lab_json_cursor_t *cursor, levels_t *levels, bool *empty)
{
    const char closer = levels->closers[levels->depth - 1];
    *empty = lab_json_take(cursor, closer);
    if (*empty) {
        levels->depth--;
        return true;
    }
    return closer == ']' || scan_name(cursor);
}

static lab_json_kind_t kind_of(int first)
{
    switch (first) {
    case '{':
        return LAB_JSON_OBJECT;
    case '[':
        return LAB_JSON_LIST;
    case '"':
        return LAB_JSON_STRING;
    case 't':
    case 'f':
    case 'n':
        return LAB_JSON_WORD;
    default:
        return LAB_JSON_NUMBER;
    }
}

/* Levels are kept in an array and not on the stack: an attacker chooses how deep they go. */
bool lab_json_scan_value(lab_json_cursor_t *cursor, lab_json_t *value)
{
    levels_t levels = {.depth = 0};
    lab_json_skip_blanks(cursor);
    const size_t begin = cursor->at;
    value->kind = kind_of(peek(cursor));
    do {
        bool opened;
        bool ended = true;
        if (!begin_value(cursor, &levels, &opened)) {
            return false;
        }
        if (opened && !enter(cursor, &levels, &ended)) {
            return false;
        }
        if (ended && !end_value(cursor, &levels)) {
            return false;
        }
    } while (levels.depth > 0);
    value->text = (lab_span_t){cursor->in.data + begin, cursor->at - begin};
    return true;
}

lab_json_cursor_t lab_json_string_begin(lab_json_t string)
{
    return (lab_json_cursor_t){string.text, 1};
}

size_t lab_json_string_next(lab_json_cursor_t *cursor, uint8_t bytes[4])
{
    static const uint8_t s_lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    int32_t character = take_character(cursor);
    if (character < 0) {
        return 0;
    }
    if (character < 0x80) {
        bytes[0] = (uint8_t)character;
        return 1;
    }
    const size_t size = character < 0x800 ? 2 : (character < 0x10000 ? 3 : 4);
    for (size_t at = size; at-- > 1; character >>= 6) {
        bytes[at] = (uint8_t)(0x80 | (character & 0x3F));
    }
    bytes[0] = (uint8_t)(s_lead[size] | character);
    return size;
}

bool lab_json_string_is(lab_json_t string, const char *text)
{
    lab_json_cursor_t cursor = lab_json_string_begin(string);
    uint8_t bytes[4];
    size_t left = strlen(text);
    for (size_t more = lab_json_string_next(&cursor, bytes); more > 0; more = lab_json_string_next(&cursor, bytes)) {
        if (more > left || memcmp(text, bytes, more) != 0) {
            return false;
        }
        text += more;
        left -= more;
    }
    return left == 0;
}
