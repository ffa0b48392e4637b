/* An update on its way into the slot: with the power cut, with lies, and with what was tried before. */
#include "fake_crypto.h"
#include "fake_service.h"
#include "lab_updater.h"
#include "vectors.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { SIZE = 3000 };

typedef struct {
    fake_board_t board;
    fake_service_t fake;
    fake_crypto_t hash;
    lab_storage_t storage;
    lab_slot_t slot;
    lab_random_t random;
    lab_system_t system;
    lab_http_t http;
    lab_update_crypto_t crypto;
    lab_target_t target;
    lab_updater_t updater;
    uint8_t update[8192];
    char manifest[1024];
} world_t;

static void begin(world_t *world, const char *version)
{
    fake_board_init(&world->board);
    fake_service_init(&world->fake, &world->board);
    world->storage = fake_storage(&world->board);
    world->slot = fake_slot(&world->board);
    world->random = fake_random(&world->board);
    world->system = fake_system(&world->board);
    world->http = fake_http(&world->fake);
    world->crypto = fake_crypto(&world->hash);
    world->target = (lab_target_t){.product = "course-node", .hardware = 1, .version = {1, 0, 0}, .slot_size = 4096};
    world->updater = (lab_updater_t){.http = &world->http,
                                     .slot = &world->slot,
                                     .storage = &world->storage,
                                     .random = &world->random,
                                     .system = &world->system,
                                     .crypto = &world->crypto,
                                     .target = &world->target,
                                     .url = "https://updates.local",
                                     .root = "ROOT",
                                     .chain = "CHAIN",
                                     .key = "KEY 1"};
    world->fake.update_len = fake_update(version, SIZE, world->update);
    fake_manifest(world->update, version, world->manifest);
    world->fake.update = world->update;
    world->fake.manifest = world->manifest;
}

static void expect_unchanged(world_t *world)
{
    assert_false(world->board.active);
    assert_false(world->board.slot_open);
    assert_null(fake_board_text(&world->board, "update", "tried"));
}

static void test_an_update(void **state)
{
    (void)state;
    for (size_t chunk = 1; chunk < 5000; chunk = chunk * 3 + 1) {
        world_t world;
        begin(&world, "1.1.0");
        world.fake.chunk = chunk;
        assert_int_equal(LAB_UPDATE_STAGED, lab_updater_run(&world.updater));
        assert_true(world.board.active);
        assert_int_equal(SIZE, world.board.slot_written);
        assert_memory_equal(world.update + LAB_UPDATE_HEADER, world.board.slot_data, SIZE);
        assert_string_equal("1.1.0", fake_board_text(&world.board, "update", "tried"));
        assert_non_null(strstr(fake_log(), "code=update-staged version=1.1.0"));
        fake_board_free(&world.board);
    }
}

static void test_nothing_newer(void **state)
{
    (void)state;
    world_t world;
    begin(&world, "1.0.0");
    assert_int_equal(LAB_UPDATE_NONE, lab_updater_run(&world.updater));
    assert_int_equal(1, world.fake.requests);
    assert_string_equal("https://updates.local/updates/course-node?hardware=1&version=1.0.0", world.fake.last_url);
    assert_string_equal("", world.fake.reported);
    expect_unchanged(&world);
    world.fake.manifest = NULL; /* 404 */
    assert_int_equal(LAB_UPDATE_NONE, lab_updater_run(&world.updater));
    fake_board_free(&world.board);
}

static void test_power_cut_at_every_operation(void **state)
{
    (void)state;
    int whole = -1;
    for (int cut = 0; whole < 0; cut++) {
        world_t world;
        begin(&world, "1.1.0");
        world.fake.chunk = 300;
        world.board.cut_after = cut;
        const lab_status_t first = lab_updater_run(&world.updater);
        whole = world.board.dead ? -1 : cut;
        /* Either the old image boots next, or all of the new one lies in the slot. */
        assert_true(!world.board.active || memcmp(world.update + LAB_UPDATE_HEADER, world.board.slot_data, SIZE) == 0);
        assert_int_equal(first == LAB_UPDATE_STAGED, world.board.active);
        if (!world.board.active) {
            fake_board_power_on(&world.board);
            assert_int_equal(LAB_UPDATE_STAGED, lab_updater_run(&world.updater));
        }
        fake_board_free(&world.board);
    }
    assert_true(whole >= 12);
}

