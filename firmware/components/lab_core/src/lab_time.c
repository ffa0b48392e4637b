#include "lab_replies.h"

#include <string.h>

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int days_of(int year, int month)
{
    static const int s_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && is_leap(year) ? 29 : s_days[month - 1];
}

int64_t lab_time_seconds(int year, int month, int day, int hour, int minute, int second)
{
    int64_t days = day - 1;
    for (int earlier = 1; earlier < month; earlier++) {
        days += days_of(year, earlier);
    }
    const int64_t before = year - 1;
    days += before * 365 + before / 4 - before / 100 + before / 400;
    days -= 719162; /* days from the first year to 1970 */
    return ((days * 24 + hour) * 60 + minute) * 60 + second;
}

/* Reads a number of so many digits; -1 where there are none. */
static int take_number(lab_span_t *rest, size_t digits)
{
    int number = 0;
    if (rest->len < digits) {
        return -1;
    }
    for (size_t at = 0; at < digits; at++) {
        if (rest->data[at] < '0' || rest->data[at] > '9') {
            return -1;
        }
        number = number * 10 + (rest->data[at] - '0');
    }
    *rest = (lab_span_t){rest->data + digits, rest->len - digits};
    return number;
}

static bool take_byte(lab_span_t *rest, char byte)
{
    if (rest->len == 0 || rest->data[0] != (uint8_t)byte) {
        return false;
    }
    *rest = (lab_span_t){rest->data + 1, rest->len - 1};
    return true;
}

/* A fraction of a second is read over: one to nine digits after a point. */
static bool skip_fraction(lab_span_t *rest)
{
    if (!take_byte(rest, '.')) {
        return true;
    }
    size_t digits = 0;
    while (digits < 10 && take_number(rest, 1) >= 0) {
        digits++;
    }
    return digits >= 1 && digits <= 9;
}

static bool between(int number, int low, int high)
{
    return number >= low && number <= high;
}

static bool in_range(const int parts[6])
{
    const bool month = between(parts[0], 2000, 2199) && between(parts[1], 1, 12);
    const bool time = between(parts[3], 0, 23) && between(parts[4], 0, 59) && between(parts[5], 0, 59);
    return month && time && between(parts[2], 1, days_of(parts[0], parts[1]));
}

/* Reads the six numbers, and what stands between them. */
static bool take_parts(lab_span_t *rest, int parts[6])
{
    static const char s_after[] = "--T::";
    for (size_t part = 0; part < 6; part++) {
        parts[part] = take_number(rest, part == 0 ? 4 : 2);
        if (parts[part] < 0 || (part < 5 && !take_byte(rest, s_after[part]))) {
            return false;
        }
    }
    return true;
}

lab_status_t lab_time_read(lab_span_t text, int64_t *seconds)
{
    int parts[6];
    lab_span_t rest = text;
    *seconds = 0;
    if (!take_parts(&rest, parts) || !skip_fraction(&rest) || !in_range(parts)) {
        return LAB_REPLY_TIME;
    }
    if (!lab_span_is(rest, "Z") && !lab_span_is(rest, "+00:00")) {
        return LAB_REPLY_TIME;
    }
    *seconds = lab_time_seconds(parts[0], parts[1], parts[2], parts[3], parts[4], parts[5]);
    return LAB_OK;
}
