/* A request for a certificate, on first boot and at each renewal. */
#include "lab_call.h"
#include "lab_system.h"

#include <stdlib.h>

static const char *const TAG = "lab_ask";

/* Takes the chain out of a reply and puts it into the store. */
static lab_status_t install(const lab_service_t *service, const lab_reply_t *reply)
{
    lab_grant_t grant;
    lab_status_t status = lab_reply_grant((lab_span_t){reply->body, reply->len}, service->device, &grant);
    char *chain = status == LAB_OK ? malloc(grant.chain_room) : NULL;
    if (status == LAB_OK && chain == NULL) {
        status = LAB_MEMORY_SHORT;
    }
    if (status == LAB_OK) {
        status = lab_reply_chain(&grant, chain);
    }
    if (status == LAB_OK) {
        status = lab_store_install(service->store, chain, grant.renew_after);
    }
    free(chain);
    if (status != LAB_OK) {
        lab_log_code(TAG, status);
    }
    return status;
}

lab_status_t lab_ask(const lab_service_t *service, const char *path, const char *token, const lab_identity_t *identity)
{
    char *request = NULL;
    char *body = NULL;
    lab_reply_t reply = {0};
    lab_status_t status = lab_store_stage(service->store, service->device, &request);
    if (status != LAB_OK) {
        lab_log_code(TAG, status);
        return status;
    }
    const char *texts[] = {"csr", request, token == NULL ? NULL : "token", token, NULL};
    body = lab_call_object(texts);
    status = body == NULL ? LAB_MEMORY_SHORT : lab_call(service, path, identity, body, &reply);
    lab_text_free(body); /* the token is in it */
    free(request);
    if (status == LAB_OK) {
        status = install(service, &reply);
    }
    lab_reply_free(&reply);
    return status;
}
