/* States, steps, renewal, waits: complete tables, and a clock that runs over. */
#include "lab_backoff.h"
#include "lab_renewal.h"
#include "lab_states.h"
#include "vectors.h"

#include <string.h>

static const char *const STATES[] = {"unprovisioned", "provisioned", "renewing", "updating", "rolled-back"};
static const char *const EVENTS[] = {"enrolled",      "connected", "timeout",       "renewal-due",
                                     "renewed", "renewal-failed", "update-staged"};
static const char *const ACTIONS[] = {"none",    "connect",       "renew",     "reconnect",
                                      "restart", "confirm-image", "roll-back", "report"};
static const char *const STEPS[] = {"make-key", "request", "switch", "erase-token", "connect", "stop"};

static int find(const char *const *names, const char *name)
{
    int at = 0;
    while (strcmp(names[at], name) != 0) {
        at++;
    }
    return at;
}

static void test_first_boot(void **state)
{
    (void)state;
    cJSON *root = vectors_load("states");
    const cJSON *one;
    cJSON_ArrayForEach(one, cJSON_GetObjectItem(root, "first_boot"))
    {
        const lab_stored_t stored = {vectors_truth(one, "token"), vectors_truth(one, "in_use"),
                                     vectors_truth(one, "staged"), vectors_truth(one, "installed")};
        assert_string_equal(vectors_text(one, "step"), STEPS[lab_first_boot(stored)]);
    }
    cJSON_Delete(root);
}

static void test_at_boot(void **state)
{
    (void)state;
    cJSON *root = vectors_load("states");
    const cJSON *one;
    cJSON_ArrayForEach(one, cJSON_GetObjectItem(root, "at_boot"))
    {
        const lab_boot_t boot = {vectors_truth(one, "pending"), vectors_truth(one, "identity"),
                                 vectors_truth(one, "rolled_back"), vectors_truth(one, "renewing")};
        assert_string_equal(vectors_text(one, "state"), STATES[lab_state_at_boot(boot)]);
    }
    cJSON_Delete(root);
}

static void test_after(void **state)
{
    (void)state;
    cJSON *root = vectors_load("states");
    const cJSON *moves = cJSON_GetObjectItem(root, "after");
    const cJSON *one;
    assert_int_equal((int)LAB_STATE_COUNT * (int)LAB_EVENT_COUNT, cJSON_GetArraySize(moves));
    cJSON_ArrayForEach(one, moves)
    {
        lab_state_t now = (lab_state_t)find(STATES, vectors_text(one, "state"));
        const lab_event_t event = (lab_event_t)find(EVENTS, vectors_text(one, "event"));
        assert_string_equal(vectors_text(one, "action"), ACTIONS[lab_state_after(&now, event)]);
        assert_string_equal(vectors_text(one, "then"), STATES[now]);
    }
    cJSON_Delete(root);
}

static void test_waits(void **state)
{
    (void)state;
    cJSON *root = vectors_load("backoff");
    const cJSON *one;
    cJSON_ArrayForEach(one, cJSON_GetObjectItem(root, "waits"))
    {
        const uint32_t wait =
            lab_backoff_ms((uint32_t)vectors_number(one, "tries"), (uint32_t)vectors_number(one, "chance"),
                           (uint32_t)vectors_number(one, "base"), (uint32_t)vectors_number(one, "cap"));
        assert_int_equal((uint32_t)vectors_number(one, "wait"), wait);
    }
    cJSON_ArrayForEach(one, cJSON_GetObjectItem(root, "reached"))
    {
        const bool reached =
            lab_clock_reached((uint32_t)vectors_number(one, "now"), (uint32_t)vectors_number(one, "deadline"));
        assert_int_equal(vectors_truth(one, "reached"), reached);
    }
    cJSON_Delete(root);
}

static void test_the_clock_runs_over(void **state)
{
    (void)state;
    for (uint32_t now = UINT32_MAX - 5; now != 6; now++) {
        assert_false(lab_clock_reached(now, now + 3));
        assert_true(lab_clock_reached(now + 3, now));
        assert_true(lab_clock_reached(now, now));
    }
}

static void test_renewal(void **state)
{
    (void)state;
    cJSON *root = vectors_load("renewal");
    const cJSON *one;
    cJSON_ArrayForEach(one, root)
    {
        const lab_validity_t validity = {(int64_t)vectors_number(one, "not_before"),
                                         (int64_t)vectors_number(one, "not_after"),
                                         (int64_t)vectors_number(one, "renew_after")};
        const lab_status_t status = lab_renewal_decide((int64_t)vectors_number(one, "now"), validity,
                                                       (uint32_t)vectors_number(one, "share"));
        assert_string_equal(vectors_text(one, "verdict"), status == LAB_OK ? "wait" : lab_code_name(status));
    }
    cJSON_Delete(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_boot), cmocka_unit_test(test_at_boot),
        cmocka_unit_test(test_after),      cmocka_unit_test(test_waits),
        cmocka_unit_test(test_renewal),    cmocka_unit_test(test_the_clock_runs_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
