"""A reading as it goes over the wire.

Temperature and humidity are counted in hundredths, so that no floating point number is formatted on the device and both
twins write the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from labkit.node.codes import refused

COLDEST, HOTTEST = -4000, 8500
"""What the BME280 can measure (datasheet, table 1), in hundredths of a degree Celsius."""

DRIEST, WETTEST = 0, 10_000
"""In hundredths of a percent of relative humidity."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading.

    Attributes:
        temperature: Hundredths of a degree Celsius.
        humidity: Hundredths of a percent.
    """

    temperature: int
    humidity: int


def render(device: str, reading: Reading, *, uptime: int, sequence: int) -> str:
    """Return the JSON that goes to `topics.telemetry`.

    Args:
        device: The device's id.
        reading: What the sensor said.
        uptime: Seconds since the start.
        sequence: How many readings were sent before since the start; a gap means that one was lost.

    Raises:
        MessageRefusedError: `reading-range`: no sensor of ours can have said that.
    """
    if not (COLDEST <= reading.temperature <= HOTTEST and DRIEST <= reading.humidity <= WETTEST):
        raise refused("reading-range", f"{reading.temperature}, {reading.humidity}")
    return (
        f'{{"device":"{device}","temp":{_decimal(reading.temperature)},"hum":{_decimal(reading.humidity)},'
        f'"uptime":{uptime},"seq":{sequence}}}'
    )


def _decimal(hundredths: int) -> str:
    sign = "-" if hundredths < 0 else ""
    return f"{sign}{abs(hundredths) // 100}.{abs(hundredths) % 100:02d}"
