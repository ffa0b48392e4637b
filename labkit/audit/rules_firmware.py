"""Rules about what runs on the boards, and what protects it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.audit.evidence import Evidence, fault, seen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.audit.facts import BoardFacts, Facts


def secure_boot(facts: Facts) -> Iterator[Evidence]:
    """Look at the eFuses, and verify what lies in the flash."""
    for board in facts.boards:
        if board.problem:
            yield fault(board.problem, board.name)
        elif not board.secure_boot:
            yield fault("SECURE_BOOT_EN is not burnt: it runs whatever lies in its flash", board.name)
        elif board.signature == "unreadable":
            told = "secure boot is on, with a key that counts; its application is encrypted, so the chip alone verifies it"
            yield seen(told, board.name)
        elif board.signature != "verified":
            yield fault(
                f"secure boot is on, and its application is not signed for it: {board.signature}", board.name
            )
        else:
            yield seen(
                "secure boot is on, and the application's signature is of a key in its eFuses", board.name
            )


def encrypted_flash(facts: Facts) -> Iterator[Evidence]:
    """Look at the eFuses, and try to read the dump."""
    for board in facts.boards:
        if board.problem:
            yield fault(board.problem, board.name)
        elif not board.flash_encryption:
            yield fault("flash encryption is off", board.name)
        if board.flash.readable:
            yield fault(f"can be read in a dump: {', '.join(board.flash.readable)}", board.name)
        elif board.flash_encryption:
            yield seen("flash encryption is on, and nothing in the dump can be read", board.name)


def signed_updates(facts: Facts) -> Iterator[Evidence]:
    """Verify every published update, and compare what boards run with the newest."""
    updates = facts.updates
    if not updates:
        yield fault("there is no published update, so nothing can be patched", "the folder of updates")
        return
    for update in updates:
        if update.signature != "verified":
            yield fault(f"{update.name} is not signed as it should be: {update.signature}", update.name)
        else:
            yield seen(f"version {update.version} of {update.project} is signed", update.name)
    newest = max(_numbers(update.version) for update in updates)
    for board in facts.boards:
        version = board.flash.version
        if version and _numbers(version) < newest:
            yield fault(f"runs version {version}, and the newest is {'.'.join(map(str, newest))}", board.name)
        elif version:
            yield seen(f"runs version {version}, the newest", board.name)


def _numbers(version: str) -> tuple[int, ...]:
    words = version.lstrip("v").split("-")[0].split(".")
    return tuple(int(word) for word in words if word.isascii() and word.isdigit())


def rollback(facts: Facts) -> Iterator[Evidence]:
    """Look in otadata for an image that was given up, beside a good one."""
    tried = [board for board in (*facts.test_boards, *facts.boards) if _went_back(board)]
    for board in tried:
        slots = ", ".join(f"{number}: {state}" for number, state in board.slots)
        yield seen(f"gave a bad image up and went back ({slots})", f"{board.name}, otadata")
    if not tried:
        yield fault("no board has ever given an image up and gone back", "otadata of every dump")


def _went_back(board: BoardFacts) -> bool:
    states = {state for _, state in board.slots}
    return bool(states & {"aborted", "invalid"}) and "valid" in states


def debug_closed(facts: Facts) -> Iterator[Evidence]:
    """Look at the eFuses that close JTAG and the download mode."""
    for board in facts.boards:
        if board.problem:
            yield fault(board.problem, board.name)
            continue
        if board.jtag:
            yield fault("JTAG is open", board.name)
        if board.download == "open":
            yield fault("the download mode is open: its flash can be read and written over UART", board.name)
        if not board.jtag and board.download != "open":
            yield seen(f"JTAG is off, the download mode is {board.download}", board.name)
