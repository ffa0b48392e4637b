"""Plans for burning Secure Boot: rehearsed, in an order that bricks nobody, and the orders that do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from labkit.board import CHIPS, Efuses
from labkit.board.secure_boot_plan import mistakes, plan, rehearse, status
from labkit.errors import BurnRefusedError, EfuseProtectedError
from tests.simulators.flashed_board import Flashed, app, bootloader, digest_of, sign

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import rsa

BOTH = pytest.mark.parametrize("chip", ["esp32", "esp32c3"])


def signed(chip: str, *keys: rsa.RSAPrivateKey) -> Flashed:
    """Return a board with signed images and factory fuses."""
    return Flashed(chip).fill(sign(app(chip), *keys), boot=sign(bootloader(chip), *keys))


@BOTH
@pytest.mark.parametrize("lock", [False, True])
def test_a_plan_boots_after_every_step(chip: str, lock: bool, boot_keys: list[rsa.RSAPrivateKey]) -> None:  # noqa: FBT001
    """From the factory to a locked board, each reset on the way starts the signed application."""
    board = signed(chip, boot_keys[0])
    before = board.efuses.to_bytes()
    steps = plan(board.flash, board.efuses, [digest_of(boot_keys[0])], lock=lock)
    assert all(step.after.accepted for step in steps)
    assert before == board.efuses.to_bytes()
    titles = [step.title for step in steps]
    assert titles.index("Let nobody hide a digest") < titles.index("Switch Secure Boot on")
    assert ("serial loader" in titles[-1]) == lock
    for step in steps:
        assert step.why
        for name, value in step.burns.items():
            board.efuses.burn(
                {name: value | (board.efuses.field(name) if name == "WR_DIS" else 0)}
                if isinstance(value, int)
                else {name: value}
            )
    told = status(board.efuses)
    assert ("on", False) == (told["Secure Boot V2"], told["digests can be hidden"])
    with pytest.raises(EfuseProtectedError):
        board.efuses.burn({"RD_DIS": 2})


@BOTH
def test_a_plan_tells_when_flash_is_not_ready(chip: str, boot_keys: list[rsa.RSAPrivateKey]) -> None:
    """With unsigned images, the step that switches on is the one after which nothing boots, and it is said before."""
    board = Flashed(chip).fill(app(chip))
    steps = plan(board.flash, board.efuses, [digest_of(boot_keys[0])])
    assert [True, False] == [steps[-2].after.accepted, steps[-1].after.accepted]
    assert "refused at rom: unsigned" == str(steps[-1].after)


def test_three_keys_and_closed_slots(boot_keys: list[rsa.RSAPrivateKey]) -> None:
    """The ESP32-C3 takes up to three keys; slots that stay empty are revoked; blocks in use are left alone."""
    digests = [digest_of(key) for key in boot_keys]
    board = signed("esp32c3", boot_keys[1])
    board.efuses.burn({"BLOCK_KEY0": b"h" * 32, "KEY_PURPOSE_0": 8})
    steps = plan(board.flash, board.efuses, digests[:2])
    words = [" ".join(step.words) for step in steps]
    assert "burn-key-digest BLOCK_KEY1 KEY0 SECURE_BOOT_DIGEST0" == words[0]
    assert "burn-efuse SECURE_BOOT_KEY_REVOKE2 1" == words[2]
    assert steps[-1].after.accepted
    assert not any(
        "REVOKE" in word for step in plan(board.flash, board.efuses, digests) for word in step.words
    )


@BOTH
def test_a_plan_goes_on_where_it_was_stopped(chip: str, boot_keys: list[rsa.RSAPrivateKey]) -> None:
    """After each step the rest is planned, no key is burned twice, and the mistakes that are left still brick."""
    keys = boot_keys[: 1 if chip == "esp32" else 2]
    digests, board = [digest_of(key) for key in keys], signed(chip, *keys)
    steps = plan(board.flash, board.efuses, digests)
    for number, step in enumerate(steps[:-1], 1):
        for name, value in step.burns.items():
            board.efuses.burn({name: value | board.efuses.field(name) if name == "WR_DIS" else value})
        left = plan(board.flash, board.efuses, digests)
        expected = [one.title for one in steps[number:]]
        assert expected == [one.title for one in left]
        assert left[-1].after.accepted
        found = mistakes(board.flash, board.efuses, digests[0])
        assert not any(one.after.accepted for one in found)
        assert "The digest of another key" not in [one.title for one in found]
    assert len(digests) == len(board.efuses.secure_boot_digests)


def test_a_board_that_trusts_somebody_else_is_not_locked_for_them(boot_keys: list[rsa.RSAPrivateKey]) -> None:
    """A digest that nobody named, in any slot, is somebody's way in; revoked, it is none, and its slot is not used."""
    first, second = (digest_of(key) for key in boot_keys[:2])
    board = signed("esp32c3", boot_keys[1])
    board.efuses.burn({"BLOCK_KEY0": first, "KEY_PURPOSE_0": 9})
    assert "another-key" == rule_of(board, second)
    board.efuses.burn({"SECURE_BOOT_KEY_REVOKE0": 1})
    steps = plan(board.flash, board.efuses, [second])
    assert ("SECURE_BOOT_DIGEST1", True) == (steps[0].words[-1], steps[-1].after.accepted)
    assert "no-free-block" == rule_of(board, first, second, digest_of(boot_keys[2]))


