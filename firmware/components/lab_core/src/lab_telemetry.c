#include "lab_telemetry.h"

#include <assert.h>

static void put_decimal(lab_text_t *text, int32_t hundredths)
{
    const uint32_t size = hundredths < 0 ? 0 - (uint32_t)hundredths : (uint32_t)hundredths;
    if (hundredths < 0) {
        lab_text_put(text, "-");
    }
    lab_text_put_number(text, size / 100);
    lab_text_put(text, size % 100 < 10 ? ".0" : ".");
    lab_text_put_number(text, size % 100);
}

lab_status_t lab_telemetry_render(const char *device, lab_reading_t reading, uint32_t uptime, uint32_t sequence,
                                  char out[LAB_TELEMETRY_ROOM])
{
    lab_text_t text = lab_text(out, LAB_TELEMETRY_ROOM);
    if (reading.temperature < LAB_COLDEST || reading.temperature > LAB_HOTTEST) {
        return LAB_READING_RANGE;
    }
    if (reading.humidity < LAB_DRIEST || reading.humidity > LAB_WETTEST) {
        return LAB_READING_RANGE;
    }
    lab_text_put(&text, "{\"device\":\"");
    lab_text_put(&text, device);
    lab_text_put(&text, "\",\"temp\":");
    put_decimal(&text, reading.temperature);
    lab_text_put(&text, ",\"hum\":");
    put_decimal(&text, reading.humidity);
    lab_text_put(&text, ",\"uptime\":");
    lab_text_put_number(&text, uptime);
    lab_text_put(&text, ",\"seq\":");
    lab_text_put_number(&text, sequence);
    lab_text_put(&text, "}");
    assert(!text.full);
    return LAB_OK;
}
