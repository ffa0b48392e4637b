"""Answers to exercise first-boot: settings, and programs that enrol, test and fail in ways of their own."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from labkit.course.exercises import find
from labkit.course.exercises.first_boot_stage import stage
from tests.answers.shape import STUDENT, Answers, Place, Right, Wrong

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MINE = find("first-boot").variant(STUDENT)


@contextmanager
def prepared(folder: Path) -> Iterator[Place]:
    """Return a student's workspace, beside one service and broker for all answers."""
    folder.mkdir(parents=True, exist_ok=True)
    with stage(folder.parent / f"{folder.name}-stage"):
        yield Place(find("first-boot"), folder)


def limits(requests: Any, failures: Any, **more: Any) -> Callable[[Place], None]:
    """Return an answer that is a file of settings."""
    told = {"requests_per_minute": requests, "failures_per_minute": failures, **more}
    return text(json.dumps(told))


def text(content: str) -> Callable[[Place], None]:
    """Return an answer that is some text, where settings should be."""
    return lambda place: place.write("answers/first-boot/service.json", content)


LINE, GUESSES = MINE.line, MINE.guesses

SERVICE = Answers(
    "first-boot.1",
    right=(
        Right("three-times", limits(3 * LINE, GUESSES), slow=True),
        Right("just-enough", limits(LINE + GUESSES + 4.0, float(GUESSES)), slow=True),
    ),
    wrong=(
        Wrong("nothing", lambda _: None, "", "not-attempted"),
        Wrong("as-shipped", limits(600, 10), "flood"),
        Wrong("no-limit", limits(0, GUESSES), "flood"),
        Wrong("guess-for-ever", limits(3 * LINE, 0), "guesses", slow=True),
        Wrong("one-more-guess", limits(3 * LINE, GUESSES + 1), "guesses", slow=True),
        Wrong("too-few-guesses", limits(3 * LINE, 1), "guesses", slow=True),
        Wrong("line-stands", limits(LINE // 2, GUESSES), "line-stands", slow=True),
        Wrong("negative", limits(-5, GUESSES), "number"),
        Wrong("true", text(f'{{"requests_per_minute": {3 * LINE}, "failures_per_minute": true}}'), "number"),
        Wrong("text", limits("51", GUESSES), "number"),
        Wrong("not-a-number", limits(float("nan"), GUESSES), "number"),
        Wrong("endless", limits(float("inf"), GUESSES), "number"),
        Wrong("one-missing", text(json.dumps({"failures_per_minute": GUESSES})), "fields"),
        Wrong("unknown-field", limits(3 * LINE, GUESSES, workspace="/tmp"), "fields"),
        Wrong("list", text(f"[{3 * LINE}, {GUESSES}]"), "fields"),
        Wrong("null", text("7"), "fields"),
        Wrong("broken", text("{"), "AnswerUnreadableError"),
    ),
)  # fmt: skip


def code(name: str, source: str) -> Callable[[Place], None]:
    """Return an answer that is a function."""
    return lambda place: place.write(f"answers/first-boot/{name}.py", source)


def changed(name: str, source: str, *changes: tuple[str, str]) -> Callable[[Place], None]:
    """Return a good function with something changed."""
    for old, new in changes:
        assert old in source, old
        source = source.replace(old, new)
    return code(name, source)


STUB = "def {}(*a):\n    raise NotImplementedError('this exercise is yours to write')\n"

MAKE = """
def make_tokens(office, devices, hours):
    office.call("POST", "/devices", {"devices": [{"device_id": d} for d in devices]})
    return office.call("POST", "/tokens", {"device_ids": devices, "hours": hours})["tokens"]
"""
ONE_BY_ONE = """
from labkit.errors import RefusedError
def make_tokens(office, devices, hours):
    found = {}
    for name in devices:
        try:
            office.call("POST", "/devices", value={"devices": [{"device_id": name}]})
        except RefusedError as error:
            if error.code != "device-exists":
                raise
        found.update(office.call("POST", "/tokens", {"device_ids": [name], "hours": float(hours)})["tokens"])
        print("a token for", name)
    return found
"""


def tokens(*changes: tuple[str, str]) -> Callable[[Place], None]:
    """Return the good function with something changed."""
    return changed("make_tokens", MAKE, *changes)


TOKENS = Answers(
    "first-boot.2",
    right=(Right("at-once", tokens()), Right("one-by-one", code("make_tokens", ONE_BY_ONE))),
    wrong=(
        Wrong("nothing", lambda _: None, "", "not-attempted"),
        Wrong("stub", code("make_tokens", STUB.format("make_tokens")), "", "not-attempted"),
        Wrong("a-day", tokens((', "hours": hours', "")), "another-lifetime"),
        Wrong("whole-hours", tokens(('"hours": hours', '"hours": max(1, int(hours))')), "another-lifetime"),
        Wrong("minutes", tokens(('"hours": hours', '"hours": hours / 60')), "another-lifetime"),
        Wrong("not-taken-in", code("make_tokens", MAKE.replace(MAKE.splitlines()[2] + "\n", "")), "raises"),
        Wrong("whole-reply", tokens(('["tokens"]', "")), "not-by-device"),
        Wrong("list", tokens(("return office", "return list(office"), ('["tokens"]', '["tokens"].values())')), "not-by-device"),
        Wrong("first-only", tokens(('"device_ids": devices', '"device_ids": devices[:1]')), "not-by-device"),
        Wrong("twice", tokens(("    return", '    office.call("POST", "/tokens", {"device_ids": devices, "hours": hours})\n    return')), "several-tokens"),
        Wrong("one-more", tokens(("    return", '    office.call("POST", "/devices", {"devices": [{"device_id": "spare-" + devices[0]}]})\n    office.call("POST", "/tokens", {"device_ids": ["spare-" + devices[0]], "hours": hours})\n    return')), "other-devices", says="spare"),
        Wrong("rounded-to-nothing", tokens(('"hours": hours', '"hours": round(hours, 2)')), "raises", says="hours"),
        Wrong("mixed-up", code("make_tokens", MAKE.replace("return ", "t = ") + "    return dict(zip(t, [*list(t.values())[1:], *list(t.values())[:1]]))\n"), "another-device"),
        Wrong("one-for-all", code("make_tokens", MAKE.replace("return ", "t = ") + "    return dict.fromkeys(t, list(t.values())[0])\n"), "another-device"),
        Wrong("invented", code("make_tokens", MAKE.replace("return ", "t = ") + "    return {d: 'labtok_' + 'A' * 43 for d in devices}\n"), "another-device"),
        Wrong("known-devices", code("make_tokens", MAKE.replace("(office, devices, hours):", f"(office, devices, hours):\n    devices = {MINE.devices}")), "not-by-device"),
        Wrong("spends-them", code("make_tokens", MAKE.replace("return ", "t = ") + "    return {d: 7 for d in t}\n"), "not-by-device"),
        Wrong("kills-itself", code("make_tokens", "import os\ndef make_tokens(*a):\n    os._exit(0)\n"), "hangs"),
        Wrong("reaches-inside", code("make_tokens", "def make_tokens(office, devices, hours):\n    return office._office.operator\n"), "raises"),
    ),
)  # fmt: skip

BOOT = """
from pathlib import Path
from labkit.pki import Key, make_request

def boot(device):
    if device.load("chain") is None:
        token = device.load("token")
        if token is None:
            raise RuntimeError("neither an identity nor a token")
        if device.load("key") is None:
            device.store("key", Key.generate().pem().decode())
        key = Key.load(device.load("key").encode(), path=Path("key"))
        device.store("chain", device.provision(token, make_request(key, device.id)))
    device.erase("token")
    device.connect()
"""

BY_CRYPTOGRAPHY = """
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

def boot(device):
    chain, key, token = (device.load(name) for name in ("chain", "key", "token"))
    if chain and key:
        device.connect()
        if token:
            device.erase("token")
        return "later"
    if not token:
        raise SystemExit("call somebody")
    if not key:
        made = ec.generate_private_key(ec.SECP256R1())
        key = made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()).decode()
        device.store("key", key)
    private = serialization.load_pem_private_key(key.encode(), None)
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, device.id)]))
    csr = builder.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    device.store("chain", device.provision(token, csr))
    device.connect()
    device.erase("token")
"""


def program(*changes: tuple[str, str], source: str = BOOT) -> Callable[[Place], None]:
    """Return the good program with something changed."""
    return changed("boot", source, *changes)


KEY_FIRST = '            device.store("key", Key.generate().pem().decode())\n        key = Key.load(device.load("key").encode(), path=Path("key"))\n'
KEY_LAST = (KEY_FIRST, "            key = Key.generate()\n"), (
    "make_request(key, device.id)))\n", 'make_request(key, device.id)))\n        device.store("key", key.pem().decode())\n'
)  # fmt: skip
ERASE = '    device.erase("token")\n'


def shared_key(place: Place) -> None:
    """A program that brings a key along, the same one for every device."""
    from labkit.pki import Key

    pem = Key.generate().pem().decode()
    program(("Key.generate().pem().decode()", repr(pem)))(place)


DERIVED = """
import hashlib
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

def made(seed):
    key = ec.derive_private_key(int.from_bytes(hashlib.sha256(seed.encode()).digest()) >> 1, ec.SECP256R1())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
"""


def derived(seed: str) -> Callable[[Place], None]:
    """A program that works its key out of something that others know."""
    return program(("Key.generate().pem().decode()", f"made({seed}).decode()"), source=DERIVED + BOOT)


FIRST = Answers(
    "first-boot.3",
    right=(
        Right("step-by-step", program(), slow=True),
        Right("by-cryptography", program(source=BY_CRYPTOGRAPHY), slow=True),
    ),
    wrong=(
        Wrong("nothing", lambda _: None, "", "not-attempted"),
        Wrong("stub", code("boot", STUB.format("boot")), "", "not-attempted"),
        Wrong("does-nothing", code("boot", "def boot(device):\n    pass\n"), "key-not-stored"),
        Wrong("key-in-memory", program(*KEY_LAST), "key-not-kept", "partly", slow=True),
        Wrong("new-key-each-time", program(('if device.load("key") is None', "if True")), "key-not-kept", "partly", slow=True),
        Wrong("token-erased-first", program((ERASE, ""), ('        if device.load("key") is None', '        device.erase("token")\n        if device.load("key") is None')), "token-too-early", "partly", slow=True),
        Wrong("token-kept", program((ERASE, "")), "token-left"),
        Wrong("token-kept-after-a-cut", program((ERASE, ""), ("make_request(key, device.id)))\n", 'make_request(key, device.id)))\n        device.erase("token")\n')), "token-left", "partly", slow=True),
        Wrong("chain-in-memory", program(('device.store("chain", device.provision(token, make_request(key, device.id)))', "device.provision(token, make_request(key, device.id))"), ("device.connect()", "pass")), "chain-not-stored"),
        Wrong("leaf-alone", program(("device.provision(token, make_request(key, device.id))", 'device.provision(token, make_request(key, device.id)).split("-----END")[0] + "-----END CERTIFICATE-----\\n"')), "raises"),
        Wrong("another-key-stored", program(('    device.erase("token")', '    device.store("key", Key.generate().pem().decode())\n    device.erase("token")'), ("device.connect()", "pass")), "pair-mismatch"),
        Wrong("never-connects", program(("    device.connect()\n", "")), "not-connected"),
        Wrong("shared-key", shared_key, "raises"),
        Wrong("key-of-the-id", derived("device.id"), "key-foreseen"),
        Wrong("key-of-the-token", derived("token"), "key-foreseen"),
        Wrong("sends-the-key", program(("make_request(key, device.id)", "key.pem() + make_request(key, device.id)")), "raises"),
        Wrong("weak-key", program(("Key.generate()", "Key.generate('rsa1024')")), "raises"),
        Wrong("public-key-stored", program(('device.store("key", Key.generate().pem().decode())', 'device.store("key", "none")')), "raises"),
        Wrong("tries-for-ever", program(("    device.connect()\n", "    while True: device.load('key')\n")), "hangs", slow=True),
        Wrong("kills-itself", code("boot", "import os, signal\ndef boot(device):\n    os.kill(os.getpid(), signal.SIGKILL)\n"), "hangs"),
        Wrong("forges-the-wire", code("boot", "import os\nfrom contextlib import suppress\ndef boot(device):\n    for n in range(3, 9):\n        with suppress(OSError): os.write(n, b'[{\"value\": null, \"error\": \"\", \"kinds\": []}]\\n')\n    os._exit(0)\n"), "key-not-stored"),
        Wrong("reaches-inside", code("boot", "def boot(device):\n    device.put(key='x', chain='y')\n"), "raises"),
        Wrong("stores-elsewhere", program(('device.store("key",', 'device.store("identity/key",')), "raises"),
    ),
)  # fmt: skip

LATER = Answers(
    "first-boot.4",
    right=(
        Right("step-by-step", program(), slow=True),
        Right("by-cryptography", program(source=BY_CRYPTOGRAPHY), slow=True),
        Right("key-in-memory", program(*KEY_LAST), slow=True),
    ),
    wrong=(
        Wrong("nothing", lambda _: None, "", "not-attempted"),
        Wrong("asks-each-time", program(('if device.load("chain") is None', "if True"), ('token = device.load("token")', 'token = device.load("token") or "labtok"')), "asks-again"),
        Wrong("caught", program(('if device.load("chain") is None:', "try:"), (ERASE, "    except Exception:\n        pass\n    device.erase('token')\n"), ("if token is None", "if False")), "asks-again"),
        Wrong("connects-once", program(("    device.connect()\n", ""), ("make_request(key, device.id)))\n", "make_request(key, device.id)))\n        device.connect()\n")), "not-connected"),
        Wrong("by-token", program(('if device.load("chain") is None', 'if device.load("token") or True')), "raises", says="later boot"),
        Wrong("key-made-anew", program(("def boot(device):\n", "def boot(device):\n    if not device.load('token'): device.store('key', Key.generate().pem().decode())\n"), ("    device.connect()\n", "    try: device.connect()\n    except Exception: pass\n")), "store-changed"),
        Wrong("waits-for-ever-without-anything", program(('raise RuntimeError("neither an identity nor a token")', "\n            while True: device.load('token')")), "hangs", "partly", slow=True),
        Wrong("silent-without-anything", program(('raise RuntimeError("neither an identity nor a token")', "return")), "no-error", "partly"),
        Wrong("does-nothing", code("boot", "def boot(device):\n    pass\n"), "key-not-stored"),
    ),
)  # fmt: skip

REUSE = """
from labkit import errors, pki

def reuse_is_refused(service):
    token = service.token("probe-1")
    try:
        service.provision(token, pki.make_request(pki.Key.generate(), "probe-1"))
    except errors.RefusedError:
        return False
    try:
        service.provision(token, pki.make_request(pki.Key.generate(), "probe-1"))
    except errors.RefusedError as error:
        return error.code == "token-spent"
    return False
"""
BOTH_ENDS = """
from labkit import errors, pki

def ask(service, token, name):
    try:
        return bool(service.provision(token, pki.make_request(pki.Key.generate(), name).decode())), ""
    except errors.RefusedError as error:
        return False, error.code

def reuse_is_refused(service):
    first, other = service.token("a-1"), service.token("b-1")
    seen = [ask(service, first, "a-1"), ask(service, first, "a-1"), ask(service, other, "b-1"), ask(service, first, "c-1")]
    return seen == [(True, ""), (False, "token-spent"), (True, ""), (False, "token-spent")]
"""


def trial(*changes: tuple[str, str]) -> Callable[[Place], None]:
    """Return the good test with something changed."""
    return changed("reuse_is_refused", REUSE, *changes)


def says(body: str) -> Callable[[Place], None]:
    """Return another test."""
    return code("reuse_is_refused", f"from labkit import errors, pki\ndef reuse_is_refused(service):\n{body}")


KEY_KEPT = (
    ("    token = service", "    key = pki.Key.generate()\n    token = service"),
    ("pki.make_request(pki.Key.generate(),", "pki.make_request(key,"),
)
TWICE = """    token = service.token("p-1")
    for _ in range(2):
        try:
            service.provision(token, pki.make_request(pki.Key.generate(), "p-1"))
        except errors.RefusedError:
            return True
    return False
"""

REUSED = Answers(
    "first-boot.5",
    right=(
        Right("two-keys", trial()),
        Right("four-times", code("reuse_is_refused", BOTH_ENDS)),
    ),
    wrong=(
        Wrong("nothing", lambda _: None, "", "not-attempted"),
        Wrong("stub", code("reuse_is_refused", STUB.format("reuse_is_refused")), "", "not-attempted"),
        Wrong("always", says("    return True\n"), "open-door"),
        Wrong("never", says("    return False\n"), "refuses-the-good"),
        Wrong("same-key", trial(*KEY_KEPT), "refuses-the-good"),
        Wrong("any-refusal", says(TWICE), "vacuous"),
        Wrong("any-code", trial(('return error.code == "token-spent"', "return True")), "another-reason", "partly"),
        Wrong("no-first", trial(("        return False\n    try:", "        pass\n    try:")), "vacuous"),
        Wrong("second-granted", trial(('"token-spent"\n    return False', '"token-spent"\n    return True')), "open-door"),
        Wrong("invented-token", trial(('token = service.token("probe-1")', 'token = "labtok_" + "A" * 43')), "refuses-the-good"),
        Wrong("raises", trial(("except errors.RefusedError:\n        return False", "except KeyError:\n        return False")), "raises"),
        Wrong("text", trial(('return error.code == "token-spent"', "return error.code")), "no-verdict"),
        Wrong("looks-inside", says("    return not service._fault\n"), "raises"),
        Wrong("kills-itself", says("    import os; os._exit(0)\n"), "hangs"),
    ),
)  # fmt: skip

CONNECTED = Answers(
    "first-boot.6",
    right=(
        Right("step-by-step", program(), slow=True),
        Right("by-cryptography", program(source=BY_CRYPTOGRAPHY), slow=True),
    ),
    wrong=(
        Wrong("nothing", lambda _: None, "", "not-attempted"),
        Wrong("does-nothing", code("boot", "def boot(device):\n    pass\n"), "key-not-stored"),
        Wrong("leaf-alone", program(("device.provision(token, make_request(key, device.id))", 'device.provision(token, make_request(key, device.id)).split("-----END")[0] + "-----END CERTIFICATE-----\\n"')), "raises"),
        Wrong("leaf-alone-and-silent", program(("device.provision(token, make_request(key, device.id))", 'device.provision(token, make_request(key, device.id)).split("-----END")[0] + "-----END CERTIFICATE-----\\n"'), ("    device.connect()\n", "    try: device.connect()\n    except Exception: pass\n")), "node-refused", slow=True),
        Wrong("never-connects", program(("    device.connect()\n", "")), "not-connected"),
        Wrong("shared-key", shared_key, "raises"),
    ),
)  # fmt: skip

TABLE = (SERVICE, TOKENS, FIRST, LATER, REUSED, CONNECTED)
