#define _DEFAULT_SOURCE /* strsep */
/* Answers questions from pytest, one a line, so that the core is compared with its twin on whatever Python thinks of, and keys and
 * signatures are looked at by two libraries.
 *
 *   interval HEX            status and seconds
 *   command HEX HEX         status, word and seconds; for sensor-001
 *   json HEX                status of a document of at most 256 bytes
 *   grant HEX               status; for sensor-001
 *   manifest HEX            status
 *   time HEX                status and seconds
 *   chain HEX               status
 *   id HEX                  status
 *   key                     a key, in hexadecimal
 *   request HEX NAME        the request for a key
 *   match HEX HEX           status of key and chain, and the validity
 *   header HEX HEX          status of the header of an update under a text of trusted keys, for course-node 1.0.0
 */
#include "lab_commands.h"
#include "lab_json.h"
#include "lab_keys_mbedtls.h"
#include "lab_replies.h"
#include "lab_store.h"
#include "lab_verify_mbedtls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint8_t *data;
    size_t len;
} bytes_t;

static unsigned digit(char character)
{
    return (unsigned)(character <= '9' ? character - '0' : character - 'a' + 10);
}

/* Returns the bytes of a word, with a NUL behind them that does not count. */
static bytes_t read_hex(const char *word)
{
    bytes_t bytes = {NULL, word == NULL ? 0 : strlen(word) / 2};
    bytes.data = calloc(1, bytes.len + 1);
    for (size_t at = 0; at < bytes.len; at++) {
        bytes.data[at] = (uint8_t)(digit(word[2 * at]) << 4 | digit(word[2 * at + 1]));
    }
    return bytes;
}

static void print_hex(const char *text)
{
    for (; *text != '\0'; text++) {
        printf("%02x", (unsigned char)*text);
    }
}

static void answer_interval(lab_span_t one, lab_span_t other)
{
    uint32_t seconds;
    (void)other;
    const lab_status_t status = lab_command_interval(one, &seconds);
    printf("%s %u", lab_code_name(status), seconds);
}

static void answer_command(lab_span_t one, lab_span_t other)
{
    lab_command_t command;
    const lab_status_t status = lab_command_read("sensor-001", one, other, &command);
    printf("%s %s %u", lab_code_name(status), lab_command_name(command.word), command.seconds);
}

static void answer_json(lab_span_t one, lab_span_t other)
{
    lab_json_t object;
    (void)other;
    printf("%s", lab_code_name(lab_json_open(one, 256, &object)));
}

static void answer_grant(lab_span_t one, lab_span_t other)
{
    lab_grant_t grant;
    (void)other;
    lab_status_t status = lab_reply_grant(one, "sensor-001", &grant);
    if (status == LAB_OK) {
        char *chain = malloc(grant.chain_room);
        status = lab_reply_chain(&grant, chain);
        free(chain);
    }
    printf("%s", lab_code_name(status));
}

static void answer_manifest(lab_span_t one, lab_span_t other)
{
    lab_manifest_t manifest;
    (void)other;
    printf("%s", lab_code_name(lab_manifest_read(one, &manifest)));
}

static void answer_time(lab_span_t one, lab_span_t other)
{
    int64_t seconds;
    (void)other;
    const lab_status_t status = lab_time_read(one, &seconds);
    printf("%s %lld", lab_code_name(status), (long long)seconds);
}

static void answer_chain(lab_span_t one, lab_span_t other)
{
    (void)other;
    printf("%s", lab_code_name(lab_chain_check(one)));
}

static void answer_id(lab_span_t one, lab_span_t other)
{
    (void)other;
    printf("%s", lab_code_name(lab_id_check(one)));
}

static const struct {
    const char *word;
    void (*answer)(lab_span_t one, lab_span_t other);
} s_core[] = {
    {"interval", answer_interval}, {"command", answer_command}, {"json", answer_json},   {"grant", answer_grant},
    {"manifest", answer_manifest}, {"time", answer_time},       {"chain", answer_chain}, {"id", answer_id},
};

static void answer_core(const char *word, lab_span_t one, lab_span_t other)
{
    for (size_t at = 0; at < sizeof(s_core) / sizeof(s_core[0]); at++) {
        if (strcmp(s_core[at].word, word) == 0) {
            s_core[at].answer(one, other);
        }
    }
}

static void answer_key(const lab_keys_t *keys)
{
    char *key;
    const lab_status_t status = keys->make_key(keys->context, &key);
    printf("%s ", lab_code_name(status));
    if (status == LAB_OK) {
        print_hex(key);
        lab_text_free(key);
    }
}

static void answer_request(const lab_keys_t *keys, const char *key, const char *name)
{
    char *request;
    const lab_status_t status = keys->make_request(keys->context, key, name, &request);
    printf("%s ", lab_code_name(status));
    if (status == LAB_OK) {
        print_hex(request);
        free(request);
    }
}

static void answer_match(const lab_keys_t *keys, const char *key, const char *chain)
{
    lab_validity_t validity;
    const lab_status_t status = keys->match(keys->context, key, chain, &validity);
    printf("%s %lld %lld", lab_code_name(status), (long long)validity.not_before, (long long)validity.not_after);
}

static void answer_header(lab_span_t header, const char *trusted)
{
    lab_update_crypto_t crypto;
    lab_verify_mbedtls_t context;
    lab_update_stream_t stream;
    lab_span_t image;
    const lab_target_t target = {.product = "course-node", .version = {1, 0, 0}, .slot_size = UINT32_MAX};
    lab_verify_mbedtls(&crypto, &context, trusted);
    lab_update_begin(&stream, &crypto, &target, NULL);
    printf("%s", lab_code_name(lab_update_feed(&stream, header, &image)));
    lab_status_t code;
    (void)lab_update_end(&stream, &code);
}

static void answer(const lab_keys_t *keys, const char *word, const char *first, const char *second)
{
    const bool named = strcmp(word, "request") == 0;
    const bytes_t one = read_hex(first);
    const bytes_t other = read_hex(named ? "" : second);
    if (strcmp(word, "key") == 0) {
        answer_key(keys);
    } else if (named) {
        answer_request(keys, (const char *)one.data, second);
    } else if (strcmp(word, "match") == 0) {
        answer_match(keys, (const char *)one.data, (const char *)other.data);
    } else if (strcmp(word, "header") == 0) {
        answer_header((lab_span_t){one.data, one.len}, (const char *)other.data);
    } else {
        answer_core(word, (lab_span_t){one.data, one.len}, (lab_span_t){other.data, other.len});
    }
    printf("\n");
    fflush(stdout);
    free(one.data);
    free(other.data);
}

int main(void)
{
    static char s_line[1 << 20];
    lab_keys_t keys;
    if (lab_keys_mbedtls(&keys) != LAB_OK) {
        return 1;
    }
    while (fgets(s_line, sizeof(s_line), stdin) != NULL) {
        s_line[strcspn(s_line, "\n")] = '\0';
        char *rest = s_line;
        const char *word = strsep(&rest, " ");
        const char *first = rest == NULL ? "" : strsep(&rest, " ");
        answer(&keys, word, first, rest == NULL ? "" : rest);
    }
    return 0;
}
