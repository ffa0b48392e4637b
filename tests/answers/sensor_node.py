"""Answers to exercise sensor-node: flashes that hold an identity and others, functions that judge and others."""

from __future__ import annotations

import base64
import datetime as dt
import functools
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from labkit.course.exercises import find
from labkit.firmware import NvsEntry, build_image
from labkit.firmware.image import repair
from labkit.firmware.partitions import COURSE_TABLE, build_table
from labkit.scenarios import device_files
from tests.answers.shape import STUDENT, Answers, Place, Right, Wrong

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

MINE = find("sensor-node").variant(STUDENT)
FOLDER = f"boards/{MINE.device}/files"
PLACES = {part.label: part.offset for part in COURSE_TABLE}
DAY = dt.timedelta(days=1)
NOW = dt.datetime.now(dt.UTC)


@contextmanager
def prepared(folder: Path) -> Iterator[Place]:
    """Return a student's workspace, empty."""
    folder.mkdir(parents=True, exist_ok=True)
    yield Place(find("sensor-node"), folder)


# --- certificates -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Held:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Any

    @property
    def pem(self) -> str:
        """The certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        """The key."""
        return self._key(serialization.NoEncryption())

    @property
    def locked(self) -> str:
        """The key, with a passphrase."""
        return self._key(serialization.BestAvailableEncryption(b"secret"))

    def _key(self, how: serialization.KeySerializationEncryption) -> str:
        pem: bytes = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how
        )
        return pem.decode()

    def wrapped(self, form: str) -> bytes:
        """The key as it may be hidden in an image."""
        number = self.key.private_numbers().private_value.to_bytes(32)
        pem = self.key_pem.encode()
        return {
            "pem": pem,
            "c-string": pem.replace(b"\n", b"\\n"),
            "one-line": pem.replace(b"\n", b""),
            "headless": b"".join(pem.split(b"\n")[1:-2]),
            "der": base64.b64decode(b"".join(pem.split(b"\n")[1:-2])),
            "raw": number,
            "backwards": number[::-1],
            "hex": number.hex().encode(),
            "colons": number.hex(":").encode(),
            "escapes": "".join(f"\\x{byte:02x}" for byte in number).encode(),
            "decimals": ", ".join(map(str, number)).encode(),
            "base64-of-pem": base64.b64encode(pem),
            "array": ", ".join(f"0x{byte:02x}" for byte in number).encode(),
        }[form]


def make(
    name: str = MINE.device,
    by: Held | None = None,
    *,
    ca: bool = False,
    purpose: x509.ObjectIdentifier | None = ExtendedKeyUsageOID.CLIENT_AUTH,
    more: tuple[x509.ObjectIdentifier, ...] = (),
    ends: dt.timedelta = 90 * DAY,
    begins: dt.timedelta = -5 * DAY,
    key: Any = None,
) -> Held:
    """Make a certificate by hand, as somebody would who has never seen labkit."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + begins)
        .not_valid_after(NOW + ends)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if not ca and purpose:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose, *more]), critical=False)
    return Held(builder.sign(by.key if by else key, hashes.SHA256()), key)


@functools.cache
def root() -> Held:
    """The student's root."""
    return make("Ada's root", ca=True)


@functools.cache
def middle() -> Held:
    """The intermediate below it."""
    return make("Ada's devices", root(), ca=True)


@functools.cache
def device() -> Held:
    """The device."""
    return make(by=middle())


@functools.cache
def stranger() -> Held:
    """Another root of the same name."""
    return make("Ada's root", ca=True)


# --- flashes ------------------------------------------------------------------------------------------------------


def texts(held: Held | None = None, **changes: str | None) -> dict[str, str]:
    """Return an identity's values; None leaves one out."""
    held = held or device()
    found: dict[str, str | None] = {
        "device_id": MINE.device, "root": root().pem, "chain": held.pem + middle().pem, "key": held.key_pem,
        **changes,
    }  # fmt: skip
    return {name: text for name, text in found.items() if text is not None}


