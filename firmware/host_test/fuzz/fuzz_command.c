/* Any topic and payload: the first byte says where one ends and the other begins. */
#include "lab_commands.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lab_command_t command;
    uint32_t seconds;
    (void)lab_command_interval((lab_span_t){data, size}, &seconds);
    (void)lab_id_check((lab_span_t){data, size});
    if (size > 0) {
        const size_t topic = data[0] < size ? data[0] : size - 1;
        const lab_status_t status = lab_command_read("sensor-001", (lab_span_t){data + 1, topic},
                                                     (lab_span_t){data + 1 + topic, size - 1 - topic}, &command);
        if (status == LAB_OK && command.word == LAB_COMMAND_INTERVAL && command.seconds < LAB_INTERVAL_SHORTEST) {
            abort();
        }
    }
    return 0;
}
