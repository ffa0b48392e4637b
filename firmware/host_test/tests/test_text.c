/* The form of a log line, which everybody goes by: this test is the first to fail when it changes. */
#include "lab_text.h"
#include "vectors.h"

#include <string.h>

static void test_the_form_of_a_line(void **state)
{
    (void)state;
    lab_line_t line = lab_line(LAB_JSON_RANGE);
    lab_line_text(&line, "field", lab_span("seconds"));
    lab_line_number(&line, "seconds", -30);
    assert_string_equal("code=json-range field=seconds seconds=-30", line.text);
    assert_int_equal(LAB_JSON_RANGE, line.code);
    assert_int_equal(LAB_LEVEL_WARNING, lab_code_level(line.code));
}

static void test_a_value_stays_a_value(void **state)
{
    (void)state;
    lab_line_t line = lab_line(LAB_COMMAND_UNKNOWN);
    const uint8_t hostile[] = "a b\r\ncode=ok \x1b[31m\xff%n";
    lab_line_text(&line, "command", (lab_span_t){hostile, sizeof(hostile) - 1});
    assert_string_equal("code=command-unknown command=a?b??code?ok??[31m?%n", line.text);
    line = lab_line(LAB_COMMAND_UNKNOWN);
    lab_line_text(&line, "command", lab_span(""));
    assert_string_equal("code=command-unknown command=-", line.text);
}

static void test_a_line_is_cut_off(void **state)
{
    (void)state;
    static uint8_t s_long[1000];
    lab_line_t line = lab_line(LAB_COMMAND_UNKNOWN);
    memset(s_long, 'x', sizeof(s_long));
    lab_line_text(&line, "command", (lab_span_t){s_long, sizeof(s_long)});
    lab_line_number(&line, "more", 1);
    assert_int_equal(LAB_LINE_LENGTH - 1, strlen(line.text));
}

static void test_a_text_is_appended_whole_or_not_at_all(void **state)
{
    (void)state;
    char out[8];
    lab_text_t text = lab_text(out, sizeof(out));
    lab_text_put(&text, "1234");
    lab_text_put(&text, "5678");
    assert_true(text.full);
    lab_text_put(&text, "x");
    assert_string_equal("1234", out);
    text = lab_text(out, sizeof(out));
    lab_text_put(&text, "1234567");
    assert_false(text.full);
    assert_string_equal("1234567", out);
}

static void test_numbers(void **state)
{
    (void)state;
    char out[24];
    const struct {
        int64_t number;
        const char *text;
    } cases[] = {
        {0, "0"}, {-1, "-1"}, {INT64_MAX, "9223372036854775807"}, {INT64_MIN, "-9223372036854775808"}, {100, "100"}};
    for (size_t at = 0; at < sizeof(cases) / sizeof(cases[0]); at++) {
        lab_text_t text = lab_text(out, sizeof(out));
        lab_text_put_number(&text, cases[at].number);
        assert_string_equal(cases[at].text, out);
    }
}

static void test_wiping(void **state)
{
    (void)state;
    char secret[] = "secret";
    const char zero[sizeof(secret)] = {0};
    lab_wipe(secret, sizeof(secret));
    assert_memory_equal(zero, secret, sizeof(secret));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_form_of_a_line),
        cmocka_unit_test(test_a_value_stays_a_value),
        cmocka_unit_test(test_a_line_is_cut_off),
        cmocka_unit_test(test_a_text_is_appended_whole_or_not_at_all),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_wiping),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
