/* The provisioning service: first certificate, renewal, settings. */
#ifndef LAB_SERVICE_H
#define LAB_SERVICE_H

#include "lab_http.h"
#include "lab_store.h"

typedef struct {
    const lab_store_t *store;
    const lab_http_t *http;
    const char *url;    /* https://host:port, without a slash at its end */
    const char *root;   /* PEM of the authority that we trust */
    const char *device; /* our id */
} lab_service_t;

/* Takes the device through its first boot, from wherever it is: key, request, certificate; the token is erased after the identity is
 * in use. LAB_ENROL_DONE if it has just been enrolled, LAB_OK if it was before.
 *
 * LAB_BOOT_NO_TOKEN: there is nothing to go by. LAB_SERVICE_LATER and LAB_SERVICE_UNREACHABLE: ask again. Anything else is a refusal,
 * one line of the log says why, and everything that was in the store is still there. */
lab_status_t lab_service_enrol(const lab_service_t *service);

/* Takes the device through a renewal, from wherever it is: a new key, its certificate, confirmed with it; only then the slots are
 * switched. LAB_RENEW_DONE, or as above; the old identity is in use as long as there is no LAB_RENEW_DONE. */
lab_status_t lab_service_renew(const lab_service_t *service);

/* Asks, with the identity in use, what the service has set for the device, and stores it: the interval, and from when on it may renew.
 * LAB_OK, or as above; what was set before then counts. One line of the log says what came of it. */
lab_status_t lab_service_config(const lab_service_t *service, lab_configured_t *configured);

#endif
