"""Lesson firmware-signing: what a signature says and what it does not, updates that come back, and a chip that looks itself."""

from __future__ import annotations

from threading import Event
from typing import TYPE_CHECKING, Any

from labkit.board import boot
from labkit.board.board_files import BoardFiles
from labkit.board.machine import Machine
from labkit.board.nor_flash import SECTOR, NorFlash
from labkit.board.verification import trusted_keys
from labkit.course.lab import ready_authority
from labkit.course.lesson import Check, CheckResult, Claim, Lesson, Prediction
from labkit.course.lessons.firmware_signing_exercise import check_take
from labkit.course.lessons.firmware_signing_exercises import MORE
from labkit.course.lessons.firmware_signing_questions import QUESTIONS
from labkit.course.shelf import failed, not_attempted
from labkit.display import Lane, StateLanes, Table, state_lanes
from labkit.firmware.image import parse_image
from labkit.firmware.update import (
    Version,
    parse_header,
)
from labkit.scenarios import power_cuts
from labkit.scenarios.printed_verifier import ATTACKS, Images, Museum

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.course.lab import Lab
    from labkit.outcome import Outcome
    from labkit.scenarios.power_cuts import Sweep
    from labkit.scenarios.releases import ReleaseHouse


PLANT = "foundry"
VAULT = "vault"

CLAIMS = (
    Claim("openssl-yes", "openssl takes our signature for the image that was signed.", "signature"),
    Claim("openssl-no", "With one bit of the image changed it does not.", "signature", "signature-wrong"),
    Claim("printed-good", "The printed verifier takes the update.", "signature"),
    Claim("printed-foreign", "It takes another product's image too.", "signature", "accepted", "foreign"),
    Claim("printed-older", "It takes yesterday's build, hole and all.", "signature"),
    Claim("printed-empty", "It takes an image of no bytes.", "signature"),
    Claim("ours-good", "With our header, a device takes the update.", "image"),
    Claim("ours-foreign", "It refuses another product's image.", "policy", "product-wrong"),
    Claim("ours-older", "It refuses yesterday's build.", "policy", "version-not-newer"),
    Claim("ours-empty", "It refuses an image of no bytes.", "header", "header-size"),
    Claim("first-device", "One device takes the release and proves it at the broker.", "trial"),
    Claim("not-yet", "Another one is not offered it yet.", "trial", "update-none"),
    Claim("broken-into", "A bit changed on the update server: the device flashes it and does not boot it.", "image",
          "image-digest"),
    Claim("bricks", "A signed release that bricks its device is rolled back.", "trial", "boot-rolled-back", "brick"),
    Claim("not-again", "The same release is not taken again.", "policy", "version-rolled-back"),
    Claim("wrong-order", "Fuses before signatures: the board never starts again.", "rom", "unsigned", "order"),
    Claim("sb-boots", "Signed first and burned then, the board boots.", "application"),
    Claim("sb-unsigned", "An image without a signature is refused at boot.", "image", "unsigned"),
    Claim("sb-mended", "So is a changed one, checksum and SHA-256 mended.", "image", "image-digest", "mended"),
    Claim("sb-stranger", "And one that a stranger signed.", "image", "untrusted-key"),
    Claim("locked", "The board that you locked boots what you signed.", "application"),
    Claim("cut-once", "The power goes at a random moment of an update: the old image runs.", "application"),
    Claim("cut-then-good", "The next try succeeds.", "trial"),
    Claim("cut-everywhere", "At no moment whatever does something unsigned run, or nothing.", "application", "accepted",
          "cuts"),
    Claim("lost-first", "A chip with two keys boots what the first one signed.", "application"),
    Claim("lost-revoked", "The first key is revoked: its image is refused.", "image", "revoked-key"),
    Claim("lost-second", "What the second key signed boots.", "application"),
    Claim("soldered-old", "Secure Boot takes yesterday's build from whoever writes the flash.", "application",
          "accepted", "soldered"),
    Claim("soldered-fused", "Once a newer secure version is burned, it does not.", "image", "secure-version"),
)  # fmt: skip