def partition(
    values: Mapping[str, str] | None = None, *more: NvsEntry, interval: NvsEntry | int | None = MINE.interval
) -> bytes:
    """Return the device's own partition."""
    if isinstance(interval, int):
        interval = NvsEntry("settings", "interval", "u32", interval)
    entries = [
        *(NvsEntry("identity", name, "string", text) for name, text in (values or texts()).items()),
        *(entry for entry in more if entry.namespace == "identity"),
        NvsEntry("service", "broker_host", "string", "127.0.0.1"),
        NvsEntry("service", "broker_port", "u16", 8883),
        *(entry for entry in more if entry.namespace != "identity"),
        *([interval] if interval else []),
    ]
    return build_image(entries, size=0x6000)


@functools.cache
def image(version: str = MINE.version, chip: str = MINE.chip, embedded: bytes = b"") -> bytes:
    """Return the node's image, made by the real esptool."""
    return device_files.application_image(chip, version, embedded=embedded)


@functools.cache
def flash(
    fctry: bytes | None = None,
    *,
    app: bytes | None = None,
    at: str = "fctry",
    bootloader: int = 0,
    extra: bytes = b"",
) -> bytes:
    """Return a whole flash."""
    found = partition() if fctry is None else fctry
    parts = {
        bootloader: device_files.bootloader_image(MINE.chip),
        0x8000: build_table(COURSE_TABLE),
        PLACES["ota_0"]: image() if app is None else app,
        PLACES["ota_1"]: extra,
        PLACES[at]: found[:0x6000],
    }
    whole = bytearray(b"\xff" * max(offset + len(data) for offset, data in parts.items() if data))
    for offset, data in parts.items():
        whole[offset : offset + len(data)] = data
    return bytes(whole)


def put(data: Callable[[], bytes], name: str = "flash.bin") -> Callable[[Place], None]:
    """Return an answer that is a file on the bench."""
    return lambda place: place.write(f"{FOLDER}/{name}", data())


def linked(place: Place) -> None:
    """A link to a flash that lies elsewhere."""
    place.write("elsewhere.bin", flash())
    (place.root / FOLDER).mkdir(parents=True, exist_ok=True)
    (place.root / FOLDER / "flash.bin").symlink_to(place.root / "elsewhere.bin")


def of(held: Held, **changes: str | None) -> Callable[[Place], None]:
    """Return a flash with another identity."""
    return put(lambda: flash(partition(texts(held, **changes))))


def with_(**changes: str | None) -> Callable[[Place], None]:
    """Return a flash in which some values differ."""
    return put(lambda: flash(partition(texts(**changes))))


def patched(old: bytes, new: bytes) -> bytes:
    """Return the image with some of its bytes changed, and its sums made right again."""
    assert len(old) == len(new)
    assert old in image()
    return repair(image().replace(old, new))


RSA = functools.cache(lambda: rsa.generate_private_key(65537, 2048))
HIDDEN = ("pem", "c-string", "one-line", "headless", "der", "raw", "backwards", "hex", "array", "colons", "escapes",
          "decimals", "base64-of-pem")  # fmt: skip
IMAGES = (FOLDER, "answers", "elsewhere.bin")

