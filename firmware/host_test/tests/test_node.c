/* The node from its start on: first boot, session, commands, trial, and a clock that runs over. */
#include "fake_crypto.h"
#include "fake_service.h"
#include "lab_node.h"
#include "vectors.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    fake_board_t board;
    fake_service_t fake;
    fake_crypto_t hash;
    lab_storage_t storage;
    lab_clock_t clock;
    lab_random_t random;
    lab_keys_t keys;
    lab_http_t http;
    lab_mqtt_t mqtt;
    lab_slot_t slot;
    lab_sensor_t sensor;
    lab_system_t system;
    lab_update_crypto_t crypto;
    lab_parts_t parts;
    lab_node_t node;
    char root[512];
    uint8_t update[8192];
    char manifest[1024];
} world_t;

static world_t *make(void)
{
    world_t *world = calloc(1, sizeof(*world));
    fake_board_init(&world->board);
    fake_service_init(&world->fake, &world->board);
    world->storage = fake_storage(&world->board);
    world->clock = fake_clock(&world->board);
    world->random = fake_random(&world->board);
    world->keys = fake_keys(&world->board);
    world->http = fake_http(&world->fake);
    world->mqtt = fake_mqtt(&world->board);
    world->slot = fake_slot(&world->board);
    world->sensor = fake_sensor(&world->board);
    world->system = fake_system(&world->board);
    world->crypto = fake_crypto(&world->hash);
    fake_chain(0, world->root);
    world->parts = (lab_parts_t){
        .clock = &world->clock,
        .random = &world->random,
        .storage = &world->storage,
        .keys = &world->keys,
        .http = &world->http,
        .mqtt = &world->mqtt,
        .slot = &world->slot,
        .sensor = &world->sensor,
        .system = &world->system,
        .crypto = &world->crypto,
        .root = world->root,
        .broker_host = "broker.local",
        .broker_port = 8883,
        .provision_url = "https://provisioning.local",
        .update_url = "https://updates.local",
        .trial_seconds = 300,
        .target = {.product = "course-node", .hardware = 1, .version = {1, 0, 0}, .slot_size = 4096},
    };
    fake_board_put_text(&world->board, "identity", "device_id", "sensor-001");
    fake_board_put_text(&world->board, "identity", "token", "good-token");
    return world;
}

static void finish(world_t *world)
{
    lab_node_end(&world->node);
    fake_board_free(&world->board);
    free(world);
}

static void turns(world_t *world, int count)
{
    for (int turn = 0; turn < count; turn++) {
        lab_node_turn(&world->node, 1000);
    }
}

/* A node that has enrolled and is connected. */
static world_t *make_connected(void)
{
    world_t *world = make();
    assert_int_equal(LAB_OK, lab_node_begin(&world->node, &world->parts));
    turns(world, 2);
    assert_int_equal(1, world->board.connects);
    fake_board_event(&world->board, LAB_MQTT_ACCEPTED);
    turns(world, 1);
    assert_true(world->node.session);
    return world;
}

static const fake_message_t *last(const world_t *world)
{
    return &world->board.published[(world->board.published_count - 1) % FAKE_MESSAGES];
}

static void test_from_first_boot_to_the_first_reading(void **state)
{
    (void)state;
    world_t *world = make_connected();
    assert_string_equal("broker.local", world->board.session_host);
    assert_string_equal("devices/sensor-001/commands/#", world->board.subscribed);
    assert_string_equal("devices/sensor-001/status", world->board.published[0].topic);
    assert_string_equal("online", world->board.published[0].payload);
    assert_true(world->board.published[0].retain);
    assert_string_equal("devices/sensor-001/telemetry/environment", last(world)->topic);
    assert_non_null(strstr(last(world)->payload, "\"temp\":22.50,\"hum\":55.00"));
    assert_false(last(world)->retain);
    const char *const order[] = {"boot-unprovisioned", "enrol-done", "config-done", "mqtt-connected", "telemetry-sent"};
    const char *at = fake_log();
    for (size_t number = 0; number < sizeof(order) / sizeof(order[0]); number++) {
        at = strstr(at, order[number]);
        assert_non_null(at);
    }
    assert_null(strstr(fake_log(), "good-token"));
    assert_null(strstr(fake_log(), "KEY"));
    finish(world);
}

static int readings_in(world_t *world, uint32_t seconds)
{
    const int before = fake_log_count(LAB_TELEMETRY_SENT);
    for (const uint32_t from = world->board.ticks; world->board.ticks - from < seconds * 1000;) {
        turns(world, 1);
    }
    return fake_log_count(LAB_TELEMETRY_SENT) - before;
}

