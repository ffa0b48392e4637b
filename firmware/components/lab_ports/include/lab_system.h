/* Ports: the reboot, waiting, and the log. */
#ifndef LAB_SYSTEM_H
#define LAB_SYSTEM_H

#include "lab_text.h"

typedef struct {
    void *context;
    /* Restarts the chip; on a host it returns. */
    void (*restart)(void *context);
    /* Returns after so many milliseconds; other tasks run meanwhile. */
    void (*wait)(void *context, uint32_t ms);
} lab_system_t;

/* Writes a line of the log, with the time and the tag before it. The linker finds it: on a chip it is ESP-IDF's log, on the host
 * a list that tests look at. */
void lab_log(const char *tag, const lab_line_t *line);

/* Writes a line with nothing but a code. */
void lab_log_code(const char *tag, lab_status_t code);

#endif
