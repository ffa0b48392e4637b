#include "lab_renewal.h"

int64_t lab_renewal_opens(lab_validity_t validity, uint32_t share)
{
    const bool told = validity.renew_after > 0 && validity.not_before <= validity.renew_after;
    if (told && validity.renew_after <= validity.not_after) {
        return validity.renew_after;
    }
    const int64_t early = LAB_RENEWAL_WINDOW + (int64_t)(((uint64_t)share * (uint64_t)LAB_RENEWAL_JITTER) >> 32);
    const int64_t third = (validity.not_after - validity.not_before) / 3;
    return validity.not_after - (early < third ? early : third);
}

lab_status_t lab_renewal_decide(int64_t now, lab_validity_t validity, uint32_t share)
{
    if (now < LAB_CLOCK_EARLIEST) {
        return LAB_CLOCK_UNSET;
    }
    if (now < validity.not_before) {
        return LAB_RENEW_NOT_YET_VALID;
    }
    if (now > validity.not_after) {
        return LAB_RENEW_EXPIRED;
    }
    return now >= lab_renewal_opens(validity, share) ? LAB_RENEW_DUE : LAB_OK;
}
