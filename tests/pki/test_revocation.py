"""labkit.pki.revocation: lists as RFC 5280 wants them, and their life."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import FormatError, IssuanceRefusedError, RevocationListError
from labkit.pki import (
    Authority,
    Reason,
    Revocation,
    RevocationList,
    Schedule,
    State,
    changes,
    issue_list,
    look_up,
    read_list,
    verify_list,
)
from labkit.pki.revocation import prune
from labkit.processes import run

if TYPE_CHECKING:
    from pathlib import Path

NOW = dt.datetime(2030, 6, 1, 12, 0, 0, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


@pytest.fixture(scope="module")
def authority() -> Authority:
    """Return an intermediate."""
    return Authority.new_root("Root").new_intermediate("Intermediate")


def revocation(
    serial: str = "a1",
    *,
    reason: Reason = Reason.KEY_COMPROMISE,
    at: dt.datetime = NOW,
    not_after: dt.datetime = NOW + DAY,
) -> Revocation:
    """Return a revocation."""
    return Revocation(serial, "sensor-007", at, reason, not_after)


def listed(
    authority: Authority, *revocations: Revocation, number: int = 1, now: dt.datetime = NOW
) -> RevocationList:
    """Return a list."""
    return issue_list(authority, revocations, number=number, now=now)


@given(
    serial=st.integers(1, 2**159 - 1),
    reason=st.sampled_from(Reason),
    seconds=st.integers(0, 10**8),
)
def test_a_list_says_what_it_was_told(
    authority: Authority, serial: int, reason: Reason, seconds: int
) -> None:
    """Serial number, date and reason survive the encoding, and reading PEM or DER gives the same."""
    at = NOW - dt.timedelta(seconds=seconds)
    made = listed(authority, revocation(f"{serial:x}", reason=reason, at=at))
    for data in (made.pem, made.der):
        assert [(serial, at, reason)] == list(read_list(data))


def test_a_list_has_everything_that_is_demanded(authority: Authority) -> None:
    """Number, authority key identifier and both dates are there (RFC 5280 §5.2), none of them critical."""
    made = listed(authority, revocation("a1"), revocation("b2"), number=7)
    found = {extension.oid: extension.critical for extension in made.crl.extensions}
    assert found == {x509.CRLNumber.oid: False, x509.AuthorityKeyIdentifier.oid: False}
    assert (7, NOW, NOW + 7 * DAY, 2) == (made.number, made.this_update, made.next_update, len(made))
    assert 0xA1 in made
    assert 0xA2 not in made
    assert dict(made.rows())["issuer"] == "CN=Intermediate,O=IoT Device Security Labs"


def test_unspecified_is_said_by_silence(authority: Authority) -> None:
    """An entry without a reason carries no reasonCode (RFC 5280 §5.3.1)."""
    made = listed(authority, revocation(reason=Reason.UNSPECIFIED))
    (entry,) = made.crl
    assert list(entry.extensions) == []


@pytest.mark.tool
def test_openssl_reads_it(authority: Authority, openssl: object, tmp_path: Path) -> None:
    """The openssl command reads the same fields, and agrees with the signature."""
    made = listed(
        authority,
        *(revocation(reason=reason, serial=f"{n:x}") for n, reason in enumerate(Reason, 1)),
        number=42,
    )
    (tmp_path / "crl.pem").write_bytes(made.pem)
    issuer = authority.certificate.public_bytes(Encoding.PEM)
    (tmp_path / "ca.pem").write_bytes(issuer)
    said = run(
        ["openssl", "crl", "-in", "crl.pem", "-noout", "-text", "-CAfile", "ca.pem"], cwd=tmp_path
    ).output
    for words in (
        "verify OK",
        "Version 2",
        "X509v3 CRL Number: \n                42",
        "Key Compromise",
        "Certificate Hold",
    ):
        assert words in said
    assert said.count("Serial Number:") == len(Reason)


def test_only_who_may_signs_lists() -> None:
    """An authority without cRLSign signs no list; one with it does."""
    from labkit.pki.keys import Key
    from labkit.pki.template import random_serial, subject_of

    key, name = Key.generate("p256"), subject_of("Half")
    usage = x509.KeyUsage(
        digital_signature=False, key_cert_sign=True, crl_sign=False, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = x509.CertificateBuilder(name, name, key.public, random_serial(), NOW, NOW + DAY)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    half = Authority(builder.add_extension(usage, critical=True).sign(key.private, hashes.SHA256()), key)
    with pytest.raises(IssuanceRefusedError) as caught:
        listed(half)
    assert caught.value.rule == "no-crl-sign"
    assert len(listed(Authority.new_root("Whole"))) == 0


class TestVerify:
    """verify_list."""

    def test_a_good_list_passes(self, authority: Authority) -> None:
        """Its issuer's list passes, from its first second to its last."""
        made = listed(authority)
        for now in (NOW, NOW + 7 * DAY):
            verify_list(made, authority.certificate, now=now)

    @pytest.mark.parametrize(
        ("rule", "moved"),
        [("not-yet-valid", -dt.timedelta(seconds=1)), ("stale", 7 * DAY + dt.timedelta(seconds=1))],
    )
    def test_time_is_checked(self, authority: Authority, rule: str, moved: dt.timedelta) -> None:
        """A second before its time or after it, the list is refused."""
        with pytest.raises(RevocationListError) as caught:
            verify_list(listed(authority), authority.certificate, now=NOW + moved)
        assert rule == caught.value.rule

    def test_the_issuer_is_checked(self, authority: Authority) -> None:
        """Another authority's list is refused, also when that authority has our name."""
        other = Authority.new_root("Root").new_intermediate("Other")
        twin = Authority.new_root("Root").new_intermediate("Intermediate")
        rules = []
        for stranger in (other, twin):
            with pytest.raises(RevocationListError) as caught:
                verify_list(listed(stranger), authority.certificate, now=NOW)
            rules.append(caught.value.rule)
        assert rules == ["issuer", "signature"]


