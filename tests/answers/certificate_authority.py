"""Answers to the exercises of lesson certificate-authority."""

from __future__ import annotations

import datetime as dt
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID

from labkit.clock import SYSTEM_CLOCK
from labkit.course.lab import Lab, open_lab
from labkit.pki import SERVER, Authority, Key, Store, flawed
from labkit.pki.profiles import ROOT
from labkit.pki.template import Template, random_serial, subject_of
from labkit.scenarios import mutual_tls
from tests.answers.shape import Answers, Right, Wrong, handing, writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from labkit.pki import Issued


@contextmanager
def prepared(folder: Path) -> Iterator[Lab]:
    """Yield the lesson's lab with its broker."""
    lab = open_lab("certificate-authority", workspace=folder / "w")
    lab.enter(mutual_tls(Store(lab.workspace)))
    yield lab
    lab.close()


# --- 1: a root in Python --------------------------------------------------------------------------------------------


def rooting(make: Callable[[], x509.Certificate]) -> Callable[[Lab], None]:
    """Store a certificate as the reader's root."""

    def give(lab: Lab) -> None:
        writing("root.crt", make().public_bytes(Encoding.PEM))(lab)

    return give


def root_with(**options: Any) -> Callable[[Lab], None]:
    """Store a root that signed itself, with something else about it."""

    def make() -> x509.Certificate:
        name, key = subject_of("My Root CA"), Key.generate(options.get("kind", "p384"))
        profile, start = options.get("profile", ROOT), options.get("start", SYSTEM_CLOCK.now())
        template = Template(profile, issuer=name, signer=key, now=start, limit=None)
        rest = {name: value for name, value in options.items() if name in {"lenient", "without"}}
        return template.sign(name, key.public, random_serial(), **rest)

    return rooting(make)


def signed_by_another() -> x509.Certificate:
    """Return a root whose signature another key made."""
    name = subject_of("My Root CA")
    template = Template(ROOT, issuer=name, signer=Key.generate("p384"), now=SYSTEM_CLOCK.now(), limit=None)
    return template.sign(name, Key.generate("p384").public, random_serial())


def built(*, days: int = 3650, identifier: str = "own", extra: bool = False) -> Callable[[Lab], None]:
    """Store a root that the library's builder made, as the exercise's solution does."""

    def make() -> x509.Certificate:
        key, other, now = (
            ec.generate_private_key(ec.SECP384R1()),
            ec.generate_private_key(ec.SECP384R1()),
            SYSTEM_CLOCK.now(),
        )
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "My Root CA")])
        usage = dict.fromkeys(("digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
                               "key_agreement", "encipher_only", "decipher_only"), False)  # fmt: skip
        builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now).not_valid_after(now + dt.timedelta(days=days))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(
            x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True
        )
        builder = builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        )
        if identifier:
            above = (key if identifier == "own" else other).public_key()
            builder = builder.add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(above), critical=False
            )
        if extra:
            purposes = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH])
            builder = builder.add_extension(purposes, critical=False)
        return builder.sign(key, hashes.SHA384())

    return rooting(make)


# --- 2: write a rule ------------------------------------------------------------------------------------------------

_RULE = """
import re

def name_rule(names):
    if len(names) != 1:
        return "count"
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", names[0]):
        return "grammar"
    return "reserved" if names[0] == "admin" else "ok"
"""

_BY_SETS = """
LETTERS = set("abcdefghijklmnopqrstuvwxyz0123456789")

def name_rule(names):
    try:
        (name,) = names
    except ValueError:
        return "count"
    if name == "admin":
        return "reserved"
    good = 1 <= len(name) < 64 and set(name) <= LETTERS | {"-"} and name[0] in LETTERS
    return "ok" if good else "grammar"
"""

_LIBRARY = """
from labkit.errors import NameRefusedError
from labkit.pki.names import device_id

def name_rule(names):
    if len(names) != 1:
        return "count"
    try:
        device_id(names[0])
    except NameRefusedError as error:
        return "reserved" if error.rule == "reserved" else "grammar"
    return "ok"
"""


def rule(*pairs: tuple[str, str]) -> Callable[[Any], None]:
    """Hand in a rule that is wrong in one place."""
    source = _RULE
    for old, new in pairs:
        assert old in source
        source = source.replace(old, new)
    return handing("name_rule", source)


# --- 3: welcome, and wrong ------------------------------------------------------------------------------------------