static void test_the_interval(void **state)
{
    (void)state;
    world_t *world = make_connected();
    assert_int_equal(5, readings_in(world, 300));
    fake_board_message(&world->board, "devices/sensor-001/commands/interval", "{\"seconds\": 10}", false);
    turns(world, 1);
    assert_int_equal(1, fake_log_count(LAB_COMMAND_DONE));
    assert_int_equal(30, readings_in(world, 300));
    /* It outlives a restart. */
    lab_node_end(&world->node);
    assert_int_equal(LAB_OK, lab_node_begin(&world->node, &world->parts));
    assert_int_equal(10, world->node.interval);
    finish(world);
}

/* After its first boot the device asks what the service has set for it, once; a later command counts more. */
static void test_the_interval_of_the_service(void **state)
{
    (void)state;
    world_t *world = make();
    world->fake.interval = 30;
    assert_int_equal(LAB_OK, lab_node_begin(&world->node, &world->parts));
    turns(world, 2);
    assert_int_equal(30, world->node.interval);
    lab_node_end(&world->node);
    const int requests = world->fake.requests;
    assert_int_equal(LAB_OK, lab_node_begin(&world->node, &world->parts));
    turns(world, 2);
    assert_int_equal(30, world->node.interval);
    assert_int_equal(requests, world->fake.requests);
    finish(world);
}

static void test_a_first_boot_without_settings(void **state)
{
    (void)state;
    world_t *world = make();
    world->fake.lose_reply = 2; /* the one to /config */
    assert_int_equal(LAB_OK, lab_node_begin(&world->node, &world->parts));
    turns(world, 2);
    assert_int_equal(1, fake_log_count(LAB_ENROL_DONE));
    assert_int_equal(1, fake_log_count(LAB_SERVICE_UNREACHABLE));
    assert_int_equal(LAB_INTERVAL_USUAL, world->node.interval);
    assert_int_equal(1, world->board.connects); /* it works all the same */
    finish(world);
}

static void test_commands_that_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *topic;
        const char *payload;
        bool retained;
        lab_status_t expected;
    } s_cases[] = {
        {"devices/sensor-001/commands/interval", "{\"seconds\":4}", false, LAB_JSON_RANGE},
        {"devices/sensor-001/commands/interval", "{\"seconds\":10", false, LAB_JSON_SYNTAX},
        {"devices/sensor-002/commands/interval", "{\"seconds\":10}", false, LAB_COMMAND_NOT_OURS},
        {"devices/sensor-001/commands/format", "", false, LAB_COMMAND_UNKNOWN},
        {"devices/sensor-001/commands/restart", "", true, LAB_COMMAND_RETAINED},
    };
    static char s_long[400];
    world_t *world = make_connected();
    for (size_t at = 0; at < sizeof(s_cases) / sizeof(s_cases[0]); at++) {
        fake_board_message(&world->board, s_cases[at].topic, s_cases[at].payload, s_cases[at].retained);
        turns(world, 1);
        assert_int_equal(1, fake_log_count(s_cases[at].expected));
    }
    memset(s_long, ' ', sizeof(s_long) - 1);
    fake_board_message(&world->board, "devices/sensor-001/commands/interval", s_long, false);
    turns(world, 1);
    assert_int_equal(1, fake_log_count(LAB_JSON_TOO_LONG));
    assert_int_equal(LAB_INTERVAL_USUAL, world->node.interval);
    assert_int_equal(0, fake_log_count(LAB_COMMAND_DONE));
    assert_int_equal(0, world->board.restarts);
    finish(world);
}

static void test_the_other_commands(void **state)
{
    (void)state;
    world_t *world = make_connected();
    const int sent = fake_log_count(LAB_TELEMETRY_SENT);
    fake_board_message(&world->board, "devices/sensor-001/commands/report", "", false);
    turns(world, 1);
    assert_int_equal(sent + 1, fake_log_count(LAB_TELEMETRY_SENT));
    fake_board_message(&world->board, "devices/sensor-001/commands/renew", "{}", false);
    turns(world, 2);
    assert_int_equal(1, fake_log_count(LAB_RENEW_DONE));
    assert_int_equal(2, world->board.connects); /* it comes back with the new identity */
    assert_string_equal("KEY 2", world->board.session_key);
    fake_board_event(&world->board, LAB_MQTT_ACCEPTED);
    turns(world, 1);
    fake_board_message(&world->board, "devices/sensor-001/commands/restart", "", false);
    turns(world, 1);
    assert_int_equal(1, world->board.restarts);
    assert_string_equal("offline", last(world)->payload);
    finish(world);
}

