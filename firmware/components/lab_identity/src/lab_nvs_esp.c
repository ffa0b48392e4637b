#include "lab_nvs_esp.h"

#include "lab_layout.h"

#include <nvs.h>
#include <nvs_flash.h>
#include <sdkconfig.h>
#include <string.h>

#ifdef CONFIG_IDF_TARGET_LINUX
#include "lab_text.h"

#include <esp_private/partition_linux.h>
#include <limits.h>
#include <stdlib.h>
#endif

/* Opens a namespace. Reading one that was never written says that the value is missing. */
static lab_status_t open_space(const char *space, nvs_open_mode_t mode, nvs_handle_t *handle)
{
    switch (nvs_open_from_partition(LAB_PARTITION, space, mode, handle)) {
    case ESP_OK:
        return LAB_OK;
    case ESP_ERR_NVS_NOT_FOUND:
        return LAB_NVS_MISSING;
    default:
        return LAB_NVS_FAILED;
    }
}

static lab_status_t status_of(esp_err_t code)
{
    switch (code) {
    case ESP_OK:
        return LAB_OK;
    case ESP_ERR_NVS_NOT_FOUND:
        return LAB_NVS_MISSING;
    case ESP_ERR_NVS_TYPE_MISMATCH:
        return LAB_NVS_CONTENT;
    case ESP_ERR_NVS_INVALID_LENGTH:
        return LAB_NVS_TOO_LONG;
    default:
        return LAB_NVS_FAILED;
    }
}

/* A value of another type says ESP_ERR_NVS_NOT_FOUND when it is asked for as a text: it is looked at first. */
static lab_status_t find(nvs_handle_t handle, const char *key, nvs_type_t *type)
{
    return status_of(nvs_find_key(handle, key, type));
}

static lab_status_t read_text(nvs_handle_t handle, const char *key, char *out, size_t *room)
{
    nvs_type_t type;
    const lab_status_t status = find(handle, key, &type);
    if (status != LAB_OK) {
        return status;
    }
    return type == NVS_TYPE_STR ? status_of(nvs_get_str(handle, key, out, room)) : LAB_NVS_CONTENT;
}

static lab_status_t get_text(void *context, const char *space, const char *key, char *out, size_t room)
{
    nvs_handle_t handle;
    size_t size = room;
    (void)context;
    lab_status_t status = open_space(space, NVS_READONLY, &handle);
    if (status == LAB_OK) {
        status = read_text(handle, key, out, &size);
        nvs_close(handle);
    }
    return status;
}

static lab_status_t text_room(void *context, const char *space, const char *key, size_t *room)
{
    nvs_handle_t handle;
    (void)context;
    *room = 0;
    lab_status_t status = open_space(space, NVS_READONLY, &handle);
    if (status == LAB_OK) {
        status = read_text(handle, key, NULL, room);
        nvs_close(handle);
    }
    return status;
}

/* Reads whatever width the value was written in. */
static esp_err_t read_number(nvs_handle_t handle, const char *key, nvs_type_t type, uint64_t *number)
{
    uint8_t u8 = 0;
    uint16_t u16 = 0;
    uint32_t u32 = 0;
    esp_err_t code;
    switch (type) {
    case NVS_TYPE_U8:
        code = nvs_get_u8(handle, key, &u8);
        *number = u8;
        return code;
    case NVS_TYPE_U16:
        code = nvs_get_u16(handle, key, &u16);
        *number = u16;
        return code;
    case NVS_TYPE_U32:
        code = nvs_get_u32(handle, key, &u32);
        *number = u32;
        return code;
    case NVS_TYPE_U64:
        return nvs_get_u64(handle, key, number);
    default:
        return ESP_ERR_NVS_TYPE_MISMATCH;
    }
}

