#include "lab_slot_esp.h"

static lab_status_t begin(void *context, uint32_t size)
{
    (void)context;
    (void)size;
    return LAB_SLOT_FAILED;
}

static lab_status_t write_slot(void *context, lab_span_t data)
{
    (void)context;
    (void)data;
    return LAB_SLOT_FAILED;
}

static lab_status_t fail(void *context)
{
    (void)context;
    return LAB_SLOT_FAILED;
}

static void nothing(void *context)
{
    (void)context;
}

static bool never(void *context)
{
    (void)context;
    return false;
}

lab_slot_t lab_slot_esp(void)
{
    return (lab_slot_t){
        .begin = begin,
        .write = write_slot,
        .finish = fail,
        .activate = fail,
        .abandon = nothing,
        .pending = never,
        .confirm = fail,
        .roll_back = nothing,
    };
}
