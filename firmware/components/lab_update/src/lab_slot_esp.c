#include "lab_slot_esp.h"

#include <esp_app_desc.h>
#include <esp_ota_ops.h>
#include <esp_partition.h>
#include <string.h>

typedef struct {
    const esp_partition_t *partition;
    esp_ota_handle_t handle;
    bool open;
} slot_t;

static slot_t s_slot;

static void abandon(void *context)
{
    slot_t *slot = context;
    if (slot->open) {
        (void)esp_ota_abort(slot->handle);
        slot->open = false;
    }
}

static lab_status_t begin(void *context, uint32_t size)
{
    slot_t *slot = context;
    abandon(slot);
    if (slot->partition == NULL || esp_ota_begin(slot->partition, size, &slot->handle) != ESP_OK) {
        return LAB_SLOT_FAILED;
    }
    slot->open = true;
    return LAB_OK;
}

static lab_status_t write_slot(void *context, lab_span_t data)
{
    slot_t *slot = context;
    if (!slot->open || esp_ota_write(slot->handle, data.data, data.len) != ESP_OK) {
        return LAB_SLOT_FAILED;
    }
    return LAB_OK;
}

/* The image says itself which product it is, and so does the one that runs. */
static bool is_our_product(const esp_partition_t *partition)
{
    esp_app_desc_t described;
    const esp_app_desc_t *own = esp_app_get_description();
    if (esp_ota_get_partition_description(partition, &described) != ESP_OK) {
        return false;
    }
    return strncmp(described.project_name, own->project_name, sizeof(own->project_name)) == 0;
}

static lab_status_t finish(void *context)
{
    slot_t *slot = context;
    if (!slot->open) {
        return LAB_SLOT_FAILED;
    }
    slot->open = false; /* esp_ota_end lets go of the handle, whatever it says */
    if (esp_ota_end(slot->handle) != ESP_OK || !is_our_product(slot->partition)) {
        return LAB_IMAGE_REFUSED;
    }
    return LAB_OK;
}

static lab_status_t activate(void *context)
{
    const slot_t *slot = context;
    return esp_ota_set_boot_partition(slot->partition) == ESP_OK ? LAB_OK : LAB_SLOT_FAILED;
}

static bool pending(void *context)
{
    esp_ota_img_states_t state;
    (void)context;
    return esp_ota_get_state_partition(esp_ota_get_running_partition(), &state) == ESP_OK &&
           state == ESP_OTA_IMG_PENDING_VERIFY;
}

static lab_status_t confirm(void *context)
{
    (void)context;
    return esp_ota_mark_app_valid_cancel_rollback() == ESP_OK ? LAB_OK : LAB_SLOT_FAILED;
}

static void roll_back(void *context)
{
    (void)context;
    (void)esp_ota_mark_app_invalid_rollback_and_reboot();
}

lab_slot_t lab_slot_esp(void)
{
    s_slot = (slot_t){.partition = esp_ota_get_next_update_partition(NULL)};
    return (lab_slot_t){
        .context = &s_slot,
        .size = s_slot.partition == NULL ? 0 : s_slot.partition->size,
        .begin = begin,
        .write = write_slot,
        .finish = finish,
        .activate = activate,
        .abandon = abandon,
        .pending = pending,
        .confirm = confirm,
        .roll_back = roll_back,
    };
}
