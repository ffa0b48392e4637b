#include "update_vectors.h"

#include <stdlib.h>
#include <string.h>

uint8_t *update_image(const cJSON *one, size_t *len)
{
    size_t rest_len;
    const size_t length = (size_t)vectors_number(one, "length");
    const size_t seed = (size_t)vectors_number(one, "seed");
    const double flip = vectors_number(one, "flip");
    uint8_t *rest = vectors_bytes(one, "rest", &rest_len);
    uint8_t *image = malloc(length + rest_len + 1);
    for (size_t at = 0; at < length; at++) {
        image[at] = (uint8_t)((7 * at + seed) % 251);
    }
    if (flip >= 0) {
        image[(size_t)flip] ^= 1;
    }
    memcpy(image + length, rest, rest_len);
    free(rest);
    *len = length + rest_len;
    return image;
}

uint8_t *update_case(const cJSON *one, size_t *len)
{
    size_t header_len;
    size_t image_len;
    uint8_t *header = vectors_bytes(one, "header", &header_len);
    uint8_t *image = update_image(one, &image_len);
    uint8_t *whole = malloc(header_len + image_len + 1);
    memcpy(whole, header, header_len);
    memcpy(whole + header_len, image, image_len);
    free(header);
    free(image);
    *len = header_len + image_len;
    return whole;
}

lab_target_t update_target(const cJSON *root)
{
    const cJSON *told = cJSON_GetObjectItem(root, "target");
    lab_target_t target = {
        .product = vectors_text(told, "product"),
        .hardware = (uint16_t)vectors_number(told, "hardware"),
        .secure_version = (uint32_t)vectors_number(told, "secure_version"),
        .slot_size = (uint32_t)vectors_number(told, "slot_size"),
        .has_rolled_back = true,
    };
    assert_true(lab_version_read(lab_span(vectors_text(told, "version")), &target.version));
    assert_true(lab_version_read(lab_span(vectors_text(told, "rolled_back")), &target.rolled_back));
    return target;
}
