"""Read a certificate like a reviewer: everything that is wrong with it, each finding with its rule.

A certificate that works is not yet right: verifiers differ in what they forgive. `lint` returns everything that it
finds; it refuses nothing and trusts nothing.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from labkit.outcome import Finding, Severity
from labkit.pki.lint_rules import ROLES, RULES, Case, Policy, Rule

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from labkit.pki.revocation import RevocationList

__all__ = ["ROLES", "RULES", "Policy", "Rule", "lint", "lint_key", "lint_pair", "lint_revocation", "load"]


def lint(
    certificate: x509.Certificate | bytes,
    *,
    role: str,
    now: dt.datetime,
    policy: Policy | None = None,
    hosts: Sequence[str] = (),
) -> list[Finding]:
    """Return everything that is wrong with a certificate, in the order of `RULES`.

    Args:
        certificate: The certificate, or its bytes in PEM or DER.
        role: What it is for; one of `ROLES`.
        now: The time to judge at.
        policy: What is allowed where the RFCs leave the choice.
        hosts: For a server, the names and addresses that its clients use.

    Raises:
        ValueError: There is no such role.

    Does not check: signatures, and whether anybody trusts it; `lint_pair` and `verify_chain` do.
    """
    if role not in ROLES:
        text = f"a role is one of {', '.join(ROLES)}, not {role!r}"
        raise ValueError(text)
    with warnings.catch_warnings():
        # The library warns of what it will refuse one day; the rules say it better.
        warnings.simplefilter("ignore", UserWarning)
        return _lint(certificate, role, now, policy or Policy(), tuple(hosts))


def _lint(
    certificate: x509.Certificate | bytes, role: str, now: dt.datetime, policy: Policy, hosts: tuple[str, ...]
) -> list[Finding]:
    if isinstance(certificate, bytes):
        loaded, why = _load(certificate)
        if loaded is None:
            return [_finding("not-a-certificate", "bytes", f"It can't be read: {why}.", "Ask for it again.")]
        certificate = loaded
    case = Case(certificate, role, now, policy, hosts)
    subject = _called(certificate)
    found = [(rule, _looked(rule, case)) for rule in RULES if role in rule.roles]
    return [
        Finding(rule.id, rule.severity, subject, message, rule.advice) for rule, message in found if message
    ]


def load(data: bytes) -> x509.Certificate | None:
    """Return the certificate in some bytes, PEM or DER, or None if that can't be read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return _load(data)[0]


def lint_pair(
    certificate: x509.Certificate, issuer: x509.Certificate, *, authorities_between: int = 0
) -> list[Finding]:
    """Return what is wrong between a certificate and the one that is said to have issued it.

    Args:
        certificate: The lower one.
        issuer: The upper one.
        authorities_between: How many CA certificates stand between them in the chain, self-issued ones aside.

    Returns:
        Findings `issuer-name`, `issuer-signature` (the right name with another key), `issuer-not-authority`,
        `path-length-exceeded` (RFC 5280 §4.2.1.9, §6.1.4) and `outlives-issuer`.

    Does not check: dates against the clock.
    """
    subject, found = _called(certificate), []
    constraints = _constraints(issuer)
    below = authorities_between + (1 if (own := _constraints(certificate)) and own.ca else 0)
    if certificate.issuer != issuer.subject:
        found.append(("issuer-name", f"It names {certificate.issuer.rfc4514_string()} as its issuer."))
    elif not _signed(certificate, issuer):
        found.append(("issuer-signature", "The issuer's name is right, and another key made the signature."))
    if constraints is None or not constraints.ca:
        found.append(("issuer-not-authority", "Its issuer may not sign certificates."))
    elif constraints.path_length is not None and below > constraints.path_length:
        found.append(
            ("path-length-exceeded", f"{below} authorities stand where {constraints.path_length} may.")
        )
    if certificate.not_valid_after_utc > issuer.not_valid_after_utc:
        found.append(("outlives-issuer", "It is said to be valid longer than its issuer."))
    return [
        _finding(rule, subject, message, "Issue it again, from the right authority.")
        for rule, message in found
    ]


def lint_key(certificate: x509.Certificate, public: Any) -> list[Finding]:
    """Return a finding `key-mismatch` where a certificate is not of a key."""
    if certificate.public_key() == public:
        return []
    advice = "Find the key that belongs to it, or issue both again."
    return [
        _finding(
            "key-mismatch",
            _called(certificate),
            "It is the certificate of another key.",
            advice,
        )
    ]


def lint_revocation(
    certificate: x509.Certificate, listed: RevocationList, *, now: dt.datetime
) -> list[Finding]:
    """Return findings `revoked` and `list-stale` for a certificate and its issuer's list (RFC 5280 §6.3).

    Does not check: that the list is its issuer's; `verify_list` does.
    """
    subject = _called(certificate)
    if now > listed.next_update:
        why = f"The list ended at {listed.next_update:%Y-%m-%d %H:%M} UTC."
        return [_finding("list-stale", subject, why, "Make a new list: labkit ca crl")]
    if certificate.serial_number in listed:
        return [
            _finding(
                "revoked", subject, "It is on its issuer's list.", "Issue a new one, if it may have one."
            )
        ]
    return []


def _called(certificate: x509.Certificate, *, issuer: bool = False) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of lengths; a rule says it better
        name = certificate.issuer if issuer else certificate.subject
        return name.rfc4514_string() or f"serial {certificate.serial_number:x}"


def _finding(rule: str, subject: str, message: str, advice: str) -> Finding:
    return Finding(rule, Severity.ERROR, subject, message, advice)


def _looked(rule: Rule, case: Case) -> str:
    try:
        return rule.look(case)
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension):
        return ""  # the rule `unreadable` says it, once


def _load(data: bytes) -> tuple[x509.Certificate | None, str]:
    try:
        pem = data.lstrip().startswith(b"-----")
        found = x509.load_pem_x509_certificate(data) if pem else x509.load_der_x509_certificate(data)
        # The library reads names and dates when they are first looked at.
        _called(found), _called(found, issuer=True), found.not_valid_before_utc, found.not_valid_after_utc
        return found, ""
    except (ValueError, x509.InvalidVersion) as error:
        return None, str(error).splitlines()[0]


def _constraints(certificate: x509.Certificate) -> x509.BasicConstraints | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return None


def _signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        digest = certificate.signature_hash_algorithm
        if digest is not None and digest.name in {"md5", "sha1"}:
            return True  # the library does not look at such signatures, and another rule speaks of them
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
