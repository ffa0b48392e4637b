/* Two slots: whatever becomes of the power, and whatever somebody wrote into the flash, an identity that worked still works. */
#include "fake_board.h"
#include "lab_store.h"
#include "vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    fake_board_t board;
    lab_storage_t storage;
    lab_keys_t keys;
    lab_random_t random;
    lab_store_t store;
} world_t;

static void begin(world_t *world)
{
    fake_board_init(&world->board);
    world->storage = fake_storage(&world->board);
    world->keys = fake_keys(&world->board);
    world->random = fake_random(&world->board);
    world->store = (lab_store_t){&world->storage, &world->keys, &world->random};
    fake_board_put_text(&world->board, "identity", "device_id", "sensor-001");
}

/* What a factory that makes keys writes: slot a, and nothing else. */
static void put_factory_identity(world_t *world)
{
    char key[64];
    char chain[512];
    fake_key(100, key);
    fake_chain(100, chain);
    fake_board_put_text(&world->board, "identity", "key", key);
    fake_board_put_text(&world->board, "identity", "chain", chain);
}

static const char *current_key(world_t *world)
{
    static char s_key[64];
    lab_identity_t identity;
    s_key[0] = '\0';
    if (lab_store_current(&world->store, &identity) == LAB_OK) {
        strcpy(s_key, identity.key);
    }
    lab_identity_free(&identity);
    return s_key;
}

static void test_the_factory_s_identity_is_used(void **state)
{
    (void)state;
    world_t world;
    lab_stored_t stored;
    char device[LAB_ID_LONGEST + 1];
    begin(&world);
    put_factory_identity(&world);
    assert_int_equal(LAB_OK, lab_store_device(&world.store, device));
    assert_string_equal("sensor-001", device);
    assert_int_equal(LAB_OK, lab_store_look(&world.store, &stored));
    assert_true(stored.in_use && !stored.token && !stored.staged && !stored.installed);
    assert_string_equal("KEY 100", current_key(&world));
    assert_int_equal(0, world.board.operations);
    fake_board_free(&world.board);
}

static lab_status_t renew_once(world_t *world)
{
    char *request = NULL;
    char chain[512];
    int key = 0;
    lab_stored_t stored;
    lab_status_t status = lab_store_look(&world->store, &stored);
    if (status == LAB_OK && !stored.installed) {
        status = lab_store_stage(&world->store, "sensor-001", &request);
        if (status == LAB_OK) {
            assert_int_equal(1, sscanf(request, "REQUEST %d", &key));
            fake_chain(key, chain);
            status = lab_store_install(&world->store, chain, 1805000000);
        }
        free(request);
    }
    if (status == LAB_OK) {
        status = lab_store_switch(&world->store);
    }
    return status == LAB_OK ? lab_store_discard(&world->store) : status;
}

static void test_slots_take_turns(void **state)
{
    (void)state;
    world_t world;
    begin(&world);
    put_factory_identity(&world);
    assert_int_equal(LAB_OK, renew_once(&world));
    assert_string_equal("KEY 1", current_key(&world));
    assert_string_equal("b", fake_board_text(&world.board, "identity", "in_use"));
    assert_null(fake_board_text(&world.board, "identity", "key"));
    assert_int_equal(LAB_OK, renew_once(&world));
    assert_string_equal("KEY 2", current_key(&world));
    assert_string_equal("a", fake_board_text(&world.board, "identity", "in_use"));
    assert_null(fake_board_text(&world.board, "identity", "key_b"));
    assert_null(fake_board_text(&world.board, "identity", "next"));
    fake_board_free(&world.board);
}

static void test_power_cut_at_every_operation_of_a_renewal(void **state)
{
    (void)state;
    int whole = -1;
    for (int cut = 0; whole < 0; cut++) {
        world_t world;
        begin(&world);
        put_factory_identity(&world);
        world.board.cut_after = cut;
        const lab_status_t first = renew_once(&world);
        whole = first == LAB_OK ? cut : -1;
        fake_board_power_on(&world.board);
        assert_true(strlen(current_key(&world)) > 0); /* the old one or the new one, never none */
        assert_int_equal(LAB_OK, renew_once(&world));
        assert_string_equal(first == LAB_OK ? "KEY 2" : current_key(&world), current_key(&world));
        assert_string_not_equal("KEY 100", current_key(&world));
        fake_board_free(&world.board);
    }
    assert_true(whole >= 10);
}

static void test_a_certificate_for_another_key_is_not_stored(void **state)
{
    (void)state;
    world_t world;
    char *request;
    char chain[512];
    begin(&world);
    put_factory_identity(&world);
    assert_int_equal(LAB_OK, lab_store_stage(&world.store, "sensor-001", &request));
    free(request);
    fake_chain(77, chain);
    const int before = world.board.operations;
    assert_int_equal(LAB_IDENTITY_MISMATCH, lab_store_install(&world.store, chain, 1805000000));
    assert_int_equal(before, world.board.operations);
    assert_int_equal(LAB_IDENTITY_MISMATCH, lab_store_switch(&world.store));
    assert_string_equal("KEY 100", current_key(&world));
    fake_chain(1, chain);
    assert_int_equal(LAB_OK, lab_store_install(&world.store, chain, 1805000000));
    fake_board_free(&world.board);
}

