/* The golden vectors, which labkit writes: the folder tests/vectors. They are read with cJSON, and not with what they test. */
#ifndef VECTORS_H
#define VECTORS_H

#include "lab_text.h"

#include <cjson/cJSON.h>

/* cmocka wants these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Reads a file of vectors; free it with cJSON_Delete. */
cJSON *vectors_load(const char *name);

/* Returns the bytes of a field, which is a text or, under name_hex, hexadecimal; on the heap. */
uint8_t *vectors_bytes(const cJSON *one, const char *name, size_t *len);

/* Returns a text, a number, a truth; the test fails where there is none. */
const char *vectors_text(const cJSON *one, const char *name);
double vectors_number(const cJSON *one, const char *name);
bool vectors_truth(const cJSON *one, const char *name);

/* Fails unless a status is the one with the name that the vector says under `code`. */
void vectors_expect(const cJSON *one, lab_status_t status);

#endif
