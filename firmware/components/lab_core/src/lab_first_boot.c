/* The steps of a first boot, alone in their file: they are what the course's exercise writes. */
#include "lab_states.h"

lab_step_t lab_first_boot(lab_stored_t stored)
{
    if (stored.in_use) {
        return stored.token ? LAB_STEP_ERASE_TOKEN : LAB_STEP_CONNECT;
    }
    if (stored.staged && stored.installed) {
        return LAB_STEP_SWITCH;
    }
    if (!stored.token) {
        return LAB_STEP_STOP;
    }
    return stored.staged ? LAB_STEP_REQUEST : LAB_STEP_MAKE_KEY;
}