PREDICTIONS = (
    Prediction(
        "foreign",
        "The same house makes pumps and sensors, and signs both with one key. You give the pump's image to the sensor's "
        "verifier. What does it say?",
        {
            "product": "it refuses: another product",
            "signature": "it refuses: the signature is wrong",
            "valid": "valid",
        },
        "valid",
        {
            "product": "Where would the product be written? Only the image was signed, and nobody looks into it.",
            "signature": "The signature is one of exactly this image, by exactly this key.",
        },
    ),
    Prediction(
        "brick",
        "A release is signed, whole, for this product, newer, and crashes before it does anything. A device takes it. "
        "What runs on the device a second later?",
        {"old": "the release before", "crash": "the broken one, crashing for ever", "none": "nothing"},
        "old",
        {
            "crash": "It has one boot to prove itself. The second time the bootloader chooses again.",
            "none": "The other slot was not touched.",
        },
    ),
    Prediction(
        "order",
        "You burn the key's digest and switch Secure Boot on. What lies in the flash was never signed. What happens at "
        "the next reset?",
        {
            "app": "the bootloader starts and refuses the application",
            "rom": "the ROM refuses the bootloader",
            "runs": "it runs: Secure Boot counts from the next update on",
        },
        "rom",
        {
            "app": "The bootloader is software in flash like the application. Who looks at *it*?",
            "runs": "The ROM looks at the fuses at each start, and the fuse is burned.",
        },
    ),
    Prediction(
        "mended",
        "An attacker changes a byte of a signed image in flash, and makes checksum and SHA-256 right again. Who notices?",
        {
            "checksum": "the checksum",
            "digest": "the comparison with the digest that was signed",
            "nobody": "nobody, until the changed code runs",
        },
        "digest",
        {
            "checksum": "It was made right again; anybody can compute it.",
            "nobody": "That is a board without Secure Boot.",
        },
    ),
    Prediction(
        "cuts",
        "The power is cut at each of about 300 operations of an update, one after the other. At how many of them does "
        "the board not start afterwards?",
        {
            "0": "at none",
            "few": "at a few, while otadata is written",
            "many": "at many, while the image is written",
        },
        "0",
        {
            "few": "otadata has two entries in two sectors, so that one of them is whole at any moment.",
            "many": "The image is written into the slot that does not run.",
        },
    ),
    Prediction(
        "soldered",
        "Secure Boot is on. Somebody with a soldering iron writes your release of last year into the flash, the one with "
        "the hole. Does it boot?",
        {"yes": "yes", "no": "no: it is old", "bricks": "no, and the board is lost"},
        "yes",
        {
            "no": "Its signature is as good as on its first day. Who would know what is old?",
            "bricks": "A refusal costs nothing; the right image boots again.",
        },
    ),
)


# --- signatures and headers ---------------------------------------------------------------------------------------


def museum_of(house: ReleaseHouse, running: bytes, newer: bytes) -> Museum:
    """Return both verifiers with everything that the house ever built: two more images are made here."""
    older, foreign = house.image("1.3.0"), house.image("2.0.0", product="pump-controller")
    images = Images(
        (running, Version(1, 4, 2)),
        (newer, Version(1, 5, 0)),
        (older, Version(1, 3, 0)),
        (foreign, Version(2, 0, 0)),
    )
    return Museum(images, product=house.product)


def header_table(update: bytes) -> Table:
    """Return what the header of an update says."""
    header = parse_header(update).header
    rows = [
        ("product", header.product),
        ("hardware revisions", f"{header.hardware_min} to {header.hardware_max}"),
        ("version", header.version),
        ("secure version", header.secure_version),
        ("bytes of the image", f"{header.size:,}"),
        ("SHA-256 of the image", f"{header.digest.hex()[:32]}…"),
        ("which key", header.key_id.hex()),
        ("signature (r and s)", f"{update[128:144].hex()}…"),
    ]
    return Table("192 bytes in front of the image", ("", "what the header says"), rows)


def attacks_table(museum: Museum) -> Table:
    """Return what both verifiers say to every attack."""
    rows = []
    for name, make in ATTACKS.items():
        printed, ours = museum.verdicts(make(museum))
        rows.append((name, str(printed), str(ours)))
    return Table("The same attacks on both", ("attack", "printed verifier", "signed header"), rows)


# --- the sweep ----------------------------------------------------------------------------------------------------

_LANES = (
    Lane(power_cuts.OLD, "server"),
    Lane(power_cuts.TRIAL, "device"),
    Lane(power_cuts.NEW, "root"),
    Lane(power_cuts.DARK, "unknown"),
    Lane(power_cuts.UNSIGNED, "attacker"),
)


def cut_lanes(sweep: Sweep, *, finally_: bool = False) -> StateLanes:
    """Return a figure of a sweep: operations from left to right, a lane for each state.

    Args:
        sweep: The sweep.
        finally_: Show what runs when the device was left to itself, and not what runs after the reboot.
    """
    when = "In the end, left to itself" if finally_ else "After the reboot"
    return state_lanes(
        f"{when}: what runs if the power went at this operation",
        _LANES,
        [cut.finally_ if finally_ else cut.after for cut in sweep.cuts],
        [cut.phase for cut in sweep.cuts],
        note="Operations from left to right; each part has its own scale.",
    )


# --- the soldering iron -------------------------------------------------------------------------------------------


