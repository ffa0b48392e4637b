#include "lab_text.h"

#include <assert.h>
#include <string.h>

lab_span_t lab_span(const char *text)
{
    return (lab_span_t){(const uint8_t *)text, strlen(text)};
}

bool lab_span_is(lab_span_t span, const char *text)
{
    const size_t len = strlen(text);
    return span.len == len && (len == 0 || memcmp(span.data, text, len) == 0);
}

lab_text_t lab_text(char *out, size_t room)
{
    assert(room > 0);
    out[0] = '\0';
    return (lab_text_t){.out = out, .room = room, .len = 0, .full = false};
}

void lab_text_put_span(lab_text_t *text, lab_span_t more)
{
    /* A subtraction that can't wrap: len is below room at all times. */
    if (text->full || more.len >= text->room - text->len) {
        text->full = true;
        return;
    }
    if (more.len > 0) {
        memcpy(text->out + text->len, more.data, more.len);
    }
    text->len += more.len;
    text->out[text->len] = '\0';
}

void lab_text_put(lab_text_t *text, const char *more)
{
    lab_text_put_span(text, lab_span(more));
}

void lab_text_put_number(lab_text_t *text, int64_t number)
{
    uint8_t digits[20];
    size_t at = sizeof(digits);
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    do {
        digits[--at] = (uint8_t)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (number < 0) {
        digits[--at] = '-';
    }
    lab_text_put_span(text, (lab_span_t){digits + at, sizeof(digits) - at});
}

static void put(lab_line_t *line, char character)
{
    if (line->len + 1 < sizeof(line->text)) {
        line->text[line->len++] = character;
        line->text[line->len] = '\0';
    }
}

static void put_all(lab_line_t *line, const char *text)
{
    for (; *text != '\0'; text++) {
        put(line, *text);
    }
}

lab_line_t lab_line(lab_status_t code)
{
    lab_line_t line = {.code = code};
    put_all(&line, "code=");
    put_all(&line, lab_code_name(code));
    return line;
}

void lab_line_text(lab_line_t *line, const char *key, lab_span_t value)
{
    put(line, ' ');
    put_all(line, key);
    put(line, '=');
    for (size_t at = 0; at < value.len; at++) {
        const uint8_t byte = value.data[at];
        const bool safe = byte > ' ' && byte < 0x7F && byte != '=';
        put(line, (char)(safe ? byte : '?'));
    }
    if (value.len == 0) {
        put(line, '-');
    }
}

void lab_line_number(lab_line_t *line, const char *key, int64_t value)
{
    char digits[24];
    lab_text_t text = lab_text(digits, sizeof(digits));
    lab_text_put_number(&text, value);
    lab_line_text(line, key, lab_span(digits));
}

void lab_wipe(void *memory, size_t len)
{
    volatile uint8_t *bytes = memory;
    for (size_t at = 0; at < len; at++) {
        bytes[at] = 0;
    }
}