static void test_the_same_key_asks_again(void **state)
{
    (void)state;
    world_t world;
    char *first;
    char *second;
    begin(&world);
    assert_int_equal(LAB_OK, lab_store_stage(&world.store, "sensor-001", &first));
    assert_int_equal(LAB_OK, lab_store_stage(&world.store, "sensor-001", &second));
    assert_string_equal(first, second);
    assert_int_equal(1, world.board.keys_made);
    free(first);
    free(second);
    fake_board_free(&world.board);
}

/* What a thief, or a flash gone bad, could have left in each place. */
static void test_hostile_contents(void **state)
{
    (void)state;
    static const char *const s_places[] = {"in_use", "next", "key_b", "chain_b", "renew_after", "share", "token"};
    static const char *const s_texts[] = {"", "c", "ab", "a", "b", "%s%n", "-----BEGIN CERTIFICATE-----\n"};
    for (size_t place = 0; place < sizeof(s_places) / sizeof(s_places[0]); place++) {
        for (size_t text = 0; text <= sizeof(s_texts) / sizeof(s_texts[0]); text++) {
            world_t world;
            lab_stored_t stored;
            begin(&world);
            put_factory_identity(&world);
            fake_board_put_text(&world.board, "identity", "in_use", "a");
            if (text < sizeof(s_texts) / sizeof(s_texts[0])) {
                fake_board_put_text(&world.board, "identity", s_places[place], s_texts[text]);
            } else {
                fake_board_put_number(&world.board, "identity", s_places[place], UINT64_MAX);
            }
            assert_int_equal(LAB_OK, lab_store_look(&world.store, &stored));
            if (place > 0) { /* everything but the one letter that says which slot */
                assert_true(stored.in_use);
                assert_string_equal("KEY 100", current_key(&world));
            }
            (void)lab_store_share(&world.store);
            fake_board_free(&world.board);
        }
    }
}

static void test_device_ids_are_looked_at(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        lab_status_t expected;
    } s_cases[] = {
        {"sensor-002", LAB_OK},
        {"", LAB_ID_EMPTY},
        {"../etc", LAB_ID_PATH},
        {"+", LAB_ID_WILDCARD},
        {"admin", LAB_ID_RESERVED},
        {"sensor-001/commands", LAB_ID_SEPARATOR},
        {"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", LAB_NVS_TOO_LONG},
    };
    for (size_t at = 0; at < sizeof(s_cases) / sizeof(s_cases[0]); at++) {
        world_t world;
        char device[LAB_ID_LONGEST + 1];
        begin(&world);
        fake_board_put_text(&world.board, "identity", "device_id", s_cases[at].text);
        assert_int_equal(s_cases[at].expected, lab_store_device(&world.store, device));
        assert_string_equal(s_cases[at].expected == LAB_OK ? s_cases[at].text : "", device);
        fake_board_free(&world.board);
    }
}

static void test_an_rsa_chain_fits_and_nothing_longer_than_nvs(void **state)
{
    (void)state;
    static char s_text[8000];
    world_t world;
    char *read;
    begin(&world);
    memset(s_text, 'x', 3967);
    fake_board_put_text(&world.board, "identity", "chain", s_text);
    assert_int_equal(LAB_OK, lab_store_text(&world.storage, "identity", "chain", LAB_LONGEST_PEM, &read));
    assert_int_equal(3967, strlen(read));
    lab_text_free(read);
    s_text[3967] = 'x';
    fake_board_put_text(&world.board, "identity", "chain", s_text);
    assert_int_equal(LAB_NVS_TOO_LONG, lab_store_text(&world.storage, "identity", "chain", LAB_LONGEST_PEM, &read));
    assert_null(read);
    fake_board_free(&world.board);
}

static void test_no_chance_no_key(void **state)
{
    (void)state;
    world_t world;
    char *request;
    begin(&world);
    world.board.random_fails = true;
    assert_int_equal(LAB_RANDOM_FAILED, lab_store_stage(&world.store, "sensor-001", &request));
    assert_null(request);
    assert_null(fake_board_text(&world.board, "identity", "key"));
    assert_int_equal(0, lab_store_share(&world.store));
    fake_board_free(&world.board);
}

static void test_the_share_is_kept(void **state)
{
    (void)state;
    world_t world;
    begin(&world);
    world.board.random = 0x12345678;
    assert_int_equal(0x12345678, lab_store_share(&world.store));
    world.board.random = 1;
    assert_int_equal(0x12345678, lab_store_share(&world.store));
    fake_board_free(&world.board);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_factory_s_identity_is_used),
        cmocka_unit_test(test_slots_take_turns),
        cmocka_unit_test(test_power_cut_at_every_operation_of_a_renewal),
        cmocka_unit_test(test_a_certificate_for_another_key_is_not_stored),
        cmocka_unit_test(test_the_same_key_asks_again),
        cmocka_unit_test(test_hostile_contents),
        cmocka_unit_test(test_device_ids_are_looked_at),
        cmocka_unit_test(test_an_rsa_chain_fits_and_nothing_longer_than_nvs),
        cmocka_unit_test(test_no_chance_no_key),
        cmocka_unit_test(test_the_share_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
