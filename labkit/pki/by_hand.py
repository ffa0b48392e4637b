"""The same steps with the `openssl` command: files to write and lines to type, derived from our own profiles.

Each recipe can be pasted into a shell, and the tests do that: what comes out has the fields that ours have.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from labkit.pki.profiles import DEVICE, INTERMEDIATE, ROOT, SERVER, Profile
from labkit.pki.revocation import Reason, Schedule
from labkit.pki.template import ORGANISATION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PASSPHRASE = "env:LABKIT_CA_PASSPHRASE"  # noqa: S105 - where it is read from
EXPORT_PASSPHRASE = "env:LABKIT_EXPORT_PASSPHRASE"  # noqa: S105 - where it is read from

_KINDS = {
    "p256": ("EC", "ec_paramgen_curve:P-256"),
    "p384": ("EC", "ec_paramgen_curve:P-384"),
    "rsa2048": ("RSA", "rsa_keygen_bits:2048"),
    "rsa4096": ("RSA", "rsa_keygen_bits:4096"),
}

# The words of `openssl ca -crl_reason` (man openssl-ca).
_REASONS = {
    Reason.UNSPECIFIED: "unspecified",
    Reason.KEY_COMPROMISE: "keyCompromise",
    Reason.CA_COMPROMISE: "CACompromise",
    Reason.AFFILIATION_CHANGED: "affiliationChanged",
    Reason.SUPERSEDED: "superseded",
    Reason.CESSATION_OF_OPERATION: "cessationOfOperation",
    Reason.CERTIFICATE_HOLD: "certificateHold",
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to write and what to type, in a workspace's folder.

    Attributes:
        files: Text of the configuration files, by relative path.
        commands: Argument lists, in order.
    """

    commands: tuple[tuple[str, ...], ...]
    files: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        folders = sorted({path.rpartition("/")[0] for path in self.files} - {""})
        lines = [shlex.join(["mkdir", "-p", *folders])] if folders else []
        for path, text in self.files.items():
            lines.append(
                f"cat > {shlex.quote(path)} <<'END'\n{text}END" if text else f": > {shlex.quote(path)}"
            )
        return "\n".join([*lines, *(shlex.join(command) for command in self.commands)])

    def then(self, after: Recipe) -> Recipe:
        """Return both, one after the other."""
        return Recipe(self.commands + after.commands, {**self.files, **after.files})


def root(name: str, *, profile: Profile = ROOT) -> Recipe:
    """Return how to make a root: a key under a passphrase, and a certificate that it signs itself."""
    conf = "by-hand/root.cnf"
    return Recipe(
        (
            _new_key(profile, "root/ca.key", "-aes-256-cbc", "-pass", PASSPHRASE),
            (
                "openssl", "req", "-new", "-x509", "-config", conf, "-extensions", "extensions", "-key", "root/ca.key",
                "-passin", PASSPHRASE, _digest(profile), "-days", str(profile.days), "-out", "root/ca.crt",
            ),
        ),
        {conf: _conf(profile, name)},
    )  # fmt: skip


def intermediate(name: str, *, profile: Profile = INTERMEDIATE, above: Profile = ROOT) -> Recipe:
    """Return how to make an intermediate that the root signs, and the bundle that the broker trusts."""
    made = _below(
        profile,
        name,
        "intermediate/intermediate",
        issuer="root/ca",
        digest=_digest(above),
        passphrase=PASSPHRASE,
    )
    bundle = "cat intermediate/intermediate.crt root/ca.crt > intermediate/trust-bundle.crt"
    return made.then(Recipe((("sh", "-c", bundle),)))


def server(
    dns_names: Sequence[str],
    ip_addresses: Sequence[str] = (),
    *,
    profile: Profile = SERVER,
    above: Profile = INTERMEDIATE,
) -> Recipe:
    """Return how to make the broker's certificate, and the chain that it presents."""
    names = [f"DNS:{name}" for name in dns_names] + [f"IP:{address}" for address in ip_addresses]
    made = _below(profile, dns_names[0], "server/broker", digest=_digest(above), names=names)
    chain = ("sh", "-c", "cat server/broker.crt intermediate/intermediate.crt > server/broker-fullchain.crt")
    return made.then(Recipe((chain,)))


def device(device_id: str, *, profile: Profile = DEVICE, above: Profile = INTERMEDIATE) -> Recipe:
    """Return how to make a device's key and certificate."""
    return _below(
        profile, device_id, f"devices/{device_id}", digest=_digest(above), names=[f"DNS:{device_id}"]
    )