static void test_an_interval_that_cannot_be_kept_is_not_set(void **state)
{
    (void)state;
    world_t *world = make_connected();
    world->board.cut_after = world->board.operations;
    fake_board_message(&world->board, "devices/sensor-001/commands/interval", "{\"seconds\":10}", false);
    turns(world, 1);
    assert_int_equal(LAB_INTERVAL_USUAL, world->node.interval);
    assert_int_equal(1, fake_log_count(LAB_NVS_FAILED));
    finish(world);
}

static void test_waits_grow_and_end_with_success(void **state)
{
    (void)state;
    uint32_t before = 0;
    world_t *world = make_connected();
    world->board.random = UINT32_MAX;
    fake_board_event(&world->board, LAB_MQTT_ENDED);
    turns(world, 1);
    assert_false(world->node.session);
    for (int failure = 1; failure < 12; failure++) {
        const int connects = world->board.connects;
        const uint32_t from = world->board.ticks;
        while (world->board.connects == connects) {
            turns(world, 1);
        }
        const uint32_t waited = world->board.ticks - from;
        assert_true(waited >= before && waited <= 61000);
        before = waited;
        fake_board_event(&world->board, LAB_MQTT_NO_CONNECTION);
        turns(world, 1);
    }
    assert_true(before >= 59000);
    while (!world->node.attempting) {
        turns(world, 1);
    }
    fake_board_event(&world->board, LAB_MQTT_ACCEPTED);
    turns(world, 1);
    assert_int_equal(0, world->node.tries);
    finish(world);
}

/* A client that has no memory for its socket tells nobody: the node does not wait for ever. */
static void test_an_attempt_that_nothing_is_heard_of(void **state)
{
    (void)state;
    world_t *world = make();
    assert_int_equal(LAB_OK, lab_node_begin(&world->node, &world->parts));
    turns(world, 2);
    assert_true(world->node.attempting);
    const int ended = world->board.disconnects;
    assert_int_equal(0, readings_in(world, 110));
    assert_int_equal(1, world->board.connects);
    assert_int_equal(0, readings_in(world, 30));
    assert_int_equal(2, world->board.connects);
    assert_int_equal(ended + 1, world->board.disconnects);
    assert_int_equal(1, fake_log_count(LAB_MQTT_DISCONNECTED));
    fake_board_event(&world->board, LAB_MQTT_ACCEPTED);
    turns(world, 1);
    assert_true(world->node.session);
    finish(world);
}

static void test_the_clock_runs_over(void **state)
{
    (void)state;
    world_t *world = make();
    world->board.ticks = UINT32_MAX - 90000; /* a minute and a half before the end */
    assert_int_equal(LAB_OK, lab_node_begin(&world->node, &world->parts));
    turns(world, 2);
    fake_board_event(&world->board, LAB_MQTT_ACCEPTED);
    turns(world, 1);
    assert_int_equal(10, readings_in(world, 600));
    assert_true(world->node.seconds >= 600 && world->node.seconds < 605);
    finish(world);
}

static world_t *make_on_trial(void)
{
    world_t *world = make_connected();
    lab_node_end(&world->node);
    world->board.pending = true;
    world->parts.target.version = (lab_version_t){1, 1, 0};
    fake_board_put_text(&world->board, "update", "tried", "1.1.0");
    assert_int_equal(LAB_OK, lab_node_begin(&world->node, &world->parts));
    assert_int_equal(1, fake_log_count(LAB_BOOT_UPDATING));
    return world;
}

static void test_an_image_proves_itself(void **state)
{
    (void)state;
    world_t *world = make_on_trial();
    turns(world, 1);
    assert_int_equal(0, world->board.confirms);
    fake_board_event(&world->board, LAB_MQTT_ACCEPTED);
    turns(world, 1);
    assert_int_equal(1, world->board.confirms);
    assert_int_equal(1, fake_log_count(LAB_UPDATE_CONFIRMED));
    assert_string_equal("{\"version\":\"1.1.0\",\"code\":\"ok\"}", world->fake.reported);
    assert_null(fake_board_text(&world->board, "update", "tried"));
    (void)readings_in(world, 400);
    assert_int_equal(0, world->board.rollbacks);
    finish(world);
}