/* The server is not believed: whatever is changed between manifest, header and image, the slot is not booted. */
static void test_lies(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        size_t cut;
        lab_status_t expected;
    } s_cases[] = {
        {0, 0, LAB_HEADER_MAGIC},
        {LAB_UPDATE_SIGNED, 0, LAB_SIGNATURE_WRONG},
        {20, 0, LAB_PRODUCT_WRONG},
        {60, 0, LAB_MANIFEST_DIFFERS},
        {LAB_UPDATE_HEADER, 0, LAB_IMAGE_DIGEST},
        {LAB_UPDATE_HEADER + SIZE - 1, 0, LAB_IMAGE_DIGEST},
        {SIZE_MAX, 1, LAB_IMAGE_SHORT},
        {SIZE_MAX, SIZE, LAB_IMAGE_SHORT},
        {SIZE_MAX, SIZE + 1, LAB_HEADER_SHORT},
    };
    for (size_t number = 0; number < sizeof(s_cases) / sizeof(s_cases[0]); number++) {
        world_t world;
        begin(&world, "1.1.0");
        if (s_cases[number].at != SIZE_MAX) {
            world.update[s_cases[number].at] ^= 2;
        }
        world.fake.update_len -= s_cases[number].cut;
        assert_int_equal(s_cases[number].expected, lab_updater_run(&world.updater));
        assert_int_equal(1, fake_log_count(s_cases[number].expected));
        expect_unchanged(&world);
        char reported[100];
        snprintf(reported, sizeof(reported), "{\"version\":\"1.1.0\",\"code\":\"%s\"}", lab_code_name(s_cases[number].expected));
        assert_string_equal(reported, world.fake.reported);
        const bool image_was_wrong = s_cases[number].expected == LAB_IMAGE_DIGEST || s_cases[number].cut == 1;
        assert_true(image_was_wrong || world.board.operations == 0); /* no byte of the slot was touched */
        fake_board_free(&world.board);
    }
}

/* Wherever a connection ends, within the header, at its end or in the image, the next one goes on there. */
static void test_a_download_that_is_cut(void **state)
{
    (void)state;
    static const size_t s_after[] = {1, 100, LAB_UPDATE_HEADER - 1, LAB_UPDATE_HEADER, LAB_UPDATE_HEADER + 1, 1000, SIZE};
    for (size_t at = 0; at < sizeof(s_after) / sizeof(s_after[0]); at++) {
        world_t world;
        begin(&world, "1.1.0");
        world.fake.breaks_after = s_after[at];
        world.fake.breaks_most = INT_MAX;
        assert_int_equal(LAB_UPDATE_STAGED, lab_updater_run(&world.updater));
        const size_t whole = LAB_UPDATE_HEADER + SIZE;
        assert_int_equal(1 + (whole + s_after[at] - 1) / s_after[at], world.fake.requests);
        assert_true(world.board.active);
        assert_int_equal(SIZE, world.board.slot_written);
        assert_memory_equal(world.update + LAB_UPDATE_HEADER, world.board.slot_data, SIZE);
        assert_int_equal(0, fake_log_count(LAB_SERVICE_UNREACHABLE)); /* one attempt, one line */
        fake_board_free(&world.board);
    }
}

