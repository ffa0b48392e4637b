/* Any bytes as a document: what was found good is walked over, and every text in it read. */
#include "lab_json.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const s_names[] = {"a", "seconds", "chain", ""};
    lab_json_t object;
    if (lab_json_open((lab_span_t){data, size}, 4096, &object) != LAB_OK) {
        return 0;
    }
    for (size_t at = 0; at < sizeof(s_names) / sizeof(s_names[0]); at++) {
        size_t room;
        int64_t number;
        lab_json_t inner;
        if (lab_json_text_room(object, s_names[at], 4096, &room) == LAB_OK) {
            char *text = malloc(room);
            if (lab_json_text(object, s_names[at], text, room) != LAB_OK) {
                abort();
            }
            free(text);
        }
        (void)lab_json_integer(object, s_names[at], INT64_MIN, INT64_MAX, &number);
        if (lab_json_get(object, s_names[at], LAB_JSON_OBJECT, &inner) == LAB_OK) {
            (void)lab_json_only(inner, s_names, 2);
        }
    }
    return 0;
}
