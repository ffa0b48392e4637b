#include "lab_store.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *name;
    const char *key;
    const char *chain;
} slot_t;

static const slot_t s_slots[] = {
    {"a", LAB_AT_A_KEY, LAB_AT_A_CHAIN},
    {"b", LAB_AT_B_KEY, LAB_AT_B_CHAIN},
};

/* Statuses after which nobody knows what is stored. Anything else that a read says means: there is nothing good. */
static bool is_fault(lab_status_t status)
{
    return status == LAB_NVS_FAILED || status == LAB_MEMORY_SHORT || status == LAB_RANDOM_FAILED;
}

void lab_text_free(char *text)
{
    if (text != NULL) {
        lab_wipe(text, strlen(text));
        free(text);
    }
}

void lab_identity_free(lab_identity_t *identity)
{
    lab_text_free(identity->key);
    lab_text_free(identity->chain);
    *identity = (lab_identity_t){0};
}

lab_status_t lab_store_text(const lab_storage_t *storage, const char *space, const char *key, size_t longest, char **text)
{
    size_t room = 0;
    *text = NULL;
    lab_status_t status = storage->text_room(storage->context, space, key, &room);
    if (status != LAB_OK) {
        return status;
    }
    if (room == 0 || room - 1 > longest) {
        return room == 0 ? LAB_NVS_CONTENT : LAB_NVS_TOO_LONG;
    }
    char *out = calloc(1, room);
    if (out == NULL) {
        return LAB_MEMORY_SHORT;
    }
    status = storage->get_text(storage->context, space, key, out, room);
    if (status != LAB_OK) {
        lab_text_free(out);
        return status;
    }
    out[room - 1] = '\0';
    *text = out;
    return LAB_OK;
}

lab_status_t lab_store_device(const lab_store_t *store, char device[LAB_ID_LONGEST + 1])
{
    char *text;
    device[0] = '\0';
    lab_status_t status =
        lab_store_text(store->storage, LAB_SPACE_IDENTITY, LAB_AT_DEVICE_ID, LAB_ID_LONGEST, &text);
    if (status != LAB_OK) {
        return status;
    }
    status = lab_id_check(lab_span(text));
    if (status == LAB_OK) {
        memcpy(device, text, strlen(text) + 1);
    }
    lab_text_free(text);
    return status;
}

/* Reads the one letter that names a slot: NULL where there is none, or another. */
static lab_status_t read_slot_name(const lab_store_t *store, const char *key, const slot_t **slot)
{
    char *text;
    *slot = NULL;
    const lab_status_t status = lab_store_text(store->storage, LAB_SPACE_IDENTITY, key, 1, &text);
    if (status != LAB_OK) {
        return is_fault(status) ? status : LAB_OK;
    }
    for (size_t number = 0; number < 2; number++) {
        if (strcmp(text, s_slots[number].name) == 0) {
            *slot = &s_slots[number];
        }
    }
    lab_text_free(text);
    return LAB_OK;
}

/* Reads a slot: LAB_OK if key and certificate are there and belong together. */
static lab_status_t read_slot(const lab_store_t *store, const slot_t *slot, lab_identity_t *identity)
{
    *identity = (lab_identity_t){0};
    lab_status_t status =
        lab_store_text(store->storage, LAB_SPACE_IDENTITY, slot->key, LAB_LONGEST_PEM, &identity->key);
    if (status == LAB_OK) {
        status = lab_store_text(store->storage, LAB_SPACE_IDENTITY, slot->chain, LAB_LONGEST_PEM, &identity->chain);
    }
    if (status == LAB_OK) {
        status = lab_chain_check(lab_span(identity->chain));
    }
    if (status == LAB_OK) {
        status = store->keys->match(store->keys->context, identity->key, identity->chain, &identity->validity);
    }
    if (status != LAB_OK) {
        lab_identity_free(identity);
    }
    return status;
}

/* What the names of the slots say. */
typedef struct {
    const slot_t *used; /* NULL where no slot is in use */
    const slot_t *spare;
    bool filling; /* the spare one is being filled */
} arrangement_t;

