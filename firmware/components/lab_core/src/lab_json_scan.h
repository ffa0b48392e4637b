/* The scanner behind lab_json.h: every byte is an attacker's. */
#ifndef LAB_JSON_SCAN_H
#define LAB_JSON_SCAN_H

#include "lab_json.h"

typedef struct {
    lab_span_t in;
    size_t at;
} lab_json_cursor_t;

void lab_json_skip_blanks(lab_json_cursor_t *cursor);

/* Skips blanks, and one character if it is the next one. */
bool lab_json_take(lab_json_cursor_t *cursor, char character);

/* Skips blanks and one value of any kind, and says where it was; false where there is none. */
bool lab_json_scan_value(lab_json_cursor_t *cursor, lab_json_t *value);

/* Walk over the characters of a string that was scanned: each call gives the 1 to 4 bytes of the next one in UTF-8, or 0. */
lab_json_cursor_t lab_json_string_begin(lab_json_t string);
size_t lab_json_string_next(lab_json_cursor_t *cursor, uint8_t bytes[4]);

/* Returns whether a string says exactly a text. */
bool lab_json_string_is(lab_json_t string, const char *text);

#endif
