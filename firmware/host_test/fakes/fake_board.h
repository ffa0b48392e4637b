/* A board made of fakes, one for each port, which all lose their power together.
 *
 * `cut_after` counts operations of storage and slot: the one after that many fails, and so does everything else until
 * fake_board_power_on. What was done before stays, as in flash. */
#ifndef FAKE_BOARD_H
#define FAKE_BOARD_H

#include "lab_clock.h"
#include "lab_keys.h"
#include "lab_mqtt_port.h"
#include "lab_random.h"
#include "lab_sensor.h"
#include "lab_slot.h"
#include "lab_storage.h"
#include "lab_system.h"

enum { FAKE_VALUES = 32, FAKE_MESSAGES = 32, FAKE_EVENTS = 32 };

typedef struct {
    char space[16];
    char key[16];
    char *text; /* NULL for a number */
    uint64_t number;
} fake_value_t;

typedef struct {
    char topic[160];
    char payload[256];
    bool retain;
} fake_message_t;

typedef struct {
    bool dead;
    int operations;
    int cut_after; /* less than 0: never */
    /* storage */
    fake_value_t values[FAKE_VALUES];
    /* clock */
    uint32_t ticks;
    int64_t now;
    /* random */
    uint32_t random;
    bool random_fails;
    /* keys */
    int keys_made;
    /* mqtt */
    fake_message_t published[FAKE_MESSAGES];
    int published_count;
    char subscribed[160];
    int connects;
    int disconnects;
    char session_key[64]; /* the first line of the key that the last session showed */
    char session_host[64];
    lab_mqtt_event_t events[FAKE_EVENTS];
    int events_head;
    int events_tail;
    /* sensor */
    lab_reading_t reading;
    bool sensor_fails;
    /* slot */
    bool pending;
    bool slot_open;
    bool slot_refuses; /* the chip can't boot what was written */
    size_t slot_written;
    uint8_t slot_data[8192];
    bool active; /* the slot boots next */
    int confirms;
    int rollbacks;
    /* system */
    int restarts;
} fake_board_t;

void fake_board_init(fake_board_t *board);
void fake_board_free(fake_board_t *board);
void fake_board_power_on(fake_board_t *board);

lab_storage_t fake_storage(fake_board_t *board);
lab_clock_t fake_clock(fake_board_t *board);
lab_random_t fake_random(fake_board_t *board);
lab_keys_t fake_keys(fake_board_t *board);
lab_mqtt_t fake_mqtt(fake_board_t *board);
lab_sensor_t fake_sensor(fake_board_t *board);
lab_slot_t fake_slot(fake_board_t *board);
lab_system_t fake_system(fake_board_t *board);

/* Counts an operation; false where the power is gone. */
bool fake_board_operate(fake_board_t *board);

/* Look into the storage, and write into it as a factory or a thief does: no operation is counted. */
const char *fake_board_text(const fake_board_t *board, const char *space, const char *key);
void fake_board_put_text(fake_board_t *board, const char *space, const char *key, const char *text);
void fake_board_put_number(fake_board_t *board, const char *space, const char *key, uint64_t number);

/* A certificate of the fake kind for the fake key with a number, and the key itself. */
void fake_chain(int key, char out[512]);
void fake_key(int key, char out[64]);

void fake_board_event(fake_board_t *board, lab_mqtt_event_kind_t kind);
void fake_board_message(fake_board_t *board, const char *topic, const char *payload, bool retained);

/* What was logged since the last fake_log_clear: every line, each ended with a newline. */
const char *fake_log(void);
void fake_log_clear(void);

/* Returns how many lines have a code. */
int fake_log_count(lab_status_t code);

#endif