IDENTITY = Answers(
    "sensor-node.1",
    right=(
        Right("by-hand", put(flash)),
        Right("rsa-below-the-root", put(lambda: flash(partition(texts(h := make(by=root(), key=RSA()), chain=h.pem))))),
        Right("root-in-the-chain", with_(chain=device().pem + middle().pem + root().pem)),
        Right("root-in-the-image", put(lambda: flash(extra=root().pem.encode() + middle().pem.encode()))),
        Right("padded", put(lambda: flash().ljust(0x400000, b"\xff"))),
    ),
    wrong=(
        Wrong("nothing", lambda _: None, "", "not-attempted"),
        *(
            Wrong(f"key-in-flash-{form}", put(lambda form=form: flash(extra=b"\0" * 40 + device().wrapped(form))), "key-in-image")  # type: ignore[misc]
            for form in HIDDEN
        ),
        Wrong("embedded", put(lambda: flash(app=image(embedded=(device().pem + device().key_pem).encode()))), "key-in-image"),
        Wrong("authority-embedded", put(lambda: flash(extra=middle().key_pem.encode())), "key-in-image"),
        Wrong("certificate-embedded", put(lambda: flash(extra=device().pem.encode())), "certificate-in-image"),
        Wrong("leaf-alone", with_(chain=device().pem), "chain-incomplete"),
        Wrong("at-0x9000", put(lambda: flash(at="nvs")), "identity-elsewhere"),
        Wrong("no-identity", put(lambda: flash(b"")), "identity-missing"),
        Wrong("another-id", with_(device_id="sensor-001"), "wrong-device"),
        Wrong("another-name", of(make("sensor-001", middle())), "wrong-name"),
        Wrong("admin", of(make("admin", middle())), "wrong-name"),
        Wrong("intermediate-first", with_(chain=middle().pem + device().pem), "wrong-name"),
        Wrong("another-key", with_(key=make(by=middle()).key_pem), "key-mismatch"),
        Wrong("locked", with_(key=device().locked), "key-locked"),
        Wrong("no-key", with_(key=None), "value-missing"),
        Wrong("path-of-the-key", with_(key="devices/ada.key"), "key-unreadable"),
        Wrong("path-of-the-chain", with_(chain="devices/ada.crt"), "certificate-unreadable"),
        Wrong("intermediate-as-root", with_(root=middle().pem), "root-wrong"),
        Wrong("bundle-as-root", with_(root=root().pem + middle().pem), "root-wrong"),
        Wrong("device-as-root", with_(root=(lone := make()).pem, chain=lone.pem, key=lone.key_pem), "root-wrong"),
        Wrong("authority-key-aboard", put(lambda: flash(partition(None, NvsEntry("identity", "ca_key", "string", middle().key_pem)))), "other-key"),
        Wrong("authority-key-in-a-blob", put(lambda: flash(partition(None, NvsEntry("notes", "x", "blob", root().key_pem.encode())))), "other-key"),
        Wrong("authority-key-in-der", put(lambda: flash(partition(None, NvsEntry("notes", "x", "blob", middle().wrapped("der"))))), "other-key"),
        Wrong("authoritys-own-key", of(make(by=middle(), key=middle().key)), "other-key", says="authority"),
        Wrong("two-keys", with_(key=device().key_pem + middle().key_pem), "other-key"),
        Wrong("rogue", put(lambda: flash(partition(texts(h := make(by=stranger()), chain=h.pem)))), "broker-refuses"),
        Wrong("expired", of(make(by=middle(), ends=-DAY)), "broker-refuses", says="expired"),
        Wrong("not-yet-valid", of(make(by=middle(), begins=DAY)), "broker-refuses"),
        Wrong("no-purpose", of(make(by=middle(), purpose=None)), "wrong-purpose"),
        Wrong("server", of(make(by=middle(), purpose=ExtendedKeyUsageOID.SERVER_AUTH)), "wrong-purpose"),
        Wrong("client-and-server", of(make(by=middle(), more=(ExtendedKeyUsageOID.SERVER_AUTH,))), "wrong-purpose"),
        Wrong("authority-as-device", of(make(by=middle(), ca=True)), "wrong-purpose"),
        Wrong("blob", put(lambda: flash(partition(texts(key=None), NvsEntry("identity", "key", "blob", device().key_pem.encode())))), "value-kind"),
        Wrong("noise", put(lambda: b"\x5a" * 0x30000), "no-table"),
        Wrong("empty", put(lambda: b""), "no-table"),
        Wrong("broken-partition", put(lambda: flash(b"\x5a" * 0x6000)), "identity-unreadable"),
        Wrong("link", linked, "AnswerUnreadableError"),
        Wrong("huge", put(lambda: b"\xff" * 0x400001), "AnswerUnreadableError"),
    ),
    touches=IMAGES,
)  # fmt: skip