static void test_an_image_that_cannot_connect_goes_back(void **state)
{
    (void)state;
    world_t *world = make_on_trial();
    world->board.random = UINT32_MAX / 2;
    for (int count = 0; count < 1000 && world->board.rollbacks == 0; count++) {
        if (world->node.attempting) {
            fake_board_event(&world->board, LAB_MQTT_NO_CONNECTION);
        }
        turns(world, 1);
    }
    assert_int_equal(1, world->board.rollbacks);
    assert_int_equal(0, world->board.confirms);
    assert_true(world->node.seconds >= 300 && world->node.seconds < 400);
    assert_int_equal(1, fake_log_count(LAB_UPDATE_ROLLING_BACK));
    finish(world);
}

static void test_what_was_rolled_back_is_told(void **state)
{
    (void)state;
    world_t *world = make_connected();
    lab_node_end(&world->node);
    fake_board_put_text(&world->board, "update", "tried", "1.1.0");
    assert_int_equal(LAB_OK, lab_node_begin(&world->node, &world->parts));
    assert_int_equal(1, fake_log_count(LAB_BOOT_ROLLED_BACK));
    turns(world, 1);
    fake_board_event(&world->board, LAB_MQTT_ACCEPTED);
    turns(world, 1);
    assert_string_equal("{\"version\":\"1.1.0\",\"code\":\"boot-rolled-back\"}", world->fake.reported);
    finish(world);
}

static void test_an_image_that_cannot_begin_goes_back(void **state)
{
    (void)state;
    world_t *world = make();
    world->board.pending = true;
    fake_board_put_text(&world->board, "identity", "device_id", "not/ours");
    assert_int_equal(LAB_ID_SEPARATOR, lab_node_begin(&world->node, &world->parts));
    assert_int_equal(1, world->board.rollbacks);
    finish(world);
}

static void test_an_update_by_command(void **state)
{
    (void)state;
    world_t *world = make_connected();
    world->fake.update_len = fake_update("1.1.0", 2000, world->update);
    fake_manifest(world->update, "1.1.0", world->manifest);
    world->fake.update = world->update;
    world->fake.manifest = world->manifest;
    fake_board_message(&world->board, "devices/sensor-001/commands/update", "", false);
    turns(world, 1);
    assert_true(world->board.active);
    assert_int_equal(1, world->board.restarts);
    assert_string_equal("offline", last(world)->payload);
    finish(world);
}

static void test_a_renewal_that_was_cut_off_is_ended_first(void **state)
{
    (void)state;
    world_t *world = make_connected();
    world->fake.lose_reply = world->fake.requests + 2; /* the confirmation's: the service counts the new one already */
    fake_board_message(&world->board, "devices/sensor-001/commands/renew", "", false);
    turns(world, 1);
    assert_int_equal(0, fake_log_count(LAB_RENEW_DONE));
    lab_node_end(&world->node);
    assert_int_equal(LAB_OK, lab_node_begin(&world->node, &world->parts));
    assert_int_equal(1, fake_log_count(LAB_BOOT_RENEWING));
    turns(world, 3);
    assert_int_equal(1, fake_log_count(LAB_RENEW_DONE));
    assert_string_equal("KEY 2", world->board.session_key);
    finish(world);
}

static void test_a_refused_session_looks_for_a_newer_certificate(void **state)
{
    (void)state;
    world_t *world = make_connected();
    world->board.random = UINT32_MAX / 2;
    world->fake.lose_reply = world->fake.requests + 2;
    fake_board_message(&world->board, "devices/sensor-001/commands/renew", "", false);
    turns(world, 1);
    fake_board_event(&world->board, LAB_MQTT_ENDED); /* the broker has heard of it */
    for (int count = 0; count < 200 && fake_log_count(LAB_RENEW_DONE) == 0; count++) {
        if (world->node.attempting) {
            fake_board_event(&world->board, LAB_MQTT_NO_CONNECTION);
        }
        turns(world, 1);
    }
    assert_int_equal(1, fake_log_count(LAB_RENEW_DONE));
    finish(world);
}

static void test_renewal_comes_in_time(void **state)
{
    (void)state;
    world_t *world = make_connected();
    assert_int_equal(0, fake_log_count(LAB_RENEW_DUE));
    world->board.now = 1806537600; /* when the service said */
    (void)readings_in(world, 3700);
    assert_int_equal(1, fake_log_count(LAB_RENEW_DUE));
    assert_int_equal(1, fake_log_count(LAB_RENEW_DONE));
    finish(world);
}

