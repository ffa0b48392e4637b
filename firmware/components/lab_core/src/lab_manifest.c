#include "lab_json.h"
#include "lab_update.h"

#include <string.h>

static bool is_path_byte(char byte)
{
    const bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
    return letter || (byte >= '0' && byte <= '9') || (byte != '\0' && strchr("._/-", byte) != NULL);
}

/* Below /updates/ on the same server, and nothing that another program could read in another way. */
static bool check_path(const char *path)
{
    static const char s_prefix[] = "/updates/";
    if (strncmp(path, s_prefix, sizeof(s_prefix) - 1) != 0 || path[sizeof(s_prefix) - 1] == '\0') {
        return false;
    }
    for (const char *at = path; *at != '\0'; at++) {
        if (!is_path_byte(*at)) {
            return false;
        }
    }
    return strstr(path, "..") == NULL && strstr(path, "//") == NULL;
}

static int hex_digit(char digit)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* Reads so many bytes in hexadecimal, small letters, no more and no fewer. */
static lab_status_t read_hex(lab_json_t object, const char *name, uint8_t *out, size_t size)
{
    char text[2 * LAB_DIGEST + 1];
    const lab_status_t status = lab_json_text(object, name, text, 2 * size + 1);
    if (status != LAB_OK) {
        return status;
    }
    if (strlen(text) != 2 * size) {
        return LAB_JSON_RANGE;
    }
    for (size_t at = 0; at < size; at++) {
        const int high = hex_digit(text[2 * at]);
        const int low = hex_digit(text[2 * at + 1]);
        if (high < 0 || low < 0) {
            return LAB_JSON_RANGE;
        }
        out[at] = (uint8_t)(high * 16 + low);
    }
    return LAB_OK;
}

static lab_status_t read_u16(lab_json_t object, const char *name, uint16_t *out)
{
    int64_t number;
    const lab_status_t status = lab_json_integer(object, name, 0, UINT16_MAX, &number);
    *out = (uint16_t)number;
    return status;
}

static lab_status_t read_u32(lab_json_t object, const char *name, int64_t low, uint32_t *out)
{
    int64_t number;
    const lab_status_t status = lab_json_integer(object, name, low, UINT32_MAX, &number);
    *out = (uint32_t)number;
    return status;
}

static lab_status_t read_path(lab_json_t object, lab_manifest_t *manifest)
{
    uint16_t format;
    lab_status_t status = read_u16(object, "format", &format);
    if (status == LAB_OK && format != LAB_UPDATE_FORMAT) {
        status = LAB_MANIFEST_FORMAT;
    }
    if (status == LAB_OK) {
        status = lab_json_text(object, "path", manifest->path, sizeof(manifest->path));
    }
    if (status == LAB_OK && !check_path(manifest->path)) {
        status = LAB_MANIFEST_PATH;
    }
    return status;
}

static lab_status_t read_product(lab_json_t object, lab_header_t *header)
{
    const lab_status_t status = lab_json_text(object, "product", header->product, LAB_PRODUCT_ROOM);
    if (status != LAB_OK) {
        return status;
    }
    return lab_product_check(lab_span(header->product)) ? LAB_OK : LAB_HEADER_PRODUCT;
}

static lab_status_t read_versions(lab_json_t object, lab_header_t *header)
{
    char text[LAB_VERSION_ROOM];
    lab_status_t status = read_u16(object, "hardware_min", &header->hardware_min);
    if (status == LAB_OK) {
        status = read_u16(object, "hardware_max", &header->hardware_max);
    }
    if (status == LAB_OK) {
        status = lab_json_text(object, "version", text, sizeof(text));
    }
    if (status == LAB_OK && !lab_version_read(lab_span(text), &header->version)) {
        status = LAB_JSON_RANGE;
    }
    if (status == LAB_OK) {
        status = read_u32(object, "secure_version", 0, &header->secure_version);
    }
    return status;
}

static lab_status_t read_image(lab_json_t object, lab_header_t *header)
{
    lab_status_t status = read_u32(object, "size", 1, &header->size);
    if (status == LAB_OK) {
        status = read_hex(object, "sha256", header->digest, LAB_DIGEST);
    }
    if (status == LAB_OK) {
        status = read_hex(object, "key_id", header->key_id, LAB_KEY_ID);
    }
    return status;
}

lab_status_t lab_manifest_read(lab_span_t data, lab_manifest_t *manifest)
{
    lab_json_t object;
    memset(manifest, 0, sizeof(*manifest));
    lab_status_t status = lab_json_open(data, LAB_MANIFEST_LONGEST, &object);
    if (status == LAB_OK) {
        status = read_path(object, manifest);
    }
    if (status == LAB_OK) {
        status = read_product(object, &manifest->header);
    }
    if (status == LAB_OK) {
        status = read_versions(object, &manifest->header);
    }
    if (status == LAB_OK) {
        status = read_image(object, &manifest->header);
    }
    if (status != LAB_OK) {
        memset(manifest, 0, sizeof(*manifest));
    }
    return status;
}
