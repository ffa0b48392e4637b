"""What somebody gets who has a board and a cable: partitions, values, keys."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

from labkit.board import Machine
from labkit.board.bootloader import boot
from labkit.clock import Deadline
from labkit.errors import FormatError, NotConnectedError
from labkit.firmware import read_image
from labkit.firmware.image import MAGIC
from labkit.firmware.partitions import APP, COURSE_TABLE
from labkit.mqtt import delivered
from labkit.node import layout, topics
from labkit.node.telemetry import Reading, render
from labkit.outcome import ACCEPTED, Outcome
from labkit.pki import IdentityFiles
from labkit.scenarios.mutual_tls import FENCE, OBSERVER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labkit.board import Efuses, NorFlash
    from labkit.firmware.partitions import Partition
    from labkit.scenarios.device_boot import Bench, Transcript

LONGEST = 0x8000
"""So much is read of a partition at most; esptool needs seconds for a megabyte."""

DUMP = "dump.bin"

PATIENCE = 10.0
"""Seconds for which an impostor and the device throw each other out."""

THROWN_OUT = {"session-taken-over", "connection-lost"}
"""How a session ends when somebody else comes with its client id (MQTT 5, section 3.1.4)."""

_PEM = re.compile(rb"-----BEGIN ([A-Z ]+)-----[A-Za-z0-9+/=\s]{40,4000}?-----END \1-----\n?")


def place(label: str) -> Partition:
    """Return a partition of the course's table."""
    found = COURSE_TABLE.find(label)
    if found is None:
        text = f"there is no partition {label!r}"
        raise ValueError(text)
    return found


def dump(bench: Bench, label: str = layout.PARTITION) -> Transcript:
    """Read a partition out of the board with the real esptool, as anybody with a cable can.

    Args:
        bench: The board.
        label: The partition; of a large one its beginning is read.
    """
    part = place(label)
    (bench.folder / DUMP).unlink(missing_ok=True)
    return bench.esptool("read-flash", hex(part.offset), hex(min(part.size, LONGEST)), DUMP, check=False)


def loot(bench: Bench, label: str = layout.PARTITION) -> tuple[Outcome, dict[str, str]]:
    """Read a partition out and look for a private key in it.

    Args:
        bench: The board.
        label: The partition.

    Returns:
        An outcome at stage `read`, `parse` or `key`, and the texts that were found. What can't be parsed is taken for
        encrypted.
    """
    said = dump(bench, label)
    if not (bench.folder / DUMP).exists():
        reason = "download-mode" if "Secure Download Mode" in said.text else "no-answer"
        detail = {"found": said.text.strip().splitlines()[-1]}
        return Outcome("read", accepted=False, reason=reason, detail=detail), {}
    data = bench.read(DUMP)
    try:
        found = pem_in(_application(data)) if place(label).type == APP else texts_in(data)
    except FormatError as error:
        detail = {"found": f"{error.message} Bytes 64 to 79: {data[64:80].hex(' ')}"}
        return Outcome("parse", accepted=False, reason="encrypted", detail=detail), {}
    detail = {"found": f"{label} holds: {', '.join(found)}"}
    if "PRIVATE KEY" not in found.get("key", ""):
        return Outcome("key", accepted=False, reason="no-key", detail=detail), found
    return Outcome("key", accepted=True, reason=ACCEPTED, detail=detail), found


def _application(data: bytes) -> bytes:
    if data[:1] != bytes([MAGIC]):
        raise FormatError(
            f"This is no application image: it begins with {data[0]:#04x} and not {MAGIC:#04x}.",
            advice="Was the flash encrypted?",
            what="image",
            offset=0,
        )
    return data


def texts_in(data: bytes) -> dict[str, str]:
    """Return the values in a dump of an NVS partition, as texts by key.

    Raises:
        FormatError: It is encrypted, or no NVS partition.
    """
    return {entry.key: str(entry.value) for entry in read_image(data)}


def pem_in(data: bytes) -> dict[str, str]:
    """Return what stands in any bytes as PEM, as `strings` would find it: `key`, and `chain` with every certificate.

    Does not check: whether it is any good.
    """
    found: dict[str, str] = {}
    for block in _PEM.finditer(data):
        name = "key" if block[1].endswith(b"PRIVATE KEY") else "chain"
        found[name] = found.get(name, "") + block[0].decode()
    return found


def impostor(bench: Bench, texts: Mapping[str, str], label: str) -> IdentityFiles:
    """Return an identity that was found somewhere, as files on another computer.

    Args:
        bench: Whose device it is.
        texts: What was found; `chain` and `key` are looked at.
        label: What to call the files.
    """
    chain = bench.write(f"{label}.crt", texts["chain"].encode())
    key = bench.write(f"{label}.key", texts["key"].encode())
    return IdentityFiles(bench.device, chain, key)


def forge(bench: Bench, thief: IdentityFiles) -> Outcome:
    """Send a reading as a device, with an identity that was found, and return whether an operator receives it.

    Args:
        bench: Whose device it is.
        thief: The identity.

    Returns:
        An outcome at stage `authorised`, with the broker's line about who was let in.

    Raises:
        NotConnectedError: The broker refused the identity; it carries the outcome.
    """
    reading = render(bench.device, Reading(8500, 0), uptime=1, sequence=0)
    site, topic = bench.site, topics.telemetry(bench.device)
    deadline = Deadline(PATIENCE)
    with site.session(OBSERVER) as observer:
        observer.subscribe(topic)
        observer.subscribe(FENCE)
        while True:
            try:
                with site.session(thief) as session:
                    outcome = delivered(session, observer, topic, reading, fence=FENCE)
                return outcome.with_detail(broker_log=bench.admitted()[-1:])
            except NotConnectedError as error:
                # There is one session a client id, so the device that comes back throws us out as we did it. Whoever
                # wants to be heard comes again; a refusal is another matter.
                if deadline.passed or getattr(error.outcome, "reason", "") not in THROWN_OUT:
                    raise


def chip_values(flash: NorFlash, efuses: Efuses, label: str = layout.PARTITION) -> dict[str, str] | None:
    """Return the values of a partition as the chip itself reads them, or None where it does not start or can't.

    Args:
        flash: A copy of its flash: the boot may write to it.
        efuses: A copy of its fuses.
        label: The partition.
    """
    found = boot(flash, efuses)
    if not found.booted:
        return None
    machine = Machine(
        flash, efuses, found, say=lambda _: None, stopping=threading.Event(), restart=lambda _: None
    )
    try:
        return {entry.key: str(entry.value) for entry in machine.nvs(label)}
    except (FormatError, KeyError):
        return None
