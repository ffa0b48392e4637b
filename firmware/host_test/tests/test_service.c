/* First boot and renewal against a service, with the power cut, replies lost, and answers that are none. */
#include "fake_service.h"
#include "lab_service.h"
#include "vectors.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    fake_board_t board;
    fake_service_t fake;
    lab_storage_t storage;
    lab_keys_t keys;
    lab_random_t random;
    lab_store_t store;
    lab_http_t http;
    lab_service_t service;
} world_t;

static void begin(world_t *world)
{
    fake_board_init(&world->board);
    fake_service_init(&world->fake, &world->board);
    world->storage = fake_storage(&world->board);
    world->keys = fake_keys(&world->board);
    world->random = fake_random(&world->board);
    world->store = (lab_store_t){&world->storage, &world->keys, &world->random};
    world->http = fake_http(&world->fake);
    world->service = (lab_service_t){&world->store, &world->http, "https://provisioning.local", "ROOT", "sensor-001"};
    fake_board_put_text(&world->board, "identity", "device_id", "sensor-001");
    fake_board_put_text(&world->board, "identity", "token", "good-token");
}

/* The identity that the device would connect with is the one that the service takes. */
static void expect_good_identity(world_t *world)
{
    char key[64];
    lab_identity_t identity;
    assert_int_equal(LAB_OK, lab_store_current(&world->store, &identity));
    fake_key(world->fake.current, key);
    assert_string_equal(key, identity.key);
    lab_identity_free(&identity);
}

static void test_first_boot(void **state)
{
    (void)state;
    world_t world;
    lab_identity_t identity;
    begin(&world);
    assert_int_equal(LAB_ENROL_DONE, lab_service_enrol(&world.service));
    expect_good_identity(&world);
    assert_null(fake_board_text(&world.board, "identity", "token"));
    assert_int_equal(LAB_OK, lab_store_current(&world.store, &identity));
    assert_true(identity.validity.renew_after == 1806537600); /* 2027-04-01 */
    lab_identity_free(&identity);
    assert_int_equal(1, fake_log_count(LAB_ENROL_DONE));
    assert_null(strstr(fake_log(), "good-token"));
    /* The second boot asks nobody. */
    const int requests = world.fake.requests;
    assert_int_equal(LAB_OK, lab_service_enrol(&world.service));
    assert_int_equal(requests, world.fake.requests);
    fake_board_free(&world.board);
}

static void test_power_cut_at_every_operation_of_the_first_boot(void **state)
{
    (void)state;
    int whole = -1;
    for (int cut = 0; whole < 0; cut++) {
        world_t world;
        begin(&world);
        world.board.cut_after = cut;
        const lab_status_t first = lab_service_enrol(&world.service);
        whole = first == LAB_ENROL_DONE ? cut : -1;
        fake_board_power_on(&world.board);
        const lab_status_t second = lab_service_enrol(&world.service);
        assert_true(second == LAB_OK || second == LAB_ENROL_DONE);
        expect_good_identity(&world);
        assert_null(fake_board_text(&world.board, "identity", "token"));
        assert_int_equal(1, world.fake.spent_on > 0); /* the token was spent on one key, whatever happened */
        fake_board_free(&world.board);
    }
    assert_true(whole >= 7);
}

static void test_a_lost_reply_of_the_first_boot(void **state)
{
    (void)state;
    world_t world;
    begin(&world);
    world.fake.lose_reply = 1;
    assert_int_equal(LAB_SERVICE_UNREACHABLE, lab_service_enrol(&world.service));
    assert_string_equal("good-token", fake_board_text(&world.board, "identity", "token"));
    assert_int_equal(LAB_ENROL_DONE, lab_service_enrol(&world.service));
    assert_int_equal(1, world.board.keys_made);
    expect_good_identity(&world);
    fake_board_free(&world.board);
}

