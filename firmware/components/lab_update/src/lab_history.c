/* Which image was tried, and what became of it. */
#include "lab_updater.h"

/* Reads a version; false where there is none, or what is stored is none. */
static bool read_version(const lab_storage_t *storage, const char *key, lab_version_t *version)
{
    char text[LAB_VERSION_ROOM];
    *version = (lab_version_t){0, 0, 0};
    if (storage->get_text(storage->context, LAB_SPACE_UPDATE, key, text, sizeof(text)) != LAB_OK) {
        return false;
    }
    return lab_version_read(lab_span(text), version);
}

/* The version is written to where it is remembered before it goes from where it was noted. */
static lab_status_t remember(const lab_storage_t *storage, lab_version_t tried)
{
    char text[LAB_VERSION_ROOM];
    lab_version_write(tried, text);
    lab_status_t status = storage->set_text(storage->context, LAB_SPACE_UPDATE, LAB_AT_FAILED, text);
    if (status == LAB_OK) {
        status = storage->erase(storage->context, LAB_SPACE_UPDATE, LAB_AT_TRIED);
    }
    return status;
}

lab_status_t lab_updater_history(const lab_storage_t *storage, bool pending, lab_target_t *target, bool *rolled_back)
{
    lab_version_t tried;
    lab_status_t status = LAB_OK;
    *rolled_back = read_version(storage, LAB_AT_TRIED, &tried) && !pending &&
                   lab_version_compare(tried, target->version) != 0;
    if (*rolled_back) {
        status = remember(storage, tried);
    }
    target->has_rolled_back = *rolled_back || read_version(storage, LAB_AT_FAILED, &tried);
    target->rolled_back = tried;
    return status;
}

lab_status_t lab_updater_proved(const lab_storage_t *storage)
{
    return storage->erase(storage->context, LAB_SPACE_UPDATE, LAB_AT_TRIED);
}
