/* Any bytes as a reply of the provisioning service. */
#include "lab_replies.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const lab_span_t body = {data, size};
    lab_grant_t grant;
    lab_configured_t configured;
    char reason[LAB_REASON_ROOM];
    if (lab_reply_grant(body, "sensor-001", &grant) == LAB_OK) {
        char *chain = malloc(grant.chain_room);
        (void)lab_reply_chain(&grant, chain);
        free(chain);
    }
    (void)lab_reply_config(body, "sensor-001", &configured);
    (void)lab_reply_refusal(403, body, reason);
    return 0;
}
