/* The device's store of its identity: two slots, so that no power cut ever leaves it without one that works.
 *
 * Slot a is what the factory or the first boot fills, slot b the next renewal, and so on in turn. Everything is written whole or
 * not at all by the storage; which slot is in use is written last. labkit/provisioning/slots.py is the same store on a file
 * system. */
#ifndef LAB_STORE_H
#define LAB_STORE_H

#include "lab_id.h"
#include "lab_keys.h"
#include "lab_layout.h"
#include "lab_random.h"
#include "lab_replies.h"
#include "lab_states.h"
#include "lab_storage.h"

typedef struct {
    const lab_storage_t *storage;
    const lab_keys_t *keys;
    const lab_random_t *random;
} lab_store_t;

/* An identity out of a slot: key and chain are PEM, on the heap. */
typedef struct {
    char *key;
    char *chain;
    lab_validity_t validity;
} lab_identity_t;

/* Wipes and frees what is in an identity; an empty one is left alone. */
void lab_identity_free(lab_identity_t *identity);

/* Reads a text whose length is not known before: LAB_OK and a buffer of just its size on the heap; LAB_NVS_MISSING, LAB_NVS_CONTENT,
 * LAB_NVS_TOO_LONG (longer than longest; it is not read), LAB_NVS_FAILED or LAB_MEMORY_SHORT, and NULL. */
lab_status_t lab_store_text(const lab_storage_t *storage, const char *space, const char *key, size_t longest, char **text);

/* Wipes and frees a text; NULL is left alone. */
void lab_text_free(char *text);

/* Reads who we are: LAB_OK, LAB_NVS_MISSING, LAB_NVS_FAILED, LAB_NVS_CONTENT, or the rule of lab_id_check that it breaks. */
lab_status_t lab_store_device(const lab_store_t *store, char device[LAB_ID_LONGEST + 1]);

/* Says what is in the store. A slot whose certificate does not belong to its key counts as empty. Fails with LAB_NVS_FAILED,
 * LAB_RANDOM_FAILED or LAB_MEMORY_SHORT only: then nobody knows what is there, and nothing may be done about it. */
lab_status_t lab_store_look(const lab_store_t *store, lab_stored_t *stored);

/* Reads the identity in use, or the one that was installed last and is not in use yet: LAB_OK or LAB_NVS_MISSING, or as above. */
lab_status_t lab_store_current(const lab_store_t *store, lab_identity_t *identity);
lab_status_t lab_store_installed(const lab_store_t *store, lab_identity_t *identity);

/* Returns the certificate request for the slot that is not in use. Its key is made and stored where there is none yet; when the
 * reply is lost, or the power, the same key asks again and gets the same certificate. */
lab_status_t lab_store_stage(const lab_store_t *store, const char *device, char **request);

/* Stores the chain for the staged key. LAB_IDENTITY_MISMATCH, and nothing is stored, where it belongs to another key. */
lab_status_t lab_store_install(const lab_store_t *store, const char *chain, int64_t renew_after);

/* Uses the other slot from now on. LAB_IDENTITY_MISMATCH where no identity is in it. */
lab_status_t lab_store_switch(const lab_store_t *store);

/* Erases what is in the slot that is not in use. */
lab_status_t lab_store_discard(const lab_store_t *store);

/* Returns 32 bits of this device's own, drawn once and kept; see lab_renewal_opens. */
uint32_t lab_store_share(const lab_store_t *store);

#endif
