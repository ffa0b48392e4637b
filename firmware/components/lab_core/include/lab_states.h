/* What a device is up to: the steps of its first boot, and the states that it can start and work in. */
#ifndef LAB_STATES_H
#define LAB_STATES_H

#include <stdbool.h>

typedef enum {
    LAB_STEP_MAKE_KEY,
    LAB_STEP_REQUEST,
    LAB_STEP_SWITCH,
    LAB_STEP_ERASE_TOKEN,
    LAB_STEP_CONNECT,
    LAB_STEP_STOP,
} lab_step_t;

/* What the device finds in its store. */
typedef struct {
    bool token;     /* there is a token */
    bool in_use;    /* the slot in use holds a key and the certificate that belongs to it */
    bool staged;    /* the other slot is being filled, and its key is there */
    bool installed; /* the certificate that belongs to that key is there too */
} lab_stored_t;

/* Returns the next step of a first boot. The device does it, looks at its store again and asks again; so it does not matter
 * where the power went. */
lab_step_t lab_first_boot(lab_stored_t stored);

typedef enum {
    LAB_STATE_UNPROVISIONED,
    LAB_STATE_PROVISIONED,
    LAB_STATE_RENEWING,
    LAB_STATE_UPDATING,
    LAB_STATE_ROLLED_BACK,
    LAB_STATE_COUNT
} lab_state_t;

typedef enum {
    LAB_EVENT_ENROLLED,
    LAB_EVENT_CONNECTED, /* the broker's CONNACK */
    LAB_EVENT_TIMEOUT,   /* an image on trial has had its time */
    LAB_EVENT_RENEWAL_DUE,
    LAB_EVENT_RENEWED,
    LAB_EVENT_RENEWAL_FAILED,
    LAB_EVENT_UPDATE_STAGED,
    LAB_EVENT_COUNT
} lab_event_t;

typedef enum {
    LAB_ACTION_NONE,
    LAB_ACTION_CONNECT,
    LAB_ACTION_RENEW,
    LAB_ACTION_RECONNECT,
    LAB_ACTION_RESTART,
    LAB_ACTION_CONFIRM_IMAGE,
    LAB_ACTION_ROLL_BACK,
    LAB_ACTION_REPORT,
} lab_action_t;

typedef struct {
    bool pending;     /* the bootloader runs this image for the first time */
    bool identity;    /* the slot in use holds an identity */
    bool rolled_back; /* the image that was tried last is not the one that runs */
    bool renewing;    /* the other slot of the identity is being filled */
} lab_boot_t;

lab_state_t lab_state_at_boot(lab_boot_t boot);

/* Returns what the device does after an event, and moves the state; what is not foreseen changes nothing. */
lab_action_t lab_state_after(lab_state_t *state, lab_event_t event);

#endif
