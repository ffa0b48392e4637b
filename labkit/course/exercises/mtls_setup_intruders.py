"""Clients that must not get in: the student's own intruder, and the judge's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from labkit.clock import SYSTEM_CLOCK
from labkit.course.exercises import mtls_setup_files as files
from labkit.course.lesson import RejectedError
from labkit.mqtt import Identity
from labkit.outcome import Severity
from labkit.pki import DEVICE, INTERMEDIATE, ROOT, Key, flawed
from labkit.pki.lint import lint, lint_pair
from labkit.pki.template import Template, device_names, random_serial

if TYPE_CHECKING:
    from labkit.course.exercises.mtls_setup_stage import Stage
    from labkit.course.work import Work
    from labkit.outcome import Outcome

# Where names match and keys don't, OpenSSL either finds no issuer (by key identifiers) or a signature that is wrong.
UNKNOWN = {"unknown-ca", "decrypt-error"}
"""Reasons to refuse a certificate of an authority that nobody knows."""

_DATES = {"validity-inverted", "validity-expired", "validity-not-begun"}


def hold_refusals(who: str, outcome: Outcome, reasons: set[str], fault: str) -> None:
    """Hold an outcome against the refusal that was to be.

    Raises:
        RejectedError: It got in (`fault` is what is given), or was refused elsewhere or for another reason.
    """
    if outcome.accepted:
        raise RejectedError(
            fault,
            f"{who} got in",
            expected=f"a refusal during TLS: {' or '.join(sorted(reasons))}",
            advice="what does the broker ask of a client before it speaks MQTT, and whom does it believe?",
        )
    if outcome.stage != "tls" or outcome.reason not in reasons:
        raise RejectedError(
            "refused-for-another-reason",
            f"{who}: {outcome}",
            expected=f"a refusal during TLS: {' or '.join(sorted(reasons))}",
            advice="a refusal for another reason proves nothing; which layer said no here?",
        )


def hold_stranger(work: Work) -> None:
    """Hold the student's intruder against what it should be: right in everything but its authority.

    Raises:
        RejectedError: Something else is wrong with it, or it is none.
    """
    ours, name = files.authorities_as_they_are(work), work.variant.devices[0]
    stranger, authority = (
        files.pair(work, "stranger").certificate,
        files.certificates(work, "stranger-ca.crt")[0],
    )
    advice = "one thing wrong, and everything else right: only then does a refusal have one reason"
    keys = {files.public_bytes(ours.root), files.public_bytes(ours.intermediate)}
    if files.public_bytes(authority) in keys or _signed_by(ours, stranger) or _signed_by(ours, authority):
        raise RejectedError(
            "stranger-is-ours",
            "the intruder's certificate is of your own authority",
            expected="another authority, with a key of its own",
            advice=advice,
        )
    found = [
        each
        for each in lint(stranger, role="device", now=SYSTEM_CLOCK.now())
        if each.severity is Severity.ERROR
    ]
    if found:
        raise RejectedError(
            "stranger-has-another-fault",
            f"stranger.crt: {found[0].message}",
            expected="a device's certificate that only its authority speaks against",
            advice=advice,
        )
    names = files.common_names(stranger)
    if names != [name]:
        raise RejectedError(
            "stranger-pretends-nothing",
            f"stranger.crt says that it is {', '.join(names)}",
            expected=f"an intruder that pretends to be {name}",
            advice=advice,
        )
    theirs = {"its own authority": authority, "your root": ours.root, "your intermediate": ours.intermediate}
    theirs |= {who: files.certificates(work, f"{who}.crt")[0] for who in (*files.names(work), "server")}
    for who, other in theirs.items():
        if files.public_bytes(stranger) == files.public_bytes(other):
            raise RejectedError(
                "key-shared", f"the intruder has the key of {who}", expected="a key of its own", advice=advice
            )
    if between := [each for each in lint_pair(stranger, authority) if each.rule != "outlives-issuer"]:
        raise RejectedError(
            "stranger-without-authority",
            f"stranger.crt and stranger-ca.crt: {between[0].message}",
            expected="stranger-ca.crt signed stranger.crt",
            advice=advice,
        )
    if old := [each for each in lint(authority, role="root", now=SYSTEM_CLOCK.now()) if each.rule in _DATES]:
        raise RejectedError(
            "stranger-has-another-fault",
            f"stranger-ca.crt: {old[0].message}",
            expected="an authority that nobody knows, and that is in force",
            advice=advice,
        )


def _signed_by(ours: files.Authorities, certificate: x509.Certificate) -> bool:
    """Return whether one of the student's own authorities made a signature, whatever else is wrong with it."""
    wrong = {"issuer-name", "issuer-signature"}
    return any(
        not wrong & {each.rule for each in lint_pair(certificate, above)}
        for above in (ours.root, ours.intermediate)
    )


def all_refused(work: Work, stage: Stage) -> None:
    """Come with the judge's intruders, and with the broker's own certificate.

    Raises:
        RejectedError: One got in, or was refused for another reason than its own.
    """
    name = work.variant.devices[0]
    for label, identity in _judges(work, name).items():
        outcome = stage.attempt(identity, client_id=name)
        hold_refusals(label, outcome, UNKNOWN, "other-authority-accepted")
    outcome = stage.attempt("server", client_id=name)
    hold_refusals(
        "the broker's own certificate, as a client",
        outcome,
        {"unsupported-certificate"},
        "any-purpose-accepted",
    )


def _judges(work: Work, name: str) -> dict[str, Identity]:
    ours = files.authorities_as_they_are(work)
    keys = [Key.generate() for _ in range(3)]
    now = SYSTEM_CLOCK.now()

    def made(subject: x509.Name, issuer: x509.Name, key: Key, signer: Key, kind: object) -> x509.Certificate:
        profile = {"root": ROOT, "intermediate": INTERMEDIATE}.get(str(kind), DEVICE)
        san = device_names(name) if profile is DEVICE else None
        template = Template(profile, issuer=issuer, signer=signer, now=now, limit=None)
        return template.sign(subject, key.public, random_serial(), san)

    root = made(ours.root.subject, ours.root.subject, keys[0], keys[0], "root")
    middle = made(ours.intermediate.subject, root.subject, keys[1], keys[0], "intermediate")
    device = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    leaf = made(device, middle.subject, keys[2], keys[1], "device")
    alone = flawed.self_signed(name)
    return {
        "a client of an authority with your authority's name": _kept(work, "twin", [leaf], keys[2]),
        "the same, with the chain that it brings along": _kept(work, "chain", [leaf, middle, root], keys[2]),
        "a client that vouches for itself": _kept(work, "self", [alone.certificate], alone.key),
    }


def _kept(work: Work, label: str, chain: list[x509.Certificate], key: Key | None) -> Identity:
    assert key is not None  # noqa: S101 - just made
    text = b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain)
    write = work.scratch.write
    return Identity(write(f"judge/{label}.crt", text), write(f"judge/{label}.key", key.pem(), secret=True))
