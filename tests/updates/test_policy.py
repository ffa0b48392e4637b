"""Who is offered what: cohorts, hardware, versions, and when a roll-out has to stop; ranges of bytes."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from labkit.devices import Release, Rollout
from labkit.firmware.update import Header, KeySigner, Version, sign_header
from labkit.updates.policy import choose, covers, may_fetch, place, too_many_failures
from labkit.updates.ranges import parse_range

NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
SIGNER = KeySigner(ec.generate_private_key(ec.SECP256R1()))
FLEET = [f"sensor-{number:04d}" for number in range(2000)]


def release(
    version: str = "1.5.0",
    percent: int = 100,
    state: Rollout = Rollout.RUNNING,
    *,
    first: frozenset[str] = frozenset(),
    hardware: tuple[int, int] = (0, 65_535),
) -> Release:
    """Return a release."""
    digest = hashlib.sha256(version.encode()).digest()
    header = Header("course-node", *hardware, Version.parse(version), 0, 4096, digest, SIGNER.key_id)
    return Release("course-node", version, sign_header(header, SIGNER), NOW, state, percent, first, NOW)


def test_places_are_spread_and_stay() -> None:
    """A fleet spreads evenly over 100 places, a device keeps its own, and another product has another order."""
    places = [place("course-node", name) for name in FLEET]
    assert places == [place("course-node", name) for name in FLEET]
    assert all(0 <= each < 100 for each in places)
    for percent in (1, 10, 50, 90):
        assert abs(sum(each < percent for each in places) - percent * 20) < 80
    assert places != [place("other", name) for name in FLEET]


@given(st.sampled_from(FLEET), st.integers(0, 100), st.integers(0, 100))
def test_a_roll_out_only_grows(name: str, one: int, two: int) -> None:
    """Who is covered at a share is covered at every larger one; at 0 nobody is, at 100 everybody."""
    small, large = sorted((one, two))
    assert covers(release(percent=large), name) or not covers(release(percent=small), name)
    assert not covers(release(percent=0), name)
    assert covers(release(percent=100), name)


def test_who_comes_first_is_first() -> None:
    """Devices that are named get a release at 0 %, and no others; a fix reaches the same devices early."""
    canary = release(percent=0, first=frozenset({"sensor-0007"}))
    assert ["sensor-0007"] == [name for name in FLEET if covers(canary, name)]
    early = {name for name in FLEET if covers(release("1.5.0", 5), name)}
    assert early == {name for name in FLEET if covers(release("1.5.1", 5), name)}


@pytest.mark.parametrize(
    ("state", "offered", "fetched"),
    [
        (Rollout.HELD, False, False),
        (Rollout.RUNNING, True, True),
        (Rollout.PAUSED, False, True),
        (Rollout.ABORTED, False, False),
    ],
)
def test_what_a_state_means(state: Rollout, *, offered: bool, fetched: bool) -> None:
    """A pause offers it to nobody and lets those finish who have begun; an abort ends both."""
    assert (offered, fetched) == (
        covers(release(state=state), "sensor-0001"), may_fetch(release(state=state), "sensor-0001"),
    )  # fmt: skip
    assert not may_fetch(release(percent=0, state=state), "sensor-0001")


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"hardware": 1}, "1.5.0"),
        ({"hardware": 6}, "1.10.0"),
        ({"hardware": 1, "version": Version(1, 4, 9)}, "1.5.0"),
        (
            {},
            "1.10.0",
        ),  # without a word on its hardware it may be offered what it has to refuse; it looks itself
    ],
)
def test_the_newest_that_has_come_to_it(told: dict[str, Any], expected: str) -> None:
    """Of several releases a device is offered the newest that is for its hardware, newer than its own, and has come to it."""
    releases = [release("1.4.0"), release("1.10.0", hardware=(5, 9)), release("1.6.0", 0), release("1.5.0")]
    choice = choose(releases, "sensor-0001", **told)
    assert choice.release is not None
    assert ("offered", expected) == (choice.code, choice.release.version)


def test_why_there_is_nothing() -> None:
    """Each reason to offer nothing has its code."""
    codes = {
        "nothing-released": choose([], "sensor-0001"),
        "key-revoked": choose([release()], "sensor-0001", revoked={SIGNER.key_id}),
        "hardware-unsupported": choose([release(hardware=(5, 9))], "sensor-0001", hardware=1),
        "nothing-newer": choose([release("1.5.0")], "sensor-0001", version=Version(1, 5, 0)),
        "not-its-turn": choose([release(percent=0)], "sensor-0001"),
    }
    for code, choice in codes.items():
        assert (code, None, None) == (choice.code, choice.release, choice.header)


@pytest.mark.parametrize(
    ("reported", "stop"),
    [
        ({}, False),
        ({"ok": 100}, False),
        ({"image-digest": 2}, False),  # two of two may be two bad links
        ({"image-digest": 3}, True),
        ({"ok": 26, "rolled-back": 3}, True),
        ({"ok": 27, "rolled-back": 3}, False),
        ({"ok": 1000, "a": 60, "b": 60}, True),
    ],
)
def test_when_a_roll_out_stops(reported: dict[str, int], *, stop: bool) -> None:
    """Three failures that are more than a tenth of all reports stop it."""
    assert stop == too_many_failures(reported)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", None),
        ("bytes=0-", (0, 1000)),
        ("bytes=0-0", (0, 1)),
        ("bytes=999-", (999, 1000)),
        ("bytes=10-19", (10, 20)),
        ("bytes=10-99999", (10, 1000)),
        ("bytes=-1", (999, 1000)),
        ("bytes=-5000", (0, 1000)),
        ("bytes=-", None),
        ("bytes=9-3", None),
        ("bytes=0-1,5-6", None),
        ("bytes=" + "0-," * 4000, None),
        ("lines=1-2", None),
        ("bytes=a-b", None),
        ("bytes=" + "9" * 5000 + "-", None),
        ("bytes=٣-", None),
        ("bytes= 0-", None),
    ],
)
def test_ranges(text: str, found: tuple[int, int] | None) -> None:
    """One range of bytes is understood; what is none, or several, is left alone."""
    assert found == parse_range(text, 1000)


@pytest.mark.parametrize("text", ["bytes=1000-", "bytes=1000-1001", "bytes=-0", "bytes=999999999999999-"])
def test_ranges_outside(text: str) -> None:
    """A range that begins behind the end can't be had."""
    with pytest.raises(ValueError, match="outside of 1000"):
        parse_range(text, 1000)


@given(st.text(max_size=40), st.integers(1, 10_000))
def test_any_range_lies_within(text: str, size: int) -> None:
    """Whatever is sent, what comes out lies within the file and is not empty."""
    for sent in (text, f"bytes={text}"):
        try:
            found = parse_range(sent, size)
        except ValueError:
            continue
        assert found is None or 0 <= found[0] < found[1] <= size
