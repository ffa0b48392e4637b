#include "lab_backoff.h"

#include <assert.h>

uint32_t lab_backoff_ms(uint32_t tries, uint32_t chance, uint32_t base_ms, uint32_t cap_ms)
{
    assert(tries >= 1);
    const uint32_t doublings = tries - 1 < 31 ? tries - 1 : 31;
    const uint64_t longest = (uint64_t)base_ms << doublings;
    const uint64_t span = longest < cap_ms ? longest : cap_ms;
    return (uint32_t)((chance * (span + 1)) >> 32);
}

bool lab_clock_reached(uint32_t now_ms, uint32_t deadline_ms)
{
    return now_ms - deadline_ms < UINT32_C(0x80000000);
}
