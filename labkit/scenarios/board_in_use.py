"""A board that has been in use for a while, and what a write to the wrong place does to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.errors import FormatError
from labkit.firmware import NvsEntry, build_image, read_image
from labkit.outcome import ACCEPTED, Outcome
from labkit.scenarios import device_files
from labkit.scenarios.board_readout import place

if TYPE_CHECKING:
    from labkit.scenarios.device_boot import Bench

WIFI = (
    NvsEntry("nvs.net80211", "sta.ssid", "blob", b"greenhouse"),
    NvsEntry("nvs.net80211", "sta.pswd", "blob", b"tomatoes-1871"),
)
"""What ESP-IDF's Wi-Fi driver keeps in the partition `nvs`: the lab's network, which does not exist."""


@dataclass(frozen=True)
class InUse:
    """What a board runs and remembers.

    Attributes:
        slot: The partition that it runs from.
        version: The version of its firmware.
        wifi: The Wi-Fi network that it knows.
    """

    slot: str
    version: str
    wifi: str

    def __str__(self) -> str:
        """Return it in words."""
        return f"version {self.version} from {self.slot}, Wi-Fi network {self.wifi}"

    __repr__ = __str__


def put_into_use(bench: Bench, version: str = "1.1.0") -> InUse:
    """Make the board one that has been in use: it knows a Wi-Fi network, and an update runs from its second slot.

    Args:
        bench: The board.
        version: The update's version; in the first slot lies 1.0.0.
    """
    bench.write("wifi.bin", build_image(WIFI, size=place("nvs").size))
    bench.write("otadata-1.bin", device_files.otadata_for(1))
    update = bench.make_firmware(version)
    words = bench.plan(bench.make_firmware().name)
    words[words.index(device_files.OTADATA)] = "otadata-1.bin"
    words += [hex(place("nvs").offset), "wifi.bin", hex(place("ota_1").offset), update.name]
    bench.esptool("write-flash", *words)
    return look(bench)


def look(bench: Bench) -> InUse:
    """Return what firmware the board runs, and which Wi-Fi network it knows."""
    detail = bench.boot().detail
    part = place("nvs")
    try:
        found = read_image(bench.board.flash_image()[part.offset : part.end])
    except FormatError:
        found = []
    names = [
        bytes(entry.value).decode()
        for entry in found
        if entry.key == "sta.ssid" and isinstance(entry.value, bytes)
    ]
    return InUse(
        str(detail.get("slot", "none")), str(detail.get("version", "none")), names[0] if names else "none"
    )


def write_identity_at(bench: Bench, offset: str, before: InUse) -> Outcome:
    """Write the identity's partition somewhere, and return what has changed by it.

    Args:
        bench: The board.
        offset: Where to.
        before: What the board was.

    Returns:
        An outcome at stage `application` where it is what it was; at `partitions` where it is not, with the reason
        `other-slot` or `wiped`.
    """
    bench.esptool("write-flash", offset, device_files.IDENTITY)
    after = look(bench)
    detail = {"found": f"before: {before}\nafter: {after}"}
    if after == before:
        return Outcome("application", accepted=True, reason=ACCEPTED, detail=detail)
    reason = "other-slot" if after.slot != before.slot else "wiped"
    return Outcome("partitions", accepted=False, reason=reason, detail=detail)