def soldered(house: ReleaseHouse, *images: bytes) -> list[Outcome]:
    """Write images into the flash of one chip with Secure Boot on, one after the other, and boot each.

    An image that boots is called valid, as the node does at the broker. The chip is in memory, its fuses set as
    if they had been burned; what cannot be undone stays from one image to the next.
    """
    efuses = house.efuses(0)
    found = []
    for image in images:
        flash = house.flash(image)
        outcome = boot(flash, efuses)
        if outcome.booted:
            Machine(flash, efuses, outcome, say=_silent, stopping=Event(), restart=_silent).mark_valid()
        words = [line for line in outcome.console if "Loaded app" in line or "secure version" in line.lower()]
        found.append(outcome.outcome.with_detail(board="\n".join(words)))
    return found


def _silent(*_: object) -> None:
    return None


# --- exercise 2 ---------------------------------------------------------------------------------------------------


def vault_folder(lab: Lab) -> Path:
    """Return the folder of the board that the reader locks."""
    return lab.workspace.path("scratch", PLANT, "boards", VAULT)


def _check_vault(lab: Lab) -> CheckResult:
    """Look at the board's fuses and flash as the chip does, and try an unsigned image on a copy."""
    files = BoardFiles(vault_folder(lab))
    if not files.exists:
        return not_attempted("run the cells of *Secure Boot* first")
    flash, efuses = files.load()
    blank = flash.read(efuses.chip.bootloader_offset, SECTOR) == b"\xff" * SECTOR
    if blank and not efuses.secure_boot_digests:
        return not_attempted("complete lock(), then run the cell below it")
    found = boot(NorFlash(flash.image()), efuses.copy())
    again = "vault.board.renew() takes a new board; on a real one there is none"
    if not efuses.secure_boot_enabled:
        return failed(
            "secure-boot-off", f"Secure Boot is off; {len(efuses.secure_boot_digests)} digests are burned",
            expected="a digest, and the fuse that switches it on", advice="which fuse is it on the ESP32? the lesson burned it",
        )  # fmt: skip
    if not found.booted:
        return failed(
            "bricked", f"the board does not start any more: {found.outcome}",
            expected="a board that boots", advice=f"what has to be signed before the fuses? {again}",
        )  # fmt: skip
    return _judge_lock(flash, efuses, found)


def _judge_lock(flash: NorFlash, efuses: Any, found: Any) -> CheckResult:
    if len(trusted_keys(efuses)) != 1:
        return failed(
            "digest-unreadable", "the chip can't read the digest", expected="one digest that the ROM can read",
            advice="burn-key-digest leaves it readable; which other fuse was burned?",
        )  # fmt: skip
    if not efuses.jtag_disabled:
        return failed(
            "jtag-open", "JTAG is open: a debugger reads and writes whatever the code may",
            expected="JTAG off as well", advice="burn-efuse takes several fuses in one line",
        )  # fmt: skip
    copy = NorFlash(flash.image())
    slot = found.slot
    image = copy.read(slot.offset, found.image.length)
    copy.erase(slot.offset, slot.size)
    copy.program(slot.offset, image)
    refused = boot(copy, efuses.copy()).outcome
    if refused.accepted:
        return failed(
            "unsigned-boots", "an unsigned image boots", expected="refused at boot", advice="which fuse switches the check on?",
        )  # fmt: skip
    return CheckResult("passed", observed=f"it boots what was signed, and says to the rest: {refused.reason}")


def unsigned(signed: bytes) -> bytes:
    """Return an image without the signature behind it."""
    return signed[: parse_image(signed).length]


CHECKS = (
    Check(
        "firmware-signing.1",
        "updates in chunks of any size: the good one is in the slot, the others are refused for their reasons",
        (
            "Until 192 bytes have come there is nothing to decide: gather them, and keep the rest of that chunk.",
            "verify(head) gives the header, with .size and .digest. Count what comes after it, and hash it as it comes.",
            "Too many bytes are seen before they are written; too few, and the wrong ones, only at the end.",
        ),
        check_take,
        why="A device that has to hold an update before it can refuse it can be filled by anybody.",
        kind="fill-in",
        minutes=12,
    ),
    Check(
        "firmware-signing.2",
        "the vault boots, with Secure Boot on and JTAG off, and refuses an unsigned image",
        (
            "Three steps: sign, write, burn. Which of them can't be undone?",
            "Both images need a signature: bootloader.bin and node-1.0.0.bin. espsecure writes into another file; vault.write(name, data) puts it in the old one's place.",
            "One espefuse line: burn-key-digest sb.pem, then burn-efuse with pairs of names and ones: ABS_DONE_1 is the switch.",
        ),
        _check_vault,
        why="The order decides between a locked board and a lost one, and fuses have no second try.",
        kind="defend-it",
        minutes=10,
    ),
    *MORE,
)


LESSON = Lesson(
    slug="firmware-signing",
    title="Sign: ship firmware that only your devices take, and only forwards",
    minutes=60,
    claims=CLAIMS,
    predictions=PREDICTIONS,
    checks=CHECKS,
    quizzes={"questions": QUESTIONS},
    prepare=ready_authority,
)
