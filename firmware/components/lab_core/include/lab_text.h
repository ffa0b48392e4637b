/* Texts of bounded length, and one line of the log. */
#ifndef LAB_TEXT_H
#define LAB_TEXT_H

#include "lab_codes.h"

#include <stddef.h>
#include <stdint.h>

/* Bytes that somebody else holds. They may contain anything, and end where len says. */
typedef struct {
    const uint8_t *data;
    size_t len;
} lab_span_t;

/* Returns the bytes of a text without its NUL. */
lab_span_t lab_span(const char *text);

/* Returns whether bytes are exactly a text. */
bool lab_span_is(lab_span_t span, const char *text);

/* A text that is being written into a buffer. It is always ended with a NUL; what does not fit is left out, and `full`
 * says so for good. */
typedef struct {
    char *out;
    size_t room;
    size_t len;
    bool full;
} lab_text_t;

/* Begins a text in a buffer of at least one byte. */
lab_text_t lab_text(char *out, size_t room);

/* Each of these appends whole or not at all. */
void lab_text_put(lab_text_t *text, const char *more);
void lab_text_put_span(lab_text_t *text, lab_span_t more);
void lab_text_put_number(lab_text_t *text, int64_t number);

enum { LAB_LINE_LENGTH = 160 };

/* One line of the log: `code=json-range field=seconds`. */
typedef struct {
    lab_status_t code;
    size_t len;
    char text[LAB_LINE_LENGTH];
} lab_line_t;

lab_line_t lab_line(lab_status_t code);

/* Appends ` key=value`. Whatever in the value could end the line, or look like another pair, becomes `?`; an empty value
 * becomes `-`; a value that does not fit is cut off. Never call these with a secret. */
void lab_line_text(lab_line_t *line, const char *key, lab_span_t value);
void lab_line_number(lab_line_t *line, const char *key, int64_t value);

/* Overwrites memory that held a secret, in a way that the compiler may not leave out. */
void lab_wipe(void *memory, size_t len);

#endif
