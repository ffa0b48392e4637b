/* The updates among the vectors: their images are made here as there. */
#ifndef UPDATE_VECTORS_H
#define UPDATE_VECTORS_H

#include "lab_update.h"
#include "vectors.h"

/* Returns header and image of a case, on the heap. */
uint8_t *update_case(const cJSON *one, size_t *len);

/* Returns the image of a case, on the heap. */
uint8_t *update_image(const cJSON *one, size_t *len);

/* Reads the device that the cases are for; the texts are the document's. */
lab_target_t update_target(const cJSON *root);

#endif