def every(interval: NvsEntry | int | None) -> Callable[[Place], None]:
    """Return a flash with another interval."""
    return put(lambda: flash(partition(interval=interval)))


READINGS = Answers(
    "sensor-node.2",
    right=(
        Right("as-asked", put(flash), slow=True),
        Right("interval-first", put(lambda: flash(build_image([
            NvsEntry("settings", "interval", "u32", MINE.interval),
            NvsEntry("settings", "colour", "string", "green"),
            *(NvsEntry("identity", name, "string", text) for name, text in texts().items()),
        ], size=0x6000)).ljust(0x400000, b"\xff")), slow=True),
    ),
    wrong=(
        Wrong("nothing", lambda _: None, "", "not-attempted"),
        Wrong("usual-interval", every(None), "interval-missing"),
        Wrong("a-minute", every(60), "interval-wrong"),
        Wrong("one-more", every(MINE.interval + 1), "interval-wrong"),
        Wrong("milliseconds", every(MINE.interval * 1000), "interval-wrong"),
        Wrong("text", every(NvsEntry("settings", "interval", "string", str(MINE.interval))), "interval-kind"),
        Wrong("byte", every(NvsEntry("settings", "interval", "u8", MINE.interval)), "interval-kind"),
        Wrong("another-namespace", every(NvsEntry("service", "interval", "u32", MINE.interval)), "interval-missing"),
        Wrong("bootloader-misplaced", put(lambda: flash(bootloader=0x1000)), "does-not-boot"),
        Wrong("no-application", put(lambda: flash(app=b"")), "does-not-boot"),
        Wrong("damaged", put(lambda: flash(app=image()[:-40] + bytes(40))), "does-not-boot"),
        Wrong("another-program", put(lambda: flash(app=patched(b'"sensor-node"', b'"sensor-nude"'))), "no-node"),
        Wrong("another-version", put(lambda: flash(app=patched(MINE.version.encode() + b"\0", b"0.9.9\0"))), "wrong-version"),
        Wrong("leaf-alone", with_(chain=device().pem), "board-refused", slow=True),
        Wrong("identity-of-another", with_(device_id="sensor-001"), "wrong-device"),
    ),
    touches=IMAGES,
)  # fmt: skip

# --- functions ----------------------------------------------------------------------------------------------------

GOOD_COMMAND = """
import json

def read_interval(payload, shortest, longest):
    def once(pairs):
        if len(dict(pairs)) != len(pairs):
            raise ValueError("twice")
        return dict(pairs)
    if len(payload) > 256:
        raise ValueError("too long")
    asked = json.loads(payload.decode(), object_pairs_hook=once)
    if not isinstance(asked, dict) or list(asked) != ["seconds"]:
        raise ValueError("no object with one field")
    seconds = asked["seconds"]
    if type(seconds) is not int or not shortest <= seconds <= longest:
        raise ValueError("no number that is allowed")
    return seconds
"""

OTHER_COMMAND = """
import json, re
class Refused(ValueError):
    pass

def read_interval(payload, shortest, longest):
    try:
        if len(payload) > 256: raise Refused
        seen = []
        value = json.loads(payload.decode("utf-8"), object_pairs_hook=lambda pairs: seen.append(pairs) or tuple(pairs))
        (pair,) = seen[-1] if isinstance(value, tuple) and len(seen) == 1 else ()
        name, seconds = pair
        assert name == "seconds" and not isinstance(seconds, bool) and isinstance(seconds, int)
        assert seconds in range(shortest, longest + 1)
        print("accepted", seconds)
        return seconds
    except Exception as error:
        raise Refused(str(error)) from None
"""

BY_THE_TWIN = """
from labkit.errors import MessageRefusedError
from labkit.node.documents import read_object

def read_interval(payload, shortest, longest):
    try:
        document = read_object(payload, longest=256)
        document.only("seconds")
        return document.integer("seconds", shortest, longest)
    except MessageRefusedError as error:
        raise ValueError(str(error))
"""