static lab_status_t arrange(const lab_store_t *store, arrangement_t *arrangement)
{
    const slot_t *used;
    const slot_t *next;
    lab_status_t status = read_slot_name(store, LAB_AT_IN_USE, &used);
    if (status == LAB_OK) {
        status = read_slot_name(store, LAB_AT_NEXT, &next);
    }
    if (status != LAB_OK) {
        return status;
    }
    /* A factory that made the key itself writes slot a and nothing else. While a first boot fills slot a, `next` names it. */
    if (used == NULL && next != &s_slots[0]) {
        lab_identity_t identity;
        status = read_slot(store, &s_slots[0], &identity);
        used = status == LAB_OK ? &s_slots[0] : NULL;
        lab_identity_free(&identity);
    }
    arrangement->used = used;
    arrangement->spare = used == &s_slots[0] ? &s_slots[1] : &s_slots[0];
    /* After a switch that was cut off, `next` names the slot that is in use by now, and nothing is being filled. */
    arrangement->filling = next == arrangement->spare;
    return is_fault(status) ? status : LAB_OK;
}

static lab_status_t is_stored(const lab_store_t *store, const char *key, bool *found)
{
    size_t room;
    const lab_status_t status = store->storage->text_room(store->storage->context, LAB_SPACE_IDENTITY, key, &room);
    *found = status == LAB_OK;
    return is_fault(status) ? status : LAB_OK;
}

/* Says whether a slot holds an identity. */
static lab_status_t is_whole(const lab_store_t *store, const slot_t *slot, bool *whole)
{
    lab_identity_t identity;
    const lab_status_t status = read_slot(store, slot, &identity);
    *whole = status == LAB_OK;
    lab_identity_free(&identity);
    return is_fault(status) ? status : LAB_OK;
}

static lab_status_t look_at_spare(const lab_store_t *store, const arrangement_t *arrangement, lab_stored_t *stored)
{
    if (!arrangement->filling) {
        return LAB_OK;
    }
    lab_status_t status = is_stored(store, arrangement->spare->key, &stored->staged);
    if (status == LAB_OK && stored->staged) {
        status = is_whole(store, arrangement->spare, &stored->installed);
    }
    return status;
}

lab_status_t lab_store_look(const lab_store_t *store, lab_stored_t *stored)
{
    arrangement_t arrangement;
    lab_stored_t found = {false, false, false, false};
    *stored = found;
    lab_status_t status = arrange(store, &arrangement);
    if (status == LAB_OK) {
        status = is_stored(store, LAB_AT_TOKEN, &found.token);
    }
    if (status == LAB_OK && arrangement.used != NULL) {
        status = is_whole(store, arrangement.used, &found.in_use);
    }
    if (status == LAB_OK) {
        status = look_at_spare(store, &arrangement, &found);
    }
    if (status == LAB_OK) {
        *stored = found;
    }
    return status;
}

/* The service's word on when to renew counts for whichever certificate it can be true of; see lab_renewal_opens. */
static void read_renew_after(const lab_store_t *store, lab_validity_t *validity)
{
    uint64_t number = 0;
    const lab_status_t status =
        store->storage->get_number(store->storage->context, LAB_SPACE_IDENTITY, LAB_AT_RENEW_AFTER, &number);
    validity->renew_after = status == LAB_OK && number <= INT64_MAX ? (int64_t)number : 0;
}

lab_status_t lab_store_current(const lab_store_t *store, lab_identity_t *identity)
{
    arrangement_t arrangement;
    *identity = (lab_identity_t){0};
    lab_status_t status = arrange(store, &arrangement);
    if (status == LAB_OK) {
        status = arrangement.used == NULL ? LAB_NVS_MISSING : read_slot(store, arrangement.used, identity);
    }
    if (status == LAB_OK) {
        read_renew_after(store, &identity->validity);
    }
    return status;
}

lab_status_t lab_store_installed(const lab_store_t *store, lab_identity_t *identity)
{
    arrangement_t arrangement;
    *identity = (lab_identity_t){0};
    lab_status_t status = arrange(store, &arrangement);
    if (status == LAB_OK) {
        status = arrangement.filling ? read_slot(store, arrangement.spare, identity) : LAB_NVS_MISSING;
    }
    return status;
}

static lab_status_t erase(const lab_store_t *store, const char *key)
{
    return store->storage->erase(store->storage->context, LAB_SPACE_IDENTITY, key);
}

static lab_status_t put(const lab_store_t *store, const char *key, const char *text)
{
    return store->storage->set_text(store->storage->context, LAB_SPACE_IDENTITY, key, text);
}

static lab_status_t discard(const lab_store_t *store, const slot_t *slot)
{
    lab_status_t status = erase(store, LAB_AT_NEXT);
    if (status == LAB_OK) {
        status = erase(store, slot->chain);
    }
    if (status == LAB_OK) {
        status = erase(store, slot->key);
    }
    return status;
}

