/* HTTPS by ESP-IDF's esp_http_client. */
#ifndef LAB_HTTPS_ESP_H
#define LAB_HTTPS_ESP_H

#include "lab_http.h"

lab_http_t lab_https_esp(void);

#endif