def test_looking_up_believes_nothing_unchecked(authority: Authority) -> None:
    """Good and revoked are said of a list that holds; of any other list, why it says nothing."""
    good, ca = listed(authority, revocation("a1")), authority.certificate
    twin = listed(Authority.new_root("Root").new_intermediate("Intermediate"), revocation("a1"))
    later = NOW + 8 * DAY
    found = [
        look_up(good.pem, issuer=ca, serial=0xA1, now=NOW),
        look_up(good.der, issuer=ca, serial=0xA2, now=NOW),
        look_up(good.pem, issuer=ca, serial=0xA1, now=later),
        look_up(twin.pem, issuer=ca, serial=0xA1, now=NOW),
        look_up(b"junk", issuer=ca, serial=0xA1, now=NOW),
    ]
    assert found == ["revoked", "good", "stale", "signature", "unreadable"]


def test_schedule_knows_the_life_of_a_list(authority: Authority) -> None:
    """A list is fresh, then due, then stale; before its time it is neither."""
    made, schedule = listed(authority), Schedule()
    second = dt.timedelta(seconds=1)
    states = [
        schedule.state(made, NOW + moved)
        for moved in (-second, 0 * second, DAY - second, DAY, 7 * DAY, 7 * DAY + second)
    ]
    assert states == [State.FUTURE, State.FRESH, State.FRESH, State.DUE, State.DUE, State.STALE]


@pytest.mark.parametrize(("renew", "valid"), [(7, 7), (8, 7), (0, 7)])
def test_a_schedule_leaves_time_to_notice(renew: int, valid: int) -> None:
    """A schedule that renews at the last moment, or never, is no schedule."""
    with pytest.raises(ValueError, match="before it runs out"):
        Schedule(valid_for=valid * DAY, renew_after=renew * DAY)


def test_expired_entries_go_after_one_more_list(authority: Authority) -> None:
    """An entry stays until it was on a list that was issued after its certificate ran out (RFC 5280 §3.3)."""
    short, long = revocation("a1"), revocation("b2", not_after=NOW + 30 * DAY)
    everything = [short, long]
    first = listed(authority, *prune(everything, None))
    assert everything == prune(everything, first)  # still valid
    second = listed(authority, *prune(everything, first), number=2, now=NOW + 2 * DAY)
    assert 0xA1 in second  # it ran out a day ago, and this is the one more list
    assert [long] == prune(everything, second)
    late = revocation("c3", at=NOW + 3 * DAY, not_after=NOW + DAY)
    assert [late] == prune([late], second)  # was on no list yet


def test_changes_are_told_in_both_directions(authority: Authority) -> None:
    """What came and what went is told by serial number; before the first list there was nothing."""
    before = listed(authority, revocation("a1"), revocation("b2"))
    after = listed(authority, revocation("b2"), revocation("c3"), number=2)
    found = changes(before, after)
    assert (("c3",), ("a1",)) == (found.added, found.removed)
    assert changes(None, before).added == ("a1", "b2")


@given(st.binary(max_size=400))
def test_junk_is_a_format_error(data: bytes) -> None:
    """Bytes that are no list raise FormatError and nothing else."""
    with pytest.raises(FormatError) as caught:
        read_list(data)
    assert caught.value.what == "revocation list"


@given(position=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_a_damaged_list_is_never_believed(authority: Authority, position: int, flip: int) -> None:
    """Whatever byte is changed, the list no longer parses, or no longer verifies, or is unchanged in what it says."""
    made = listed(authority, revocation())
    data = bytearray(made.der)
    data[position % len(data)] ^= flip
    try:
        found = read_list(bytes(data))
        verify_list(found, authority.certificate, now=NOW)
    except (FormatError, RevocationListError):
        return
    assert list(made) == list(found)


def test_a_list_without_end_or_number_is_refused(authority: Authority) -> None:
    """A list that does not say when the next one comes, or its number, is no list that we can use."""
    builder = x509.CertificateRevocationListBuilder(authority.certificate.subject, NOW, NOW + DAY)
    nameless = builder.sign(authority.key.private, hashes.SHA256())
    with pytest.raises(FormatError):
        RevocationList(nameless)


def test_revocation_json_is_strict() -> None:
    """A revocation survives JSON; dates without a zone, unknown reasons and serials that are no numbers are refused."""
    good = revocation().to_json()
    assert revocation() == Revocation.from_json(good)
    for name, value in (("at", "2030-01-01T00:00:00"), ("reason", "boredom"), ("serial", "xyz")):
        with pytest.raises(ValueError, match=r".+"):
            Revocation.from_json({**good, name: value})
    with pytest.raises(KeyError):
        Revocation.from_json({})
