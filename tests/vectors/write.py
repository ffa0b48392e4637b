"""Write the golden vectors that the Python twin and the C core both have to meet.

python tests/vectors/write.py           writes tests/vectors/*.json
python tests/vectors/write.py --check   says which files are not what it would write

What each case has to give stands here, written by hand; the writer stops where the twin gives something else. Tables that
are complete (states, waits) are computed.
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.errors import MessageRefusedError
from labkit.node import (
    backoff,
    codes,
    commands,
    documents,
    manifest,
    renewal,
    replies,
    states,
    telemetry,
    topics,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER))

import update_cases  # noqa: E402 - it stands beside this file

OK = "ok"


def binary(name: str, data: bytes) -> dict[str, str]:
    """Return bytes as a field: as text where they are printable, in hexadecimal otherwise."""
    if data.isascii() and data.decode("ascii").isprintable():
        return {name: data.decode("ascii")}
    return {f"{name}_hex": data.hex()}


def code_of(action: Callable[[], Any], expected: str) -> Any:
    """Return what an action gives, and stop unless its code is the expected one."""
    try:
        value, code = action(), OK
    except MessageRefusedError as error:
        value, code = None, error.code
    if code != expected:
        text = f"the twin says {code} where {expected} stands"
        raise AssertionError(text)
    return value


def identifiers() -> Iterator[dict[str, Any]]:
    """Yield device ids, good and bad."""
    good = ["sensor-001", "a", "0", "x" * 63, "comet", "com10", "sensor--1", "a-"]
    bad = {
        "id-empty": [""],
        "id-too-long": ["x" * 64, "x" * 300, "ü" * 64],
        "id-not-ascii": ["sensör", "\u0455ensor", "x" * 62 + "ü", "ü" * 63],
        "id-path": ["..", "a..b", "../x"],
        "id-separator": ["a/b", "sensor-001/commands", "a\\b", "/"],
        "id-wildcard": ["+", "#", "a+b"],
        "id-substitution": ["%u", "100%"],
        "id-reserved": [
            "$SYS", "a$", "Admin", "ADMIN", *sorted(topics.names.RESERVED),
        ],
        "id-grammar": ["-a", "Sensor", "a_b", "a b", "a\n", "a.b", "a\0b", "~"],
    }  # fmt: skip
    for text, expected in [(t, OK) for t in good] + [(t, c) for c, texts in bad.items() for t in texts]:
        code_of(lambda text=text: topics.device_id(text), expected)
        yield {**binary("text", text.encode()), "code": expected}


def all_topics() -> dict[str, Any]:
    """Return the topics of some devices, and what a device takes for a command of its own."""
    made = [
        {
            "device": d,
            "telemetry": topics.telemetry(d),
            "status": topics.status(d),
            "commands": topics.commands(d),
        }
        for d in ("sensor-001", "a", "x" * 63)
    ]
    cases = [
        ("sensor-001", "devices/sensor-001/commands/interval", "interval"),
        ("sensor-001", "devices/sensor-001/commands/x", "x"),
        ("a", "devices/a/commands/restart", "restart"),
        ("sensor-001", "devices/sensor-002/commands/interval", None),
        ("sensor-001", "devices/sensor-0011/commands/interval", None),
        ("sensor-001", "devices/sensor-001/commands", None),
        ("sensor-001", "devices/sensor-001/commands/", None),
        ("sensor-001", "devices/sensor-001/commands/a/b", None),
        ("sensor-001", "devices/sensor-001/commands//", None),
        ("sensor-001", "devices/sensor-001/telemetry/interval", None),
        ("sensor-001", "xdevices/sensor-001/commands/interval", None),
        ("sensor-001", "", None),
        ("sensor-001", "devices/", None),
    ]
    words = []
    for device, topic, word in cases:
        expected = OK if word else "command-not-ours"
        assert word == code_of(lambda d=device, t=topic: topics.command_word(d, t), expected)
        words.append({"device": device, "topic": topic, "word": word, "code": expected})
    return {"made": made, "words": words}


def readings() -> Iterator[dict[str, Any]]:
    """Yield readings and the text that is sent of them."""
    cases = [
        (2250, 5500, 12, 0, '{"device":"sensor-001","temp":22.50,"hum":55.00,"uptime":12,"seq":0}'),
        (0, 0, 0, 1, '{"device":"sensor-001","temp":0.00,"hum":0.00,"uptime":0,"seq":1}'),
        (-5, 9, 1, 2, '{"device":"sensor-001","temp":-0.05,"hum":0.09,"uptime":1,"seq":2}'),
        (-4000, 10_000, 4_294_967_295, 4_294_967_295,
         '{"device":"sensor-001","temp":-40.00,"hum":100.00,"uptime":4294967295,"seq":4294967295}'),
        (8500, 1, 86_400, 3, '{"device":"sensor-001","temp":85.00,"hum":0.01,"uptime":86400,"seq":3}'),
        (-4001, 5000, 0, 0, None),
        (8501, 5000, 0, 0, None),
        (2000, -1, 0, 0, None),
        (2000, 10_001, 0, 0, None),
        (-2_147_483_648, 0, 0, 0, None),
        (0, 2_147_483_647, 0, 0, None),
    ]  # fmt: skip
    for temperature, humidity, uptime, sequence, text in cases:
        reading = telemetry.Reading(temperature, humidity)
        expected = "reading-range" if text is None else OK
        found = code_of(
            lambda r=reading, u=uptime, s=sequence: telemetry.render("sensor-001", r, uptime=u, sequence=s),
            expected,
        )
        assert text == found
        yield {
            "device": "sensor-001", "temperature": temperature, "humidity": humidity, "uptime": uptime,
            "sequence": sequence, "text": text, "code": expected,
        }  # fmt: skip


SYNTAX = {
    OK: [
        b"{}", b' {"a" : 1 } ', b'{"a":[1,2,{"b":null}],"c":true,"d":false}', b'{"a":-0}', b'{"a":1.5e+3}',
        b'{"a":"\\u00e9\\n\\ud83d\\ude00\\/"}', '{"ä":"ü€😀"}'.encode(), b"\t\r\n{}\n", b'{"a":{}}', b'{"a":[]}',
        b'{"":0}', b'{"a":1,"a":2}', b'{"a":[[[[[[[]]]]]]]}', b'{"a":1E9}', b'{"a":0.0}', b'{"a":"\x7f"}',
        b'{"a":12345678901234567890123456789012345678901234567890}', b'{"a":"\\u0000"}',
    ],
    "json-syntax": [
        b"", b" ", b"[]", b"1", b'"a"', b"null", b"{", b"}", b"{}}", b"{}{}", b"{},", b"{,}", b'{"a"}', b'{"a":}',
        b'{"a":1,}', b'{"a" 1}', b"{a:1}", b"{'a':1}", b'{"a":01}', b'{"a":+1}', b'{"a":-}', b'{"a":1.}', b'{"a":.5}',
        b'{"a":1e}', b'{"a":1e+}', b'{"a":NaN}', b'{"a":Infinity}', b'{"a":-Infinity}', b'{"a":tru}', b'{"a":True}',
        b'{"a":"\n"}', b'{"a":"\x00"}', b'{"a":"\x1f"}', b'{"a":"\\x"}', b'{"a":"\\u12"}', b'{"a":"\\u12g4"}',
        b'{"a":"\\ud800"}', b'{"a":"\\ud800\\u0041"}', b'{"a":"\\udc00"}', b'{"a":"', b'{"a":"\\', b'{"a":"\\"',
        b'{"a":[1,]}', b'{"a":[,1]}', b'{"a":[1 2]}', b'{"a":[1}', b'{"a":{"b":1]}', b'{"a":[[[[[[[[]]]]]]]]}',
        b'{"a":{"b":{"c":{"d":{"e":{"f":{"g":{"h":{}}}}}}}}}', b"\xef\xbb\xbf{}", b'{"a":"\xff"}', b'{"a":"\xc0\x80"}',
        b'{"a":"\xed\xa0\x80"}', b'{"a":"\xf4\x90\x80\x80"}', b'{"a":"\xe2\x82"}', b'{"a":"\x80"}', b"{}\x00", b"\x00{}",
        b"{}/**/", b'{"a":0x10}', b"{1:2}", b'{"a":"b""c":1}', b'{"a":1:2}', b"[" * 100, b'{"a":' * 40,
        b'{"a":1\x0b}', b'{"a":\xc2\xa01}', b'{"a":"\xf0\x8f\xbf\xbf"}', b'{"a":"\xe0\x9f\xbf"}', b'{"a":--1}', b'{"a":1-}',
    ],
    "json-too-long": [b'{"a":"' + b"x" * 300 + b'"}', b"{}" + b" " * 255],
}  # fmt: skip


def syntax() -> Iterator[dict[str, Any]]:
    """Yield documents, read with a limit of 256 bytes."""
    for expected, many in SYNTAX.items():
        for data in many:
            code_of(lambda data=data: documents.read_object(data, longest=256), expected)
            yield {**binary("data", data), "code": expected}


INTERVALS: list[tuple[bytes, str, int | None]] = [
    (b'{"seconds": 30}', OK, 30),
    (b'{"seconds":5}', OK, 5),
    (b'{"seconds":86400}', OK, 86_400),
    (b' \n{\t"seconds" : 60 } ', OK, 60),
    (b'{"\\u0073econds":61}', OK, 61),
    (b'{"seconds":4}', "json-range", None),
    (b'{"seconds":86401}', "json-range", None),
    (b'{"seconds":0}', "json-range", None),
    (b'{"seconds":-30}', "json-range", None),
    (b'{"seconds":4294967326}', "json-range", None),  # 2^32 + 30
    (b'{"seconds":18446744073709551646}', "json-range", None),  # 2^64 + 30
    (b'{"seconds":999999999999999999}', "json-range", None),
    (b'{"seconds":9999999999999999999}', "json-range", None),
    (b'{"seconds":30.0}', "json-field-kind", None),
    (b'{"seconds":3e1}', "json-field-kind", None),
    (b'{"seconds":"30"}', "json-field-kind", None),
    (b'{"seconds":true}', "json-field-kind", None),
    (b'{"seconds":null}', "json-field-kind", None),
    (b'{"seconds":[30]}', "json-field-kind", None),
    (b'{"seconds":{"seconds":30}}', "json-field-kind", None),
    (b"{}", "json-field-missing", None),
    (b'{"second":30}', "json-field-unknown", None),
    (b'{"Seconds":30}', "json-field-unknown", None),
    (b'{"seconds":30,"also":1}', "json-field-unknown", None),
    (b'{"seconds":30,"seconds":40}', "json-field-twice", None),
    (b'{"seconds":30,"\\u0073econds":40}', "json-field-twice", None),
    (b"30", "json-syntax", None),
    (b"seconds=30", "json-syntax", None),
    (b"", "json-syntax", None),
    (b'{"seconds":30}garbage', "json-syntax", None),
    (b'{"seconds":30}\x00', "json-syntax", None),
    (b'{"seconds":' + b" " * 250 + b"30}", "json-too-long", None),
]


def all_commands() -> Iterator[dict[str, Any]]:
    """Yield messages and the commands in them."""
    ours = "devices/sensor-001/commands/"
    cases: list[tuple[str, bytes, str, str | None, int | None]] = [
        (f"{ours}interval", payload, code, "interval" if code == OK else None, seconds)
        for payload, code, seconds in INTERVALS
    ]
    for word in ("report", "renew", "update", "restart"):
        cases += [(f"{ours}{word}", payload, OK, word, None) for payload in (b"", b"{}", b" {} ")]
        cases.append((f"{ours}{word}", b'{"now":1}', "json-field-unknown", None, None))
        cases.append((f"{ours}{word}", b"now", "json-syntax", None, None))
    cases += [
        (f"{ours}{word}", b"{}", "command-unknown", None, None)
        for word in ("reboot", "Interval", "interval ", "intervals", "inter", "%s%n", "x" * 300)
    ]
    cases += [
        (topic, b'{"seconds": 30}', "command-not-ours", None, None)
        for topic in ("devices/sensor-002/commands/interval", "devices/sensor-001/commands/a/interval",
                      "devices/sensor-001/commands/interval/", "devices/sensor-001/status", "")
    ]  # fmt: skip
    for topic, payload, expected, word, seconds in cases:
        found = code_of(lambda t=topic, p=payload: commands.read_command("sensor-001", t, p), expected)
        assert found is None or (word, seconds) == (found.word, found.seconds)
        yield {
            "device": "sensor-001", "topic": topic, **binary("payload", payload), "word": word, "seconds": seconds,
            "code": expected,
        }  # fmt: skip


def waits() -> dict[str, Any]:
    """Return waits before the next try, and comparisons on the clock that runs over."""
    chances = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
    spans = [(1, 1000, 60_000), (2, 1000, 60_000), (6, 1000, 60_000), (7, 1000, 60_000), (40, 1000, 60_000),
             (4_294_967_295, 1000, 60_000), (1, 60_000, 1000), (3, 500, 86_400_000), (32, 1, 0x7FFFFFFF)]  # fmt: skip
    pauses = [
        {"tries": t, "chance": c, "base": b, "cap": top, "wait": backoff.wait(t, c, base=b, cap=top)}
        for (t, b, top), c in itertools.product(spans, chances)
    ]
    moments = [(0, 0), (1, 0), (0, 1), (0xFFFFFFFF, 0), (0, 0xFFFFFFFF), (5, 0xFFFFFF00), (0xFFFFFF00, 5),
               (0x7FFFFFFF, 0), (0x80000000, 0), (100, 0x80000000)]  # fmt: skip
    return {
        "waits": pauses,
        "reached": [{"now": n, "deadline": d, "reached": backoff.reached(n, d)} for n, d in moments],
    }


def renewals() -> Iterator[dict[str, Any]]:
    """Yield decisions about certificates."""
    start, year = 1_795_000_000, 365 * 86_400
    ends, half = start + year, 0x80000000
    plain = renewal.Validity(start, ends)
    told = renewal.Validity(start, ends, ends - 1000)
    local = ends - 30 * 86_400 - ((half * 5 * 86_400) >> 32)
    cases = [
        (plain, 0, half, "clock-unset"),
        (plain, renewal.EARLIEST - 1, half, "clock-unset"),
        (plain, renewal.EARLIEST, half, "renew-not-yet-valid"),
        (plain, start - 1, half, "renew-not-yet-valid"),
        (plain, start, half, "wait"),
        (plain, local - 1, half, "wait"),
        (plain, local, half, "renew-due"),
        (plain, ends - 30 * 86_400 - 1, 0, "wait"),
        (plain, ends - 30 * 86_400, 0, "renew-due"),
        (plain, ends - 35 * 86_400, 0xFFFFFFFF, "wait"),
        (plain, ends - 35 * 86_400 + 1, 0xFFFFFFFF, "renew-due"),
        (plain, ends, 0, "renew-due"),
        (plain, ends + 1, 0, "renew-expired"),
        (told, ends - 1001, half, "wait"),
        (told, ends - 1000, half, "renew-due"),
        (told, ends + 1, half, "renew-expired"),
        # A service that says nonsense is not believed: the device reckons for itself.
        (renewal.Validity(start, ends, ends + 1), local, half, "renew-due"),
        (renewal.Validity(start, ends, start - 1), local - 1, half, "wait"),
        # Certificates that live shorter than three windows: the last third.
        (renewal.Validity(start, start + 900), start + 599, half, "wait"),
        (renewal.Validity(start, start + 900), start + 600, half, "renew-due"),
        (renewal.Validity(start, start), start, half, "renew-due"),
        # Beyond 2038 and beyond 32 bits.
        (renewal.Validity(4_000_000_000, 5_000_000_000), 4_294_967_296, 0, "wait"),
        (renewal.Validity(4_000_000_000, 5_000_000_000), 5_000_000_000, 0, "renew-due"),
        (renewal.Validity(ends, start), start, 0, "renew-not-yet-valid"),
    ]
    for validity, now, share, expected in cases:
        assert expected == renewal.decide(now, validity, share=share), (validity, now)
        yield {
            "not_before": validity.not_before, "not_after": validity.not_after, "renew_after": validity.renew_after,
            "now": now, "share": share, "verdict": expected,
        }  # fmt: skip


def machine() -> dict[str, Any]:
    """Return the whole machine: every step, every state at boot, every event in every state."""
    bits = list(itertools.product([False, True], repeat=4))
    stored = [dict(zip(("token", "in_use", "staged", "installed"), four, strict=True)) for four in bits]
    boots = [
        dict(zip(("pending", "identity", "rolled_back", "renewing"), four, strict=True)) for four in bits
    ]
    moves = []
    for state, event in itertools.product(states.State, states.Event):
        then, action = states.after(state, event)
        moves.append({"state": state.value, "event": event.value, "then": then.value, "action": action.value})
    return {
        "first_boot": [{**one, "step": states.first_boot(states.Stored(**one)).value} for one in stored],
        "at_boot": [{**one, "state": states.at_boot(**one).value} for one in boots],
        "after": moves,
    }


PEM = "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUd2Vs\nbG8=\n-----END CERTIFICATE-----\n"
"""The shape of a certificate; what is in it is not looked at here."""


def grant(**changes: Any) -> bytes:
    """Return a reply as the service writes it, with some fields changed; None takes a field out."""
    value = {
        "device_id": "sensor-001", "certificate": PEM, "chain": PEM + PEM, "serial": "7b", "fingerprint": "ab",
        "not_after": "2027-11-25T10:00:00Z", "renew_after": "2027-10-24T10:00:00Z", "ignored": [], "repeated": False,
        **changes,
    }  # fmt: skip
    return json.dumps({k: v for k, v in value.items() if v is not None}).encode()


def grants() -> Iterator[dict[str, Any]]:
    """Yield replies to a request for a certificate."""
    when = 1_824_372_000
    long_chain = (
        "-----BEGIN CERTIFICATE-----\n" + ("A" * 64 + "\n") * 59 + "A" * 76 + "\n-----END CERTIFICATE-----\n"
    )
    cases: list[tuple[bytes, str, int | None]] = [
        (grant(), OK, when),
        (grant(chain=PEM), OK, when),
        (grant(chain=PEM * 4), OK, when),
        (grant(renew_after="2027-10-24T10:00:00.123456Z"), OK, when),
        (grant(renew_after="2027-10-24T10:00:00+00:00"), OK, when),
        (grant(extra={"a": [1, 2]}), OK, when),
        (grant(chain=long_chain), OK, when),
        (grant(device_id="sensor-002"), "reply-device", None),
        (grant(device_id="sensor-0011"), "reply-device", None),
        (grant(device_id=None), "json-field-missing", None),
        (grant(device_id=7), "json-field-kind", None),
        (grant(device_id=""), "json-range", None),
        (grant(chain=None), "json-field-missing", None),
        (grant(chain=""), "json-range", None),
        (grant(chain="sensor"), "reply-chain", None),
        (grant(chain=PEM * 5), "reply-chain", None),
        (grant(chain=" " + PEM), "reply-chain", None),
        (grant(chain=PEM + "x"), "reply-chain", None),
        (grant(chain=PEM[:-1]), "reply-chain", None),
        (grant(chain=PEM.replace("\n", "\r\n")), "reply-chain", None),
        (grant(chain=PEM.replace("CERTIFICATE", "PRIVATE KEY")), "reply-chain", None),
        (grant(chain=PEM.replace("MII", "M I")), "reply-chain", None),
        (grant(chain="-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), "reply-chain", None),
        (grant(chain=PEM.replace("bG8=", "=bG8")), "reply-chain", None),
        (grant(chain=PEM.replace("bG8=", "A" * 77)), "reply-chain", None),
        (grant(chain=PEM + "\0"), "json-range", None),
        (grant(chain=PEM + "A" * 4000), "json-range", None),
        (grant(renew_after="soon"), "reply-time", None),
        (grant(renew_after=1), "json-field-kind", None),
        (b'{"device_id":"sensor-001",' + grant()[1:], "json-field-twice", None),
        (b"<html>502 Bad Gateway</html>", "json-syntax", None),
        (b"", "json-syntax", None),
        (grant()[:-1], "json-syntax", None),
        (grant(pad="x" * 16_384), "json-too-long", None),
    ]
    for body, expected, renew_after in cases:
        found = code_of(lambda body=body: replies.read_grant(body, "sensor-001"), expected)
        assert found is None or renew_after == found.renew_after
        chain = None if found is None else found.chain
        yield {"device": "sensor-001", **binary("body", body), "chain": chain, "renew_after": renew_after,
               "code": expected}  # fmt: skip


def configurations() -> Iterator[dict[str, Any]]:
    """Yield replies to the question for settings."""
    good = {
        "device_id": "sensor-001", "broker": {"host": "127.0.0.1", "port": 8883}, "topics": {"status": "x"},
        "settings": {"telemetry_seconds": 60, "label": ""}, "version": 1, "renew_after": "2027-10-24T10:00:00Z",
    }  # fmt: skip
    cases: list[tuple[dict[str, Any], str]] = [
        (good, OK),
        ({**good, "settings": {"telemetry_seconds": 4}}, "json-range"),
        ({**good, "settings": {}}, "json-field-missing"),
        ({**good, "settings": []}, "json-field-kind"),
        ({**good, "settings": "60"}, "json-field-kind"),
        ({**good, "device_id": "admin"}, "reply-device"),
        ({**good, "renew_after": "2027-13-24T10:00:00Z"}, "reply-time"),
    ]
    for value, expected in cases:
        body = json.dumps(value).encode()
        found = code_of(lambda body=body: replies.read_config(body, "sensor-001"), expected)
        interval = None if found is None else found.interval
        yield {"device": "sensor-001", **binary("body", body), "interval": interval, "code": expected}


def refusals() -> Iterator[dict[str, Any]]:
    """Yield refusals and what they mean."""
    cases = [
        (
            403,
            b'{"code":"token-expired","title":"The token has run out"}',
            "service-refused",
            "token-expired",
        ),
        (429, b'{"code":"rate-limited"}', "service-later", "rate-limited"),
        (408, b"", "service-later", "internal"),
        (503, b'{"code":"issuance-refused"}', "service-later", "issuance-refused"),
        (500, b"<html>", "service-later", "internal"),
        (404, b'{"code":"not found\\n"}', "service-refused", "internal"),
        (400, b'{"code":"%s%n"}', "service-refused", "internal"),
        (400, b'{"code":7}', "service-refused", "internal"),
        (400, b'{"code":"' + b"a" * 41 + b'"}', "service-refused", "internal"),
        (400, b'{"code":"' + b"a" * 40 + b'"}', "service-refused", "a" * 40),
        (400, b'{"code":"-a"}', "service-refused", "internal"),
        (302, b'{"code":"moved"}', "service-refused", "moved"),
    ]
    for status, body, code, reason in cases:
        assert replies.Refusal(code, reason) == replies.read_refusal(status, body)
        yield {"status": status, **binary("body", body), "code": code, "reason": reason}


def times() -> Iterator[dict[str, Any]]:
    """Yield times."""
    good = {
        "2026-11-25T10:00:00Z": 1_795_600_800, "2000-01-01T00:00:00Z": 946_684_800,
        "2000-02-29T23:59:59+00:00": 951_868_799, "2024-02-29T00:00:00Z": 1_709_164_800,
        "2038-01-19T03:14:08.5Z": 2_147_483_648, "2106-02-07T06:28:16Z": 4_294_967_296,
        "2199-12-31T23:59:59Z": 7_258_118_399, "2100-03-01T00:00:00Z": 4_107_542_400,
    }  # fmt: skip
    bad = [
        "2026-11-25T10:00:00", "2026-11-25 10:00:00Z", "2026-11-25T10:00:00+01:00", "2026-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z",
        "2026-04-31T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:60Z",
        "1999-12-31T23:59:59Z", "2200-01-01T00:00:00Z", "26-11-25T10:00:00Z", "2026-11-25T10:00:00.Z",
        "2026-11-25T10:00:00.1234567890Z", "2026-11-25T10:00:00ZZ", "-026-11-25T10:00:00Z", "2026-11-25T10:00Z",
        "2026-11-25t10:00:00Z", "20\uff126-11-25T10:00:00Z", " 2026-11-25T10:00:00Z", "Z", "2026-11-25T10:00:00-00:00",
    ]  # fmt: skip
    for text, seconds in good.items():
        assert seconds == code_of(lambda text=text: replies.read_time(text), OK), text
        yield {**binary("text", text.encode()), "seconds": seconds, "code": OK}
    for text in bad:
        code_of(lambda text=text: replies.read_time(text), "reply-time")
        yield {**binary("text", text.encode()), "seconds": None, "code": "reply-time"}


def manifests() -> Iterator[dict[str, Any]]:
    """Yield manifests, good and bad."""
    for data, expected in update_cases.manifests():
        found = code_of(lambda data=data: manifest.read_manifest(data), expected)
        signed = None if found is None else found.header.encode().hex()
        path = None if found is None else found.path
        yield {**binary("data", data), "path": path, "signed_hex": signed, "code": expected}


def vectors() -> dict[str, Any]:
    """Return every file of vectors by its name."""
    return {
        "codes": [{"name": code.name, "level": code.level} for code in codes.CODES.values()],
        "identifiers": list(identifiers()),
        "topics": all_topics(),
        "telemetry": list(readings()),
        "syntax": list(syntax()),
        "commands": list(all_commands()),
        "backoff": waits(),
        "renewal": list(renewals()),
        "states": machine(),
        "replies": {
            "grants": list(grants()),
            "configurations": list(configurations()),
            "refusals": list(refusals()),
            "times": list(times()),
        },
        "manifests": list(manifests()),
        "updates": update_cases.updates(),
    }


def rendered() -> dict[Path, str]:
    """Return the text of every file."""
    return {
        FOLDER / f"{name}.json": json.dumps(value, indent=1, ensure_ascii=True) + "\n"
        for name, value in vectors().items()
    }


def main() -> int:
    """Write the files, or compare them."""
    texts = rendered()
    if "--check" not in sys.argv:
        for path, text in texts.items():
            path.write_text(text, encoding="utf-8")
        return 0
    drifted = [path for path, text in texts.items() if not path.exists() or path.read_text("utf-8") != text]
    print(*(f"{path.name} is not what its writer says" for path in drifted), sep="\n")
    return bool(drifted)


if __name__ == "__main__":
    sys.exit(main())