static void test_a_clock_that_was_never_set(void **state)
{
    (void)state;
    world_t *world = make();
    world->board.now = 10;
    assert_int_equal(LAB_OK, lab_node_begin(&world->node, &world->parts));
    turns(world, 2);
    fake_board_event(&world->board, LAB_MQTT_ACCEPTED);
    turns(world, 1);
    assert_true(fake_log_count(LAB_CLOCK_UNSET) >= 1);
    assert_int_equal(0, fake_log_count(LAB_RENEW_DUE) + fake_log_count(LAB_RENEW_EXPIRED));
    finish(world);
}

static void test_an_image_without_an_authority(void **state)
{
    (void)state;
    world_t *world = make();
    world->parts.root = "";
    assert_int_equal(LAB_TRUST_MISSING, lab_node_begin(&world->node, &world->parts));
    assert_int_equal(1, fake_log_count(LAB_TRUST_MISSING));
    lab_node_end(&world->node);
    fake_board_put_text(&world->board, "identity", "root", world->root);
    assert_int_equal(LAB_OK, lab_node_begin(&world->node, &world->parts));
    lab_node_end(&world->node);
    /* The image's own authority is not replaced by what somebody wrote into the flash. */
    world->parts.root = world->root;
    fake_board_put_text(&world->board, "identity", "root", "of somebody else");
    assert_int_equal(LAB_OK, lab_node_begin(&world->node, &world->parts));
    assert_string_equal(world->root, world->node.root);
    finish(world);
}

static void test_settings_out_of_the_storage(void **state)
{
    (void)state;
    world_t *world = make();
    fake_board_put_text(&world->board, "service", "broker_host", "127.0.0.1");
    fake_board_put_number(&world->board, "service", "broker_port", 70000);
    fake_board_put_number(&world->board, "settings", "interval", 4);
    assert_int_equal(LAB_OK, lab_node_begin(&world->node, &world->parts));
    assert_string_equal("127.0.0.1", world->node.broker_host);
    assert_int_equal(8883, world->node.broker_port);
    assert_int_equal(LAB_INTERVAL_USUAL, world->node.interval);
    assert_int_equal(2, fake_log_count(LAB_NVS_CONTENT));
    finish(world);
}

static void test_a_sensor_in_trouble(void **state)
{
    (void)state;
    world_t *world = make_connected();
    const int published = world->board.published_count;
    world->board.sensor_fails = true;
    (void)readings_in(world, 61);
    world->board.sensor_fails = false;
    world->board.reading.temperature = 99999;
    (void)readings_in(world, 61);
    assert_int_equal(1, fake_log_count(LAB_READING_FAILED));
    assert_int_equal(1, fake_log_count(LAB_READING_RANGE));
    assert_int_equal(published, world->board.published_count);
    finish(world);
}

static void test_without_a_token_nothing_is_asked(void **state)
{
    (void)state;
    world_t *world = make();
    assert_int_equal(LAB_OK, world->storage.erase(world->storage.context, "identity", "token"));
    assert_int_equal(LAB_OK, lab_node_begin(&world->node, &world->parts));
    turns(world, 100);
    assert_true(fake_log_count(LAB_BOOT_NO_TOKEN) >= 1);
    assert_int_equal(0, world->fake.requests + world->board.connects);
    finish(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_from_first_boot_to_the_first_reading),
        cmocka_unit_test(test_the_interval),
        cmocka_unit_test(test_the_interval_of_the_service),
        cmocka_unit_test(test_a_first_boot_without_settings),
        cmocka_unit_test(test_commands_that_are_refused),
        cmocka_unit_test(test_the_other_commands),
        cmocka_unit_test(test_an_interval_that_cannot_be_kept_is_not_set),
        cmocka_unit_test(test_waits_grow_and_end_with_success),
        cmocka_unit_test(test_an_attempt_that_nothing_is_heard_of),
        cmocka_unit_test(test_the_clock_runs_over),
        cmocka_unit_test(test_an_image_proves_itself),
        cmocka_unit_test(test_an_image_that_cannot_connect_goes_back),
        cmocka_unit_test(test_what_was_rolled_back_is_told),
        cmocka_unit_test(test_an_image_that_cannot_begin_goes_back),
        cmocka_unit_test(test_an_update_by_command),
        cmocka_unit_test(test_a_renewal_that_was_cut_off_is_ended_first),
        cmocka_unit_test(test_a_refused_session_looks_for_a_newer_certificate),
        cmocka_unit_test(test_renewal_comes_in_time),
        cmocka_unit_test(test_a_clock_that_was_never_set),
        cmocka_unit_test(test_an_image_without_an_authority),
        cmocka_unit_test(test_settings_out_of_the_storage),
        cmocka_unit_test(test_a_sensor_in_trouble),
        cmocka_unit_test(test_without_a_token_nothing_is_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
