#include "fake_board.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char s_log[65536];

void lab_log(const char *tag, const lab_line_t *line)
{
    const size_t used = strlen(s_log);
    snprintf(s_log + used, sizeof(s_log) - used, "%s: %s\n", tag, line->text);
}

void lab_log_code(const char *tag, lab_status_t code)
{
    const lab_line_t line = lab_line(code);
    lab_log(tag, &line);
}

const char *fake_log(void)
{
    return s_log;
}

void fake_log_clear(void)
{
    s_log[0] = '\0';
}

int fake_log_count(lab_status_t code)
{
    char words[64];
    int count = 0;
    snprintf(words, sizeof(words), ": code=%s", lab_code_name(code));
    const size_t len = strlen(words);
    for (const char *at = strstr(s_log, words); at != NULL; at = strstr(at + len, words)) {
        count += at[len] == ' ' || at[len] == '\n';
    }
    return count;
}

void fake_board_init(fake_board_t *board)
{
    memset(board, 0, sizeof(*board));
    board->cut_after = -1;
    board->now = 1800000000;
    board->reading = (lab_reading_t){2250, 5500};
    fake_log_clear();
}

void fake_board_free(fake_board_t *board)
{
    for (int at = 0; at < FAKE_VALUES; at++) {
        free(board->values[at].text);
    }
    memset(board, 0, sizeof(*board));
}

void fake_board_power_on(fake_board_t *board)
{
    board->dead = false;
    board->cut_after = -1;
    board->operations = 0;
    board->slot_open = false;
    board->events_head = board->events_tail;
}

bool fake_board_operate(fake_board_t *board)
{
    if (board->dead || (board->cut_after >= 0 && board->operations >= board->cut_after)) {
        board->dead = true;
        return false;
    }
    board->operations++;
    return true;
}

/* --- storage --- */

static fake_value_t *find(const fake_board_t *board, const char *space, const char *key)
{
    for (int at = 0; at < FAKE_VALUES; at++) {
        const fake_value_t *value = &board->values[at];
        if (strcmp(value->space, space) == 0 && strcmp(value->key, key) == 0) {
            return (fake_value_t *)value;
        }
    }
    return NULL;
}

static fake_value_t *find_or_make(fake_board_t *board, const char *space, const char *key)
{
    fake_value_t *value = find(board, space, key);
    if (value == NULL) {
        value = find(board, "", "");
    }
    if (value == NULL || strlen(space) > 15 || strlen(key) > 15) {
        abort(); /* a test that needs more, or a name that NVS does not take */
    }
    free(value->text);
    *value = (fake_value_t){.text = NULL};
    strcpy(value->space, space);
    strcpy(value->key, key);
    return value;
}

const char *fake_board_text(const fake_board_t *board, const char *space, const char *key)
{
    const fake_value_t *value = find(board, space, key);
    return value == NULL ? NULL : value->text;
}

void fake_board_put_text(fake_board_t *board, const char *space, const char *key, const char *text)
{
    fake_value_t *value = find_or_make(board, space, key);
    value->text = strdup(text);
}

void fake_board_put_number(fake_board_t *board, const char *space, const char *key, uint64_t number)
{
    find_or_make(board, space, key)->number = number;
}

static lab_status_t text_room(void *context, const char *space, const char *key, size_t *room)
{
    const fake_board_t *board = context;
    *room = 0;
    if (board->dead) {
        return LAB_NVS_FAILED;
    }
    const fake_value_t *value = find(board, space, key);
    if (value == NULL || value->text == NULL) {
        return value == NULL ? LAB_NVS_MISSING : LAB_NVS_CONTENT;
    }
    *room = strlen(value->text) + 1;
    return LAB_OK;
}

static lab_status_t get_text(void *context, const char *space, const char *key, char *out, size_t room)
{
    size_t needed;
    const lab_status_t status = text_room(context, space, key, &needed);
    if (status != LAB_OK || needed > room) {
        return status != LAB_OK ? status : LAB_NVS_TOO_LONG;
    }
    memcpy(out, fake_board_text(context, space, key), needed);
    return LAB_OK;
}

static lab_status_t set_text(void *context, const char *space, const char *key, const char *text)
{
    if (!fake_board_operate(context)) {
        return LAB_NVS_FAILED;
    }
    fake_board_put_text(context, space, key, text);
    return LAB_OK;
}

static lab_status_t get_number(void *context, const char *space, const char *key, uint64_t *number)
{
    const fake_board_t *board = context;
    *number = 0;
    if (board->dead) {
        return LAB_NVS_FAILED;
    }
    const fake_value_t *value = find(board, space, key);
    if (value == NULL || value->text != NULL) {
        return value == NULL ? LAB_NVS_MISSING : LAB_NVS_CONTENT;
    }
    *number = value->number;
    return LAB_OK;
}

