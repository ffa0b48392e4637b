/* Every status of the core and every word of the log, in one table.
 *
 * A code is stable: tests, lessons and operators look for it. labkit/node/codes.py has the same table with the meaning
 * of each, and a test compares the two.
 */
#ifndef LAB_CODES_H
#define LAB_CODES_H

#include <stdbool.h>

/* clang-format off */
#define LAB_CODES(X) \
    /* Names */ \
    X(ID_EMPTY, "id-empty", ERROR) \
    X(ID_TOO_LONG, "id-too-long", ERROR) \
    X(ID_NOT_ASCII, "id-not-ascii", ERROR) \
    X(ID_PATH, "id-path", ERROR) \
    X(ID_SEPARATOR, "id-separator", ERROR) \
    X(ID_WILDCARD, "id-wildcard", ERROR) \
    X(ID_SUBSTITUTION, "id-substitution", ERROR) \
    X(ID_RESERVED, "id-reserved", ERROR) \
    X(ID_GRAMMAR, "id-grammar", ERROR) \
    /* What comes in as JSON */ \
    X(JSON_TOO_LONG, "json-too-long", WARNING) \
    X(JSON_SYNTAX, "json-syntax", WARNING) \
    X(JSON_FIELD_MISSING, "json-field-missing", WARNING) \
    X(JSON_FIELD_UNKNOWN, "json-field-unknown", WARNING) \
    X(JSON_FIELD_TWICE, "json-field-twice", WARNING) \
    X(JSON_FIELD_KIND, "json-field-kind", WARNING) \
    X(JSON_RANGE, "json-range", WARNING) \
    /* Commands */ \
    X(COMMAND_NOT_OURS, "command-not-ours", WARNING) \
    X(COMMAND_UNKNOWN, "command-unknown", WARNING) \
    X(COMMAND_RETAINED, "command-retained", WARNING) \
    X(COMMAND_DONE, "command-done", INFO) \
    /* Readings */ \
    X(READING_FAILED, "reading-failed", WARNING) \
    X(READING_RANGE, "reading-range", WARNING) \
    X(TELEMETRY_SENT, "telemetry-sent", INFO) \
    /* Booting */ \
    X(BOOT_UNPROVISIONED, "boot-unprovisioned", INFO) \
    X(BOOT_PROVISIONED, "boot-provisioned", INFO) \
    X(BOOT_RENEWING, "boot-renewing", INFO) \
    X(BOOT_UPDATING, "boot-updating", INFO) \
    X(BOOT_ROLLED_BACK, "boot-rolled-back", WARNING) \
    X(BOOT_NO_TOKEN, "boot-no-token", ERROR) \
    X(TRUST_MISSING, "trust-missing", ERROR) \
    /* Network and time */ \
    X(NETWORK_UP, "network-up", INFO) \
    X(NETWORK_DOWN, "network-down", WARNING) \
    X(NETWORK_NO_CREDENTIALS, "network-no-credentials", ERROR) \
    X(CLOCK_SET, "clock-set", INFO) \
    X(CLOCK_UNSET, "clock-unset", WARNING) \
    /* The broker */ \
    X(MQTT_CONNECTED, "mqtt-connected", INFO) \
    X(MQTT_DISCONNECTED, "mqtt-disconnected", WARNING) \
    X(MQTT_REFUSED, "mqtt-refused", WARNING) \
    X(MQTT_SUBSCRIBE_REFUSED, "mqtt-subscribe-refused", ERROR) \
    X(TLS_REFUSED, "tls-refused", WARNING) \
    /* Storage */ \
    X(NVS_MISSING, "nvs-missing", WARNING) \
    X(NVS_CONTENT, "nvs-content", ERROR) \
    X(NVS_TOO_LONG, "nvs-too-long", ERROR) \
    X(NVS_FAILED, "nvs-failed", ERROR) \
    X(MEMORY_SHORT, "memory-short", ERROR) \
    /* Keys */ \
    X(RANDOM_FAILED, "random-failed", ERROR) \
    X(KEY_FAILED, "key-failed", ERROR) \
    X(CSR_FAILED, "csr-failed", ERROR) \
    X(IDENTITY_MISMATCH, "identity-mismatch", ERROR) \
    /* The provisioning service */ \
    X(SERVICE_UNREACHABLE, "service-unreachable", WARNING) \
    X(SERVICE_LATER, "service-later", WARNING) \
    X(SERVICE_REFUSED, "service-refused", ERROR) \
    X(REPLY_DEVICE, "reply-device", ERROR) \
    X(REPLY_CHAIN, "reply-chain", ERROR) \
    X(REPLY_TIME, "reply-time", ERROR) \
    X(ENROL_DONE, "enrol-done", INFO) \
    X(CONFIG_DONE, "config-done", INFO) \
    X(RENEW_DUE, "renew-due", INFO) \
    X(RENEW_DONE, "renew-done", INFO) \
    X(RENEW_EXPIRED, "renew-expired", ERROR) \
    X(RENEW_NOT_YET_VALID, "renew-not-yet-valid", WARNING) \
    /* Updates: the manifest */ \
    X(MANIFEST_FORMAT, "manifest-format", WARNING) \
    X(MANIFEST_PATH, "manifest-path", WARNING) \
    X(MANIFEST_DIFFERS, "manifest-differs", WARNING) \
    X(UPDATE_NONE, "update-none", INFO) \
    /* Updates: the signed header */ \
    X(HEADER_SHORT, "header-short", WARNING) \
    X(HEADER_MAGIC, "header-magic", WARNING) \
    X(HEADER_LENGTH, "header-length", WARNING) \
    X(HEADER_ALGORITHM, "header-algorithm", WARNING) \
    X(HEADER_RESERVED, "header-reserved", WARNING) \
    X(HEADER_PRODUCT, "header-product", WARNING) \
    X(HEADER_HARDWARE, "header-hardware", WARNING) \
    X(HEADER_SIZE, "header-size", WARNING) \
    X(KEY_UNKNOWN, "key-unknown", WARNING) \
    X(KEY_REVOKED, "key-revoked", WARNING) \
    X(SIGNATURE_WRONG, "signature-wrong", WARNING) \
    /* Updates: the policy */ \
    X(PRODUCT_WRONG, "product-wrong", WARNING) \
    X(HARDWARE_UNSUPPORTED, "hardware-unsupported", WARNING) \
    X(SECURE_VERSION_OLDER, "secure-version-older", WARNING) \
    X(VERSION_NOT_NEWER, "version-not-newer", INFO) \
    X(VERSION_ROLLED_BACK, "version-rolled-back", WARNING) \
    X(SIZE_TOO_LARGE, "size-too-large", WARNING) \
    /* Updates: the image */ \
    X(IMAGE_SHORT, "image-short", WARNING) \
    X(IMAGE_LONG, "image-long", WARNING) \
    X(IMAGE_DIGEST, "image-digest", WARNING) \
    X(IMAGE_REFUSED, "image-refused", ERROR) \
    X(SLOT_FAILED, "slot-failed", ERROR) \
    X(UPDATE_STAGED, "update-staged", INFO) \
    X(UPDATE_CONFIRMED, "update-confirmed", INFO) \
    X(UPDATE_ROLLING_BACK, "update-rolling-back", ERROR)
/* clang-format on */

typedef enum {
    LAB_OK = 0,
#define LAB_CODE_ENUMERATOR(symbol, name, level) LAB_##symbol,
    LAB_CODES(LAB_CODE_ENUMERATOR)
#undef LAB_CODE_ENUMERATOR
    LAB_CODE_COUNT
} lab_status_t;

typedef enum { LAB_LEVEL_INFO, LAB_LEVEL_WARNING, LAB_LEVEL_ERROR } lab_level_t;

/* The longest word, with its NUL. */
enum { LAB_CODE_ROOM = 33 };

/* Returns the word for a status, "ok" for LAB_OK, and never NULL. */
const char *lab_code_name(lab_status_t code);

/* Returns how much a code matters; LAB_LEVEL_INFO for LAB_OK. */
lab_level_t lab_code_level(lab_status_t code);

/* A verdict on which security rests is one of two patterns far apart, so that neither a zeroed structure nor a single
 * flipped bit is a yes. Compare with LAB_VERDICT_ACCEPTED, and never for "not refused". */
typedef enum {
    LAB_VERDICT_REFUSED = 0x1C3A5A96,
    LAB_VERDICT_ACCEPTED = 0x63C5A569,
} lab_verdict_t;

#endif
