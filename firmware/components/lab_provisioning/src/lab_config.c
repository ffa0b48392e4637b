/* What the service has set for the device. Who fetches it with a new certificate has reported for duty by that. */
#include "lab_call.h"
#include "lab_service.h"
#include "lab_system.h"

static const char *const TAG = "lab_config";

static lab_status_t ask(const lab_service_t *service, lab_reply_t *reply)
{
    lab_identity_t current;
    lab_status_t status = lab_store_current(service->store, &current);
    if (status == LAB_OK) {
        status = lab_call(service, "/config", &current, NULL, reply); /* it writes its own line where it fails */
    } else {
        lab_log_code(TAG, status);
    }
    lab_identity_free(&current);
    return status;
}

static lab_status_t keep(const lab_storage_t *storage, const lab_configured_t *configured)
{
    lab_status_t status = storage->set_u32(storage->context, LAB_SPACE_SETTINGS, LAB_AT_INTERVAL, configured->interval);
    if (status == LAB_OK) {
        status = storage->set_u64(storage->context, LAB_SPACE_IDENTITY, LAB_AT_RENEW_AFTER,
                                  (uint64_t)configured->renew_after);
    }
    return status;
}

lab_status_t lab_service_config(const lab_service_t *service, lab_configured_t *configured)
{
    lab_reply_t reply = {0};
    *configured = (lab_configured_t){0, 0};
    lab_status_t status = ask(service, &reply);
    if (status == LAB_OK) {
        status = lab_reply_config((lab_span_t){reply.body, reply.len}, service->device, configured);
        status = status == LAB_OK ? keep(service->store->storage, configured) : status;
        lab_log_code(TAG, status == LAB_OK ? LAB_CONFIG_DONE : status);
    }
    lab_reply_free(&reply);
    return status;
}