static void test_connections_that_bring_nothing(void **state)
{
    (void)state;
    world_t world;
    begin(&world, "1.1.0");
    world.fake.breaks_most = LAB_UPDATER_TRIES - 1; /* after no byte at all */
    world.board.random = UINT32_MAX;
    const uint32_t ticks = world.board.ticks;
    assert_int_equal(LAB_UPDATE_STAGED, lab_updater_run(&world.updater));
    assert_true(world.board.ticks > ticks); /* it waits in between */
    fake_board_free(&world.board);
    begin(&world, "1.1.0");
    world.fake.breaks_most = LAB_UPDATER_TRIES;
    assert_int_equal(LAB_SERVICE_UNREACHABLE, lab_updater_run(&world.updater));
    assert_int_equal(1 + LAB_UPDATER_TRIES, world.fake.requests);
    assert_string_equal("", world.fake.reported);
    expect_unchanged(&world);
    fake_board_free(&world.board);
}

static void test_a_server_that_knows_no_ranges(void **state)
{
    (void)state;
    world_t world;
    begin(&world, "1.1.0");
    world.fake.breaks_after = 1000;
    world.fake.breaks_most = 1;
    world.fake.no_ranges = true;
    assert_int_equal(LAB_IMAGE_SHORT, lab_updater_run(&world.updater)); /* the front is not taken for the rest */
    assert_int_equal(1000 - LAB_UPDATE_HEADER, world.board.slot_written);
    expect_unchanged(&world);
    fake_board_free(&world.board);
}

static lab_status_t perform_and_change(void *context, const lab_http_request_t *request, int *http_status)
{
    world_t *world = context;
    if (request->from > 0) {
        world->update[request->from] ^= 1; /* what lies on the server is another one now */
    }
    const lab_http_t http = fake_http(&world->fake);
    return http.perform(http.context, request, http_status);
}

static void test_a_rest_of_another_update(void **state)
{
    (void)state;
    world_t world;
    begin(&world, "1.1.0");
    world.fake.breaks_after = 1000;
    world.fake.breaks_most = 1;
    world.http = (lab_http_t){&world, perform_and_change};
    assert_int_equal(LAB_IMAGE_DIGEST, lab_updater_run(&world.updater));
    expect_unchanged(&world);
    fake_board_free(&world.board);
}

static void test_an_update_that_does_not_end(void **state)
{
    (void)state;
    world_t world;
    begin(&world, "1.1.0");
    world.fake.update_len += 100;
    assert_int_equal(LAB_IMAGE_LONG, lab_updater_run(&world.updater));
    assert_true(world.board.slot_written <= SIZE);
    expect_unchanged(&world);
    fake_board_free(&world.board);
}

static void test_an_image_that_the_chip_refuses(void **state)
{
    (void)state;
    world_t world;
    begin(&world, "1.1.0");
    world.board.slot_refuses = true;
    assert_int_equal(LAB_IMAGE_REFUSED, lab_updater_run(&world.updater));
    expect_unchanged(&world);
    fake_board_free(&world.board);
}

static void test_servers_in_trouble(void **state)
{
    (void)state;
    static const struct {
        int http_status;
        const char *body;
        lab_status_t expected;
    } s_cases[] = {
        {503, "busy", LAB_SERVICE_LATER}, {403, "no", LAB_SERVICE_REFUSED}, {302, "", LAB_SERVICE_REFUSED},
        {204, "", LAB_UPDATE_NONE},       {200, "", LAB_JSON_SYNTAX},       {200, "{}", LAB_JSON_FIELD_MISSING},
    };
    for (size_t at = 0; at < sizeof(s_cases) / sizeof(s_cases[0]); at++) {
        world_t world;
        begin(&world, "1.1.0");
        world.fake.http_status = s_cases[at].http_status;
        world.fake.body = s_cases[at].body;
        assert_int_equal(s_cases[at].expected, lab_updater_run(&world.updater));
        expect_unchanged(&world);
        fake_board_free(&world.board);
    }
}

static void test_a_manifest_that_does_not_end(void **state)
{
    (void)state;
    static char s_long[3000];
    world_t world;
    begin(&world, "1.1.0");
    memset(s_long, ' ', sizeof(s_long) - 1);
    memcpy(s_long, world.manifest, strlen(world.manifest));
    world.fake.http_status = 200;
    world.fake.body = s_long;
    assert_int_equal(LAB_JSON_TOO_LONG, lab_updater_run(&world.updater));
    expect_unchanged(&world);
    fake_board_free(&world.board);
}