def rule_of(board: Flashed, *digests: bytes) -> str:
    """Return for what a plan is refused."""
    with pytest.raises(BurnRefusedError) as caught:
        plan(board.flash, board.efuses, digests)
    return caught.value.rule


def test_boards_that_can_not_be_burned(boot_keys: list[rsa.RSAPrivateKey]) -> None:
    """Too old, too many keys, the same key twice, on already, no room: each is refused by name."""
    first, second = (digest_of(key) for key in boot_keys[:2])
    board = signed("esp32", boot_keys[0])
    plan(board.flash, board.efuses, [first])
    assert "keys" == rule_of(board)
    assert "keys" == rule_of(board, first, second)
    assert "keys" == rule_of(Flashed("esp32c3"), first, first)
    old = Flashed()
    old.efuses = Efuses.fresh(CHIPS["esp32"], mac=bytes(6), revision=101)
    assert "revision" == rule_of(old, first)
    board.efuses.burn({"BLOCK2": first})
    plan(board.flash, board.efuses, [first])
    assert "no-free-block" == rule_of(board, second)
    board.efuses.burn({"ABS_DONE_1": 1})
    assert "enabled" == rule_of(board, first)
    full = Flashed("esp32c3")
    for number in range(6):
        full.efuses.burn({f"BLOCK_KEY{number}": b"x" * 32})
    assert "no-free-block" == rule_of(full, first)


@BOTH
def test_mistakes_are_explained_before_they_brick(chip: str, boot_keys: list[rsa.RSAPrivateKey]) -> None:
    """Each wrong order ends in the ROM, with its reason, on a copy: the board itself still boots."""
    board = signed(chip, boot_keys[0])
    found = {
        one.title: (one.after.stage, one.after.reason)
        for one in mistakes(board.flash, board.efuses, digest_of(boot_keys[0]))
    }
    assert {
        "Secure Boot before the key": ("rom", "no-trusted-key"),
        "The digest of another key": ("rom", "untrusted-key"),
        "The digest read-protected": ("rom", "no-trusted-key"),
        "Fuses before the signed bootloader": ("rom", "magic"),
    } == found
    assert rehearse(board.flash, board.efuses, {}).accepted


def test_status_tells_what_is_open(boot_keys: list[rsa.RSAPrivateKey]) -> None:
    """A factory board is open everywhere; a burned one names its keys, those that count, and those that do not."""
    told = status(Flashed("esp32c3").efuses)
    assert ("off", [], True, "open", "open") == tuple(
        told[name]
        for name in ("Secure Boot V2", "keys", "digests can be hidden", "debugger", "serial loader")
    )
    board = signed("esp32c3", boot_keys[0]).trust(*boot_keys, revoked=[0])
    board.efuses.burn({"RD_DIS": 2})
    keys = " ".join(status(board.efuses)["keys"])  # type: ignore[arg-type]
    assert ["revoked", "hidden", "trusted"] == re.findall(r"revoked|hidden|trusted", keys)
