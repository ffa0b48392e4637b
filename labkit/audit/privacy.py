"""Minimise telemetry: what leaves a device is what somebody needs, as coarse as they can use it.

A list of what may leave decides, and never one of what may not: tomorrow's firmware has a field that nobody thought of
today.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.outcome import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Need:
    """A field that somebody needs.

    Attributes:
        field: Its name.
        step: To which multiple it is rounded.
        purpose: What for.
    """

    field: str
    step: float
    purpose: str


NEEDS = (
    Need("temperature", 0.5, "the dashboard's climate chart"),
    Need("humidity", 1, "the dashboard's climate chart"),
    Need("battery", 5, "to change batteries in time"),
    Need("time", 60, "to put readings in order; nobody needs the second"),
)
"""What the course's plant needs of a reading of its environment."""


def coarse(value: float, step: float) -> float:
    """Return a number as a multiple of a step."""
    rounded = round(value / step) * step
    return int(rounded) if step >= 1 else round(rounded, 6)


def minimise(payload: Mapping[str, Any], needs: Sequence[Need] = NEEDS) -> dict[str, float]:
    """Return what may leave the device: fields that somebody needs, rounded, and nothing else.

    Args:
        payload: What the device knows.
        needs: Who needs what.
    """
    return {
        need.field: coarse(payload[need.field], need.step)
        for need in needs
        if _is_number(payload.get(need.field))
    }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def judge(
    payload: Mapping[str, Any],
    result: object,
    needs: Sequence[Need] = NEEDS,
) -> list[Finding]:
    """Return what is wrong with a minimised payload.

    Args:
        payload: What the device knew.
        result: What would leave it.
        needs: Who needs what.

    Returns:
        Findings `not-a-payload`, `too-much` (a field that nobody needs), `too-fine`, `missing` and `wrong` (another
        number than the device's).

    Does not check: what can be concluded from many readings together. A humidity every minute tells who showers when.
    """
    if not isinstance(result, dict):
        return [_finding("not-a-payload", "the result", f"It is a {type(result).__name__}, not a dict.")]
    wanted = {need.field: need for need in needs}
    found = [
        _finding("too-much", str(field), "It leaves the device, and nobody needs it.")
        for field in result
        if field not in wanted
    ]
    for field, need in wanted.items():
        if not _is_number(payload.get(field)):
            if field in result:
                found.append(_finding("wrong", field, "It leaves the device, which has no number for it."))
        elif field not in result:
            found.append(_finding("missing", field, f"It is needed: {need.purpose}."))
        elif not _is_number(result[field]) or abs(result[field] - payload[field]) > need.step:
            found.append(_finding("wrong", field, "It is not what the device has measured."))
        elif not math.isclose(coarse(result[field], need.step), result[field], abs_tol=1e-6):
            found.append(_finding("too-fine", field, f"It is told finer than to {need.step:g}."))
    return found


def _finding(rule: str, subject: str, message: str) -> Finding:
    advice = "Begin with an empty dict, and put in what somebody needs."
    return Finding(rule, Severity.ERROR, subject, message, advice)


SAMPLES: tuple[Mapping[str, Any], ...] = (
    {
        "device_id": "sensor-007", "temperature": 21.4837, "humidity": 48.26, "battery": 87.3, "time": 1772366417,
        "wifi": {"ssid": "Flat 12 B", "bssid": "a4:2b:b0:11:22:33", "rssi": -61},
        "gps": {"lat": -0.39612, "lon": 36.96251}, "owner": "j.mwangi@example.org", "firmware": "1.4.0",
    },
    {"temperature": -3.07, "humidity": 91.9, "battery": 12.0, "time": 1772366999, "motion": [0, 0, 1, 1, 0]},
    # Tomorrow's firmware: a field that nobody has thought of, a sensor that has failed, and no battery.
    {
        "temperature": float("nan"), "humidity": 33.3, "battery": 0.0, "time": 1772367001,
        "bluetooth_neighbours": ["5c:f3:70:aa:bb:cc", "Jane's phone"],
    },
)  # fmt: skip
"""Readings to try it on: an honest one, a small one, and one of a firmware to come."""
