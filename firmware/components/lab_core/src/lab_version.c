#include "lab_update.h"

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

/* Takes a number of at most 65,535 without zeroes in front. */
static bool take_part(lab_span_t *rest, uint16_t *part)
{
    uint32_t number = 0;
    size_t at = 0;
    while (at < rest->len && at < 6 && is_digit(rest->data[at])) {
        number = number * 10 + (uint32_t)(rest->data[at] - '0');
        at++;
    }
    if (at == 0 || number > UINT16_MAX || (at > 1 && rest->data[0] == '0')) {
        return false;
    }
    *part = (uint16_t)number;
    *rest = (lab_span_t){rest->data + at, rest->len - at};
    return true;
}

static bool take_point(lab_span_t *rest)
{
    if (rest->len == 0 || rest->data[0] != '.') {
        return false;
    }
    *rest = (lab_span_t){rest->data + 1, rest->len - 1};
    return true;
}

bool lab_version_read(lab_span_t text, lab_version_t *version)
{
    lab_version_t found = {0, 0, 0};
    lab_span_t rest = text;
    *version = found;
    if (!take_part(&rest, &found.major) || !take_point(&rest)) {
        return false;
    }
    if (!take_part(&rest, &found.minor) || !take_point(&rest)) {
        return false;
    }
    if (!take_part(&rest, &found.patch) || rest.len > 0) {
        return false;
    }
    *version = found;
    return true;
}

void lab_version_write(lab_version_t version, char out[LAB_VERSION_ROOM])
{
    lab_text_t text = lab_text(out, LAB_VERSION_ROOM);
    lab_text_put_number(&text, version.major);
    lab_text_put(&text, ".");
    lab_text_put_number(&text, version.minor);
    lab_text_put(&text, ".");
    lab_text_put_number(&text, version.patch);
}

int lab_version_compare(lab_version_t one, lab_version_t other)
{
    if (one.major != other.major) {
        return one.major < other.major ? -1 : 1;
    }
    if (one.minor != other.minor) {
        return one.minor < other.minor ? -1 : 1;
    }
    return (one.patch > other.patch) - (one.patch < other.patch);
}