/* Each of these is refused with its code, one line of the log, and everything still in its place. */
static void test_answers_that_are_none(void **state)
{
    (void)state;
    static const struct {
        int http_status;
        const char *body;
        lab_status_t expected;
    } s_cases[] = {
        {403, "{\"code\":\"token-expired\"}", LAB_SERVICE_REFUSED},
        {409, "{\"code\":\"token-spent\"}", LAB_SERVICE_REFUSED},
        {429, "{\"code\":\"rate-limited\"}", LAB_SERVICE_LATER},
        {503, "", LAB_SERVICE_LATER},
        {302, "", LAB_SERVICE_REFUSED},
        {200, "", LAB_JSON_SYNTAX},
        {200, "<html>", LAB_JSON_SYNTAX},
        {200, "{\"device_id\":\"sensor-002\",\"chain\":\"x\",\"renew_after\":\"2027-01-01T00:00:00Z\"}", LAB_REPLY_DEVICE},
        {200, "{\"device_id\":\"sensor-001\",\"chain\":\"x\",\"renew_after\":\"2027-01-01T00:00:00Z\"}", LAB_REPLY_CHAIN},
        {200,
         "{\"device_id\":\"sensor-001\",\"chain\":\"-----BEGIN CERTIFICATE-----\\nKEY9\\n-----END "
         "CERTIFICATE-----\\n\",\"renew_after\":\"2027-01-01T00:00:00Z\"}",
         LAB_IDENTITY_MISMATCH},
        {200,
         "{\"device_id\":\"sensor-001\",\"chain\":\"-----BEGIN CERTIFICATE-----\\nKEY1\\n-----END "
         "CERTIFICATE-----\\n\",\"renew_after\":\"soon\"}",
         LAB_REPLY_TIME},
    };
    for (size_t at = 0; at < sizeof(s_cases) / sizeof(s_cases[0]); at++) {
        world_t world;
        begin(&world);
        world.fake.http_status = s_cases[at].http_status;
        world.fake.body = s_cases[at].body;
        assert_int_equal(s_cases[at].expected, lab_service_enrol(&world.service));
        assert_int_equal(1, fake_log_count(s_cases[at].expected));
        assert_string_equal("good-token", fake_board_text(&world.board, "identity", "token"));
        assert_null(fake_board_text(&world.board, "identity", "chain"));
        assert_null(fake_board_text(&world.board, "identity", "in_use"));
        assert_null(strstr(fake_log(), "good-token"));
        /* The positive control: the same device, an honest service. */
        world.fake.http_status = 0;
        assert_int_equal(LAB_ENROL_DONE, lab_service_enrol(&world.service));
        fake_board_free(&world.board);
    }
}

static void test_a_reply_without_an_end(void **state)
{
    (void)state;
    static char s_long[LAB_REPLY_LONGEST + 200];
    world_t world;
    begin(&world);
    memset(s_long, ' ', sizeof(s_long) - 1);
    world.fake.http_status = 200;
    world.fake.body = "{";
    world.fake.update = (const uint8_t *)s_long;
    world.fake.update_len = sizeof(s_long);
    world.service.url = "https://provisioning.local/a.bin";
    assert_int_equal(LAB_JSON_TOO_LONG, lab_service_enrol(&world.service));
    assert_string_equal("good-token", fake_board_text(&world.board, "identity", "token"));
    fake_board_free(&world.board);
}

static void test_tokens_of_all_kinds(void **state)
{
    (void)state;
    static const char s_odd[] = "a\"b\\c\nd\x01\xc3\xa4";
    world_t world;
    begin(&world);
    fake_board_put_text(&world.board, "identity", "token", s_odd);
    world.fake.token = s_odd; /* cJSON reads it out of the body */
    assert_int_equal(LAB_ENROL_DONE, lab_service_enrol(&world.service));
    fake_board_free(&world.board);
    begin(&world);
    fake_board_put_text(&world.board, "identity", "token", "");
    assert_int_equal(LAB_SERVICE_REFUSED, lab_service_enrol(&world.service));
    fake_board_free(&world.board);
}

static void test_no_token_and_no_identity(void **state)
{
    (void)state;
    world_t world;
    begin(&world);
    assert_int_equal(LAB_OK, world.storage.erase(world.storage.context, "identity", "token"));
    assert_int_equal(LAB_BOOT_NO_TOKEN, lab_service_enrol(&world.service));
    assert_int_equal(0, world.fake.requests);
    fake_board_free(&world.board);
}

static void begin_enrolled(world_t *world)
{
    begin(world);
    assert_int_equal(LAB_ENROL_DONE, lab_service_enrol(&world->service));
    world->board.operations = 0;
}

static void test_renewal(void **state)
{
    (void)state;
    world_t world;
    begin_enrolled(&world);
    const int before = world.fake.current;
    assert_int_equal(LAB_RENEW_DONE, lab_service_renew(&world.service));
    assert_int_not_equal(before, world.fake.current);
    expect_good_identity(&world);
    assert_int_equal(1, fake_log_count(LAB_RENEW_DONE));
    fake_board_free(&world.board);
}

static void test_power_cut_at_every_operation_of_a_renewal(void **state)
{
    (void)state;
    int whole = -1;
    for (int cut = 0; whole < 0; cut++) {
        world_t world;
        begin_enrolled(&world);
        world.board.cut_after = cut;
        (void)lab_service_renew(&world.service);
        whole = world.board.dead ? -1 : cut;
        fake_board_power_on(&world.board);
        assert_int_equal(LAB_RENEW_DONE, lab_service_renew(&world.service));
        expect_good_identity(&world);
        fake_board_free(&world.board);
    }
    assert_true(whole >= 9);
}

static void test_each_reply_of_a_renewal_lost(void **state)
{
    (void)state;
    for (int lost = 2; lost <= 3; lost++) { /* the first one was the enrolment's */
        world_t world;
        begin_enrolled(&world);
        world.fake.lose_reply = lost;
        assert_int_equal(LAB_SERVICE_UNREACHABLE, lab_service_renew(&world.service));
        assert_int_equal(LAB_RENEW_DONE, lab_service_renew(&world.service));
        expect_good_identity(&world);
        assert_int_equal(2, world.board.keys_made);
        fake_board_free(&world.board);
    }
}

