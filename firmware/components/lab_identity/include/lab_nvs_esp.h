/* Storage by ESP-IDF's NVS, in the partition fctry; encrypted where NVS encryption is configured. */
#ifndef LAB_NVS_ESP_H
#define LAB_NVS_ESP_H

#include "lab_storage.h"

/* Opens the partition: LAB_OK, or LAB_NVS_FAILED where it is not there or can't be read. It is never erased: the identity is in it,
 * and nobody could give it back. */
lab_status_t lab_nvs_begin(lab_storage_t *storage);

#endif
