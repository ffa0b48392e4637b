#include "lab_states.h"

#include <stddef.h>

typedef struct {
    lab_state_t state;
    lab_event_t event;
    lab_state_t then;
    lab_action_t action;
} transition_t;

/* Everything that changes something. */
static const transition_t s_transitions[] = {
    {LAB_STATE_UNPROVISIONED, LAB_EVENT_ENROLLED, LAB_STATE_PROVISIONED, LAB_ACTION_CONNECT},
    {LAB_STATE_PROVISIONED, LAB_EVENT_RENEWAL_DUE, LAB_STATE_RENEWING, LAB_ACTION_RENEW},
    {LAB_STATE_PROVISIONED, LAB_EVENT_UPDATE_STAGED, LAB_STATE_UPDATING, LAB_ACTION_RESTART},
    {LAB_STATE_RENEWING, LAB_EVENT_CONNECTED, LAB_STATE_RENEWING, LAB_ACTION_RENEW},
    {LAB_STATE_RENEWING, LAB_EVENT_RENEWED, LAB_STATE_PROVISIONED, LAB_ACTION_RECONNECT},
    {LAB_STATE_RENEWING, LAB_EVENT_RENEWAL_FAILED, LAB_STATE_PROVISIONED, LAB_ACTION_NONE},
    {LAB_STATE_UPDATING, LAB_EVENT_CONNECTED, LAB_STATE_PROVISIONED, LAB_ACTION_CONFIRM_IMAGE},
    {LAB_STATE_UPDATING, LAB_EVENT_TIMEOUT, LAB_STATE_ROLLED_BACK, LAB_ACTION_ROLL_BACK},
    {LAB_STATE_ROLLED_BACK, LAB_EVENT_CONNECTED, LAB_STATE_PROVISIONED, LAB_ACTION_REPORT},
};

lab_state_t lab_state_at_boot(lab_boot_t boot)
{
    /* An image on trial has nothing else to do: if it can't connect, whatever the reason, the one before has to run. */
    if (boot.pending) {
        return LAB_STATE_UPDATING;
    }
    if (!boot.identity) {
        return LAB_STATE_UNPROVISIONED;
    }
    if (boot.rolled_back) {
        return LAB_STATE_ROLLED_BACK;
    }
    return boot.renewing ? LAB_STATE_RENEWING : LAB_STATE_PROVISIONED;
}

lab_action_t lab_state_after(lab_state_t *state, lab_event_t event)
{
    for (size_t at = 0; at < sizeof(s_transitions) / sizeof(s_transitions[0]); at++) {
        const transition_t *transition = &s_transitions[at];
        if (transition->state == *state && transition->event == event) {
            *state = transition->then;
            return transition->action;
        }
    }
    return LAB_ACTION_NONE;
}
