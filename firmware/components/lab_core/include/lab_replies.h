/* What the provisioning service answers: nothing in a reply is believed that can be looked at. */
#ifndef LAB_REPLIES_H
#define LAB_REPLIES_H

#include "lab_layout.h"
#include "lab_text.h"

enum { LAB_REPLY_LONGEST = 16384, LAB_CERTIFICATES_MOST = 4, LAB_REASON_ROOM = 41 };

typedef struct {
    lab_span_t body;     /* where the reply stands; it must outlive the rest */
    size_t chain_room;   /* bytes that the chain takes, with its NUL */
    int64_t renew_after; /* seconds since 1970 */
} lab_grant_t;

/* Reads the reply to /provision and /renew, but for the chain. Returns LAB_REPLY_DEVICE, LAB_REPLY_TIME, or a code LAB_JSON_….
 *
 * Does not check: that the chain fits our key and leads to our authority. The store does the first before it switches, the
 * broker the second. */
lab_status_t lab_reply_grant(lab_span_t body, const char *device, lab_grant_t *grant);

/* Copies the chain of a grant into a buffer of chain_room bytes. Returns LAB_REPLY_CHAIN, and leaves the text empty, where it
 * is no chain; see lab_chain_check. */
lab_status_t lab_reply_chain(const lab_grant_t *grant, char *out);

typedef struct {
    uint32_t interval;   /* seconds between readings */
    int64_t renew_after; /* seconds since 1970 */
} lab_configured_t;

/* Reads the reply to /config. Returns LAB_REPLY_DEVICE, LAB_REPLY_TIME, or a code LAB_JSON_…. */
lab_status_t lab_reply_config(lab_span_t body, const char *device, lab_configured_t *configured);

/* Says what a refusal means: LAB_SERVICE_LATER or LAB_SERVICE_REFUSED. `reason` is the service's own code, "internal" where it
 * said none; the body may be anything. */
lab_status_t lab_reply_refusal(int http_status, lab_span_t body, char reason[LAB_REASON_ROOM]);

/* Returns LAB_REPLY_CHAIN unless a text is one to four certificates in PEM and nothing else. */
lab_status_t lab_chain_check(lab_span_t chain);

/* Reads a time like 2026-11-25T10:00:00Z; LAB_REPLY_TIME for any other form and for days that do not exist. */
lab_status_t lab_time_read(lab_span_t text, int64_t *seconds);

/* Returns the seconds since 1970 of a day and time of the Gregorian calendar, in UTC; no value is looked at. */
int64_t lab_time_seconds(int year, int month, int day, int hour, int minute, int second);

#endif
