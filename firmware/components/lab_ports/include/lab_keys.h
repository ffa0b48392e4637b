/* Port: the device's own keys. Texts are PEM, ended with a NUL, made with malloc and freed by the caller; a key is wiped
 * before (lab_wipe). */
#ifndef LAB_KEYS_H
#define LAB_KEYS_H

#include "lab_renewal.h"

typedef struct {
    void *context;
    /* Makes a key on P-256 and returns its PEM: LAB_OK, LAB_RANDOM_FAILED, LAB_KEY_FAILED or LAB_MEMORY_SHORT. */
    lab_status_t (*make_key)(void *context, char **key);
    /* Returns a certificate request for a device's name, signed with its key: LAB_OK, LAB_KEY_FAILED (the key is none),
     * LAB_CSR_FAILED or LAB_MEMORY_SHORT. */
    lab_status_t (*make_request)(void *context, const char *key, const char *device, char **request);
    /* Looks at the first certificate of a chain: LAB_OK and its validity if it belongs to a key, LAB_IDENTITY_MISMATCH if it
     * belongs to another one or is none, LAB_KEY_FAILED if the key is none.
     *
     * Does not check: who signed it. The broker does. */
    lab_status_t (*match)(void *context, const char *key, const char *chain, lab_validity_t *validity);
} lab_keys_t;

#endif
