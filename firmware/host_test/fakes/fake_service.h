/* The services, as far as a device sees them: one token, one identity, renewal with confirmation, and updates. Bodies are read with
 * cJSON, so that what the device writes is looked at by a reader that is not its own. */
#ifndef FAKE_SERVICE_H
#define FAKE_SERVICE_H

#include "fake_board.h"
#include "lab_http.h"

typedef struct {
    fake_board_t *board;
    const char *token;  /* what it takes */
    int spent_on;       /* the key that the token was spent on; 0 where it was not */
    int current;        /* the key of the certificate that counts */
    int renewed;        /* the key of one that was not confirmed yet */
    int requests;       /* how many came */
    int lose_reply;     /* the reply to the request with that number is lost on the way; 0: none */
    int http_status;    /* answer everything with that; 0: honestly */
    const char *body;   /* … and with that body */
    lab_status_t fails; /* there is no connection */
    int interval;       /* seconds between readings, as the operator has set them */
    const uint8_t *update; /* header and image */
    size_t update_len;
    const char *manifest;
    size_t breaks_after; /* a connection for an update ends after so many bytes; 0: when all is said */
    int breaks_most;     /* … and so often */
    bool no_ranges;      /* it knows nothing of Range, and begins at the front */
    size_t chunk; /* bytes of a part of the body */
    char last_url[200];
    char reported[200]; /* the body of the last report about an update */
} fake_service_t;

void fake_service_init(fake_service_t *service, fake_board_t *board);
lab_http_t fake_http(fake_service_t *service);

#endif