lab_status_t lab_store_discard(const lab_store_t *store)
{
    arrangement_t arrangement;
    const lab_status_t status = arrange(store, &arrangement);
    return status == LAB_OK ? discard(store, arrangement.spare) : status;
}

/* Makes a key and stores it; only then the slot is said to be being filled. */
static lab_status_t make_key(const lab_store_t *store, const slot_t *slot, char **key)
{
    lab_status_t status = discard(store, slot);
    if (status == LAB_OK) {
        status = store->keys->make_key(store->keys->context, key);
    }
    if (status == LAB_OK) {
        status = put(store, slot->key, *key);
    }
    if (status == LAB_OK) {
        status = put(store, LAB_AT_NEXT, slot->name);
    }
    return status;
}

/* Makes the request with the key that is staged already: LAB_KEY_FAILED where there is none, or what is there is no key. */
static lab_status_t request_again(const lab_store_t *store, const slot_t *slot, const char *device, char **request)
{
    char *key;
    lab_status_t status = lab_store_text(store->storage, LAB_SPACE_IDENTITY, slot->key, LAB_LONGEST_PEM, &key);
    if (status != LAB_OK) {
        return is_fault(status) ? status : LAB_KEY_FAILED;
    }
    status = store->keys->make_request(store->keys->context, key, device, request);
    lab_text_free(key);
    return status;
}

static lab_status_t request_anew(const lab_store_t *store, const slot_t *slot, const char *device, char **request)
{
    char *key = NULL;
    lab_status_t status = make_key(store, slot, &key);
    if (status == LAB_OK) {
        status = store->keys->make_request(store->keys->context, key, device, request);
    }
    lab_text_free(key);
    return status;
}

lab_status_t lab_store_stage(const lab_store_t *store, const char *device, char **request)
{
    arrangement_t arrangement;
    *request = NULL;
    lab_status_t status = arrange(store, &arrangement);
    if (status != LAB_OK) {
        return status;
    }
    status = LAB_KEY_FAILED;
    if (arrangement.filling) {
        status = request_again(store, arrangement.spare, device, request);
    }
    return status == LAB_KEY_FAILED ? request_anew(store, arrangement.spare, device, request) : status;
}

lab_status_t lab_store_install(const lab_store_t *store, const char *chain, int64_t renew_after)
{
    arrangement_t arrangement;
    char *key = NULL;
    lab_validity_t validity;
    lab_status_t status = arrange(store, &arrangement);
    if (status == LAB_OK) {
        status = lab_store_text(store->storage, LAB_SPACE_IDENTITY, arrangement.spare->key, LAB_LONGEST_PEM, &key);
    }
    if (status == LAB_OK) {
        status = store->keys->match(store->keys->context, key, chain, &validity);
    }
    lab_text_free(key);
    if (status == LAB_OK && renew_after > 0) {
        status = store->storage->set_u64(store->storage->context, LAB_SPACE_IDENTITY, LAB_AT_RENEW_AFTER,
                                         (uint64_t)renew_after);
    }
    return status == LAB_OK ? put(store, arrangement.spare->chain, chain) : status;
}

lab_status_t lab_store_switch(const lab_store_t *store)
{
    arrangement_t arrangement;
    bool whole = false;
    lab_status_t status = arrange(store, &arrangement);
    if (status == LAB_OK && arrangement.filling) {
        status = is_whole(store, arrangement.spare, &whole);
    }
    if (status != LAB_OK || !whole) {
        return status != LAB_OK ? status : LAB_IDENTITY_MISMATCH;
    }
    status = put(store, LAB_AT_IN_USE, arrangement.spare->name);
    return status == LAB_OK ? erase(store, LAB_AT_NEXT) : status;
}

uint32_t lab_store_share(const lab_store_t *store)
{
    const lab_storage_t *storage = store->storage;
    uint64_t number = 0;
    if (storage->get_number(storage->context, LAB_SPACE_IDENTITY, LAB_AT_SHARE, &number) == LAB_OK) {
        return (uint32_t)number;
    }
    uint8_t bytes[4] = {0};
    if (store->random->fill(store->random->context, bytes, sizeof(bytes)) != LAB_OK) {
        return 0;
    }
    const uint32_t share = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
    (void)storage->set_u32(storage->context, LAB_SPACE_IDENTITY, LAB_AT_SHARE, share); /* drawn anew next time otherwise */
    return share;
}
