/* Port: requests over HTTPS.
 *
 * The server is verified against `root`, its name against the host in the URL; there is no way to turn that off. Redirects are
 * not followed. */
#ifndef LAB_HTTP_H
#define LAB_HTTP_H

#include "lab_text.h"

/* Takes a part of the body, as it comes; anything but LAB_OK ends the request with that status. */
typedef lab_status_t (*lab_http_sink_t)(void *context, int http_status, lab_span_t part);

typedef struct {
    bool post; /* POST with a body in JSON; GET otherwise */
    const char *url;
    const char *root;  /* PEM of the authority that the server's certificate has to come from */
    const char *chain; /* our identity, PEM; NULL where we have none yet */
    const char *key;
    lab_span_t body;
    uint32_t from; /* the byte to begin with: where it is not 0, a server that can do that answers 206, and any other 200 */
    lab_http_sink_t sink;
    void *sink_context;
} lab_http_request_t;

typedef struct {
    void *context;
    /* LAB_OK and the status of the reply, whatever it is; LAB_SERVICE_UNREACHABLE where there was no connection, the server is
     * not the one that we trust, or the reply was cut off; LAB_MEMORY_SHORT; or what the sink said. */
    lab_status_t (*perform)(void *context, const lab_http_request_t *request, int *http_status);
} lab_http_t;

#endif
