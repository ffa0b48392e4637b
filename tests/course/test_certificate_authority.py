"""The exercises of lesson certificate-authority: right answers pass, wrong ones are told what is wrong."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID

from labkit.clock import SYSTEM_CLOCK
from labkit.course.lab import Lab, open_lab
from labkit.course.lessons import find
from labkit.course.lessons.certificate_authority import empty_workshop, make_specimens
from labkit.pki import Authority, Key, flawed
from labkit.pki.profiles import ROOT
from labkit.pki.template import Template, random_serial, subject_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptography import x509

    from labkit.broker import Mosquitto
    from labkit.course.lesson import CheckResult

_CONSTRAINTS, _USAGE = ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE
_IDENTIFIER = ExtensionOID.SUBJECT_KEY_IDENTIFIER

RIGHT = {"good": "ok", "two": "count", "slash": "grammar", "admin": "reserved", "line feed": "grammar"}


@pytest.fixture(scope="module")
def lab(mosquitto: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Return the lesson's lab."""
    opened = open_lab("certificate-authority", workspace=tmp_path_factory.mktemp("lab") / "w")
    yield opened
    opened.close()


def check(lab: Lab, number: int) -> CheckResult:
    """Run one of the lesson's checks."""
    return find("certificate-authority").checks[number - 1].run(lab)


def test_nothing_done_is_not_attempted(lab: Lab) -> None:
    """Before anything was written, both exercises are not attempted."""
    assert {check(lab, number).status for number in (1, 2)} == {"not-attempted"}


def right() -> x509.Certificate:
    """Return a root as it should be."""
    return Authority.new_root("My Root CA").certificate


def signed_by_another() -> x509.Certificate:
    """Return a root whose signature another key made."""
    name = subject_of("My Root CA")
    template = Template(ROOT, issuer=name, signer=Key.generate("p384"), now=SYSTEM_CLOCK.now(), limit=None)
    return template.sign(name, Key.generate("p384").public, random_serial())


def root_with(**options: Any) -> x509.Certificate:
    """Return a root that signed itself, with something else about it."""
    name, key = subject_of("My Root CA"), Key.generate(options.pop("kind", "p384"))
    profile, start = options.pop("profile", ROOT), options.pop("start", SYSTEM_CLOCK.now())
    template = Template(profile, issuer=name, signer=key, now=start, limit=None)
    return template.sign(name, key.public, random_serial(), **options)


@pytest.mark.parametrize(
    ("make", "status", "word"),
    [
        (right, "passed", "linter has nothing"),
        (signed_by_another, "failed", "did not sign"),
        (lambda: Authority.new_root("R").new_intermediate("I").certificate, "failed", "did not sign"),
        (lambda: flawed.self_signed("sensor-001").certificate, "failed", "not-an-authority"),
        (lambda: root_with(lenient=(_CONSTRAINTS,)), "failed", "basic-constraints-not-critical"),
        (lambda: root_with(without=(_USAGE,)), "failed", "key-usage-missing"),
        (lambda: root_with(without=(_IDENTIFIER,)), "failed", "key-identifier-missing"),
        (lambda: root_with(start=SYSTEM_CLOCK.now() + dt.timedelta(days=1)), "failed", "validity-not-begun"),
    ],
)
def test_roots_are_linted(lab: Lab, make: Callable[[], x509.Certificate], status: str, word: str) -> None:
    """A root that says what it is passes; anything less is told by its rule."""
    lab.workspace.write("answers/certificate-authority/root.crt", make().public_bytes(Encoding.PEM))
    result = check(lab, 1)
    assert (status, True) == (result.status, word in result.observed), result


@pytest.mark.parametrize(
    ("heard", "status", "word"),
    [
        (RIGHT, "passed", ""),
        ({**RIGHT, "line feed": "ok"}, "failed", "'line feed'"),
        ({**RIGHT, "two": "ok"}, "failed", "'two'"),
        ({**RIGHT, "admin": "grammar"}, "failed", "'admin'"),
        (dict.fromkeys(RIGHT, "grammar"), "failed", "'admin'"),
        ({}, "failed", "'admin'"),
        ("ok", "failed", "'admin'"),
    ],
)
def test_name_rules_are_compared(lab: Lab, heard: Any, status: str, word: str) -> None:
    """Only the library's own verdicts pass; the first difference is named, never the right answer."""
    make_specimens(lab)
    lab.workspace.write_json("answers/certificate-authority/names.json", heard)
    result = check(lab, 2)
    assert (status, True) == (result.status, word in result.observed), result


def test_the_workshop_is_empty_each_time(lab: Lab) -> None:
    """What an earlier run left in the workshop is gone."""
    first = empty_workshop(lab)
    first.write("root/ca.crt", "old")
    assert list(empty_workshop(lab).path("root").iterdir()) == []
