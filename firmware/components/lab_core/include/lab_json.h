/* JSON as a small device reads it: one object, bounded in length and depth, UTF-8, nothing copied.
 *
 * An attacker controls every byte. `lab_json_open` looks at all of them once; everything else works on what it has found
 * good. labkit/node/documents.py takes and refuses the same bytes. */
#ifndef LAB_JSON_H
#define LAB_JSON_H

#include "lab_text.h"

/* How deep objects and lists may be nested; the outermost object is the first level. */
enum { LAB_JSON_DEPTH = 8 };

typedef enum {
    LAB_JSON_OBJECT,
    LAB_JSON_LIST,
    LAB_JSON_STRING,
    LAB_JSON_NUMBER,
    LAB_JSON_WORD, /* true, false, null */
} lab_json_kind_t;

/* A value inside a document: its kind, and its text from the first character to the last. */
typedef struct {
    lab_json_kind_t kind;
    lab_span_t text;
} lab_json_t;

/* Looks at a document. Returns LAB_JSON_TOO_LONG or LAB_JSON_SYNTAX; on LAB_OK `object` is the object in it, for as long as
 * the document stays where it is. */
lab_status_t lab_json_open(lab_span_t document, size_t longest, lab_json_t *object);

/* Finds a field of an object. Returns LAB_JSON_FIELD_MISSING, LAB_JSON_FIELD_TWICE or LAB_JSON_FIELD_KIND. */
lab_status_t lab_json_get(lab_json_t object, const char *name, lab_json_kind_t kind, lab_json_t *value);

/* Returns LAB_JSON_FIELD_UNKNOWN if an object has any field but those. */
lab_status_t lab_json_only(lab_json_t object, const char *const *names, size_t count);

/* Reads a text of 1 to room - 1 bytes, without a NUL in it, into a buffer. Returns what lab_json_get returns, or
 * LAB_JSON_RANGE; `out` is then empty. */
lab_status_t lab_json_text(lab_json_t object, const char *name, char *out, size_t room);

/* Says how many bytes a text takes with its NUL; see lab_json_text. */
lab_status_t lab_json_text_room(lab_json_t object, const char *name, size_t longest, size_t *room);

/* Reads an integer between two bounds, both allowed. Returns what lab_json_get returns, or LAB_JSON_RANGE; a fraction or an
 * exponent is LAB_JSON_FIELD_KIND. `out` is then low. */
lab_status_t lab_json_integer(lab_json_t object, const char *name, int64_t low, int64_t high, int64_t *out);

#endif