def code(name: str, source: str) -> Callable[[Place], None]:
    """Return an answer that is a function, beside a flash that is right."""

    def give(place: Place) -> None:
        place.write(f"{FOLDER}/flash.bin", flash())
        place.write(f"answers/sensor-node/{name}.py", source)

    return give


def command(*changes: tuple[str, str], source: str = GOOD_COMMAND) -> Callable[[Place], None]:
    """Return the good function with something changed."""
    for old, new in changes:
        assert old in source, old
        source = source.replace(old, new)
    return code("read_interval", source)


STUB = "def {}(*a):\n    raise NotImplementedError('this exercise is yours to write')\n"
KINDS = "type(seconds) is not int or not shortest"

COMMAND = Answers(
    "sensor-node.3",
    right=(
        Right("step-by-step", command(), slow=True),
        Right("everything-caught", command(source=OTHER_COMMAND), slow=True),
        Right("any-bytes-for-text", command(("payload.decode()", "payload.decode('latin-1')"), source=GOOD_COMMAND), slow=True),
        Right("as-the-device-does", command(source=BY_THE_TWIN), slow=True),
    ),
    wrong=(
        Wrong("nothing", lambda _: None, "", "not-attempted"),
        Wrong("stub", code("read_interval", STUB.format("read_interval")), "", "not-attempted"),
        Wrong("true-is-a-number", command((KINDS, "not isinstance(seconds, int) or not shortest")), "kind", "partly"),
        Wrong("fractions", command((KINDS, "isinstance(seconds, bool) or not isinstance(seconds, int | float) or not shortest")), "kind", "partly"),
        Wrong("made-a-number", command((KINDS, "not shortest"), ('asked["seconds"]', 'int(asked["seconds"])')), "crashes"),
        Wrong("no-lower-bound", command(("not shortest <= seconds <=", "not seconds <=")), "bounds", "partly"),
        Wrong("no-upper-bound", command(("seconds <= longest", "seconds")), "bounds", "partly"),
        Wrong("open-bounds", command(("shortest <= seconds <= longest", "shortest < seconds < longest")), "bounds", "partly"),
        Wrong("own-bounds", command(("shortest <= seconds <= longest", "5 <= seconds <= 86400")), "bounds", "partly"),
        Wrong("field-twice", command((", object_pairs_hook=once", "")), "field-twice", "partly"),
        Wrong("other-fields", command(('list(asked) != ["seconds"]', '"seconds" not in asked')), "unknown-field", "partly"),
        Wrong("any-case", command(('list(asked) != ["seconds"]', '[name.lower() for name in asked] != ["seconds"]'), ('asked["seconds"]', "list(asked.values())[0]")), "unknown-field", "partly"),
        Wrong("bytes-passed-over", command(("payload.decode()", "payload.decode('utf-8', 'ignore')")), "not-json", "partly"),
        Wrong("zeros-in-front", code("read_interval", "import re\ndef read_interval(p, a, b):\n    if len(p) > 256: raise ValueError\n    t = p.decode().replace('\\\\u0073', 's').replace('\\\\u0065', 'e')\n    m = re.fullmatch(r'\\s*{\\s*\"seconds\"\\s*:\\s*(\\d+)\\s*}\\s*', t)\n    if m and a <= int(m[1]) <= b: return int(m[1])\n    raise ValueError\n"), "not-json", "partly"),
        Wrong("any-length", command(("len(payload) > 256", "False")), "crashes"),
        Wrong("any-length-and-deep", command(("len(payload) > 256", "len(payload) > 5000")), "too-long", "partly"),
        Wrong("lists-crash", command(("not isinstance(asked, dict) or ", "")), "crashes"),
        Wrong("key-error", command(('list(asked) != ["seconds"]', "False")), "crashes"),
        Wrong("assertions", command(('raise ValueError("no number that is allowed")', "raise AssertionError")), "crashes"),
        Wrong("none-for-no", command(('raise ValueError("no number that is allowed")', "return None")), "no-error"),
        Wrong("text", command(("return seconds", "return str(seconds)")), "not-a-number"),
        Wrong("float", command(("return seconds", "return float(seconds)")), "not-a-number"),
        Wrong("public-cases", code("read_interval", 'def read_interval(p, a, b):\n    if p == b\'{"seconds": 30}\': return 30\n    raise ValueError\n'), "good-refused"),
        Wrong("refuses-all", code("read_interval", "def read_interval(*a):\n    raise ValueError\n"), "good-refused"),
        Wrong("accepts-all", code("read_interval", "import re\ndef read_interval(p, a, b):\n    return max(a, min(b, int((re.findall(rb'\\d+', p) or [b'1'])[0][:9])))\n"), "good-refused"),
        Wrong("by-pattern", code("read_interval", "import re\ndef read_interval(p, a, b):\n    m = re.fullmatch(rb'{\"seconds\": (\\d+)}', p)\n    if m and a <= int(m[1]) <= b: return int(m[1])\n    raise ValueError\n"), "good-refused"),
        Wrong("evaluates", code("read_interval", "def read_interval(p, a, b):\n    v = eval(p)['seconds']\n    if a <= v <= b: return v\n    raise ValueError\n"), "crashes"),
        Wrong("kills-itself", code("read_interval", "import os\ndef read_interval(*a):\n    os.kill(os.getpid(), 9)\n"), "hangs"),
        Wrong("forges-replies", code("read_interval", "import contextlib, json, os\ndef read_interval(*a):\n    for n in range(1, 9):\n        with contextlib.suppress(OSError):  # not all of them are open, and which depends on what confines it\n            os.write(n, json.dumps([{'value': 30, 'error': '', 'kinds': []}] * 80).encode())\n    os._exit(0)\n"), "hangs"),
        Wrong("hangs", code("read_interval", "def read_interval(*a):\n    while True: pass\n"), "hangs", slow=True),
        Wrong("syntax", code("read_interval", "def read_interval(*a:\n    return 30\n"), "crashes"),
        Wrong("another-name", code("read_interval", "def interval(*a):\n    return 30\n"), "crashes"),
        Wrong("no-board", lambda place: place.write("answers/sensor-node/read_interval.py", GOOD_COMMAND), "no-board", "partly"),
    ),
    touches=IMAGES,
)  # fmt: skip

