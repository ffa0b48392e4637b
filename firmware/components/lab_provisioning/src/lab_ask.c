/* A request for a certificate, on first boot and at each renewal. */
#include "lab_call.h"
#include "lab_system.h"

#include <stdlib.h>
#include <string.h>

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

/* Drops the staged key of a renewal where the refusal says that no certificate can be waiting for it: it is too early, or the key or the
 * request is not to their liking. Any other refusal may come after a grant whose reply was lost, and to ask with a second key then is
 * what a clone does. */
static void drop_useless_key(const lab_service_t *service, const lab_reply_t *reply)
{
    char reason[LAB_REASON_ROOM];
    (void)lab_reply_refusal(reply->http_status, (lab_span_t){reply->body, reply->len}, reason);
    if (strcmp(reason, "renewal-not-due") == 0 || strncmp(reason, "key-", 4) == 0 || strncmp(reason, "csr-", 4) == 0) {
        (void)lab_store_discard(service->store);
    }
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
    } else if (status == LAB_SERVICE_REFUSED && identity != NULL) {
        drop_useless_key(service, &reply);
    }
    lab_reply_free(&reply);
    return status;
}
