#include "lab_update.h"

#include <string.h>

enum { HALF = LAB_UPDATE_SIGNATURE / 2 };

/* Writes an INTEGER (X.690 §8.3): no needless zeroes in front, and one where the first bit would make it negative. */
static size_t put_integer(const uint8_t number[HALF], uint8_t *out)
{
    size_t skip = 0;
    while (skip < HALF - 1 && number[skip] == 0) {
        skip++;
    }
    const size_t pad = (number[skip] & 0x80) != 0 ? 1 : 0;
    const size_t len = HALF - skip + pad;
    out[0] = 0x02;
    out[1] = (uint8_t)len;
    out[2] = 0;
    memcpy(out + 2 + pad, number + skip, HALF - skip);
    return 2 + len;
}

size_t lab_signature_der(const uint8_t signature[LAB_UPDATE_SIGNATURE], uint8_t out[LAB_SIGNATURE_DER])
{
    size_t len = 2;
    len += put_integer(signature, out + len);
    len += put_integer(signature + HALF, out + len);
    out[0] = 0x30;
    out[1] = (uint8_t)(len - 2);
    return len;
}
