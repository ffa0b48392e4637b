/* What the image knows of itself. */
#ifndef LAB_SELF_H
#define LAB_SELF_H

#include "lab_slot.h"
#include "lab_update.h"

/* The certificate of the authority in the image, PEM; empty where the image was built without one. */
const char *lab_self_root(void);

/* Whose updates the image takes; see lab_verify_mbedtls. */
const char *lab_self_update_keys(void);

/* Product and versions of the image; the hardware's revision where the board does not say. */
lab_target_t lab_self_target(uint32_t slot_size);

/* Logs why the device can't work, goes back where the image is on trial, and restarts after a while: nothing else is left to do. */
void lab_self_give_up(const char *tag, lab_status_t status, const lab_slot_t *slot, uint32_t after_ms);

#endif