static void test_a_refused_renewal_leaves_the_identity(void **state)
{
    (void)state;
    world_t world;
    begin_enrolled(&world);
    world.fake.http_status = 403;
    world.fake.body = "{\"code\":\"renewal-not-due\"}";
    assert_int_equal(LAB_SERVICE_REFUSED, lab_service_renew(&world.service));
    expect_good_identity(&world);
    assert_non_null(strstr(fake_log(), "code=service-refused path=/renew http=403 reason=renewal-not-due"));
    lab_stored_t stored;
    assert_int_equal(LAB_OK, lab_store_look(&world.store, &stored));
    assert_true(stored.in_use && !stored.staged);
    fake_board_free(&world.board);
}

/* The grant was lost on its way, and the next answer is a refusal that says nothing about it: a second key would look like a clone. */
static void test_a_refused_renewal_keeps_a_key_that_may_have_its_certificate(void **state)
{
    (void)state;
    static const char *const s_reasons[] = {"device-suspended", "certificate-revoked", "internal"};
    for (size_t at = 0; at < sizeof(s_reasons) / sizeof(s_reasons[0]); at++) {
        char body[100];
        world_t world;
        begin_enrolled(&world);
        world.fake.lose_reply = 2;
        assert_int_equal(LAB_SERVICE_UNREACHABLE, lab_service_renew(&world.service));
        world.fake.http_status = 403;
        snprintf(body, sizeof(body), "{\"code\":\"%s\"}", s_reasons[at]);
        world.fake.body = body;
        assert_int_equal(LAB_SERVICE_REFUSED, lab_service_renew(&world.service));
        world.fake.http_status = 0;
        assert_int_equal(LAB_RENEW_DONE, lab_service_renew(&world.service));
        assert_int_equal(2, world.board.keys_made);
        expect_good_identity(&world);
        fake_board_free(&world.board);
    }
}

static void test_settings(void **state)
{
    (void)state;
    world_t world;
    lab_identity_t identity;
    lab_configured_t configured;
    begin_enrolled(&world);
    world.fake.interval = 120;
    assert_int_equal(LAB_OK, lab_service_config(&world.service, &configured));
    assert_int_equal(120, configured.interval);
    uint64_t interval = 0;
    assert_int_equal(LAB_OK, world.storage.get_number(world.storage.context, "settings", "interval", &interval));
    assert_int_equal(120, interval);
    assert_int_equal(1, fake_log_count(LAB_CONFIG_DONE));
    assert_int_equal(LAB_OK, lab_store_current(&world.store, &identity));
    assert_true(identity.validity.renew_after == configured.renew_after);
    lab_identity_free(&identity);
    fake_board_free(&world.board);
}

/* Whatever is answered instead of settings: one line says why, and what was set before counts. */
static void test_settings_that_are_none(void **state)
{
    (void)state;
    static const struct {
        int http_status;
        const char *body;
        lab_status_t expected;
    } s_cases[] = {
        {200, "{", LAB_JSON_SYNTAX},
        {200, "{\"device_id\":\"sensor-002\"}", LAB_REPLY_DEVICE},
        {200, "{\"device_id\":\"sensor-001\",\"settings\":{\"telemetry_seconds\":1}}", LAB_JSON_RANGE},
        {200, "{\"device_id\":\"sensor-001\",\"settings\":{\"telemetry_seconds\":9},\"renew_after\":\"x\"}", LAB_REPLY_TIME},
        {403, "{\"code\":\"certificate-revoked\"}", LAB_SERVICE_REFUSED},
        {503, "", LAB_SERVICE_LATER},
    };
    for (size_t at = 0; at < sizeof(s_cases) / sizeof(s_cases[0]); at++) {
        world_t world;
        lab_configured_t configured;
        uint64_t interval = 0;
        begin_enrolled(&world);
        fake_board_put_number(&world.board, "settings", "interval", 77);
        world.fake.http_status = s_cases[at].http_status;
        world.fake.body = s_cases[at].body;
        assert_int_equal(s_cases[at].expected, lab_service_config(&world.service, &configured));
        assert_int_equal(1, fake_log_count(s_cases[at].expected));
        assert_int_equal(LAB_OK, world.storage.get_number(world.storage.context, "settings", "interval", &interval));
        assert_int_equal(77, interval);
        assert_int_equal(0, world.board.operations);
        expect_good_identity(&world);
        fake_board_free(&world.board);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_boot),
        cmocka_unit_test(test_power_cut_at_every_operation_of_the_first_boot),
        cmocka_unit_test(test_a_lost_reply_of_the_first_boot),
        cmocka_unit_test(test_answers_that_are_none),
        cmocka_unit_test(test_a_reply_without_an_end),
        cmocka_unit_test(test_tokens_of_all_kinds),
        cmocka_unit_test(test_no_token_and_no_identity),
        cmocka_unit_test(test_renewal),
        cmocka_unit_test(test_power_cut_at_every_operation_of_a_renewal),
        cmocka_unit_test(test_each_reply_of_a_renewal_lost),
        cmocka_unit_test(test_a_refused_renewal_leaves_the_identity),
        cmocka_unit_test(test_a_refused_renewal_keeps_a_key_that_may_have_its_certificate),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_settings_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
