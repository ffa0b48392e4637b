"""What a student of mtls-setup hands in as files, read by content: it does not matter which program made them."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from labkit.clock import SYSTEM_CLOCK
from labkit.course.lesson import RejectedError
from labkit.outcome import Severity
from labkit.pki import openssl
from labkit.pki.lint import lint, lint_pair, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from labkit.course.work import Work
    from labkit.outcome import Finding
    from labkit.pki.keys import PrivateKey

FOLDER = "answers/mtls-setup"
"""Where the student's files lie."""

HOSTS = ("localhost", "127.0.0.1")
"""What the broker's certificate must be good for, beside the variant's own name."""

_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
_KEY = re.compile(rb"-----BEGIN ([A-Z ]{0,20})PRIVATE KEY-----")
_OTHER_LABEL = re.compile(rb"-----BEGIN ((?:X509|TRUSTED) CERTIFICATE)-----")  # OpenSSL believes these too
_STRICT = {"path-length-missing", "validity-too-long"}
"""Warnings of the linter that this exercise asks to be mended; the others are forgiven, for verifiers forgive them."""


class Pair(NamedTuple):
    """A certificate and its key."""

    certificate: x509.Certificate
    key: PrivateKey


@dataclass(frozen=True, slots=True)
class Authorities:
    """The student's two authorities."""

    root: x509.Certificate
    intermediate: x509.Certificate

    @property
    def fingerprints(self) -> dict[bytes, str]:
        """Who they are, by the hash of their certificates."""
        return {mark(self.root): "root", mark(self.intermediate): "intermediate"}


def mark(certificate: x509.Certificate) -> bytes:
    """Return what tells one certificate from another."""
    return certificate.fingerprint(hashes.SHA256())


def public_bytes(certificate: x509.Certificate) -> bytes:
    """Return what tells one key from another."""
    try:
        return certificate.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RejectedError(
            "key-weak",
            "a certificate holds a key that can't be read",
            advice="P-256, P-384, or RSA with 2048 bits or more: every broker knows those",
        ) from error


def content(work: Work, name: str) -> bytes:
    """Return a file of the answer.

    Raises:
        RejectedError: There is none (`fault` is `file-missing`).
        AnswerUnreadableError: See `Work.data`.
    """
    data = work.data(f"{FOLDER}/{name}")
    if data is None:
        raise RejectedError(
            "file-missing",
            f"there is no {name}",
            expected=f"a file {FOLDER}/{name}",
            advice="compare the names in that folder with the list in the notebook",
        )
    return data


def certificates(work: Work, name: str) -> list[x509.Certificate]:
    """Return the certificates in a PEM file, in their order; text between them is passed over."""
    return parsed(content(work, name), name)


def handed_out(work: Work, name: str) -> list[x509.Certificate]:
    """Return the certificates in a file that others are given, which holds no key.

    Raises:
        RejectedError: It does (`fault` is `key-in-public-file`), or see `parsed`.
    """
    if _KEY.search(content(work, name)):
        raise RejectedError(
            "key-in-public-file",
            f"{name} holds a private key beside the certificate",
            expected="certificates alone: everybody may have them, and nobody the key",
            advice="a key is in a file of its own, *.key; this one has been seen, so make another",
        )
    return certificates(work, name)


def parsed(data: bytes, name: str) -> list[x509.Certificate]:
    """Return the certificates in some PEM text.

    Raises:
        RejectedError: There is none, or one that can't be read (`fault` is `not-a-certificate`).
    """
    if other := _OTHER_LABEL.search(data):
        raise RejectedError(
            "not-a-certificate",
            f"{name} has a block that is called {other[1].decode()}",
            expected="BEGIN CERTIFICATE … END CERTIFICATE: programs differ in what they make of others",
            advice="openssl x509 writes the usual kind, without -trustout",
        )
    found = [load(block) for block in _blocks(data)]
    if not found or None in found:
        raise RejectedError(
            "not-a-certificate",
            f"{name} holds no certificate in PEM, or one that can't be read",
            expected="BEGIN CERTIFICATE … END CERTIFICATE, once or several times",
            advice=f"look at it: openssl x509 -in {name} -noout -text",
        )
    return [each for each in found if each]


def _blocks(data: bytes) -> Iterator[bytes]:
    # By hand, because a pattern would look for the end of each of a thousand beginnings.
    begin = data.find(_BEGIN)
    while begin >= 0 and (end := data.find(_END, begin)) >= 0:
        yield data[begin : end + len(_END)]
        begin = data.find(_BEGIN, end)


def _key_block(data: bytes) -> bytes:
    begin = _KEY.search(data)
    if begin is None:
        return b""
    mark = b"-----END %sPRIVATE KEY-----" % begin[1]
    end = data.find(mark, begin.end())
    return data[begin.start() : end + len(mark)] if end >= 0 else b""