def welcome(make: Callable[[Authority], Issued]) -> Callable[[Lab], None]:
    """Store an identity as the guest's."""

    def give(lab: Lab) -> None:
        store = Store(lab.workspace)
        store.save_intruder("welcome", make(store.authority()))

    return give


# --- 4: judged by its names -----------------------------------------------------------------------------------------

_HOLDS = """
from itertools import pairwise

def holds(chain, roots):
    for below, (lower, upper) in enumerate(pairwise(chain)):
        if lower["issuer"] != upper["subject"] or lower["signed_with"] != upper["key"]:
            return False
        if not upper["ca"]:
            return False
        if upper["pathlen"] is not None and below > upper["pathlen"]:
            return False
    return chain[-1]["key"] in roots
"""

_RECURSIVE = """
def holds(chain, roots, below=-1):
    lower, *rest = chain
    if below >= 0 and not lower["ca"]:
        return False
    if below > (999 if lower["pathlen"] is None else lower["pathlen"]):
        return False
    if not rest:
        return lower["key"] in roots
    fits = (lower["issuer"], lower["signed_with"]) == (rest[0]["subject"], rest[0]["key"])
    return fits and holds(rest, roots, below + 1)
"""


def judging(*pairs: tuple[str, str]) -> Callable[[Any], None]:
    """Hand in a verifier that is wrong in one place."""
    source = _HOLDS
    for old, new in pairs:
        assert old in source
        source = source.replace(old, new)
    return handing("holds", source)


# --- 5: lock a key away ---------------------------------------------------------------------------------------------

_LOCK = """
from cryptography.hazmat.primitives import serialization

def lock_away(pem, passphrase):
    key = serialization.load_pem_private_key(pem, None)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase),
    )
"""

_KEY = """
from pathlib import Path

from labkit.pki import Key

def lock_away(pem, passphrase):
    return Key.load(pem, path=Path("root.key")).pem(passphrase)
"""

_COMMAND = """
import os
import subprocess

def lock_away(pem, passphrase):
    argv = ["openssl", "pkcs8", "-topk8", "-passout", "env:WORDS"]
    return subprocess.run(argv, input=pem, env={**os.environb, b"WORDS": passphrase}, capture_output=True, check=True).stdout
"""


def locking(*pairs: tuple[str, str]) -> Callable[[Any], None]:
    """Hand in a lock that is wrong in one place."""
    source = _LOCK
    for old, new in pairs:
        assert old in source
        source = source.replace(old, new)
    return handing("lock_away", source)


_OTHER_KEY = """from cryptography.hazmat.primitives.asymmetric import ec
    key = ec.generate_private_key(ec.SECP384R1())"""
_BEST = "serialization.BestAvailableEncryption(passphrase)"
_NONE = "serialization.NoEncryption()"

