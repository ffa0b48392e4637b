/* The linux target uses the host's network and the host's time. */
#include "lab_network.h"

#include "lab_system.h"

#include <esp_event.h>

static const char *const TAG = "lab_network";

lab_status_t lab_network_begin(const lab_storage_t *storage, const lab_random_t *random)
{
    (void)storage;
    (void)random;
    return esp_event_loop_create_default() == ESP_OK ? LAB_OK : LAB_MEMORY_SHORT;
}

lab_status_t lab_network_wait(uint32_t timeout_ms)
{
    (void)timeout_ms;
    lab_log_code(TAG, LAB_NETWORK_UP);
    return LAB_OK;
}
