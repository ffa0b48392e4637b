/* ESP-IDF's linux target has esp_timer's header and no source, and esp-mqtt asks it for the time. */
#include <esp_timer.h>
#include <time.h>

int64_t esp_timer_get_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}
