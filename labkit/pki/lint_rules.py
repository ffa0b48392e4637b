"""The rules of `lint`: one function each, with its clause. What they look at is a `Case`."""

from __future__ import annotations

import datetime as dt
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from labkit.errors import NameRefusedError
from labkit.outcome import Severity
from labkit.pki import names

if TYPE_CHECKING:
    from collections.abc import Callable

ROLES = ("root", "intermediate", "server", "device", "operator")
"""What a certificate can be for."""

_AUTHORITIES = frozenset({"root", "intermediate"})
_LEAVES = frozenset({"server", "device", "operator"})
_ALL = frozenset(ROLES)

_PURPOSES = {
    "server": ExtendedKeyUsageOID.SERVER_AUTH,
    "device": ExtendedKeyUsageOID.CLIENT_AUTH,
    "operator": ExtendedKeyUsageOID.CLIENT_AUTH,
}

_KNOWN = {
    ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE, ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME, ExtensionOID.NAME_CONSTRAINTS, ExtensionOID.CERTIFICATE_POLICIES,
}  # fmt: skip

T = TypeVar("T", bound=x509.ExtensionType)


_DAYS = {"root": 3660, "intermediate": 1830, "server": 398, "device": 398, "operator": 398}


@dataclass(frozen=True, slots=True)
class Policy:
    """What this course allows where the RFCs leave the choice.

    Attributes:
        days: The longest validity, by role. 398 days is what browsers allow servers.
        rsa_bits: The shortest RSA key (NIST SP 800-131A).
        curves: The curves that devices and brokers share.
        serial_bits: The least length of a serial number that nobody can guess.
    """

    days: dict[str, int] = field(default_factory=lambda: dict(_DAYS))
    rsa_bits: int = 2048
    curves: frozenset[str] = frozenset({"secp256r1", "secp384r1"})
    serial_bits: int = 64


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        id: Its stable name.
        severity: How much a finding matters.
        clause: Where it comes from.
        roles: Whom it is for.
        advice: What to do.
        look: Returns what is wrong, in a sentence; empty if nothing is.
    """

    id: str
    severity: Severity
    clause: str
    roles: frozenset[str]
    advice: str
    look: Callable[[Case], str]


@dataclass(frozen=True, slots=True)
class Case:
    """A certificate and what it is said to be."""

    certificate: x509.Certificate
    role: str
    now: dt.datetime
    policy: Policy
    hosts: tuple[str, ...]

    @property
    def is_authority(self) -> bool:
        """Whether it is meant to sign certificates."""
        return self.role in _AUTHORITIES

    def extension(self, kind: type[T]) -> x509.Extension[T] | None:
        """Return an extension, or None where it is missing or unreadable."""
        try:
            return self.certificate.extensions.get_extension_for_class(kind)
        except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
            return None

    @property
    def common_names(self) -> list[str]:
        """All common names."""
        with warnings.catch_warnings():
            # The library warns of lengths that X.520 forbids; the rule about them says it better.
            warnings.simplefilter("ignore", UserWarning)
            found = self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            return [str(attribute.value) for attribute in found]


_registered: list[Rule] = []


def _rule(
    name: str, severity: Severity, clause: str, roles: frozenset[str], advice: str
) -> Callable[[Callable[[Case], str]], Callable[[Case], str]]:
    def register(look: Callable[[Case], str]) -> Callable[[Case], str]:
        _registered.append(Rule(name, severity, clause, roles, advice, look))
        return look

    return register


_AGAIN = "Issue it from a profile: labkit ca issue NAME --renew"


@_rule("unreadable", Severity.ERROR, "RFC 5280 §4.2", _ALL, "Look at it: openssl asn1parse -in FILE")
def _unreadable(case: Case) -> str:
    try:
        list(case.certificate.extensions)
        case.certificate.public_key()
        _ = case.certificate.signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        return f"A part of it can't be read: {str(error).splitlines()[0]}."
    return ""


@_rule(
    "version", Severity.ERROR, "RFC 5280 §4.1.2.1", _ALL, "Make it with extensions, which only version 3 has."
)
def _version(case: Case) -> str:
    version = case.certificate.version
    return (
        "" if version is x509.Version.v3 else f"It is of version {version.value + 1}, without any extension."
    )


@_rule(
    "serial-number", Severity.ERROR, "RFC 5280 §4.1.2.2", _ALL, "Take a positive number of at most 20 octets."
)
def _serial(case: Case) -> str:
    serial = case.certificate.serial_number
    return "" if 0 < serial < 1 << 159 else "Its serial number is not positive, or longer than 20 octets."


@_rule("serial-guessable", Severity.WARNING, "CA/B BR §7.1; course policy", _ALL, "Take 128 random bits.")
def _guessable(case: Case) -> str:
    bits = case.certificate.serial_number.bit_length()
    return (
        f"Its serial number has {bits} bits, and others can guess it."
        if bits < case.policy.serial_bits
        else ""
    )


@_rule("basic-constraints-missing", Severity.ERROR, "RFC 5280 §4.2.1.9", _AUTHORITIES, _AGAIN)
def _no_constraints(case: Case) -> str:
    return "" if case.extension(x509.BasicConstraints) else "It does not say that it is an authority."


@_rule("basic-constraints-absent", Severity.WARNING, "course policy", _LEAVES, _AGAIN)
def _leaf_without_constraints(case: Case) -> str:
    return "" if case.extension(x509.BasicConstraints) else "It does not say that it is no authority."


@_rule("basic-constraints-not-critical", Severity.ERROR, "RFC 5280 §4.2.1.9", _AUTHORITIES, _AGAIN)
def _constraints_not_critical(case: Case) -> str:
    found = case.extension(x509.BasicConstraints)
    return (
        "A program that does not know basicConstraints may pass over it."
        if found and not found.critical
        else ""
    )


@_rule("not-an-authority", Severity.ERROR, "RFC 5280 §4.2.1.9", _AUTHORITIES, "Make it with CA:TRUE.")
def _not_an_authority(case: Case) -> str:
    found = case.extension(x509.BasicConstraints)
    return "It says that it is no authority (CA:FALSE)." if found and not found.value.ca else ""


@_rule("leaf-is-authority", Severity.ERROR, "RFC 5280 §4.2.1.9", _LEAVES, _AGAIN)
def _leaf_is_authority(case: Case) -> str:
    found = case.extension(x509.BasicConstraints)
    return (
        "It may sign certificates (CA:TRUE), and is meant for one device." if found and found.value.ca else ""
    )


@_rule(
    "path-length-missing",
    Severity.WARNING,
    "course policy",
    frozenset({"intermediate"}),
    "Make it with pathlen:0.",
)
def _no_path_length(case: Case) -> str:
    found = case.extension(x509.BasicConstraints)
    return (
        "Any number of authorities may stand below it." if found and found.value.path_length is None else ""
    )


@_rule("key-usage-missing", Severity.ERROR, "RFC 5280 §4.2.1.3", _AUTHORITIES, _AGAIN)
def _no_key_usage(case: Case) -> str:
    return "" if case.extension(x509.KeyUsage) else "It does not say what its key may do."


@_rule("key-usage-absent", Severity.WARNING, "course policy", _LEAVES, _AGAIN)
def _leaf_without_key_usage(case: Case) -> str:
    return "" if case.extension(x509.KeyUsage) else "It does not say what its key may do."


@_rule("key-usage-not-critical", Severity.WARNING, "RFC 5280 §4.2.1.3", _ALL, _AGAIN)
def _usage_not_critical(case: Case) -> str:
    found = case.extension(x509.KeyUsage)
    return "A program that does not know keyUsage may pass over it." if found and not found.critical else ""


@_rule("key-usage-wrong", Severity.ERROR, "RFC 5280 §4.2.1.3", _ALL, _AGAIN)
def _usage_wrong(case: Case) -> str:
    found = case.extension(x509.KeyUsage)
    if not found:
        return ""
    usage = found.value
    if case.is_authority:
        return (
            ""
            if usage.key_cert_sign and usage.crl_sign
            else "Its key may not sign both certificates and lists."
        )
    if usage.key_cert_sign or usage.crl_sign:
        return "Its key may sign certificates or lists."
    return "" if usage.digital_signature else "Its key may not sign handshakes."


@_rule(
    "key-encipherment",
    Severity.WARNING,
    "RFC 9325 §4.1; course policy",
    _LEAVES,
    "Leave keyEncipherment out.",
)
def _encipherment(case: Case) -> str:
    found = case.extension(x509.KeyUsage)
    return (
        "It allows static RSA, which has no forward secrecy."
        if found and found.value.key_encipherment
        else ""
    )


@_rule("purpose-missing", Severity.ERROR, "RFC 5280 §4.2.1.12; course policy", _LEAVES, _AGAIN)
def _no_purpose(case: Case) -> str:
    found = case.extension(x509.ExtendedKeyUsage)
    return "" if found else "It names no purpose, which counts as every purpose: client, server, anything."


@_rule("purpose-wrong", Severity.ERROR, "RFC 5280 §4.2.1.12", _LEAVES, _AGAIN)
def _purpose_wrong(case: Case) -> str:
    found = case.extension(x509.ExtendedKeyUsage)
    if not found:
        return ""
    wanted, given = _PURPOSES[case.role], list(found.value)
    if wanted not in given:
        return f"It is not for use as a {'server' if case.role == 'server' else 'client'}."
    return "It is for more than one purpose." if len(given) > 1 else ""


@_rule(
    "san-missing",
    Severity.ERROR,
    "RFC 9525 §6.3",
    frozenset({"server"}),
    "Name its hosts: labkit ca init --dns …",
)
def _no_san(case: Case) -> str:
    found = case.extension(x509.SubjectAlternativeName)
    return "" if found else "It names no host; clients do not look at the common name any more."


@_rule(
    "san-mismatch", Severity.ERROR, "RFC 9525 §6", frozenset({"server"}), "Name the hosts that clients use."
)
def _san_mismatch(case: Case) -> str:
    found = case.extension(x509.SubjectAlternativeName)
    if not found or not case.hosts:
        return ""
    values = found.value.get_values_for_type
    # An address that is written as a name is none to those who connect to it (RFC 9525 §6.2).
    given = {name.lower() for name in values(x509.DNSName) if not name.replace(".", "").isdigit()}
    given |= {str(address) for address in values(x509.IPAddress)}
    missing = [host for host in case.hosts if host.lower() not in given]
    return f"It is not for {', '.join(missing)}." if missing else ""


@_rule("common-name-count", Severity.ERROR, "course policy", _ALL, "Issue it with exactly one common name.")
def _one_common_name(case: Case) -> str:
    count = len(case.common_names)
    return "" if count == 1 else f"It has {count} common names, and programs differ in which one counts."


@_rule(
    "common-name-length",
    Severity.ERROR,
    "RFC 5280 appendix A (ub-common-name)",
    _ALL,
    "Use 1 to 64 characters.",
)
def _common_name_length(case: Case) -> str:
    wrong = [len(each) for each in case.common_names if not 0 < len(each) <= names.MAX_COMMON_NAME]
    return f"Its common name has {wrong[0]} characters." if wrong else ""


@_rule(
    "name-grammar",
    Severity.ERROR,
    "course policy",
    frozenset({"device"}),
    "Use a-z, 0-9 and -, such as sensor-001.",
)
def _grammar(case: Case) -> str:
    return next(
        (why for rule, why in _refused_names(case) if rule not in {"reserved", "empty", "too-long"}), ""
    )


@_rule(
    "name-reserved",
    Severity.ERROR,
    "course policy",
    frozenset({"device"}),
    "Choose a name that nobody else has.",
)
def _reserved(case: Case) -> str:
    return next((why for rule, why in _refused_names(case) if rule == "reserved"), "")


@_rule("validity-inverted", Severity.ERROR, "RFC 5280 §4.1.2.5", _ALL, _AGAIN)
def _inverted(case: Case) -> str:
    begin, end = case.certificate.not_valid_before_utc, case.certificate.not_valid_after_utc
    return "It ends before it begins." if end < begin else ""


@_rule(
    "validity-expired", Severity.ERROR, "RFC 5280 §4.1.2.5", _ALL, "Renew it: labkit ca issue NAME --renew"
)
def _expired(case: Case) -> str:
    end = case.certificate.not_valid_after_utc
    return f"It ran out at {end:%Y-%m-%d %H:%M} UTC." if case.now > end else ""


@_rule(
    "validity-not-begun",
    Severity.ERROR,
    "RFC 5280 §4.1.2.5",
    _ALL,
    "Look at both clocks, then wait or issue it again.",
)
def _not_begun(case: Case) -> str:
    begin = case.certificate.not_valid_before_utc
    return f"It begins at {begin:%Y-%m-%d %H:%M} UTC." if case.now < begin else ""


@_rule(
    "validity-too-long",
    Severity.WARNING,
    "course policy",
    _ALL,
    "Shorter lives make shorter revocation lists.",
)
def _too_long(case: Case) -> str:
    days = (case.certificate.not_valid_after_utc - case.certificate.not_valid_before_utc) / dt.timedelta(
        days=1
    )
    most = case.policy.days[case.role]
    return f"It is valid for {days:,.0f} days; {most} are allowed to a {case.role}." if days > most else ""


@_rule(
    "key-weak", Severity.ERROR, "NIST SP 800-131A; course policy", _ALL, "Use P-256, or RSA with 2048 bits."
)
def _weak_key(case: Case) -> str:
    key = case.certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"Its RSA key has {key.key_size} bits." if key.key_size < case.policy.rsa_bits else ""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return (
            ""
            if key.curve.name in case.policy.curves
            else f"Its key is on {key.curve.name}, which brokers may not know."
        )
    return "Its key is of a kind that brokers may not know."


@_rule("signature-weak", Severity.ERROR, "RFC 9155; NIST SP 800-131A", _ALL, "Sign with SHA-256 or SHA-384.")
def _weak_signature(case: Case) -> str:
    found = case.certificate.signature_hash_algorithm
    return f"It was signed over {found.name.upper()}." if found and found.name in {"md5", "sha1"} else ""


@_rule("key-identifier-missing", Severity.WARNING, "RFC 5280 §4.2.1.1, §4.2.1.2", _ALL, _AGAIN)
def _no_identifier(case: Case) -> str:
    if case.is_authority and not case.extension(x509.SubjectKeyIdentifier):
        return "It has no subject key identifier, which issuers are found by."
    above = case.extension(x509.AuthorityKeyIdentifier)
    if case.role != "root" and (above is None or above.value.key_identifier is None):
        return "It has no authority key identifier, which its issuer is found by."
    return ""


@_rule("critical-unknown", Severity.ERROR, "RFC 5280 §4.2", _ALL, "Leave it out, or make it not critical.")
def _unknown_critical(case: Case) -> str:
    unknown = [e.oid.dotted_string for e in case.certificate.extensions if e.critical and e.oid not in _KNOWN]
    return f"Its critical extension {unknown[0]} is one that verifiers refuse." if unknown else ""


@_rule("self-signed", Severity.ERROR, "RFC 5280 §3.2", _LEAVES, "Have the authority sign it.")
def _self_signed(case: Case) -> str:
    return "It vouches for itself." if case.certificate.subject == case.certificate.issuer else ""


def _refused_names(case: Case) -> list[tuple[str, str]]:
    refused = []
    for name in case.common_names:
        try:
            names.device_id(name)
        except NameRefusedError as error:
            refused.append((error.rule, error.message))
    return refused


RULES: tuple[Rule, ...] = tuple(_registered)
"""Every rule, in the order in which findings are told."""
