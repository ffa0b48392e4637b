/* Fetches an update into the other slot. docs/formats/update.md says what is looked at, and when. */
#ifndef LAB_UPDATER_H
#define LAB_UPDATER_H

#include "lab_http.h"
#include "lab_random.h"
#include "lab_slot.h"
#include "lab_storage.h"
#include "lab_system.h"
#include "lab_update.h"

typedef struct {
    const lab_http_t *http;
    const lab_slot_t *slot;
    const lab_storage_t *storage;
    const lab_random_t *random;
    const lab_system_t *system;
    const lab_update_crypto_t *crypto;
    const lab_target_t *target;
    const char *url;  /* https://host:port, without a slash at its end */
    const char *root; /* PEM of the authority that we trust */
    const char *chain;
    const char *key;
} lab_updater_t;

/* Connections in a row that may end without a byte more before an update is given up for now. */
enum { LAB_UPDATER_TRIES = 5 };

/* Asks for the manifest, and fetches what it announces where the device should take it; where the connection ends too early, the next
 * one goes on at that byte. LAB_UPDATE_STAGED: the new image boots next.
 * LAB_UPDATE_NONE: there is nothing newer. Anything else is a refusal: one line of the log says why, and what runs, and what boots
 * next, have not changed. */
lab_status_t lab_updater_run(const lab_updater_t *updater);

/* Tells the server what became of a version: the code of what went wrong, "ok" for LAB_OK. Where that fails, the log says so, and nothing
 * else comes of it. */
void lab_updater_report(const lab_updater_t *updater, lab_version_t version, lab_status_t code);

/* Reads the version that did not prove itself on this device. Call it once at the start: where an image was on trial and another
 * version runs, `rolled_back` says so, and the version is remembered. */
lab_status_t lab_updater_history(const lab_storage_t *storage, bool pending, lab_target_t *target, bool *rolled_back);

/* Notes that the image on trial has proved itself. */
lab_status_t lab_updater_proved(const lab_storage_t *storage);

#endif
