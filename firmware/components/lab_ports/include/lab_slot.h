/* Port: the slot for the next image, and what the bootloader thinks of the one that runs. */
#ifndef LAB_SLOT_H
#define LAB_SLOT_H

#include "lab_text.h"

typedef struct {
    void *context;
    uint32_t size; /* bytes of a slot */
    /* Gets the other slot ready for an image: LAB_OK, or LAB_SLOT_FAILED. What is in it counts no more. */
    lab_status_t (*begin)(void *context, uint32_t size);
    lab_status_t (*write)(void *context, lab_span_t data);
    /* Looks at what was written: LAB_OK, or LAB_IMAGE_REFUSED where the chip can't boot it. */
    lab_status_t (*finish)(void *context);
    /* Makes the slot the one that boots next: LAB_OK, or LAB_SLOT_FAILED. Call it after the verdict, and only then. */
    lab_status_t (*activate)(void *context);
    /* Lets go of a slot that was begun; what boots next has not changed. */
    void (*abandon)(void *context);
    /* Whether the image that runs is on trial. */
    bool (*pending)(void *context);
    /* Ends the trial: the image is good. LAB_OK, or LAB_SLOT_FAILED. */
    lab_status_t (*confirm)(void *context);
    /* Ends the trial the other way, and restarts; returns only where there is nothing to go back to. */
    void (*roll_back)(void *context);
} lab_slot_t;

#endif