def key(work: Work, name: str) -> PrivateKey:
    """Return the private key in a PEM file: PKCS #8, PKCS #1 or SEC 1, not encrypted."""
    data = content(work, name)
    block = _key_block(data)
    if len(_KEY.findall(data)) > 1:
        raise RejectedError(
            "several-keys",
            f"{name} holds more than one private key",
            expected="one key, which belongs to the certificate of the same name",
            advice="whose is the other one, and who can read it there?",
        )
    if b"ENCRYPTED" in block:
        raise RejectedError(
            "key-encrypted",
            f"{name} is encrypted",
            expected="a key that a broker or device can use without asking anybody",
            advice="a passphrase is for the authorities' keys; leave it away here",
        )
    try:
        found = serialization.load_pem_private_key(block, None) if block else None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        found = None
    if not isinstance(found, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise RejectedError(
            "not-a-key",
            f"{name} holds no EC or RSA key in PEM",
            expected="the private key that belongs to the certificate of the same name",
            advice=f"look at it: openssl pkey -in {name} -noout -text_pub",
        )
    return found


def pair(work: Work, name: str) -> Pair:
    """Return the certificate that stands first in `name.crt`, and the key in `name.key`, which belong together."""
    leaf, private = handed_out(work, f"{name}.crt")[0], key(work, f"{name}.key")
    theirs = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    if public_bytes(leaf) != theirs:
        raise RejectedError(
            "key-mismatch",
            f"{name}.key is not the key of the first certificate in {name}.crt",
            expected="two halves of one pair; the device's own certificate stands first in its file",
            advice="which request was the certificate made from, and with which key?",
        )
    return Pair(leaf, private)


def authorities(work: Work) -> Authorities:
    """Return root and intermediate, as they should be.

    Raises:
        RejectedError: One is missing, or is not what such an authority should be.
    """
    roots = handed_out(work, "root.crt")
    handed_out(work, "intermediate.crt")
    if len(roots) != 1:
        raise RejectedError(
            "root-not-alone",
            f"root.crt holds {len(roots)} certificates",
            expected="the root alone: it is what clients are told to believe",
            advice="a bundle for the broker is another file, of a name that you choose",
        )
    found = authorities_as_they_are(work)
    if found.root.subject != found.root.issuer:
        raise RejectedError(
            "root-not-self-signed",
            "root.crt names somebody else as its issuer",
            expected="a root vouches for itself",
            advice="have you swapped two files, or signed the root with another key?",
        )
    _clean("root.crt", _linted(found.root, "root"))
    _clean("root.crt", lint_pair(found.root, found.root))
    _clean("intermediate.crt", _linted(found.intermediate, "intermediate"))
    _clean("intermediate.crt", lint_pair(found.intermediate, found.root))
    if found.intermediate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length:
        raise RejectedError(
            "path-length-too-long",
            "intermediate.crt may have authorities below it",
            expected="an intermediate that signs the broker and clients, and no authority",
            advice="which path length leaves no room for another authority?",
        )
    if found.intermediate.subject == found.root.subject:
        raise RejectedError(
            "authorities-of-one-name",
            "root.crt and intermediate.crt have the same name",
            expected="two authorities that can be told apart: a certificate names its issuer",
            advice="which of the two would you look for, above a device?",
        )
    _distinct({"intermediate": found.intermediate}, {"root": found.root})
    return found


def authorities_as_they_are(work: Work) -> Authorities:
    """Return root and intermediate, whatever is wrong with them."""
    return Authorities(certificates(work, "root.crt")[0], certificates(work, "intermediate.crt")[0])


def server(work: Work) -> Pair:
    """Return the broker's certificate and key, as they should be."""
    above = certificates(work, "intermediate.crt")[0]
    found = pair(work, "server")
    hosts = (work.variant.host, *HOSTS)
    _clean("server.crt", _linted(found.certificate, "server", hosts))
    _clean("server.crt", lint_pair(found.certificate, above))
    _holds(work, "server", "sslserver")
    return found


def clients(work: Work) -> dict[str, Pair]:
    """Return the certificates and keys of both devices and the operator, as they should be."""
    above = certificates(work, "intermediate.crt")[0]
    found: dict[str, Pair] = {}
    for name in names(work):
        found[name] = pair(work, name)
        certificate = found[name].certificate
        role = "operator" if name == work.variant.operator else "device"
        _clean(f"{name}.crt", _linted(certificate, role))
        _named(work, certificate, name)
        _clean(f"{name}.crt", lint_pair(certificate, above))
        _holds(work, name, "sslclient")
    return found


def _holds(work: Work, name: str, purpose: str) -> None:
    """Ask OpenSSL, as the broker and its clients will, whether a certificate holds up to the root."""
    leaf, *more = certificates(work, f"{name}.crt")
    ours = authorities_as_they_are(work)
    if strangers := [each for each in more if mark(each) not in ours.fingerprints]:
        raise RejectedError(
            "chain-of-another",
            f"behind its own certificate, {name}.crt has that of {strangers[0].subject.rfc4514_string()}",
            expected="the certificate first; the intermediate may follow",
            advice="what belongs between this certificate and the root?",
        )
    if lint_pair(ours.root, ours.root) or lint_pair(ours.intermediate, ours.root):
        return  # told where they are asked for
    paths = [
        work.scratch.write(f"chain/{stem}.crt", each.public_bytes(serialization.Encoding.PEM))
        for stem, each in (("leaf", leaf), ("root", ours.root), ("intermediate", ours.intermediate))
    ]
    verdict = openssl.verify(paths[0], trust=paths[1], untrusted=paths[2], purpose=purpose, strict=False)
    if not verdict.ok:
        where = (name, "intermediate", "root")[min(verdict.depth, 2)]
        raise RejectedError(
            "chain-broken",
            f"{where}.crt: {verdict.text}, says OpenSSL",
            expected=f"{name}.crt holds up to the root, as an {purpose[3:]}'s",
            advice="ask it yourself: openssl verify -purpose … -CAfile root.crt -untrusted intermediate.crt …",
        )


def names(work: Work) -> tuple[str, ...]:
    """Return who may get in: both devices, then the operator."""
    return (*work.variant.devices, work.variant.operator)


def parts(work: Work) -> list[tuple[float, Callable[[], object]]]:
    """Return the three parts of the authority's work: the share of each, and what looks at it."""
    return [
        (0.32, partial(authorities, work)),
        (0.28, partial(_server_apart, work)),
        (0.4, partial(_clients_apart, work)),
    ]


def _others(work: Work, *stems: str) -> dict[str, x509.Certificate]:
    found = {}
    for name in stems:
        with suppress(RejectedError):  # told where they are asked for
            found[name] = certificates(work, f"{name}.crt")[0]
    return found


def _server_apart(work: Work) -> None:
    _distinct({"server": server(work).certificate}, _others(work, "root", "intermediate"))


def _clients_apart(work: Work) -> None:
    found = {name: each.certificate for name, each in clients(work).items()}
    others = _others(work, "root", "intermediate", "server")
    _distinct(found, others)
    below = [*found.values(), *(others[name] for name in ("server",) if name in others)]
    numbers = {(each.issuer.public_bytes(), each.serial_number) for each in below}
    if len(numbers) < len(below):
        raise RejectedError(
            "serial-reused",
            "two certificates of one issuer have the same serial number",
            expected="a number of its own for each (RFC 5280 §4.1.2.2): revocation goes by it",
            advice="let the program draw the numbers at random",
        )


def _linted(certificate: x509.Certificate, role: str, hosts: Sequence[str] = ()) -> list[Finding]:
    found = lint(certificate, role=role, now=SYSTEM_CLOCK.now(), hosts=hosts)
    return [each for each in found if each.severity is Severity.ERROR or each.rule in _STRICT]


def _clean(name: str, findings: Sequence[Finding]) -> None:
    if not findings:
        return
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    raise RejectedError(
        findings[0].rule,
        f"{name}: {findings[0].message}{more}",
        expected="what the linter of the certificate lesson finds nothing in",
        advice=f"read it field by field: openssl x509 -in {name} -noout -text; the rule is {findings[0].rule}",
    )


def common_names(certificate: x509.Certificate) -> list[str]:
    """Return all common names of a holder."""
    return [str(a.value) for a in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]


def _named(work: Work, certificate: x509.Certificate, name: str) -> None:
    found = common_names(certificate)
    others = {*names(work), work.variant.host, HOSTS[0]} - {name}
    with suppress(x509.ExtensionNotFound):
        also = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found += sorted(others & set(also.get_values_for_type(x509.DNSName)))
    if found != [name]:
        raise RejectedError(
            "wrong-name",
            f"{name}.crt says that its holder is {', '.join(map(repr, found)) or 'nobody'}",
            expected=f"one common name, {name!r}",
            advice="the broker takes the user name from it; whose variant is this?",
        )


def _distinct(mine: dict[str, x509.Certificate], others: dict[str, x509.Certificate]) -> None:
    owners = {public_bytes(certificate): name for name, certificate in others.items()}
    for name, certificate in mine.items():
        other = owners.setdefault(public_bytes(certificate), name)
        if other != name:
            raise RejectedError(
                "key-shared",
                f"{name} and {other} have the same key",
                expected="one key for each: who holds it is who it says",
                advice="who could speak for whom, if this key were stolen?",
            )


def inside(path: Path) -> str:
    """Return where a path of a configuration leads, below the student's folder.

    It may be relative to that folder, or absolute as it was on the machine where it was written.

    Raises:
        RejectedError: It leads elsewhere (`fault` is `file-elsewhere`).
    """
    given = PurePosixPath(str(path).replace("\\", "/"))
    parts = given.parts
    if "mtls-setup" in parts:
        parts = parts[len(parts) - parts[::-1].index("mtls-setup") :]
    elif given.is_absolute() or re.match("[A-Za-z]:", parts[0] if parts else ""):
        parts = ()
    if not parts or ".." in parts:
        raise RejectedError(
            "file-elsewhere",
            f"the configuration names {path}",
            expected=f"files below {FOLDER}, and no others",
            advice="copy it there, and name it without a folder",
        )
    return "/".join(parts)
