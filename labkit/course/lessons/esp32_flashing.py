"""Lesson esp32-flashing: what lies in a board's flash, how it gets there, who reads it, and what then helps."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from labkit.board.board_files import BoardFiles
from labkit.course.lab import ready_authority
from labkit.course.lesson import Check, CheckResult, Claim, Lesson, Prediction
from labkit.course.lessons.esp32_flashing_exercises import MORE
from labkit.course.lessons.esp32_flashing_questions import QUESTIONS
from labkit.course.shelf import failed, not_attempted
from labkit.errors import FormatError, MessageRefusedError
from labkit.firmware import read_image
from labkit.firmware.nvs_encryption import parse_key_partition
from labkit.firmware.partitions import COURSE_TABLE
from labkit.node.codes import parse_line, refused
from labkit.node.commands import read_interval
from labkit.scenarios.board_readout import chip_values, pem_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from labkit.course.lab import Lab
    from labkit.outcome import Outcome
    from labkit.scenarios.device_boot import Bench

SHELF = "answers/esp32-flashing"
"""Where the record of the first exercise lies."""

PLANT = "workbench"
"""The authority of this lesson; made anew each time."""

DEVICE = "sensor-001"

WORD = 0xFFFFFFFF
"""The largest number that fits where the device keeps its interval."""

CLAIMS = (
    Claim("boots", "What esptool wrote is what boots, from the ROM to the application.", "application"),
    Claim("named", "The broker knows the device by the name in its certificate.", "mqtt"),
    Claim("speaks", "Its readings arrive.", "authorised"),
    Claim("obeys", "An operator changes its interval by a command.", "authorised"),
    Claim("obeys-sense", "A command that makes no sense is refused by the device.", "authorised", "json-range"),
    Claim("expired", "With an expired certificate the same board is refused, by TLS at the broker.", "tls",
          "certificate-expired", "expired"),
    Claim("back-again", "With its good certificate back, it is let in.", "mqtt"),
    Claim("image-key", "A key that is linked into the image comes with every update, and opens the door.", "authorised"),
    Claim("printed-offset", "Written at 0x9000, the identity takes Wi-Fi's data along, and old firmware boots.",
          "partitions", "other-slot", "offset"),
    Claim("own-partition", "Written into a partition of its own, it disturbs nothing.", "application"),
    Claim("loot", "One command reads the private key out of the flash.", "key", "accepted", "where"),
    Claim("impersonated", "With it, another computer is the device.", "authorised"),
    Claim("not-encrypted", "With a key in the fuses and plain text in flash, the chip starts nothing.", "rom",
          "not-encrypted"),
    Claim("app-is-noise", "With flash encryption, a dump of the application is noise.", "parse", "encrypted"),
    Claim("nvs-is-open", "A dump of the NVS partition is not.", "key", "accepted", "nvs"),
    Claim("sealed", "With NVS encryption too, the same dump is noise.", "parse", "encrypted"),
    Claim("sealed-speaks", "And the device works as before.", "authorised"),
    Claim("generator", "The generator's keys follow from the state of a random number generator for dice.", "key"),
    Claim("hmac-sealed", "On the ESP32-C3 the keys come from a fuse that no program can read.", "parse", "encrypted"),
    Claim("hmac-speaks", "And that device works too.", "authorised"),
    Claim("download", "In Secure Download Mode nothing is read out at all.", "read", "download-mode"),
)  # fmt: skip

PREDICTIONS = (
    Prediction(
        "where",
        "Somebody has your board and a USB cable for a minute, and no password. How do they come by the private key?",
        {
            "never": "not at all: a key is used in the chip and never leaves it",
            "glitch": "with a laboratory: glitches, probes, a microscope",
            "cable": "with one command of the tool that you have just used",
        },
        "cable",
        {
            "never": "That is so for keys in a secure element or in protected fuses. This one lies in flash.",
            "glitch": "Later, when you have locked the flash. Not now.",
        },
    ),
    Prediction(
        "expired",
        "The board has a certificate that ran out yesterday, signed by our own authority. Who refuses it?",
        {
            "board": "the board itself, when it starts",
            "tls": "TLS at the broker",
            "mqtt": "MQTT at the broker, with a reason code",
        },
        "tls",
        {
            "board": "It says that its certificate has run out, and tries: it is not the one that has to be convinced.",
            "mqtt": "It never comes to MQTT.",
        },
    ),
    Prediction(
        "offset",
        "A tutorial writes the identity, 0x6000 bytes, to 0x9000. This board's table has nvs there, 0x4000 long. "
        "What becomes of the board?",
        {
            "refused": "esptool refuses: the image is longer than the partition",
            "wifi": "it forgets its Wi-Fi network",
            "both": "it forgets its Wi-Fi network, and older firmware starts",
        },
        "both",
        {
            "refused": "esptool knows offsets, and nothing of partitions.",
            "wifi": "That too. Look what lies behind nvs.",
        },
    ),
    Prediction(
        "nvs",
        "Flash encryption is on, and the application in a dump is noise. What does a dump of the identity's partition show?",
        {
            "noise": "noise as well",
            "key": "the private key, as before",
            "refused": "nothing: reading is refused",
        },
        "key",
        {
            "noise": "NVS partitions are not covered. The next cell shows it.",
            "refused": "That is Secure Download Mode, and this is not on.",
        },
    ),
)

# --- exercise 1 ---------------------------------------------------------------------------------------------------

PAYLOADS: tuple[tuple[bytes, int | None], ...] = (
    (b'{"seconds": 30}', 30),
    (b'{"seconds": 5}', 5),
    (b'{"seconds": 86400}', 86_400),
    (b'{"seconds": 0}', None),
    (b'{"seconds": -60}', None),
    (b'{"seconds": 4}', None),
    (b'{"seconds": 86401}', None),
    (b'{"seconds": 1000000000}', None),
    (b'{"seconds": "60"}', None),
    (b'{"seconds": true}', None),
    (b'{"seconds": 7.5}', None),
    (b'{"seconds": null}', None),
    (b'{"minutes": 5}', None),
    (b'"seconds"', None),
    (b"[60]", None),
    (b"60", None),
    (b"", None),
    (b"\xff\xfe{}", None),
    (b"[" * 20_000, None),
)
"""What the operator sends, and the interval that it should lead to; None where nothing may change."""


def try_interval(lab: Lab, bench: Bench, interval: Callable[[bytes], Any]) -> list[tuple[str, str]]:
    """Let the board understand the command `interval` as a function of the reader's does, and send it nineteen of them.

    Args:
        lab: The lab.
        bench: The board.
        interval: Returns the seconds that a payload asks for; raises `ValueError` for anything that makes no sense.

    Returns:
        Each payload, and what the device did.
    """
    record = lab.workspace.path(SHELF, "interval.json")
    record.unlink(missing_ok=True)
    with suppress(ValueError):
        interval(PAYLOADS[0][0])  # a stub ends here, and nothing is recorded
    crashes: list[str] = []

    def understood(payload: bytes) -> int:
        try:
            found = interval(payload)
        except ValueError as error:
            raise refused("json-syntax", "") from error
        except Exception as error:
            # In C this would be the end of the program; the board would start again.
            crashes.append(type(error).__name__)
            raise refused("memory-short", "") from error
        if not isinstance(found, int) or not 0 <= found <= WORD:
            crashes.append(f"it returned {found!r}"[:40])
            raise refused("memory-short", "")
        return int(found)

    rows = []
    with bench.understanding(understood):
        for payload, _ in PAYLOADS:
            crashes.clear()
            outcome = bench.command("interval", payload)
            did = f"crashed: {crashes[0]}" if crashes else _did(outcome)
            rows.append({"payload": payload.decode("latin-1"), "did": did})
    lab.workspace.write(f"{SHELF}/interval.json", json.dumps(rows, indent=2).encode())
    return [(_short(row["payload"]), row["did"]) for row in rows]


def _did(outcome: Outcome) -> str:
    found = parse_line(outcome.detail["board"]) if outcome.accepted else None
    return f"set to {found[1]['seconds']}" if found else "refused"


def _short(payload: str) -> str:
    shown = payload.encode("latin-1").decode("ascii", "replace")
    return f"{shown[:30]}…" if len(shown) > 31 else shown or "(nothing)"


def _check_interval(lab: Lab) -> CheckResult:
    """Look at the record of what the board did with each payload."""
    path = lab.workspace.path(SHELF, "interval.json")
    if not path.exists():
        return not_attempted("complete interval(), then send the commands below it")
    try:
        did = {row["payload"].encode("latin-1"): str(row["did"]) for row in json.loads(path.read_text())}
    except (ValueError, KeyError, TypeError, AttributeError):
        return failed(
            "no-record",
            "the record can't be read",
            expected="what the board did with each payload",
            advice="send the commands again",
        )
    for payload, wanted in PAYLOADS:
        found = did.get(payload, "nothing")
        shown = _short(payload.decode("latin-1"))
        if found.startswith("crashed"):
            return failed(
                "crashed",
                f"{shown!r} ended the program ({found.removeprefix('crashed: ')})",
                expected="whatever comes in, the device goes on: ValueError for what makes no sense, and nothing else",
                advice="which of your lines can raise something else, or return something that is no number?",
            )
        if wanted is None and found != "refused":
            return failed(
                "obeys-nonsense",
                f"{shown!r}: the interval was {found}",
                expected="5 to 86,400 whole seconds; everything else is refused",
                advice="what do you know of the value before you compare it? In Python True is a number.",
            )
        if wanted is not None and found != f"set to {wanted}":
            return failed(
                "refuses-sense",
                f"{shown!r}: {found}",
                expected=f"the interval is {wanted} seconds then",
                advice="are both ends of the range allowed?",
            )
    return CheckResult(
        "passed", observed=f"{len(PAYLOADS)} commands over MQTT, 3 obeyed, the rest refused, no crash"
    )


def agrees(interval: Callable[[bytes], int], payload: bytes) -> bool:
    """Return whether a function of the reader's and the firmware's own say the same about a payload."""
    try:
        theirs: int | None = interval(payload)
    except ValueError:
        theirs = None
    try:
        ours: int | None = read_interval(payload)
    except MessageRefusedError:
        ours = None
    return theirs == ours


# --- exercise 2 ---------------------------------------------------------------------------------------------------


VALUES = {"device_id", "chain", "key", "root", "broker_host", "broker_port"}
"""What the node looks for in its identity's partition."""


