#include "lab_replies.h"

#include <string.h>

static const char s_begin[] = "-----BEGIN CERTIFICATE-----\n";
static const char s_end[] = "-----END CERTIFICATE-----\n";

enum { LINE_LONGEST = 76 };

static bool take_text(lab_span_t *rest, const char *text)
{
    const size_t len = strlen(text);
    if (rest->len < len || memcmp(rest->data, text, len) != 0) {
        return false;
    }
    *rest = (lab_span_t){rest->data + len, rest->len - len};
    return true;
}

static bool is_base64(uint8_t byte)
{
    return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == '+' ||
           byte == '/';
}

/* Takes a line of 1 to 76 characters of base64, up to two = behind them, and its end. */
static bool take_line(lab_span_t *rest)
{
    size_t at = 0;
    while (at < rest->len && at <= LINE_LONGEST && is_base64(rest->data[at])) {
        at++;
    }
    if (at == 0 || at > LINE_LONGEST) {
        return false;
    }
    *rest = (lab_span_t){rest->data + at, rest->len - at};
    if (take_text(rest, "=")) {
        (void)take_text(rest, "=");
    }
    return take_text(rest, "\n");
}

static bool take_certificate(lab_span_t *rest)
{
    if (!take_text(rest, s_begin) || !take_line(rest)) {
        return false;
    }
    while (!take_text(rest, s_end)) {
        if (!take_line(rest)) {
            return false;
        }
    }
    return true;
}

lab_status_t lab_chain_check(lab_span_t chain)
{
    lab_span_t rest = chain;
    for (size_t count = 0; count < LAB_CERTIFICATES_MOST; count++) {
        if (!take_certificate(&rest)) {
            return LAB_REPLY_CHAIN;
        }
        if (rest.len == 0) {
            return LAB_OK;
        }
    }
    return LAB_REPLY_CHAIN;
}
