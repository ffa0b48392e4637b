/* Any bytes as a chain, a time, a version and a log line. */
#include "lab_replies.h"
#include "lab_update.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const lab_span_t text = {data, size};
    int64_t seconds;
    lab_version_t version;
    (void)lab_chain_check(text);
    (void)lab_time_read(text, &seconds);
    if (lab_version_read(text, &version)) {
        char out[LAB_VERSION_ROOM];
        lab_version_write(version, out);
        if (!lab_span_is(text, out)) {
            abort();
        }
    }
    lab_line_t line = lab_line(LAB_COMMAND_UNKNOWN);
    lab_line_text(&line, "command", text);
    if (strpbrk(line.text, "\r\n\x1b") != NULL) {
        abort();
    }
    return 0;
}
