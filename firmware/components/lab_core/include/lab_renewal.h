/* Whether the certificate is to be renewed now. */
#ifndef LAB_RENEWAL_H
#define LAB_RENEWAL_H

#include "lab_codes.h"

#include <stdint.h>

#define LAB_DAY INT64_C(86400)
#define LAB_RENEWAL_WINDOW (30 * LAB_DAY)
#define LAB_RENEWAL_JITTER (5 * LAB_DAY)

/* The first second of 2026. A clock that shows less was never set; ESP-IDF's begins in 1970. */
#define LAB_CLOCK_EARLIEST INT64_C(1767225600)

/* Seconds since 1970; renew_after is 0 where the service has not said from when on it may be renewed. */
typedef struct {
    int64_t not_before;
    int64_t not_after;
    int64_t renew_after;
} lab_validity_t;

/* Returns from when on the certificate is to be renewed. share: 32 bits of this device's own, drawn once and kept. */
int64_t lab_renewal_opens(lab_validity_t validity, uint32_t share);

/* Returns LAB_OK (nothing is to be done), LAB_RENEW_DUE, LAB_RENEW_EXPIRED, LAB_RENEW_NOT_YET_VALID or LAB_CLOCK_UNSET.
 *
 * Does not check: revocation. A revoked certificate is refused by the broker, and no renewal mends that. */
lab_status_t lab_renewal_decide(int64_t now, lab_validity_t validity, uint32_t share);

#endif
