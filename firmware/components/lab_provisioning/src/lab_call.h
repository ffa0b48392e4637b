/* One request to the service, with its reply in memory. */
#ifndef LAB_CALL_H
#define LAB_CALL_H

#include "lab_service.h"

typedef struct {
    int http_status;
    uint8_t *body; /* on the heap, of the size that came */
    size_t len;
} lab_reply_t;

void lab_reply_free(lab_reply_t *reply);

/* Sends a request: GET, or POST where there is a body, which may be empty. LAB_OK for a reply with the status 200; for any other
 * LAB_SERVICE_LATER or LAB_SERVICE_REFUSED, after one line of the log. The service's reason stays in `reply`. */
lab_status_t lab_call(const lab_service_t *service, const char *path, const lab_identity_t *identity, const char *body,
                      lab_reply_t *reply);

/* Writes a JSON object of texts, with its braces, on the heap; NULL where there is no memory. Names and values by turns, NULL last. */
char *lab_call_object(const char *const *texts);

/* Asks for a certificate for the staged key, and installs it. On first boot `token` proves who we are, afterwards `identity` does;
 * the other one is NULL. A renewal that is refused because of its time, its key or its request ends: the staged key goes. */
lab_status_t lab_ask(const lab_service_t *service, const char *path, const char *token, const lab_identity_t *identity);

#endif
