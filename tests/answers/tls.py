"""Answers to the exercises of lesson tls."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from labkit.course.lab import Lab, open_lab
from labkit.course.lessons.tls import MENDED, make_inputs
from labkit.mqtt import Capture
from labkit.mqtt.records import Chunk
from labkit.pki import Store
from labkit.scenarios import mutual_tls
from labkit.scenarios.eavesdropping import old_broker
from tests.answers.shape import Answers, Right, Wrong, handing, laying

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

STREAM = b"\x16\x03\x03\x00\x02ab\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x0a0123456789"


@contextmanager
def prepared(folder: Path) -> Iterator[Lab]:
    """Yield the lesson's lab with its broker and a recording."""
    lab = open_lab("tls", workspace=folder / "w")
    lab.enter(mutual_tls(Store(lab.workspace)))
    make_inputs(lab, Capture((Chunk("server", 0.0, STREAM),)))
    yield lab
    lab.close()


# --- 1: walk through the records ------------------------------------------------------------------------------------

_WALK = """
def walk(data):
    found = []
    while len(data) >= 5:
        kind, length = data[0], int.from_bytes(data[3:5], "big")
        if not 20 <= kind <= 23 or length > 18432:
            raise ValueError(f"no record: {kind}, {length}")
        if len(data) - 5 < length:
            break
        found.append((kind, length))
        data = data[5 + length:]
    return found
"""

_UNPACKED = """
import struct

def walk(data):
    found, at = [], 0
    while at + 5 <= len(data):
        kind, version, length = struct.unpack_from("!BHH", data, at)
        if kind not in (20, 21, 22, 23) or length > 2 ** 14 + 2048:
            raise ValueError("no record")
        at += 5 + length
        if at <= len(data):
            found.append([kind, length])
    return found
"""

_NAMED = """
from collections import namedtuple
from enum import IntEnum

Kind = IntEnum("Kind", {"CCS": 20, "ALERT": 21, "HANDSHAKE": 22, "DATA": 23})
Record = namedtuple("Record", "kind length")

def walk(data):
    found = []
    while len(data) >= 5:
        record = Record(Kind(data[0]), int.from_bytes(data[3:5]))
        if record.length > 18432:
            raise ValueError(record)
        if len(data) - 5 < record.length:
            break
        found.append(record)
        data = data[5 + record.length:]
    return found
"""

_RECURSIVE = """
def walk(data):
    if len(data) < 5:
        return []
    length = data[3] * 256 + data[4]
    if data[0] < 20 or data[0] > 23 or length > 18432:
        raise ValueError
    rest = data[5:]
    return [(data[0], length)] + walk(rest[length:]) if len(rest) >= length else []
"""


def walking(*pairs: tuple[str, str]) -> Callable[[Any], None]:
    """Hand in a walk that is wrong in one place."""
    source = _WALK
    for old, new in pairs:
        assert old in source
        source = source.replace(old, new)
    return handing("walk", source)


# --- 2: close the door ----------------------------------------------------------------------------------------------


def mended(*suites: str, lowest: str = "tlsv1.2") -> Callable[[Lab], None]:
    """Start the broker of the second exercise in place of the last one."""

    def give(lab: Lab) -> None:
        _last.pop().__exit__(None, None, None) if _last else None
        broker = old_broker(lab.workspace, folder=MENDED, ciphers=suites, lowest=lowest)
        lab.enter(broker)
        _last.append(broker)

    return give


_last: list[Any] = []

GCM, CHACHA = "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-CHACHA20-POLY1305"


# --- 4: a client that believes everybody ----------------------------------------------------------------------------

_LOG_IN = """
import socket
import ssl

def log_in(port, trust, password):
    context = ssl.create_default_context(cafile=trust)
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=2) as tcp,
            context.wrap_socket(tcp, server_hostname="localhost") as tls,
        ):
            tls.sendall(password.encode())
    except ssl.SSLCertVerificationError:
        return "refused"
    return "sent"
"""

_BY_HAND = """
import socket
import ssl

def log_in(port, trust, password):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(trust)
    line = socket.socket()
    line.settimeout(2)
    tls = context.wrap_socket(line, server_hostname="localhost")
    try:
        tls.connect(("127.0.0.1", port))
    except (ssl.SSLError, OSError):
        return "refused"
    finally:
        sent = tls.version() is not None and tls.send(password.encode())
        tls.close()
    return "sent" if sent else "refused"
"""


def logging_in(*pairs: tuple[str, str]) -> Callable[[Any], None]:
    """Hand in a log-in that is wrong in one place."""
    source = _LOG_IN
    for old, new in pairs:
        assert old in source
        source = source.replace(old, new)
    return handing("log_in", source)