static void test_what_was_rolled_back_is_not_taken_again(void **state)
{
    (void)state;
    world_t world;
    bool rolled_back;
    begin(&world, "1.1.0");
    assert_int_equal(LAB_UPDATE_STAGED, lab_updater_run(&world.updater));
    /* 1.1.0 boots, on trial. */
    world.target.version = (lab_version_t){1, 1, 0};
    assert_int_equal(LAB_OK, lab_updater_history(&world.storage, true, &world.target, &rolled_back));
    assert_false(rolled_back);
    /* It never comes as far as to confirm itself, and 1.0.0 runs again. */
    world.target.version = (lab_version_t){1, 0, 0};
    assert_int_equal(LAB_OK, lab_updater_history(&world.storage, false, &world.target, &rolled_back));
    assert_true(rolled_back);
    assert_null(fake_board_text(&world.board, "update", "tried"));
    assert_int_equal(LAB_VERSION_ROLLED_BACK, lab_updater_run(&world.updater));
    /* The next boot has nothing to report, and remembers. */
    assert_int_equal(LAB_OK, lab_updater_history(&world.storage, false, &world.target, &rolled_back));
    assert_false(rolled_back);
    assert_int_equal(LAB_VERSION_ROLLED_BACK, lab_updater_run(&world.updater));
    /* A later one is taken. */
    world.fake.update_len = fake_update("1.1.1", SIZE, world.update);
    fake_manifest(world.update, "1.1.1", world.manifest);
    assert_int_equal(LAB_UPDATE_STAGED, lab_updater_run(&world.updater));
    fake_board_free(&world.board);
}

static void test_what_proved_itself_is_forgotten(void **state)
{
    (void)state;
    world_t world;
    bool rolled_back;
    begin(&world, "1.1.0");
    assert_int_equal(LAB_UPDATE_STAGED, lab_updater_run(&world.updater));
    world.target.version = (lab_version_t){1, 1, 0};
    assert_int_equal(LAB_OK, lab_updater_proved(&world.storage));
    assert_int_equal(LAB_OK, lab_updater_history(&world.storage, false, &world.target, &rolled_back));
    assert_false(rolled_back || world.target.has_rolled_back);
    fake_board_free(&world.board);
}

static void test_hostile_notes(void **state)
{
    (void)state;
    static const char *const s_texts[] = {"", "1", "1.2.3.4", "99999.0.0", "%s", "1.1.0 and much more than fits"};
    for (size_t at = 0; at < sizeof(s_texts) / sizeof(s_texts[0]); at++) {
        world_t world;
        bool rolled_back;
        begin(&world, "1.1.0");
        fake_board_put_text(&world.board, "update", "tried", s_texts[at]);
        fake_board_put_text(&world.board, "update", "failed", s_texts[at]);
        assert_int_equal(LAB_OK, lab_updater_history(&world.storage, false, &world.target, &rolled_back));
        assert_false(rolled_back || world.target.has_rolled_back);
        fake_board_free(&world.board);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_update),
        cmocka_unit_test(test_nothing_newer),
        cmocka_unit_test(test_power_cut_at_every_operation),
        cmocka_unit_test(test_lies),
        cmocka_unit_test(test_a_download_that_is_cut),
        cmocka_unit_test(test_connections_that_bring_nothing),
        cmocka_unit_test(test_a_server_that_knows_no_ranges),
        cmocka_unit_test(test_a_rest_of_another_update),
        cmocka_unit_test(test_an_update_that_does_not_end),
        cmocka_unit_test(test_an_image_that_the_chip_refuses),
        cmocka_unit_test(test_servers_in_trouble),
        cmocka_unit_test(test_a_manifest_that_does_not_end),
        cmocka_unit_test(test_what_was_rolled_back_is_not_taken_again),
        cmocka_unit_test(test_what_proved_itself_is_forgotten),
        cmocka_unit_test(test_hostile_notes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
