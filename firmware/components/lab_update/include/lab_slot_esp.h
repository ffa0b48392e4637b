/* The slot by ESP-IDF's app_update; on the linux target there is none, and every update is refused. */
#ifndef LAB_SLOT_ESP_H
#define LAB_SLOT_ESP_H

#include "lab_slot.h"

lab_slot_t lab_slot_esp(void);

#endif
