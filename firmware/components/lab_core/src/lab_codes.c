#include "lab_codes.h"

#include <assert.h>
#include <stddef.h>

typedef struct {
    const char *name;
    lab_level_t level;
} entry_t;

static const entry_t s_table[] = {
    {"ok", LAB_LEVEL_INFO},
#define LAB_CODE_ENTRY(symbol, name, level) {name, LAB_LEVEL_##level},
    LAB_CODES(LAB_CODE_ENTRY)
#undef LAB_CODE_ENTRY
};

static_assert(sizeof(s_table) / sizeof(s_table[0]) == LAB_CODE_COUNT, "each code has an entry");

static const entry_t *entry(lab_status_t code)
{
    const size_t number = (size_t)code;
    assert(number < LAB_CODE_COUNT);
    return &s_table[number < LAB_CODE_COUNT ? number : 0];
}

const char *lab_code_name(lab_status_t code)
{
    return entry(code)->name;
}

lab_level_t lab_code_level(lab_status_t code)
{
    return entry(code)->level;
}
