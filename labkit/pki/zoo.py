"""The zoo: certificates with one thing wrong each, who notices, and why some judges do not.

What is written here about each judge is held against the real one by the tests: `openssl verify -x509_strict`,
Mosquitto, and our own linter.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from labkit.pki import flawed, flawed_bytes
from labkit.pki.lint import lint, lint_key, lint_pair, lint_revocation
from labkit.pki.revocation import Reason, Revocation, RevocationList, issue_list

if TYPE_CHECKING:
    from collections.abc import Callable

    from labkit.clock import Clock
    from labkit.outcome import Finding
    from labkit.pki.authority import Authority, Issued

VICTIM = "sensor-001"
"""Whom the specimens pretend to be."""

ACCEPTED = "accepted"
BROKER_DIED = "the broker died"

HOSTS = ("localhost",)
"""What clients call the servers among them."""


@dataclass(frozen=True, slots=True)
class Keeper:
    """What specimens are made with.

    Attributes:
        root: The root; its key is needed for one of them.
        intermediate: The authority that the broker trusts.
        clock: What time it is.
    """

    root: Authority
    intermediate: Authority
    clock: Clock


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A specimen that was made.

    Attributes:
        certificate: The certificate in PEM, or what is left of it.
        key: The private key in PEM.
        chain: The authorities to present with it in PEM, without those that the broker knows.
        listed: The revocation list that belongs to the situation.
    """

    certificate: bytes
    key: bytes
    chain: bytes = b""
    listed: RevocationList | None = None

    def __repr__(self) -> str:
        return f"<Exhibit, {len(self.certificate)} bytes>"


@dataclass(frozen=True, slots=True)
class Specimen:
    """One kind of flaw.

    Attributes:
        name: Its name: the defect.
        defect: What is wrong, in a sentence.
        role: What it pretends to be.
        make: Makes one.
        rule: The linter's rule that finds it; empty where no linter can.
        openssl: The number of the error of `openssl verify -x509_strict`; 0 where it accepts, -1 where it can't read it.
        peer: The reason of whoever it is shown to: the broker, or a client where it pretends to be a server.
            `accepted`, or `local: …` where our own TLS library won't even load it.
        note: Why a judge does not mind, where one does not.
        alone: Whether it is shown to a broker of its own, which may not survive it.
    """

    name: str
    defect: str
    role: str
    make: Callable[[Keeper], Exhibit]
    rule: str
    openssl: int
    peer: str
    note: str = ""
    alone: bool = False


def findings(specimen: Specimen, exhibit: Exhibit, keeper: Keeper) -> list[Finding]:
    """Return everything that our linter says of an exhibit: alone, with its issuer, its key and its list."""
    now = keeper.clock.now()
    hosts = HOSTS if specimen.role == "server" else ()
    found = lint(exhibit.certificate, role=specimen.role, now=now, hosts=hosts)
    if any(each.rule == "not-a-certificate" for each in found):
        return found
    leaf = x509.load_pem_x509_certificate(exhibit.certificate)
    above = x509.load_pem_x509_certificates(exhibit.chain) if exhibit.chain else []
    known = [keeper.intermediate.certificate, *above, keeper.root.certificate]
    chain = [leaf, *above]
    for number, certificate in enumerate(chain):
        issuer = next(
            (each for each in known if each.subject == certificate.issuer and each != certificate), None
        )
        if issuer is not None:
            found += lint_pair(certificate, issuer, authorities_between=max(0, number - 1))
    found += lint_key(leaf, _public(exhibit.key, leaf))
    return found + (lint_revocation(leaf, exhibit.listed, now=now) if exhibit.listed is not None else [])


def _public(pem: bytes, leaf: x509.Certificate) -> object:

    try:
        return load_pem_private_key(pem, None).public_key()
    except ValueError:
        return leaf.public_key()  # a key that libraries refuse to load; the rule about weak keys speaks of it


def _exhibit(issued: Issued, *, known: int = 0, listed: RevocationList | None = None) -> Exhibit:
    chain = issued.chain[: len(issued.chain) - known]
    above = b"".join(each.public_bytes(Encoding.PEM) for each in chain)
    return Exhibit(issued.certificate_pem, issued.key_pem, above, listed)