GOOD_WHO = r"""
import re

def who(line):
    found = re.fullmatch(r"[\dT:-]+: New client connected from \S+ as .+ \(p\d+, c\d+, k\d+, u'([^']+)'\)\.", line)
    return found[1] if found else None
"""

OTHER_WHO = r"""
def who(line):
    time, _, text = line.partition(": ")
    if not text.startswith("New client connected from ") or not text.endswith("')."):
        return None
    end = text.rpartition(" (p")[2]
    return end[:-3].rpartition(", u'")[2] if ", u'" in end else None
"""

BY_LABKIT = """
from labkit.broker.log import parse_line

def who(line):
    event = parse_line(line)
    return event["user"] or None if event.kind == "connected" else None
"""


def log(body: str) -> Callable[[Place], None]:
    """Return a function that reads a line of the log in another way."""
    return code("who", f"import re\ndef who(line):\n    {body}\n")


LOG = Answers(
    "sensor-node.4",
    right=(
        Right("one-pattern", code("who", GOOD_WHO), slow=True),
        Right("by-words", code("who", OTHER_WHO), slow=True),
        Right("by-labkit", code("who", BY_LABKIT), slow=True),
    ),
    wrong=(
        Wrong("nothing", lambda _: None, "", "not-attempted"),
        Wrong("stub", code("who", STUB.format("who")), "", "not-attempted"),
        Wrong("client-id", log("m = re.search(r'as (\\S+) \\(', line); return m and m[1]"), "client-id-believed"),
        Wrong("first-name", log("m = re.search(r\"connected.*?u'([^']*)'\", line); return m and m[1]"), "planted", "partly"),
        Wrong("anywhere", log("m = re.search(r\".*New client connected .* \\(p.*u'([^']*)'\\)\\.\", line); return m and m[1]"), "planted", "partly"),
        Wrong("last-quotes", log("m = re.findall(r\"u'([^']*)'\", line); return m[-1] if m else None"), "planted"),
        Wrong("refused-too", log("m = re.findall(r\"u'([^']*)'\", line); m = m or re.findall(r'Client (\\S+) ', line); return m[-1] if m else None"), "planted"),
        Wrong("own-device-always", log(f"return {MINE.device!r} if 'New client' in line else None"), "client-id-believed"),
        Wrong("nobody", log("return None"), "nobody-named"),
        Wrong("iso-time-only", log("m = re.fullmatch(r\"\\d{4}-\\S+: New client connected from \\S+ as .+ \\(p\\d+, c\\d+, k\\d+, u'([^']+)'\\)\\.\", line); return m and m[1]"), "nobody-named"),
        Wrong("crashes", log("return re.search(r\"u'(.*?)'\", line)[1]"), "crashes"),
        Wrong("a-match", log("return re.search(r\"u'(.*?)'\", line)"), "client-id-believed"),
        Wrong("kills-itself", code("who", "import os\ndef who(line):\n    os._exit(3)\n"), "hangs"),
        Wrong("no-board", lambda place: place.write("answers/sensor-node/who.py", GOOD_WHO), "no-board", "partly"),
    ),
    touches=IMAGES,
)  # fmt: skip