static lab_status_t set_u64(void *context, const char *space, const char *key, uint64_t number)
{
    if (!fake_board_operate(context)) {
        return LAB_NVS_FAILED;
    }
    fake_board_put_number(context, space, key, number);
    return LAB_OK;
}

static lab_status_t set_u32(void *context, const char *space, const char *key, uint32_t number)
{
    return set_u64(context, space, key, number);
}

static lab_status_t erase(void *context, const char *space, const char *key)
{
    if (!fake_board_operate(context)) {
        return LAB_NVS_FAILED;
    }
    fake_value_t *value = find(context, space, key);
    if (value != NULL) {
        free(value->text);
        *value = (fake_value_t){.text = NULL};
    }
    return LAB_OK;
}

lab_storage_t fake_storage(fake_board_t *board)
{
    return (lab_storage_t){board, text_room, get_text, set_text, get_number, set_u32, set_u64, erase};
}

/* --- clock and chance --- */

static uint32_t ticks_ms(void *context)
{
    return ((const fake_board_t *)context)->ticks;
}

static int64_t now(void *context)
{
    return ((const fake_board_t *)context)->now;
}

lab_clock_t fake_clock(fake_board_t *board)
{
    return (lab_clock_t){board, ticks_ms, now};
}

static lab_status_t fill(void *context, uint8_t *out, size_t len)
{
    fake_board_t *board = context;
    memset(out, 0, len);
    if (board->random_fails) {
        return LAB_RANDOM_FAILED;
    }
    for (size_t at = 0; at < len; at++) {
        out[at] = (uint8_t)(board->random >> (8 * (at % 4)));
    }
    return LAB_OK;
}

lab_random_t fake_random(fake_board_t *board)
{
    return (lab_random_t){board, fill};
}

/* --- keys: texts with numbers in them, no cryptography --- */

void fake_key(int key, char out[64])
{
    snprintf(out, 64, "KEY %d", key);
}

void fake_chain(int key, char out[512])
{
    char line[32];
    snprintf(line, sizeof(line), "KEY%d", key);
    snprintf(out, 512, "-----BEGIN CERTIFICATE-----\n%s\n-----END CERTIFICATE-----\n", line);
}

static lab_status_t make_key(void *context, char **key)
{
    fake_board_t *board = context;
    char text[64];
    *key = NULL;
    if (board->random_fails) {
        return LAB_RANDOM_FAILED;
    }
    fake_key(++board->keys_made, text);
    *key = strdup(text);
    return LAB_OK;
}

static lab_status_t make_request(void *context, const char *key, const char *device, char **request)
{
    int number;
    char text[128];
    (void)context;
    *request = NULL;
    if (sscanf(key, "KEY %d", &number) != 1) {
        return LAB_KEY_FAILED;
    }
    snprintf(text, sizeof(text), "REQUEST %d\nfor \"%s\"\n", number, device);
    *request = strdup(text);
    return LAB_OK;
}

static lab_status_t match(void *context, const char *key, const char *chain, lab_validity_t *validity)
{
    int number;
    char expected[512];
    (void)context;
    *validity = (lab_validity_t){0, 0, 0};
    if (sscanf(key, "KEY %d", &number) != 1) {
        return LAB_KEY_FAILED;
    }
    fake_chain(number, expected);
    if (strncmp(chain, expected, strlen(expected)) != 0) {
        return LAB_IDENTITY_MISMATCH;
    }
    *validity = (lab_validity_t){1790000000, 1810000000, 0};
    return LAB_OK;
}

lab_keys_t fake_keys(fake_board_t *board)
{
    return (lab_keys_t){board, make_key, make_request, match};
}

/* --- mqtt --- */

static lab_status_t mqtt_connect(void *context, const lab_mqtt_session_t *session)
{
    fake_board_t *board = context;
    board->connects++;
    snprintf(board->session_key, sizeof(board->session_key), "%s", session->key);
    snprintf(board->session_host, sizeof(board->session_host), "%s", session->host);
    return LAB_OK;
}

static void mqtt_disconnect(void *context)
{
    ((fake_board_t *)context)->disconnects++;
}

static lab_status_t mqtt_publish(void *context, const char *topic, const char *payload, bool retain)
{
    fake_board_t *board = context;
    fake_message_t *message = &board->published[board->published_count++ % FAKE_MESSAGES];
    snprintf(message->topic, sizeof(message->topic), "%s", topic);
    snprintf(message->payload, sizeof(message->payload), "%s", payload);
    message->retain = retain;
    return LAB_OK;
}

