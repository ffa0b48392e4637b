/* Port: values that survive a restart.
 *
 * Each write and each erase is done whole or not at all, whatever becomes of the power, and it is done when the call returns.
 * What was read is an attacker's until it has been looked at: whoever can write the flash writes here. */
#ifndef LAB_STORAGE_H
#define LAB_STORAGE_H

#include "lab_codes.h"

#include <stddef.h>
#include <stdint.h>

typedef struct {
    void *context;
    /* Says how many bytes a text takes with its NUL. LAB_OK, LAB_NVS_MISSING, LAB_NVS_CONTENT (it is no text) or
     * LAB_NVS_FAILED. */
    lab_status_t (*text_room)(void *context, const char *space, const char *key, size_t *room);
    /* Reads a text into a buffer of so many bytes; as above, and LAB_NVS_TOO_LONG where it does not fit. */
    lab_status_t (*get_text)(void *context, const char *space, const char *key, char *out, size_t room);
    /* Writes a text: LAB_OK, or LAB_NVS_FAILED with the old value in place. */
    lab_status_t (*set_text)(void *context, const char *space, const char *key, const char *text);
    /* Reads a number that was stored in 8, 16, 32 or 64 bits without a sign: LAB_OK, LAB_NVS_MISSING, LAB_NVS_CONTENT or
     * LAB_NVS_FAILED. */
    lab_status_t (*get_number)(void *context, const char *space, const char *key, uint64_t *number);
    /* Writes a number in 32 or 64 bits: LAB_OK, or LAB_NVS_FAILED with the old value in place. */
    lab_status_t (*set_u32)(void *context, const char *space, const char *key, uint32_t number);
    lab_status_t (*set_u64)(void *context, const char *space, const char *key, uint64_t number);
    /* Erases a value: LAB_OK also where there was none, or LAB_NVS_FAILED. */
    lab_status_t (*erase)(void *context, const char *space, const char *key);
} lab_storage_t;

#endif
