/* Updates: the signed header, the policy, and the stream; docs/formats/update.md is the format.
 *
 * labkit/firmware/update.py and update_stream.py take and refuse the same bytes with the same codes. */
#ifndef LAB_UPDATE_H
#define LAB_UPDATE_H

#include "lab_layout.h"
#include "lab_text.h"

enum {
    LAB_UPDATE_SIGNED = 128,
    LAB_UPDATE_SIGNATURE = 64,
    LAB_UPDATE_HEADER = LAB_UPDATE_SIGNED + LAB_UPDATE_SIGNATURE,
    LAB_UPDATE_FORMAT = 1,
    LAB_UPDATE_SMALLEST = 1024,
    LAB_PRODUCT_ROOM = 32,
    LAB_KEY_ID = 8,
    LAB_DIGEST = 32,
    LAB_PATH_ROOM = 201,
    LAB_MANIFEST_LONGEST = 2048,
    LAB_VERSION_ROOM = LAB_LONGEST_VERSION + 1,
};

typedef struct {
    uint16_t major;
    uint16_t minor;
    uint16_t patch;
} lab_version_t;

/* Reads a text like 1.4.2; false, and 0.0.0, for any other. */
bool lab_version_read(lab_span_t text, lab_version_t *version);

void lab_version_write(lab_version_t version, char out[LAB_VERSION_ROOM]);

/* Returns less than, equal to or greater than 0, as strcmp does. */
int lab_version_compare(lab_version_t one, lab_version_t other);

/* What an update says of itself. */
typedef struct {
    char product[LAB_PRODUCT_ROOM];
    uint16_t hardware_min;
    uint16_t hardware_max;
    lab_version_t version;
    uint32_t secure_version;
    uint32_t size;
    uint8_t digest[LAB_DIGEST];
    uint8_t key_id[LAB_KEY_ID];
} lab_header_t;

/* Reads a header. Returns LAB_HEADER_… for the first thing that is wrong with it; `header` is then zero.
 *
 * Does not check: the signature. */
lab_status_t lab_header_read(const uint8_t data[LAB_UPDATE_HEADER], lab_header_t *header);

/* Returns whether a text can be a product's name: 1 to 31 of a-z, 0-9 and -, no - in front. */
bool lab_product_check(lab_span_t product);

bool lab_header_same(const lab_header_t *one, const lab_header_t *other);

/* The device that an update is for. */
typedef struct {
    const char *product;
    uint16_t hardware;
    lab_version_t version;
    uint32_t secure_version; /* the lowest that it still takes */
    uint32_t slot_size;
    bool has_rolled_back;
    lab_version_t rolled_back; /* the version that did not prove itself on this device */
} lab_target_t;

/* Returns LAB_OK, or why the device should not take an update.
 *
 * Does not check: the signature, and the image itself. */
lab_status_t lab_update_decide(const lab_header_t *header, const lab_target_t *target);

typedef struct {
    char path[LAB_PATH_ROOM];
    lab_header_t header; /* what the header will say */
} lab_manifest_t;

/* Reads a manifest. Returns LAB_MANIFEST_FORMAT, LAB_MANIFEST_PATH, LAB_HEADER_PRODUCT or a code LAB_JSON_….
 *
 * Does not check: who wrote it. It is advice; the signed header decides, and has to agree. */
lab_status_t lab_manifest_read(lab_span_t data, lab_manifest_t *manifest);

/* The cryptography of an update. */
typedef struct {
    void *context;
    /* Verifies a signature with the key that an id names. LAB_KEY_REVOKED, LAB_KEY_UNKNOWN or LAB_SIGNATURE_WRONG go to
     * `code`; the verdict alone counts. */
    lab_verdict_t (*verify)(void *context, const uint8_t key_id[LAB_KEY_ID], lab_span_t message,
                            const uint8_t signature[LAB_UPDATE_SIGNATURE], lab_status_t *code);
    /* One SHA-256 at a time: begin drops what was there. */
    lab_status_t (*hash_begin)(void *context);
    lab_status_t (*hash_more)(void *context, lab_span_t data);
    lab_status_t (*hash_end)(void *context, uint8_t digest[LAB_DIGEST]);
} lab_update_crypto_t;

/* An update that comes in chunks of any size. */
typedef struct {
    const lab_update_crypto_t *crypto;
    const lab_target_t *target;
    const lab_manifest_t *manifest; /* NULL where there was none */
    uint8_t head[LAB_UPDATE_HEADER];
    size_t head_len;
    lab_header_t header;
    lab_verdict_t header_verdict;
    uint32_t received;
    lab_status_t refusal;
} lab_update_stream_t;

void lab_update_begin(lab_update_stream_t *stream, const lab_update_crypto_t *crypto, const lab_target_t *target,
                      const lab_manifest_t *manifest);

/* Takes a chunk; `image` is the part of it that belongs into the slot. After a refusal every further call refuses as well. */
lab_status_t lab_update_feed(lab_update_stream_t *stream, lab_span_t chunk, lab_span_t *image);

/* Gives the verdict, once, of an update that is whole; also to be called where the rest of it never came. Only LAB_VERDICT_ACCEPTED lets
 * the slot be booted.
 *
 * Does not check: that the image boots. The bootloader looks at it, and the device rolls back if it can't connect. */
lab_verdict_t lab_update_end(lab_update_stream_t *stream, lab_status_t *code);

/* Writes a signature of r and s as DER, as most libraries want it; returns its length, at most LAB_SIGNATURE_DER. */
enum { LAB_SIGNATURE_DER = 72 };
size_t lab_signature_der(const uint8_t signature[LAB_UPDATE_SIGNATURE], uint8_t out[LAB_SIGNATURE_DER]);

#endif
