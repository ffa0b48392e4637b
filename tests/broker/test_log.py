"""labkit.broker.log: the wordings of 2.0 and 2.1, from recorded lines; other tests see the installed one live."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.broker import Event, LogFile, parse_line
from labkit.broker.log import story_of

if TYPE_CHECKING:
    from pathlib import Path

STAMP = "2026-11-23T17:33:49: "

LINES = [
    # 2.0
    ("mosquitto version 2.0.11 running", "running", {"version": "2.0.11"}),
    ("mosquitto version 2.0.22 starting", "starting", {"version": "2.0.22"}),
    ("Reloading config.", "reload", {}),
    ("New connection from 127.0.0.1:41283 on port 45793.", "connection", {"peer_port": "41283", "port": "45793"}),
    ("New connection from ::1:41283 on port 45793.", "connection", {"peer": "::1", "peer_port": "41283"}),
    (
        "New client connected from 127.0.0.1:35543 as sensor-001 (p5, c1, k30, u'sensor-001').",
        "connected",
        {"peer_port": "35543", "client": "sensor-001", "protocol": "5", "user": "sensor-001"},
    ),
    (
        "New client connected from 127.0.0.1:1 as a b (p2, c1, k60).",
        "connected",
        {"client": "a b", "protocol": "2"},
    ),
    (
        "OpenSSL Error[0]: error:0A0000C7:SSL routines::peer did not return a certificate",
        "tls-error",
        {"error": "error:0A0000C7:SSL routines::peer did not return a certificate"},
    ),
    (
        "Client connection from 127.0.0.1 failed: error:0A000086:SSL routines::certificate verify failed.",
        "accept-failed",
        {"peer": "127.0.0.1"},
    ),
    (
        "Denied PUBLISH from sensor-001 (d0, q1, r0, m1, 'devices/sensor-002/status', ... (5 bytes))",
        "denied",
        {"what": "PUBLISH", "client": "sensor-001", "topic": "devices/sensor-002/status"},
    ),
    ("Client <unknown> disconnected: Protocol error.", "disconnected", {"client": "<unknown>"}),
    ("Client <unknown> closed its connection.", "disconnected", {"client": "<unknown>"}),
    ("Client sensor-001 already connected, closing old connection.", "takeover", {"client": "sensor-001"}),
    ("Error: Address already in use", "in-use", {}),
    ("Error: Unable to load CA certificates.", "error", {"error": "Unable to load CA certificates."}),
    ("mosquitto version 2.0.11 terminating", "terminating", {}),
    # 2.1, recorded
    (
        "OpenSSL Error while trying to get the error[0]: error:0A000086:SSL routines::certificate verify failed",
        "tls-error",
        {"error": "error:0A000086:SSL routines::certificate verify failed"},
    ),
    ("mosquitto version 2.1.2 running", "running", {"version": "2.1.2"}),
    (
        "Client 127.0.0.1 [127.0.0.1:41283] disconnected: Protocol error.",
        "disconnected",
        {"client": "127.0.0.1", "peer_port": "41283", "why": ": Protocol error."},
    ),
    (
        "Denied PUBLISH to sensor-001 (q1, r0, 'devices/x/commands/y', ... (5 bytes))",
        "denied",
        {"what": "PUBLISH", "client": "sensor-001", "topic": "devices/x/commands/y"},
    ),
    ('Error opening acl file "/lab/acl.conf".', "error", {"error": 'acl file "/lab/acl.conf".'}),
    # words that clients chose
    ("Received PUBLISH from x (d0, q1, r0, m1, 'Error: boom', ... (1 bytes))", "other", {}),
    ("Received PUBLISH from x (d0, q1, r0, m1, 'mosquitto version 9.9 running', ... (1 bytes))", "other", {}),
    ("Received SUBSCRIBE from Error: me", "other", {}),
    (
        "Denied PUBLISH from x (d0, q0, r0, m0, 'a (d0, 'b', ... (1 bytes))', ... (5 bytes))",
        "denied",
        {"client": "x", "topic": "a (d0, 'b', ... (1 bytes))"},
    ),
    (
        "New client connected from 127.0.0.1:1 as x (p5, c1, k30, u'admin'). (p5, c1, k30, u'eve').",
        "connected",
        {"client": "x (p5, c1, k30, u'admin').", "user": "eve"},
    ),
    ("something entirely new", "other", {}),
]  # fmt: skip


@pytest.mark.parametrize(("line", "kind", "values"), LINES)
def test_lines_are_understood(line: str, kind: str, values: dict[str, str]) -> None:
    """Each kind of line gives its kind and values, with its time or without."""
    for text in (line, STAMP + line, f"1763919229: {line}"):
        event = parse_line(text)
        assert (kind, line) == (event.kind, event.text)
        assert values == {name: event[name] for name in values}
    assert parse_line(STAMP + line).time == STAMP[:-2]


@given(st.text(max_size=300))
def test_no_line_is_an_error(line: str) -> None:
    """Whatever stands in a log, it is an event."""
    assert parse_line(line).kind


def test_story_of_one_connection() -> None:
    """The lines of one connection are told apart from those around it."""
    lines = [
        "New connection from 127.0.0.1:1111 on port 8883.",
        "New client connected from 127.0.0.1:1111 as admin (p5, c1, k30, u'admin').",
        "New connection from 127.0.0.1:2222 on port 8883.",
        "OpenSSL Error[0]: error:0A0000C7:SSL routines::peer did not return a certificate",
        "Client <unknown> disconnected: Protocol error.",
        "Received PINGREQ from admin",
        "New connection from 127.0.0.1:3333 on port 8883.",
        "Client <unknown> disconnected: Protocol error.",
    ]
    assert lines[2:5] == story_of(2222, lines)
    assert [lines[0], lines[1], lines[5]] == story_of(1111, lines)
    assert story_of(4444, lines) == []


def test_story_among_others() -> None:
    """Names that resemble ours, traffic of others, and our own next connection are no part of the story."""
    lines = [
        "New connection from 127.0.0.1:1111 on port 8883.",
        "Received PINGREQ from sensor-10",
        "New client connected from 127.0.0.1:1111 as sensor-1 (p5, c1, k30, u'sensor-1').",
        "No will message specified.",
        "Sending CONNACK to sensor-1 (0, 0)",
        "Denied PUBLISH from sensor-10 (d0, q1, r0, m1, 'devices/sensor-1/status', ... (5 bytes))",
        "Client sensor-1 disconnected.",
        "New connection from 127.0.0.1:2222 on port 8883.",
        "New client connected from 127.0.0.1:2222 as sensor-1 (p5, c1, k30, u'sensor-1').",
    ]
    assert [lines[0], lines[2], lines[4], lines[6]] == story_of(1111, lines)
    assert lines[7:] == story_of(2222, lines)


def test_story_of_a_refused_name() -> None:
    """A client that is turned away with a CONNACK is followed by the name in it."""
    lines = [
        "New connection from 127.0.0.1:1111 on port 8883.",
        "Client other disconnected.",
        "Sending CONNACK to auto-1 (0, 5)",
        "Client auto-1 disconnected, not authorised.",
    ]
    assert [lines[0], lines[2], lines[3]] == story_of(1111, lines)


def test_story_of_a_takeover() -> None:
    """Being pushed off the line ends one story, and pushing does not end the other."""
    lines = [
        "New client connected from 127.0.0.1:1111 as a (p5, c1, k30, u'a').",
        "New connection from 127.0.0.1:2222 on port 8883.",
        "Client a already connected, closing old connection.",
        "New client connected from 127.0.0.1:2222 as a (p5, c1, k30, u'a').",
        "Sending CONNACK to a (0, 0)",
        "Client a disconnected.",
    ]
    assert [lines[0], lines[2]] == story_of(1111, lines)
    assert lines[1:] == story_of(2222, lines)


def test_story_where_the_end_names_the_port() -> None:
    """2.1 names the port at the end too, so that two refused clients at once are told apart."""
    lines = [
        "New connection from 127.0.0.1:1111 on port 8883.",
        "New connection from 127.0.0.1:2222 on port 8883.",
        "Client 127.0.0.1 [127.0.0.1:1111] disconnected: Protocol error.",
        "Client 127.0.0.1 [127.0.0.1:2222] disconnected: Protocol error.",
    ]
    assert [lines[0], lines[2]] == story_of(1111, lines)
    assert [lines[1], lines[3]] == story_of(2222, lines)


def test_story_without_a_port() -> None:
    """A handshake that fails within accept is logged without a port, and is ours if nothing else is."""
    lines = [
        "Client connection from 127.0.0.1 failed: error:0A000086:SSL routines::certificate verify failed."
    ]
    assert lines == story_of(2222, lines)


def test_log_file_marks_and_waits(tmp_path: Path) -> None:
    """A log is read from a mark on, whole lines only, and waiting ends when the broker has died."""
    log = LogFile(tmp_path / "log")
    assert (log.mark(), log.lines()) == (0, [])
    log.path.write_bytes(b"one\nmosquitto version 2.0.11 runn")
    assert log.lines() == ["one"]
    mark = log.mark()
    assert log.wait_for(lambda event: event.kind == "running", timeout=0.05) is None
    log.path.write_bytes(b"one\nmosquitto version 2.0.11 running\n\xff\n")
    found = log.wait_for(lambda event: event.kind == "running", timeout=0.05)
    assert found
    assert found["version"] == "2.0.11"
    assert log.wait_for(lambda _: False, timeout=60, give_up=lambda: True) is None
    assert len(log.since(mark)) == 2
    assert log.tail(1) == "\ufffd"


def test_only_line_feeds_end_a_line(tmp_path: Path) -> None:
    """Signs that Unicode calls line ends stay in the line, so that a topic can't begin a new one."""
    log = LogFile(tmp_path / "log")
    log.path.write_bytes("a\u2028mosquitto version 9 running\x85\x0b\x0c\x1c!\r\nb\n\nc".encode())
    assert ["a\u2028mosquitto version 9 running\x85\x0b\x0c\x1c!", "b", ""] == log.lines()
    assert {"other"} == {event.kind for event in log.since(0)}


def test_waiting_reads_each_line_once(tmp_path: Path) -> None:
    """Waiting goes on from where it was, and also sees a line that is completed later."""
    log = LogFile(tmp_path / "log")
    log.path.write_bytes(b"one\ntw")
    seen: list[str] = []

    def look(event: Event) -> bool:
        seen.append(event.text)
        return event.text == "two"

    def grow() -> bool:
        with log.path.open("ab") as file:
            file.write(b"o\n")
        return False

    assert log.wait_for(look, give_up=grow)
    assert ["one", "two"] == seen
