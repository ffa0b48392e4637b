"""Does this chain lead to our trust anchor? `verify_chain` raises where it does not."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from labkit.errors import ChainInvalidError

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

_PURPOSES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}


def verify_chain(
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    *,
    purpose: str,
    now: dt.datetime,
    name: str | None = None,
) -> None:
    """Verify a chain (RFC 5280 §6) for one purpose; raise if it does not hold.

    Path building and signatures are `cryptography`'s verifier; dates and purpose of the leaf are looked at first,
    so that the commonest faults get a rule of their own.

    Args:
        leaf: The certificate in question.
        intermediates: Authorities that may help to build a path; they are not trusted.
        roots: The trust anchors.
        purpose: `server` or `client`.
        now: The time to judge at.
        name: The host name or address that a server must be certified for; for `server`, and only there.

    Raises:
        ChainInvalidError: `rule` is `expired`, `not-yet-valid`, `purpose`, `name` (the chain holds, for another
            name) or `path`.
        ValueError: A server without a name, a client with one, or an unknown purpose.

    Does not check: revocation.
    """
    if purpose not in _PURPOSES or (purpose == "server") == (name is None):
        text = "the purpose is 'client' without a name, or 'server' with one"
        raise ValueError(text)
    subject = leaf.subject.rfc4514_string()
    if now > leaf.not_valid_after_utc:
        raise _invalid("expired", subject, f"it ran out at {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    if now < leaf.not_valid_before_utc:
        raise _invalid(
            "not-yet-valid", subject, f"it begins at {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        )
    if _PURPOSES[purpose] not in _purposes(leaf):
        raise _invalid("purpose", subject, f"it is not for use as a {purpose}")
    builder = PolicyBuilder().store(Store(list(roots))).time(now)
    try:
        if name is None:
            builder.build_client_verifier().verify(leaf, list(intermediates))
        else:
            builder.build_server_verifier(_general_name(name)).verify(leaf, list(intermediates))
    except VerificationError as error:
        if name is not None and _only_the_name(leaf, intermediates, builder):
            raise _invalid("name", subject, f"it is not for {name}") from error
        raise _invalid("path", subject, str(error)) from error


def _only_the_name(
    leaf: x509.Certificate, intermediates: Sequence[x509.Certificate], builder: PolicyBuilder
) -> bool:
    # The verifier has one kind of error. If the chain holds under a name of the leaf's own, the name was the fault.
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        own = next(n for n in names if isinstance(n, x509.DNSName | x509.IPAddress))
        builder.build_server_verifier(own).verify(leaf, list(intermediates))
    except (x509.ExtensionNotFound, StopIteration, VerificationError):
        return False
    return True


def _general_name(name: str) -> x509.DNSName | x509.IPAddress:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _purposes(leaf: x509.Certificate) -> Sequence[x509.ObjectIdentifier]:
    try:
        return list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        # No EKU means any purpose to OpenSSL, and that is a hole: we want it said.
        return []


def _invalid(rule: str, subject: str, why: str) -> ChainInvalidError:
    return ChainInvalidError(
        f"The chain of {subject} does not hold: {why}.",
        advice="Look at the certificate: labkit ca show NAME",
        rule=rule,
        subject=subject,
    )
