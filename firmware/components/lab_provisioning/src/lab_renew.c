/* Renewal: the identity in use stays until the next one has been confirmed with the service. */
#include "lab_call.h"
#include "lab_service.h"
#include "lab_system.h"

#include <string.h>

static const char *const TAG = "lab_renew";

/* Confirms the new certificate with itself; the service ends the old one. A confirmation whose reply was lost was one. */
static lab_status_t confirm(const lab_service_t *service)
{
    lab_identity_t next;
    lab_reply_t reply = {0};
    char reason[LAB_REASON_ROOM];
    lab_status_t status = lab_store_installed(service->store, &next);
    if (status == LAB_OK) {
        status = lab_call(service, "/renew/confirm", &next, "", &reply);
    }
    if (status == LAB_SERVICE_REFUSED) {
        (void)lab_reply_refusal(reply.http_status, (lab_span_t){reply.body, reply.len}, reason);
        status = strcmp(reason, "nothing-to-confirm") == 0 ? LAB_OK : status;
    }
    lab_identity_free(&next);
    lab_reply_free(&reply);
    return status;
}

static lab_status_t ask_with_identity(const lab_service_t *service)
{
    lab_identity_t current;
    lab_status_t status = lab_store_current(service->store, &current);
    if (status == LAB_OK) {
        status = lab_ask(service, "/renew", NULL, &current);
    }
    lab_identity_free(&current);
    return status;
}

lab_status_t lab_service_renew(const lab_service_t *service)
{
    lab_stored_t stored;
    lab_status_t status = lab_store_look(service->store, &stored);
    if (status == LAB_OK && !stored.installed) {
        status = ask_with_identity(service);
    }
    if (status == LAB_OK) {
        status = confirm(service);
    }
    if (status == LAB_OK) {
        status = lab_store_switch(service->store);
    }
    if (status != LAB_OK) {
        return status;
    }
    lab_log_code(TAG, LAB_RENEW_DONE);
    (void)lab_store_discard(service->store); /* the old key opens nothing any more; what is left of it goes next time */
    return LAB_RENEW_DONE;
}
