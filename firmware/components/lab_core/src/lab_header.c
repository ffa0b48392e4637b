#include "lab_update.h"

#include "lab_id.h"

#include <string.h>

static const uint8_t s_magic[8] = "LABUPD1";

enum { ECDSA_P256 = 1 };

/* Where each field stands (docs/formats/update.md). */
enum {
    AT_LENGTH = 8,
    AT_ALGORITHM = 10,
    AT_KEY_ID = 12,
    AT_PRODUCT = 20,
    AT_HARDWARE_MIN = 52,
    AT_HARDWARE_MAX = 54,
    AT_VERSION = 56,
    AT_RESERVED = 62,
    AT_SECURE_VERSION = 64,
    AT_SIZE = 68,
    AT_DIGEST = 72,
    AT_RESERVED_REST = AT_DIGEST + LAB_DIGEST,
};

static uint16_t u16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static uint32_t u32(const uint8_t *at)
{
    return (uint32_t)u16(at) | (uint32_t)u16(at + 2) << 16;
}

static bool all_zero(const uint8_t *at, size_t len)
{
    uint8_t sum = 0;
    for (size_t number = 0; number < len; number++) {
        sum = (uint8_t)(sum | at[number]);
    }
    return sum == 0;
}

bool lab_product_check(lab_span_t product)
{
    return product.len > 0 && product.len < LAB_PRODUCT_ROOM && lab_word_check(product);
}

/* The product's field ends with zeroes, at least one, and nothing stands behind them. */
static bool check_product_field(const uint8_t *field)
{
    size_t len = 0;
    while (len < LAB_PRODUCT_ROOM && field[len] != 0) {
        len++;
    }
    return len < LAB_PRODUCT_ROOM && all_zero(field + len, LAB_PRODUCT_ROOM - len) &&
           lab_product_check((lab_span_t){field, len});
}

static lab_status_t check_form(const uint8_t *data)
{
    if (memcmp(data, s_magic, sizeof(s_magic)) != 0) {
        return LAB_HEADER_MAGIC;
    }
    if (u16(data + AT_LENGTH) != LAB_UPDATE_HEADER) {
        return LAB_HEADER_LENGTH;
    }
    if (u16(data + AT_ALGORITHM) != ECDSA_P256) {
        return LAB_HEADER_ALGORITHM;
    }
    if (u16(data + AT_RESERVED) != 0 || !all_zero(data + AT_RESERVED_REST, LAB_UPDATE_SIGNED - AT_RESERVED_REST)) {
        return LAB_HEADER_RESERVED;
    }
    return LAB_OK;
}

static lab_status_t check_values(const uint8_t *data)
{
    if (!check_product_field(data + AT_PRODUCT)) {
        return LAB_HEADER_PRODUCT;
    }
    if (u16(data + AT_HARDWARE_MIN) > u16(data + AT_HARDWARE_MAX)) {
        return LAB_HEADER_HARDWARE;
    }
    return u32(data + AT_SIZE) < LAB_UPDATE_SMALLEST ? LAB_HEADER_SIZE : LAB_OK;
}

lab_status_t lab_header_read(const uint8_t data[LAB_UPDATE_HEADER], lab_header_t *header)
{
    memset(header, 0, sizeof(*header));
    lab_status_t status = check_form(data);
    if (status == LAB_OK) {
        status = check_values(data);
    }
    if (status != LAB_OK) {
        return status;
    }
    memcpy(header->product, data + AT_PRODUCT, LAB_PRODUCT_ROOM);
    header->hardware_min = u16(data + AT_HARDWARE_MIN);
    header->hardware_max = u16(data + AT_HARDWARE_MAX);
    header->version = (lab_version_t){u16(data + AT_VERSION), u16(data + AT_VERSION + 2), u16(data + AT_VERSION + 4)};
    header->secure_version = u32(data + AT_SECURE_VERSION);
    header->size = u32(data + AT_SIZE);
    memcpy(header->digest, data + AT_DIGEST, LAB_DIGEST);
    memcpy(header->key_id, data + AT_KEY_ID, LAB_KEY_ID);
    return LAB_OK;
}

bool lab_header_same(const lab_header_t *one, const lab_header_t *other)
{
    const bool names = strcmp(one->product, other->product) == 0;
    const bool hardware = one->hardware_min == other->hardware_min && one->hardware_max == other->hardware_max;
    const bool versions = lab_version_compare(one->version, other->version) == 0 &&
                          one->secure_version == other->secure_version;
    const bool image = one->size == other->size && memcmp(one->digest, other->digest, LAB_DIGEST) == 0;
    return names && hardware && versions && image && memcmp(one->key_id, other->key_id, LAB_KEY_ID) == 0;
}