def _check_sealed(lab: Lab) -> CheckResult:
    """Look into the board's flash and fuses, as a thief and as the chip would."""
    folder = lab.workspace.path("scratch", PLANT, "boards", DEVICE)
    files = BoardFiles(folder)
    if not files.exists:
        return not_attempted("run the cells of the lesson up to here first")
    flash, efuses = files.load()
    places = {part.label: part for part in COURSE_TABLE}
    dump = flash.read(places["fctry"].offset, places["fctry"].size)
    keys = flash.read(places["nvs_keys"].offset, places["nvs_keys"].size)
    if not efuses.flash_encryption_enabled:
        return not_attempted("turn flash encryption on first, in the cells above")
    if keys.strip(b"\xff") == b"" and pem_in(dump):
        return not_attempted("complete seal(), then run it on the bench")
    if pem_in(flash.image()) or _readable(dump):
        return failed(
            "readable",
            "a dump of flash can be read as it is",
            expected="its values are encrypted",
            advice="encrypt_nvs makes the partition; where does your function write it?",
        )
    if _bare(keys):
        return failed(
            "bare-key",
            "the keys lie in the partition nvs_keys in the clear; a dump has lock and key",
            expected="the keys are protected by the flash encryption",
            advice="esptool write-flash has an option for that",
        )
    values = chip_values(flash, efuses)
    if values is None:
        return failed(
            "chip-cannot-read",
            "the chip itself can't read its values either",
            expected="what the node reads is its identity",
            advice="is the key in nvs_keys the one that fctry was encrypted with?",
        )
    if (
        values.get("device_id") != DEVICE
        or "PRIVATE KEY" not in values.get("key", "")
        or not set(values) >= VALUES
    ):
        return failed(
            "other-values",
            "the partition holds something else than the identity of the device",
            expected=f"the values of {DEVICE}",
            advice="what does seal() do with the values that it is given?",
        )
    return CheckResult("passed", observed="a thief's dump is noise; the chip reads its identity")


