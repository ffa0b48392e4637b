/* The interval command, alone in its file: it is what the course's exercise writes. */
#include "lab_commands.h"
#include "lab_json.h"

lab_status_t lab_command_interval(lab_span_t payload, uint32_t *seconds)
{
    static const char *const s_fields[] = {"seconds"};
    lab_json_t object;
    int64_t number = 0;
    *seconds = 0;
    lab_status_t status = lab_json_open(payload, LAB_PAYLOAD_LONGEST, &object);
    if (status == LAB_OK) {
        status = lab_json_only(object, s_fields, 1);
    }
    if (status == LAB_OK) {
        status = lab_json_integer(object, "seconds", LAB_INTERVAL_SHORTEST, LAB_INTERVAL_LONGEST, &number);
    }
    if (status == LAB_OK) {
        *seconds = (uint32_t)number;
    }
    return status;
}
