"""labkit.pki.lint: our own certificates are clean, and what tutorials print is not."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from labkit.clock import SYSTEM_CLOCK
from labkit.outcome import Severity
from labkit.pki import Authority
from labkit.pki.lint import ROLES, RULES, Policy, lint, lint_pair
from labkit.pki.profiles import INTERMEDIATE, ROOT, SERVER, choose
from labkit.scenarios.printed_authority import printed_authority

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.outcome import Finding


def rules(found: list[Finding]) -> list[str]:
    """Return the rules that found something."""
    return [finding.rule for finding in found]


@pytest.mark.parametrize("rsa", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_our_own_are_clean(rsa: bool) -> None:  # noqa: FBT001
    """Nothing is found on what our profiles make, in either kind of key, alone or with its issuer."""
    root = Authority.new_root("Root", profile=choose(ROOT, rsa=rsa))
    middle = root.new_intermediate("CA", profile=choose(INTERMEDIATE, rsa=rsa))
    server = middle.issue_server(["localhost"], ["127.0.0.1"], profile=choose(SERVER, rsa=rsa)).certificate
    ours = {
        "root": root.certificate,
        "intermediate": middle.certificate,
        "server": server,
        "device": middle.issue_device("sensor-001").certificate,
        "operator": middle.issue_operator("admin").certificate,
    }
    assert set(ours) == set(ROLES)
    for role, certificate in ours.items():
        hosts = ("localhost", "127.0.0.1") if role == "server" else ()
        assert [] == lint(certificate, role=role, now=SYSTEM_CLOCK.now(), hosts=hosts)
        issuer = root if role in {"root", "intermediate"} else middle
        assert [] == lint_pair(certificate, issuer.certificate)


@pytest.mark.tool
def test_what_tutorials_print_is_found(openssl: object, tmp_path: Path) -> None:
    """A root without constraints, an intermediate whose constraints may be passed over, leaves that say little."""
    printed = printed_authority(tmp_path / "x")
    found = {
        role: rules(lint(path.read_bytes(), role=role, now=SYSTEM_CLOCK.now()))
        for role, path in {
            "root": printed.root,
            "intermediate": printed.intermediate,
            "server": printed.broker,
            "device": printed.device,
        }.items()
    }
    assert "basic-constraints-missing" in found["root"] or "version" in found["root"]
    assert {"basic-constraints-not-critical", "key-usage-not-critical"} <= set(found["intermediate"])
    assert found["device"] == ["basic-constraints-absent", "key-usage-absent"]
    assert found["server"] == ["basic-constraints-absent", "key-usage-absent"]


def test_time_is_a_parameter() -> None:
    """The same certificate is clean today, not begun a year ago, and run out in two years."""
    certificate = Authority.new_root("Root").new_intermediate("CA").issue_device("sensor-001").certificate
    year = dt.timedelta(days=365)
    found = [
        rules(lint(certificate, role="device", now=SYSTEM_CLOCK.now() + moved))
        for moved in (0 * year, -year, 2 * year)
    ]
    assert found == [[], ["validity-not-begun"], ["validity-expired"]]


def test_policy_is_a_parameter() -> None:
    """Who allows less finds more."""
    certificate = Authority.new_root("Root").new_intermediate("CA").issue_device("sensor-001").certificate
    strict = Policy(days={**Policy().days, "device": 90}, curves=frozenset({"secp384r1"}), serial_bits=159)
    assert rules(lint(certificate, role="device", now=SYSTEM_CLOCK.now(), policy=strict)) == [
        "serial-guessable",
        "validity-too-long",
        "key-weak",
    ]


def test_the_role_decides() -> None:
    """A device's certificate is no server's, no intermediate's, and fine for an operator's rules of form."""
    certificate = Authority.new_root("Root").new_intermediate("CA").issue_device("sensor-001").certificate
    assert "purpose-wrong" in rules(lint(certificate, role="server", now=SYSTEM_CLOCK.now()))
    assert {"not-an-authority", "key-usage-wrong"} <= set(
        rules(lint(certificate, role="intermediate", now=SYSTEM_CLOCK.now()))
    )
    assert lint(certificate, role="operator", now=SYSTEM_CLOCK.now()) == []
    with pytest.raises(ValueError, match="a role is one of"):
        lint(certificate, role="toaster", now=SYSTEM_CLOCK.now())


@given(st.binary(max_size=300), st.sampled_from(ROLES))
def test_junk_is_a_finding(data: bytes, role: str) -> None:
    """Bytes that are no certificate are told as such, and nothing is raised."""
    assert rules(lint(data, role=role, now=SYSTEM_CLOCK.now())) == ["not-a-certificate"]


@given(position=st.integers(0, 2000), value=st.integers(0, 255))
def test_a_damaged_certificate_raises_nothing(position: int, value: int) -> None:
    """Whatever byte is changed, lint returns findings or none, and raises nothing."""
    data = bytearray(DER)
    data[position % len(data)] = value
    lint(bytes(data), role="device", now=SYSTEM_CLOCK.now())


DER = (
    Authority.new_root("Root")
    .new_intermediate("CA")
    .issue_device("sensor-001")
    .certificate.public_bytes(Encoding.DER)
)


def test_every_rule_has_its_papers() -> None:
    """Ids are unique, clauses and advice are there, and roles are known."""
    assert len({rule.id for rule in RULES}) == len(RULES) > 25
    for rule in RULES:
        assert rule.clause
        assert rule.advice.endswith((".", "FILE", "…", "--renew"))
        assert rule.roles <= set(ROLES)
        assert rule.severity in {Severity.WARNING, Severity.ERROR}
