/* First boot: the steps are decided by lab_first_boot, and done here. */
#include "lab_call.h"
#include "lab_service.h"
#include "lab_system.h"

static const char *const TAG = "lab_enrol";

enum { STEPS_MOST = 8 }; /* from an empty store it takes five; more would go round in circles */

static lab_status_t ask_with_token(const lab_service_t *service)
{
    char *token;
    const lab_storage_t *storage = service->store->storage;
    lab_status_t status = lab_store_text(storage, LAB_SPACE_IDENTITY, LAB_AT_TOKEN, LAB_LONGEST_TOKEN, &token);
    if (status != LAB_OK) {
        lab_log_code(TAG, status);
        return status;
    }
    status = lab_ask(service, "/provision", token, NULL);
    lab_text_free(token);
    return status;
}

static lab_status_t do_step(const lab_service_t *service, lab_step_t step)
{
    const lab_storage_t *storage = service->store->storage;
    switch (step) {
    case LAB_STEP_MAKE_KEY: /* the request makes its key, and stores it before it is sent */
    case LAB_STEP_REQUEST:
        return ask_with_token(service);
    case LAB_STEP_SWITCH:
        return lab_store_switch(service->store);
    case LAB_STEP_ERASE_TOKEN:
        return storage->erase(storage->context, LAB_SPACE_IDENTITY, LAB_AT_TOKEN);
    case LAB_STEP_CONNECT:
    case LAB_STEP_STOP:
    default:
        return LAB_BOOT_NO_TOKEN;
    }
}

/* Looks what is to be done next, and does it, but for the end of the way. */
static lab_status_t take_step(const lab_service_t *service, lab_step_t *step)
{
    lab_stored_t stored;
    const lab_status_t status = lab_store_look(service->store, &stored);
    *step = lab_first_boot(stored);
    if (status != LAB_OK || *step == LAB_STEP_CONNECT) {
        return status;
    }
    return do_step(service, *step);
}

lab_status_t lab_service_enrol(const lab_service_t *service)
{
    lab_step_t step = LAB_STEP_STOP;
    bool switched = false;
    for (int count = 0; count < STEPS_MOST; count++) {
        const lab_status_t status = take_step(service, &step);
        if (status != LAB_OK) {
            return status;
        }
        if (step == LAB_STEP_CONNECT) {
            return switched ? LAB_ENROL_DONE : LAB_OK;
        }
        if (step == LAB_STEP_SWITCH) {
            switched = true;
            lab_log_code(TAG, LAB_ENROL_DONE);
        }
    }
    return LAB_NVS_FAILED; /* the store does not keep what is put into it */
}
