/* The session with the broker by ESP-IDF's esp-mqtt. */
#ifndef LAB_MQTT_ESP_H
#define LAB_MQTT_ESP_H

#include "lab_mqtt_port.h"

/* Makes the one session of the device; LAB_MEMORY_SHORT where there is no memory for it. */
lab_status_t lab_mqtt_esp(lab_mqtt_t *mqtt);

#endif