def late(
    held: Callable[[], Held], good: Callable[[], bytes] = flash, **changes: str | None
) -> Callable[[Place], None]:
    """Return a good flash, and a partition with an identity whose time is said to be over."""
    return both(good, lambda: partition(texts(held(), **changes)))


def both(good: Callable[[], bytes], other: Callable[[], bytes]) -> Callable[[Place], None]:
    """Return a flash, and what is said to be a partition with another identity."""

    def give(place: Place) -> None:
        place.write(f"{FOLDER}/flash.bin", good())
        place.write(f"{FOLDER}/expired.bin", other())

    return give


EXPIRED = Answers(
    "sensor-node.5",
    right=(
        Right("yesterday", late(lambda: make(by=middle(), ends=-DAY)), slow=True),
        Right("a-minute-ago-same-key", late(lambda: make(by=middle(), ends=-DAY / 1440, key=device().key)), slow=True),
    ),
    wrong=(
        Wrong("nothing", lambda _: None, "", "not-attempted"),
        Wrong("flash-alone", put(flash), "", "not-attempted"),
        Wrong("the-good-one", late(device), "still-valid"),
        Wrong("tomorrow", late(lambda: make(by=middle(), ends=DAY)), "still-valid"),
        Wrong("not-yet-valid", late(lambda: make(by=middle(), begins=DAY)), "still-valid"),
        Wrong("another-authority", late(lambda: make(by=stranger(), ends=-DAY)), "another-reason", slow=True),
        Wrong("another-root", late(lambda: make(by=middle(), ends=-DAY), root=stranger().pem), "another-root"),
        Wrong("self-signed", late(lambda: make(ends=-DAY)), "another-reason", slow=True),
        Wrong("another-device", late(lambda: make("sensor-001", middle(), ends=-DAY)), "wrong-name"),
        Wrong("another-key", late(lambda: make(by=middle(), ends=-DAY), key=device().key_pem), "key-mismatch"),
        Wrong("server", late(lambda: make(by=middle(), ends=-DAY, purpose=ExtendedKeyUsageOID.SERVER_AUTH)), "wrong-purpose"),
        Wrong("no-control", late(lambda: make(by=middle(), ends=-DAY), lambda: flash(partition(texts(chain=device().pem)))), "board-refused", slow=True),
        Wrong("a-whole-flash", both(flash, flash), "identity-unreadable"),
    ),
    touches=IMAGES,
)  # fmt: skip

TABLE = (IDENTITY, READINGS, COMMAND, LOG, EXPIRED)