static lab_status_t mqtt_subscribe(void *context, const char *filter)
{
    fake_board_t *board = context;
    snprintf(board->subscribed, sizeof(board->subscribed), "%s", filter);
    return LAB_OK;
}

static void mqtt_next(void *context, uint32_t timeout_ms, lab_mqtt_event_t *event)
{
    fake_board_t *board = context;
    if (board->events_head == board->events_tail) {
        *event = (lab_mqtt_event_t){.kind = LAB_MQTT_NOTHING};
        board->ticks += timeout_ms; /* time passes while nothing happens */
        board->now += timeout_ms / 1000;
        return;
    }
    *event = board->events[board->events_head++ % FAKE_EVENTS];
}

lab_mqtt_t fake_mqtt(fake_board_t *board)
{
    return (lab_mqtt_t){board, mqtt_connect, mqtt_disconnect, mqtt_publish, mqtt_subscribe, mqtt_next};
}

void fake_board_event(fake_board_t *board, lab_mqtt_event_kind_t kind)
{
    board->events[board->events_tail++ % FAKE_EVENTS] = (lab_mqtt_event_t){.kind = kind, .reason = 5};
}

void fake_board_message(fake_board_t *board, const char *topic, const char *payload, bool retained)
{
    lab_mqtt_event_t *event = &board->events[board->events_tail++ % FAKE_EVENTS];
    *event = (lab_mqtt_event_t){.kind = LAB_MQTT_MESSAGE, .retained = retained};
    event->cut = strlen(topic) > sizeof(event->topic) || strlen(payload) > sizeof(event->payload);
    event->topic_len = event->cut ? 0 : strlen(topic);
    event->payload_len = event->cut ? 0 : strlen(payload);
    memcpy(event->topic, topic, event->topic_len);
    memcpy(event->payload, payload, event->payload_len);
}

/* --- sensor --- */

static lab_status_t read_sensor(void *context, lab_reading_t *reading)
{
    const fake_board_t *board = context;
    *reading = board->reading;
    return board->sensor_fails ? LAB_READING_FAILED : LAB_OK;
}

lab_sensor_t fake_sensor(fake_board_t *board)
{
    return (lab_sensor_t){board, read_sensor};
}

/* --- slot --- */

static lab_status_t slot_begin(void *context, uint32_t size)
{
    fake_board_t *board = context;
    (void)size;
    if (!fake_board_operate(board)) {
        return LAB_SLOT_FAILED;
    }
    board->slot_open = true;
    board->slot_written = 0;
    return LAB_OK;
}

static lab_status_t slot_write(void *context, lab_span_t data)
{
    fake_board_t *board = context;
    if (!board->slot_open || !fake_board_operate(board) || data.len > sizeof(board->slot_data) - board->slot_written) {
        return LAB_SLOT_FAILED;
    }
    memcpy(board->slot_data + board->slot_written, data.data, data.len);
    board->slot_written += data.len;
    return LAB_OK;
}

static lab_status_t slot_finish(void *context)
{
    fake_board_t *board = context;
    if (!board->slot_open || board->dead) {
        return LAB_SLOT_FAILED;
    }
    board->slot_open = false;
    return board->slot_refuses ? LAB_IMAGE_REFUSED : LAB_OK;
}

static lab_status_t slot_activate(void *context)
{
    fake_board_t *board = context;
    if (!fake_board_operate(board)) {
        return LAB_SLOT_FAILED;
    }
    board->active = true;
    return LAB_OK;
}

static void slot_abandon(void *context)
{
    ((fake_board_t *)context)->slot_open = false;
}

static bool slot_pending(void *context)
{
    return ((const fake_board_t *)context)->pending;
}

static lab_status_t slot_confirm(void *context)
{
    fake_board_t *board = context;
    board->confirms++;
    board->pending = false;
    return LAB_OK;
}

static void slot_roll_back(void *context)
{
    fake_board_t *board = context;
    board->rollbacks++;
    board->pending = false;
}

lab_slot_t fake_slot(fake_board_t *board)
{
    return (lab_slot_t){board,         4096,         slot_begin,   slot_write,    slot_finish,
                        slot_activate, slot_abandon, slot_pending, slot_confirm, slot_roll_back};
}

/* --- system --- */

static void restart(void *context)
{
    ((fake_board_t *)context)->restarts++;
}

static void wait_ms(void *context, uint32_t ms)
{
    ((fake_board_t *)context)->ticks += ms;
}

lab_system_t fake_system(fake_board_t *board)
{
    return (lab_system_t){board, restart, wait_ms};
}