_CONTEXT = "    context = ssl.create_default_context(cafile=trust)\n"
_COLLEAGUE = f"{_CONTEXT}    context.check_hostname = False\n    context.verify_mode = ssl.CERT_NONE\n"
_AGAIN = """with socket.create_connection(("127.0.0.1", port), timeout=2) as tcp:
            ssl._create_unverified_context().wrap_socket(tcp).sendall(password.encode())"""
_NO_NAMES = f"{_CONTEXT}    context.check_hostname = False\n"
_LATE = """
import socket
import ssl

def log_in(port, trust, password):
    context = ssl.create_default_context(cafile=trust)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), timeout=2) as tcp, context.wrap_socket(tcp) as tls:
        tls.sendall(password.encode())
    context = ssl.create_default_context(cafile=trust)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as tcp:
            context.wrap_socket(tcp, server_hostname="localhost").close()
    except ssl.SSLError:
        return "refused"
    return "sent"
"""


def said(body: str) -> Callable[[Any], None]:
    """Hand in a function with an expression."""
    return handing("said", f"def said(lengths):\n    return {body}\n")


TABLE = (
    Answers(
        "tls.1",
        right=(
            Right("cuts the front off", walking()),
            Right("unpacks at an offset", handing("walk", _UNPACKED)),
            Right("calls itself", handing("walk", _RECURSIVE)),
            Right("names its tuples and numbers", handing("walk", _NAMED)),
        ),
        wrong=(
            Wrong("counts the header", walking(("(kind, length))", "(kind, length + 5))")), "wrong-header"),
            Wrong("the length first", walking(("(kind, length))", "(length, kind))")), "wrong-header"),
            Wrong("takes the version for the length", walking(("data[3:5]", "data[1:3]")), "wrong-header"),
            Wrong("reads it the other way round", walking(('"big"', '"little"')), "wrong-header"),
            Wrong("one byte of length", walking(('int.from_bytes(data[3:5], "big")', "data[4]")), "wrong-length"),
            Wrong("wants a body", walking(("len(data) >= 5", "len(data) > 5")), "stops-too-soon"),
            Wrong("ends at an empty record", walking(("if len(data) - 5 < length", "if not length or len(data) - 5 < length")),
                  "stops-too-soon"),
            Wrong("counts what is cut off", walking(("        if len(data) - 5 < length:\n            break\n", "")), "cut-off"),
            Wrong("calls what is cut off an error", walking(("            break", "            raise ValueError")), "cut-off"),
            Wrong("one byte too strict", walking(("length > 18432", "length >= 18432")), "wrong-limit"),
            Wrong("the limit of plaintext", walking(("18432", "16384")), "wrong-limit"),
            Wrong("one byte too lenient", walking(("18432", "18433")), "wrong-limit"),
            Wrong("believes the length", walking((" or length > 18432", "")), "wrong-limit"),
            Wrong("looks at lengths when all is there", walking(
                ("if not 20 <= kind <= 23 or length > 18432:", "if not 20 <= kind <= 23 or len(data) - 5 >= length > 18432:")),
                "believes-the-length"),
            Wrong("any type", walking(("not 20 <= kind <= 23 or ", "")), "any-type"),
            Wrong("types to 24", walking(("<= 23", "<= 24")), "any-type"),
            Wrong("types from 19", walking(("20 <=", "19 <=")), "any-type"),
            Wrong("stops at a lie", walking(('raise ValueError(f"no record: {kind}, {length}")', "break")), "wrong-limit"),
            Wrong("another kind of error", walking(("raise ValueError", "raise KeyError")), "wrong-limit", says="KeyError"),
            Wrong("wants one version", walking(("if not 20", "if data[1:3] != b'\\x03\\x03' or not 20")), "wrong-header"),
            Wrong("drops what it has seen", walking(("return found", "return list(dict.fromkeys(found))")), "each-counts"),
            Wrong("always the same", handing("walk", "def walk(data):\n    return [(21, 2)]\n"), "wrong-header"),
            Wrong("crashes at the end", walking(("while len(data) >= 5", "while True")), "crashed", says="IndexError"),
        ),
    ),
    Answers(
        "tls.2",
        touches=(),
        right=(
            Right("GCM and ChaCha20", mended(GCM, CHACHA)),
            Right("a word for many", mended("ECDHE+AESGCM")),
            Right("three kinds, one with DHE", mended(CHACHA, "DHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384")),
        ),
        wrong=(
            Wrong("no line about suites", mended(), "weak-suite"),
            Wrong("static RSA", mended(GCM, "AES128-GCM-SHA256"), "weak-suite", says="no forward secrecy"),
            Wrong("CBC", mended(GCM, "ECDHE-RSA-AES128-SHA"), "weak-suite", says="CBC and SHA-1"),
            Wrong("static RSA with CCM", mended(GCM, "AES128-CCM"), "weak-suite", says="AES128-CCM"),
            Wrong("CBC with Camellia", mended(GCM, "ECDHE-RSA-CAMELLIA128-SHA256"), "weak-suite", says="CAMELLIA"),
            Wrong("suites of another key", mended("ECDHE-ECDSA-AES128-GCM-SHA256"), "device-locked-out"),
            Wrong("TLS 1.3 alone", mended(GCM, lowest="tlsv1.3"), "device-locked-out"),
            Wrong("the oldest version, with good suites", mended(GCM, CHACHA, lowest="tlsv1.1"), "old-version", says="tlsv1.1"),
        ),
    ),
    Answers(
        "tls.3",
        right=(
            Right("the answer to CONNECT", laying("flip.json", {"direction": "server", "number": 1})),
            Right("the answer to PUBLISH", laying("flip.json", {"number": 2, "direction": "server"})),
        ),
        wrong=(
            Wrong("as it was", laying("flip.json", {"direction": "client", "number": 1}), "broker-noticed",
                  says="bad_record_mac"),
            Wrong("the device's message", laying("flip.json", {"direction": "client", "number": 2}), "broker-noticed"),
            Wrong("a record that never comes", laying("flip.json", {"direction": "server", "number": 9}), "nothing-changed"),
            Wrong("after the message", laying("flip.json", {"direction": "client", "number": 9}), "nothing-changed"),
            Wrong("counts from nought", laying("flip.json", {"direction": "server", "number": 0}), "not-settings"),
            Wrong("another word", laying("flip.json", {"direction": "broker", "number": 1}), "not-settings"),
            Wrong("one of two", laying("flip.json", {"direction": "server"}), "not-settings"),
            Wrong("a list", laying("flip.json", ["server", 1]), "not-settings"),
            Wrong("true for one", laying("flip.json", {"direction": "server", "number": True}), "not-settings"),
            Wrong("a list for a word", laying("flip.json", {"direction": ["server"], "number": 1}), "not-settings"),
        ),
    ),
    Answers(
        "tls.4",
        right=(
            Right("the default context", logging_in()),
            Right("a context and a connection by hand", handing("log_in", _BY_HAND)),
        ),
        wrong=(
            Wrong("the colleague's", logging_in((_CONTEXT, _COLLEAGUE)), "any-authority"),
            Wrong("tells first and checks later", handing("log_in", _LATE), "any-authority"),
            Wrong("looks at no names", logging_in((_CONTEXT, _NO_NAMES)), "any-name"),
            Wrong("expects another name", logging_in(('"localhost"', '"elsewhere.example"')), "any-name"),
            Wrong("believes the public authorities as well", logging_in(
                ("(cafile=trust)", "()\n    context.load_verify_locations(trust)")), "any-authority"),
            Wrong("tries again without looking", logging_in(('return "refused"', _AGAIN)), "any-authority"),
            Wrong("believes the public authorities", logging_in(("(cafile=trust)", "()")), "any-authority"),
            Wrong("expects the broker by another name", logging_in(('"localhost"', '"mqtt.example"')), "locked-out"),
            Wrong("refuses everybody", handing("log_in", 'def log_in(port, trust, password):\n    return "refused"\n'),
                  "locked-out"),
            Wrong("says sent and sends nothing", logging_in(("tls.sendall(password.encode())", "pass")), "locked-out"),
            Wrong("sends something else", logging_in(("password.encode()", 'b"hello"')), "locked-out"),
            Wrong("lets the error out", logging_in(("ssl.SSLCertVerificationError", "KeyError")), "wrong-report",
                  says="SSLCertVerificationError"),
            Wrong("says yes", logging_in(('return "sent"', "return True")), "wrong-report"),
            Wrong("forgets an import", logging_in(("import socket\n", "")), "crashed", says="NameError"),
        ),
    ),
    Answers(
        "tls.5",
        right=(
            Right("looks at the second record", said('"open" if lengths[1] < 62 else "closed"')),
            Right("adds them up", said('["closed", "open"][sum(lengths) < 127]')),
            Right("knows both lengths", said('{60: "open", 62: "closed"}[max(lengths)]')),
        ),
        wrong=(
            Wrong("always open", said('"open"'), "closed-missed"),
            Wrong("always closed", said('"closed"'), "open-missed"),
            Wrong("the wrong way round", said('"closed" if lengths[1] < 62 else "open"'), "open-missed"),
            Wrong("looks at CONNECT", said('"open" if lengths[0] < 62 else "closed"'), "closed-missed"),
            Wrong("counts records", said('"open" if len(lengths) < 4 else "closed"'), "closed-missed"),
            Wrong("a threshold that both are below", said('"open" if lengths[1] < 70 else "closed"'), "closed-missed"),
            Wrong("says it in other words", said("lengths[1] < 62"), "open-missed"),
            Wrong("looks too far", said("lengths[9]"), "crashed", says="IndexError"),
        ),
    ),
)  # fmt: skip