def _of(maker: Callable[..., Issued], *, name: str = VICTIM) -> Callable[[Keeper], Exhibit]:
    # The broker knows the intermediate, so it is not presented.
    return lambda keeper: _exhibit(maker(keeper.intermediate, name, clock=keeper.clock), known=1)


def _rogue(keeper: Keeper) -> Exhibit:
    return _exhibit(flawed.rogue(keeper.intermediate, VICTIM, clock=keeper.clock))


def _self_signed(keeper: Keeper) -> Exhibit:
    return _exhibit(flawed.self_signed(VICTIM, clock=keeper.clock))


def _sibling(keeper: Keeper) -> Exhibit:
    return _exhibit(flawed.sibling_intermediate(keeper.root, clock=keeper.clock))


def _lenient(keeper: Keeper) -> Exhibit:
    return _exhibit(flawed.authority_not_critical(keeper.root, "Lenient CA", clock=keeper.clock))


def _good(keeper: Keeper, start: dt.timedelta = dt.timedelta(0)) -> Issued:
    return flawed.craft(keeper.intermediate, VICTIM, start=keeper.clock.now() + start)


def _spoiled(spoil: Callable[[x509.Certificate], bytes]) -> Callable[[Keeper], Exhibit]:
    def make(keeper: Keeper) -> Exhibit:
        good = _good(keeper)
        return Exhibit(spoil(good.certificate), good.key_pem)

    return make


def _rsa_512(keeper: Keeper) -> Exhibit:
    info, key = flawed_bytes.rsa_512()
    changed = flawed_bytes.resign(
        _good(keeper).certificate, keeper.intermediate.key, replace={flawed_bytes.KEY: info}
    )
    return Exhibit(changed.public_bytes(Encoding.PEM), key)


def _revoked(keeper: Keeper) -> Exhibit:
    return _on_list(keeper, keeper.clock.now())


def _stale(keeper: Keeper) -> Exhibit:
    good, then = _good(keeper), keeper.clock.now() - dt.timedelta(days=30)
    listed = issue_list(keeper.intermediate, [], number=1, now=then)
    return replace(_exhibit(good, known=1), listed=listed)


def _on_list(keeper: Keeper, now: dt.datetime) -> Exhibit:
    good = _good(keeper)
    serial, end = f"{good.certificate.serial_number:x}", good.certificate.not_valid_after_utc
    entry = Revocation(serial, VICTIM, now, Reason.KEY_COMPROMISE, end)
    listed = issue_list(keeper.intermediate, [entry], number=1, now=now)
    return _exhibit(good, known=1, listed=listed)


_EKU = "RFC 5280 §4.2.1.12 lets a certificate without purposes pass for any"
_NAME = "TLS checks no names of clients; the one who issues must"
_POLICY = "it is allowed; our policy is stricter"