static lab_status_t get_number(void *context, const char *space, const char *key, uint64_t *number)
{
    nvs_handle_t handle;
    nvs_type_t type;
    (void)context;
    *number = 0;
    lab_status_t status = open_space(space, NVS_READONLY, &handle);
    if (status != LAB_OK) {
        return status;
    }
    status = find(handle, key, &type);
    if (status == LAB_OK) {
        status = status_of(read_number(handle, key, type, number));
    }
    nvs_close(handle);
    return status;
}

/* A write is done when it is committed. */
static lab_status_t finish(nvs_handle_t handle, esp_err_t code)
{
    if (code == ESP_OK) {
        code = nvs_commit(handle);
    }
    nvs_close(handle);
    return code == ESP_OK ? LAB_OK : LAB_NVS_FAILED;
}

static lab_status_t set_text(void *context, const char *space, const char *key, const char *text)
{
    nvs_handle_t handle;
    (void)context;
    if (open_space(space, NVS_READWRITE, &handle) != LAB_OK) {
        return LAB_NVS_FAILED;
    }
    return finish(handle, nvs_set_str(handle, key, text));
}

static lab_status_t set_u32(void *context, const char *space, const char *key, uint32_t number)
{
    nvs_handle_t handle;
    (void)context;
    if (open_space(space, NVS_READWRITE, &handle) != LAB_OK) {
        return LAB_NVS_FAILED;
    }
    return finish(handle, nvs_set_u32(handle, key, number));
}

static lab_status_t set_u64(void *context, const char *space, const char *key, uint64_t number)
{
    nvs_handle_t handle;
    (void)context;
    if (open_space(space, NVS_READWRITE, &handle) != LAB_OK) {
        return LAB_NVS_FAILED;
    }
    return finish(handle, nvs_set_u64(handle, key, number));
}

static lab_status_t erase(void *context, const char *space, const char *key)
{
    nvs_handle_t handle;
    (void)context;
    if (open_space(space, NVS_READWRITE, &handle) != LAB_OK) {
        return LAB_NVS_FAILED;
    }
    const esp_err_t code = nvs_erase_key(handle, key);
    return finish(handle, code == ESP_ERR_NVS_NOT_FOUND ? ESP_OK : code);
}

#ifdef CONFIG_LAB_IDENTITY_REQUIRE_ENCRYPTION
/* nvs_flash_init_partition would read the partition as it is; the keys have to be asked for. */
static esp_err_t init_partition(void)
{
    nvs_sec_cfg_t keys;
    const esp_err_t code = nvs_flash_read_security_cfg_v2(nvs_flash_get_default_security_scheme(), &keys);
    const esp_err_t opened = code == ESP_OK ? nvs_flash_secure_init_partition(LAB_PARTITION, &keys) : code;
    memset(&keys, 0, sizeof(keys));
    return opened;
}
#else
static esp_err_t init_partition(void)
{
    return nvs_flash_init_partition(LAB_PARTITION);
}
#endif

#ifdef CONFIG_IDF_TARGET_LINUX
/* The flash of the linux target is a file that is made anew at each start. LAB_FLASH_FILE names one that stays: the whole flash,
 * with the partition table in its place. */
static void use_flash_file(void)
{
    const char *name = getenv("LAB_FLASH_FILE");
    if (name != NULL) {
        char *out = esp_partition_get_file_mmap_ctrl_input()->flash_file_name;
        lab_text_t text = lab_text(out, PATH_MAX);
        lab_text_put(&text, name);
    }
}
#else
static void use_flash_file(void)
{
}
#endif

lab_status_t lab_nvs_begin(lab_storage_t *storage)
{
    *storage = (lab_storage_t){
        .text_room = text_room,
        .get_text = get_text,
        .set_text = set_text,
        .get_number = get_number,
        .set_u32 = set_u32,
        .set_u64 = set_u64,
        .erase = erase,
    };
    use_flash_file();
    return init_partition() == ESP_OK ? LAB_OK : LAB_NVS_FAILED;
}