def revoke(certificate: str, reason: Reason) -> Recipe:
    """Return how to put a certificate on the list.

    Args:
        certificate: Its path, relative to the workspace.
        reason: Why; openssl has no word for `privilege-withdrawn` and says `unspecified`.
    """
    word = _REASONS.get(reason, "unspecified")
    return Recipe(
        (("openssl", "ca", "-config", _CA_CONF, "-revoke", certificate, "-crl_reason", word),), _database()
    )


def revocation_list(schedule: Schedule | None = None) -> Recipe:
    """Return how to sign a list of what was revoked by hand, and how to look at it."""
    days = max(1, (schedule or Schedule()).valid_for.days)
    made = "by-hand/crl.pem"
    return Recipe(
        (
            ("openssl", "ca", "-config", _CA_CONF, "-gencrl", "-crldays", str(days), "-out", made),
            ("openssl", "crl", "-in", made, "-noout", "-text", "-CAfile", "intermediate/trust-bundle.crt"),
        ),
        _database(),
    )


def show(certificate: str) -> Recipe:
    """Return how to read a certificate."""
    return Recipe((("openssl", "x509", "-in", certificate, "-noout", "-text"),))


def export(name: str, target: str) -> Recipe:
    """Return how to put an identity into one PKCS #12 file."""
    return Recipe(
        (
            (
                "openssl", "pkcs12", "-export", "-in", f"devices/{name}.crt", "-inkey", f"devices/{name}.key",
                "-certfile", "intermediate/trust-bundle.crt", "-name", name, "-passout", EXPORT_PASSPHRASE,
                "-out", target,
            ),
        )
    )  # fmt: skip


_CA_CONF = "by-hand/ca.cnf"


def _database() -> dict[str, str]:
    # A database of its own: openssl ca keeps what it knows in an index, ours is the ledger.
    conf = (
        "[ca]\ndefault_ca = lab\n[lab]\ndatabase = by-hand/index.txt\nunique_subject = no\n"
        "certificate = intermediate/intermediate.crt\nprivate_key = intermediate/intermediate.key\n"
        "crlnumber = by-hand/crlnumber\ndefault_md = sha256\ndefault_crl_days = 7\ncrl_extensions = list\n"
        "[list]\nauthorityKeyIdentifier = keyid\n"
    )
    return {_CA_CONF: conf, "by-hand/index.txt": "", "by-hand/crlnumber": "01\n"}


def _below(
    profile: Profile,
    name: str,
    stem: str,
    *,
    digest: str,
    issuer: str = "intermediate/intermediate",
    passphrase: str = "",
    names: Sequence[str] = (),
) -> Recipe:
    conf, request = f"by-hand/{stem.rpartition('/')[2]}.cnf", f"by-hand/{stem.rpartition('/')[2]}.csr"
    sign = [
        "openssl", "x509", "-req", "-in", request, "-CA", f"{issuer}.crt", "-CAkey", f"{issuer}.key",
        *(["-passin", passphrase] if passphrase else []),
        digest, "-days", str(profile.days), "-extfile", conf, "-extensions", "extensions", "-out", f"{stem}.crt",
    ]  # fmt: skip
    return Recipe(
        (
            _new_key(profile, f"{stem}.key"),
            ("openssl", "req", "-new", "-config", conf, "-key", f"{stem}.key", "-out", request),
            tuple(sign),
        ),
        {conf: _conf(profile, name, names)},
    )


def _new_key(profile: Profile, path: str, *options: str) -> tuple[str, ...]:
    algorithm, option = _KINDS[profile.key_kind]
    return ("openssl", "genpkey", "-algorithm", algorithm, "-pkeyopt", option, *options, "-out", path)


def _digest(signer: Profile) -> str:
    return "-sha384" if signer.key_kind == "p384" else "-sha256"


def _conf(profile: Profile, name: str, names: Sequence[str] = ()) -> str:
    limit = "" if profile.path_length is None else f", pathlen:{profile.path_length}"
    purposes = {"1.3.6.1.5.5.7.3.1": "serverAuth", "1.3.6.1.5.5.7.3.2": "clientAuth"}
    lines = [
        "[req]", "distinguished_name = dn", "prompt = no",
        "[dn]", f"O = {ORGANISATION}", f"CN = {name}",
        "[extensions]",
        f"basicConstraints = critical, CA:{'TRUE' if profile.ca else 'FALSE'}{limit}",
        f"keyUsage = critical, {'keyCertSign, cRLSign' if profile.ca else 'digitalSignature'}",
        "subjectKeyIdentifier = hash",
        "authorityKeyIdentifier = keyid",
    ]  # fmt: skip
    if profile.purposes:
        lines.append(
            "extendedKeyUsage = " + ", ".join(purposes[oid.dotted_string] for oid in profile.purposes)
        )
    if names:
        lines.append(f"subjectAltName = {', '.join(names)}")
    return "\n".join(lines) + "\n"