ZOO: tuple[Specimen, ...] = (
    Specimen("expired", "It ran out yesterday.", "device", _of(flawed.expired), "validity-expired", 10, "certificate-expired"),
    Specimen("not_yet_valid", "It begins tomorrow.", "device", _of(flawed.not_yet_valid), "validity-not-begun", 9, "certificate-not-yet-valid"),
    Specimen("self_signed", "It vouches for itself.", "device", _self_signed, "self-signed", 18, "unknown-ca"),
    Specimen("rogue", "An authority with our names and another key signed it.", "device", _rogue, "issuer-signature", 20, "unknown-ca"),
    Specimen("wrong_purpose", "It is for servers.", "device", _of(flawed.wrong_purpose), "purpose-wrong", 26, "wrong-purpose"),
    Specimen("no_purpose", "It names no purpose.", "device", _of(flawed.no_purpose), "purpose-missing", 0, ACCEPTED, _EKU),
    Specimen("any_purpose", "It is for clients and servers.", "device", _of(flawed.any_purpose), "purpose-wrong", 0, ACCEPTED, _POLICY),
    Specimen("leaf_as_authority", "A device signed it.", "device", _of(flawed.leaf_as_authority), "issuer-not-authority", 79, "unknown-ca"),
    Specimen("authority_on_a_leaf", "It is a device's and may sign others.", "device", _of(flawed.authority_on_a_leaf), "leaf-is-authority", 26, "wrong-purpose", "refused because its key may not sign handshakes, not because it is an authority"),
    Specimen("path_length_exceeded", "One authority too many stands above it.", "device", _of(flawed.path_length_exceeded), "path-length-exceeded", 25, "unknown-ca"),
    Specimen("weak_key", "Its RSA key has 1,024 bits.", "device", _of(flawed.weak_key), "key-weak", 0, "bad-certificate"),
    Specimen("rsa_512", "Its RSA key has 512 bits.", "device", _rsa_512, "key-weak", 0, "no-certificate", "the key is too short to sign a TLS 1.3 handshake with, so none is shown"),
    Specimen("sha1_signature", "It was signed over SHA-1.", "device", _of(flawed.sha1_signature), "signature-weak", 0, "bad-certificate"),
    Specimen("two_common_names", "It has two common names.", "device", _of(flawed.two_common_names), "common-name-count", 0, ACCEPTED, _NAME),
    Specimen("empty_common_name", "Its common name is empty.", "device", _of(flawed.empty_common_name), "common-name-length", 0, BROKER_DIED, "Mosquitto 2.0.11 with use_username_as_clientid ends itself: an empty client id is its own business, it thinks", alone=True),
    Specimen("over_long_name", "Its common name has 200 characters.", "device", _of(flawed.over_long_name), "common-name-length", 0, ACCEPTED, _NAME),
    Specimen("slash_in_name", "Its name is a path into another device's commands.", "device", _of(flawed.slash_in_name), "name-grammar", 0, ACCEPTED, _NAME),
    Specimen("wildcard_name", "Its name stands for every name.", "device", _of(flawed.wildcard_name), "name-grammar", 0, ACCEPTED, _NAME),
    Specimen("reserved_name", "A device has an operator's name.", "device", _of(flawed.reserved_name, name="admin"), "name-reserved", 0, ACCEPTED, _NAME),
    Specimen("mismatched_key", "The key beside it is another's.", "device", _of(flawed.mismatched_key), "key-mismatch", 0, "local: key-mismatch", "openssl verify sees no key"),
    Specimen("sibling_intermediate", "The office's authority, under our root, signed an admin.", "operator", _sibling, "", 0, ACCEPTED, "every signature holds: who trusts the root trusts all below it"),
    Specimen("revoked", "It is on its issuer's list.", "device", _revoked, "revoked", 23, "certificate-revoked"),
    Specimen("stale_list", "It is good, and the list ended weeks ago.", "device", _stale, "list-stale", 12, "revocation-list-stale"),
    Specimen("truncated", "Its end is missing.", "device", _spoiled(flawed_bytes.truncated), "not-a-certificate", -1, "local: unreadable"),
    Specimen("trailing_data", "Bytes follow its end.", "device", _spoiled(flawed_bytes.trailing_data), "not-a-certificate", 0, "local: unreadable", "openssl verify stops reading at the end of the certificate"),
    Specimen("long_validity", "It is valid for four years.", "device", _of(flawed.long_validity), "validity-too-long", 0, ACCEPTED, _POLICY),
    Specimen("short_serial", "Its serial number can be guessed.", "device", _of(flawed.short_serial), "serial-guessable", 0, ACCEPTED, _POLICY),
    Specimen("no_basic_constraints", "It does not say that it is no authority.", "device", _of(flawed.no_basic_constraints), "basic-constraints-absent", 0, ACCEPTED, "RFC 5280 §4.2.1.9 reads silence as: no authority"),
    Specimen("authority_not_critical", "Its basicConstraints are not critical.", "intermediate", _lenient, "basic-constraints-not-critical", 89, "unsupported-certificate", "refused as a client's certificate, which it is not; chains through it are accepted"),
    Specimen("no_san", "Its host stands in the common name only.", "server", _of(flawed.no_san, name="localhost"), "san-missing", 0, "server-wrong-name", "openssl verify was asked about no name"),
    Specimen("wrong_san", "It is for another host.", "server", _of(flawed.wrong_san, name="localhost"), "san-mismatch", 0, "server-wrong-name", "openssl verify was asked about no name"),
)  # fmt: skip
"""All of them, the commonest first."""


def make_zoo(keeper: Keeper) -> dict[str, Exhibit]:
    """Return one of each, by name."""
    return {specimen.name: specimen.make(keeper) for specimen in ZOO}