TABLE = (
    Answers(
        "certificate-authority.1",
        right=(
            Right("the library's builder", built()),
            Right("labkit's authority", rooting(lambda: Authority.new_root("My Root CA").certificate)),
        ),
        wrong=(
            Wrong("signed by another key", rooting(signed_by_another), "not-self-signed"),
            Wrong("an intermediate", rooting(lambda: Authority.new_root("R").new_intermediate("I").certificate),
                  "not-self-signed"),
            Wrong("no authority", rooting(lambda: flawed.self_signed("sensor-001").certificate), "not-an-authority"),
            Wrong("may be passed over", root_with(lenient=(ExtensionOID.BASIC_CONSTRAINTS,)),
                  "basic-constraints-not-critical"),
            Wrong("does not say what its key may do", root_with(without=(ExtensionOID.KEY_USAGE,)), "key-usage-missing"),
            Wrong("its use may be passed over", root_with(lenient=(ExtensionOID.KEY_USAGE,)), "key-usage-not-critical"),
            Wrong("no identifier", root_with(without=(ExtensionOID.SUBJECT_KEY_IDENTIFIER,)), "key-identifier-missing"),
            Wrong("from tomorrow on", root_with(start=SYSTEM_CLOCK.now() + dt.timedelta(days=1)), "validity-not-begun"),
            Wrong("a hundred years", built(days=36500), "validity-too-long"),
            Wrong("one year", built(days=365), "other-lifetime", says="365"),
            Wrong("a smaller curve", root_with(kind="p256"), "other-key", says="secp256r1"),
            Wrong("RSA", root_with(kind="rsa2048"), "other-key"),
            Wrong("no room below it", root_with(profile=replace(ROOT, path_length=0)), "no-room"),
            Wrong("no issuer's identifier", built(identifier=""), "issuer-identifier"),
            Wrong("another issuer's identifier", built(identifier="other"), "issuer-identifier"),
            Wrong("for clients alone", built(extra=True), "purpose-on-a-root"),
            Wrong("no certificate", writing("root.crt", "junk"), "WorkspaceCorruptError"),
        ),
    ),
    Answers(
        "certificate-authority.2",
        right=(
            Right("one pattern", rule()),
            Right("sets of letters", handing("name_rule", _BY_SETS)),
            Right("asks the library", handing("name_rule", _LIBRARY)),
        ),
        wrong=(
            Wrong("looks at the beginning", rule(("fullmatch", "match")), "looks-at-a-part"),
            Wrong("a dollar at the end", rule(("fullmatch", "match"), ("{0,62}", "{0,62}$")), "looks-at-a-part"),
            Wrong("searches", rule(("fullmatch", "search")), "looks-at-a-part"),
            Wrong("cuts blanks off", rule(('{0,62}", names[0])', '{0,62}", names[0].strip())')), "looks-at-a-part"),
            Wrong("digits of all scripts", rule(("[a-z0-9][a-z0-9-]", r"[a-z\d][a-z\d-]")), "wrong-characters"),
            Wrong("all letters that there are", rule(("[a-z0-9][a-z0-9-]", r"[^\W_A-Z](?:[^\W_A-Z]|-)")), "wrong-characters"),
            Wrong("a dash in front", rule(("[a-z0-9][a-z0-9-]{0,62}", "[a-z0-9-]{1,63}")), "wrong-characters"),
            Wrong("capitals too", rule(("names[0])", "names[0], re.IGNORECASE)")), "wrong-characters"),
            Wrong("64 characters", rule(("{0,62}", "{0,63}")), "wrong-length"),
            Wrong("62 characters", rule(("{0,62}", "{0,61}")), "wrong-length"),
            Wrong("two characters at least", rule(("{0,62}", "{1,62}")), "too-strict"),
            Wrong("no end to it", rule(("{0,62}", "*")), "wrong-length"),
            Wrong("none is fine", rule(("len(names) != 1", "len(names) > 1")), "crashed", says="IndexError"),
            Wrong("takes the first of two", rule(("len(names) != 1", "not names")), "count"),
            Wrong("counts different names", rule(("len(names) != 1", "len(set(names)) != 1")), "count"),
            Wrong("admin is a name", rule(('"reserved" if names[0] == "admin" else "ok"', '"ok"')), "reserved"),
            Wrong("all that begins with admin", rule(('names[0] == "admin"', 'names[0].startswith("admin")')), "reserved"),
            Wrong("all with admin in it", rule(('names[0] == "admin"', '"admin" in names[0]')), "reserved"),
            Wrong("always in order", handing("name_rule", 'def name_rule(names):\n    return "ok"\n'), "count"),
        ),
    ),
    Answers(
        "certificate-authority.3",
        touches=("intruders",),
        right=(
            Right("no purpose", welcome(lambda a: flawed.no_purpose(a, "sensor-001"))),
            Right("a path for a name", welcome(lambda a: flawed.slash_in_name(a, "sensor-001"))),
            Right("crafted: an authority, and for both purposes", welcome(lambda a: flawed.craft(
                a, "sensor-001", start=SYSTEM_CLOCK.now(), profile=replace(SERVER, purposes=(
                    x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH, x509.oid.ExtendedKeyUsageOID.SERVER_AUTH))))),
        ),
        wrong=(
            Wrong("in order", welcome(lambda a: flawed.craft(a, "sensor-001", start=SYSTEM_CLOCK.now())), "nothing-wrong"),
            Wrong("four years", welcome(lambda a: flawed.long_validity(a, "sensor-001")), "only-warnings"),
            Wrong("a number to guess", welcome(lambda a: flawed.short_serial(a, "sensor-001")), "only-warnings"),
            Wrong("expired", welcome(lambda a: flawed.expired(a, "sensor-001")), "not-let-in", says="certificate-expired"),
            Wrong("for servers", welcome(lambda a: flawed.wrong_purpose(a, "sensor-001")), "not-let-in", says="wrong-purpose"),
            Wrong("of another authority", welcome(lambda a: flawed.no_purpose(flawed.rogue_authority(a), "sensor-001")),
                  "not-let-in", says="unknown-ca"),
            Wrong("of itself", welcome(lambda _: flawed.self_signed("sensor-001")), "not-let-in"),
            Wrong("with another key", welcome(lambda a: replace(
                flawed.no_purpose(a, "sensor-001"), key=Key.generate("p256"))), "IdentityRefusedError"),
        ),
    ),
    Answers(
        "certificate-authority.4",
        right=(
            Right("pair by pair", judging()),
            Right("calls itself", handing("holds", _RECURSIVE)),
        ),
        wrong=(
            Wrong("names alone", judging((' or lower["signed_with"] != upper["key"]', "")), "names-alone"),
            Wrong("keys alone", judging(('lower["issuer"] != upper["subject"] or ', "")), "keys-alone"),
            Wrong("anybody signs", judging(('if not upper["ca"]', "if False")), "anybody-signs"),
            Wrong("any length", judging(('below > upper["pathlen"]', "False")), "any-length"),
            Wrong("knows a pathlen of nought alone", judging(('below > upper["pathlen"]', 'upper["pathlen"] == 0 and below > 0')), "any-length"),
            Wrong("looks one authority far", judging(('below > upper["pathlen"]', 'lower["ca"] and upper["pathlen"] < 1')), "any-length"),
            Wrong("counts one too many", judging(("below > upper", "below >= upper")), "too-strict"),
            Wrong("counts one too few", judging(("below > upper", "below > 1 + upper")), "any-length"),
            Wrong("takes None for nought", judging(('upper["pathlen"] is not None and below > upper["pathlen"]',
                                                     'below > (upper["pathlen"] or 0)')), "too-strict"),
            Wrong("takes nought for None", judging(('upper["pathlen"] is not None', 'upper["pathlen"]')), "any-length"),
            Wrong("believes every root", judging(('chain[-1]["key"] in roots', "True")), "any-root"),
            Wrong("believes the first root alone", judging(('chain[-1]["key"] in roots', 'chain[-1]["key"] == roots[0]')),
                  "too-strict"),
            Wrong("believes whom it names", judging(('chain[-1]["key"] in roots',
                                                     'chain[-1]["subject"] == "Root CA" and bool(roots)')), "too-strict"),
            Wrong("wants three links", judging(("    return chain[-1]", "    return len(chain) == 3 and chain[-1]")), "too-strict"),
            Wrong("wants the last to sign itself", judging(
                ("    return chain[-1]", '    return chain[-1]["subject"] == chain[-1]["issuer"] and chain[-1]')), "too-strict"),
            Wrong("wants a leaf", judging(("    return chain[-1]", '    return not chain[0]["ca"] and chain[-1]')), "too-strict"),
            Wrong("yes to all", handing("holds", "def holds(chain, roots):\n    return True\n"), "any-root"),
            Wrong("no to all", handing("holds", "def holds(chain, roots):\n    return False\n"), "too-strict"),
        ),
    ),
    Answers(
        "certificate-authority.5",
        right=(
            Right("the best that there is", locking()),
            Right("asks the library", handing("lock_away", _KEY)),
            Right("the openssl command", handing("lock_away", _COMMAND)),
            Right("scrypt", handing("lock_away", _COMMAND.replace('"env:WORDS"', '"env:WORDS", "-scrypt"'))),
        ),
        wrong=(
            Wrong("changes nothing", handing("lock_away", "def lock_away(pem, passphrase):\n    return pem\n"), "in-the-open"),
            Wrong("a better format, in the open", locking((_BEST, _NONE)), "in-the-open"),
            Wrong("both in one file", locking(("    return key", "    return pem + key")), "in-the-open"),
            Wrong("a passphrase of its own", locking(("(passphrase)", '(b"secret")')), "other-passphrase"),
            Wrong("the beginning of the passphrase", locking(("(passphrase)", "(passphrase[:8])")), "other-passphrase"),
            Wrong("in small letters", locking(("(passphrase)", "(passphrase.decode().lower().encode())")), "other-passphrase"),
            Wrong("another key", locking(("key = serialization.load_pem_private_key(pem, None)",
                                          _OTHER_KEY)), "other-key"),
            Wrong("the traditional format", locking(("PKCS8", "TraditionalOpenSSL")), "old-format"),
            Wrong("one round", handing("lock_away", _COMMAND.replace('"env:WORDS"', '"env:WORDS", "-iter", "1"')), "old-format"),
            Wrong("text", locking(("    )\n", "    ).decode()\n")), "not-bytes"),
            Wrong("a box of its own", handing("lock_away",
                  "def lock_away(pem, passphrase):\n    return bytes(a ^ b for a, b in zip(pem, passphrase * 99))\n"),
                  "other-passphrase"),
            Wrong("crashes", locking(("pem, None", "pem, passphrase")), "crashed", says="TypeError"),
        ),
    ),
)  # fmt: skip