def _readable(dump: bytes) -> bool:
    try:
        return bool(read_image(dump))
    except FormatError:
        return False


def _bare(keys: bytes) -> bool:
    try:
        return parse_key_partition(keys) is not None
    except FormatError:
        return False


CHECKS = (
    Check(
        "esp32-flashing.1",
        "a board that understands commands as you do obeys those that make sense, refuses the others, and never ends",
        (
            "json.loads takes bytes too, and raises ValueError for what is no JSON, or no UTF-8.",
            "Before you compare a number, make sure that it is one: isinstance(True, int) is true in Python.",
            "Brackets in brackets end in another exception than ValueError. How long may a payload be at all?",
        ),
        _check_interval,
        why="The broker's rules are about topics; what is in a message is for the device to judge.",
        kind="fill-in",
        minutes=8,
    ),
    Check(
        "esp32-flashing.2",
        "a dump of the identity's partition is noise, its keys are not in the dump either, and the node reads its identity",
        (
            "Two files: the values, encrypted, and the key that they were encrypted with.",
            "build_key_partition(key) makes the second; flash_map shows where each of them belongs.",
            "The key's partition must go through the chip's own encryption: write-flash has --encrypt.",
        ),
        _check_sealed,
        why="A key that a cable reads out is everybody's.",
        kind="defend-it",
        minutes=8,
    ),
    *MORE,
)


LESSON = Lesson(
    slug="esp32-flashing",
    title="Flash: put an identity on a board, steal it, and lock it away",
    minutes=60,
    claims=CLAIMS,
    predictions=PREDICTIONS,
    checks=CHECKS,
    quizzes={"questions": QUESTIONS},
    prepare=ready_authority,
)


def listed(values: Any) -> list[tuple[str, str, str]]:
    """Return values of NVS for a table, without what is in them: namespace, key, and how long."""
    return [
        (
            entry.namespace,
            entry.key,
            f"{len(entry.value)} characters" if isinstance(entry.value, str) else str(entry.value),
        )
        for entry in values
    ]
