"""Lesson certificate-authority: built by hand, judged by a linter, robbed, and still trusted."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from labkit.clock import SYSTEM_CLOCK
from labkit.course.lab import ready_authority
from labkit.course.lesson import Check, CheckResult, Claim, Lesson, Prediction
from labkit.course.lessons.certificate_authority_exercises import MORE
from labkit.course.lessons.certificate_authority_questions import QUESTIONS
from labkit.course.shelf import Case, failed, not_attempted, questioned
from labkit.outcome import Severity
from labkit.pki import Store, flawed
from labkit.pki.identities import read_certificate
from labkit.pki.lint import lint
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.course.lab import Lab

SHELF = "answers/certificate-authority"
"""Where the reader's answers lie."""

CLAIMS = (
    Claim(
        "handmade-in", "A broker lets in a device whose authority was made with openssl alone.", "authorised"
    ),
    Claim(
        "pathlen",
        "An authority below an intermediate with pathlen:0 vouches for nobody.",
        "tls",
        "unknown-ca",
        "pathlen",
    ),
    Claim(
        "wish-granted",
        "Who signs the name that stands in a request makes a sensor admin.",
        "authorised",
        "accepted",
        "wish",
    ),
    Claim(
        "wish-ignored",
        "Where the authority chooses the name, the wish is worth nothing.",
        "authorised",
        "not-authorised",
    ),
    Claim("wish-control", "The same device may do what its own name allows.", "authorised"),
    Claim("zoo-control", "The broker that saw the zoo lets the device in.", "mqtt"),
    Claim("theft", "With the intermediate's key a thief makes a sensor-001 of his own.", "mqtt"),
    Claim(
        "theft-over",
        "After the intermediate was replaced, the thief's certificate is unknown.",
        "tls",
        "unknown-ca",
    ),
    Claim("theft-control", "The device is in, with the key that it always had.", "authorised"),
)

PREDICTIONS = (
    Prediction(
        "pathlen",
        "Our intermediate, with pathlen:0, signed another authority, and that one signed sensor-001. It connects.",
        {"sign": "such a signature can't be made", "tls": "refused during TLS", "in": "it gets in"},
        "tls",
        {
            "sign": "A key signs whatever it is given. The limit is a sentence in a certificate.",
            "in": "The verifier counts the authorities in the chain, and one is too many.",
        },
    ),
    Prediction(
        "wish",
        "A sensor asks for a certificate for CN=admin, and the script signs the request as it stands. It connects.",
        {"tls": "refused during TLS", "sensor": "it gets in, as a sensor", "admin": "it gets in, as admin"},
        "admin",
        {
            "tls": "The certificate is in order: right issuer, right purpose, right dates.",
            "sensor": "The broker knows no sensors. It knows what stands in the certificate.",
        },
    ),
)


def empty_workshop(lab: Lab) -> Workspace:
    """Return an empty workspace with the four folders, for what is made by hand."""
    folder = lab.workspace.path("scratch", "by-hand")
    shutil.rmtree(folder, ignore_errors=True)
    workshop = Workspace.open(folder)
    for name in ("root", "intermediate", "server", "devices"):
        workshop.path(name).mkdir(mode=0o700)
    return workshop


def make_specimens(lab: Lab) -> dict[str, x509.Certificate]:
    """Make the certificates of the second exercise: one good, the others each with a fault in the name."""
    store = Store(lab.workspace)
    authority = store.authority()
    store.identity("sensor-001")
    made = {
        "good": store.certificate("sensor-001"),
        "two": flawed.two_common_names(authority, "sensor-001").certificate,
        "slash": flawed.slash_in_name(authority, "sensor-001").certificate,
        "admin": flawed.reserved_name(authority, "admin").certificate,
        "line feed": flawed.named(authority, "sensor-001\n").certificate,
    }
    for label, certificate in made.items():
        lab.workspace.write(
            f"{SHELF}/specimens/{label.replace(' ', '-')}.der", certificate.public_bytes(Encoding.DER)
        )
    return made


def _check_root(lab: Lab) -> CheckResult:
    """Lint the reader's root, and see that it signed itself and is what was asked for."""
    path = lab.workspace.path(SHELF, "root.crt")
    if not path.exists():
        return not_attempted("complete make_root(), then run the cell below it")
    certificate = read_certificate(path)
    try:
        certificate.verify_directly_issued_by(certificate)
    except Exception:  # noqa: BLE001 - of several libraries' kinds; the answer is the same
        return failed(
            "not-self-signed",
            "a certificate that its own key did not sign",
            expected="a root: subject and issuer are the same, and so are the keys",
            advice="the key that signs is the key whose public half is in the certificate",
        )
    found = [
        f
        for f in lint(path.read_bytes(), role="root", now=SYSTEM_CLOCK.now())
        if f.severity is not Severity.INFO
    ]
    if found:
        return failed(
            found[0].rule,
            f"{found[0].rule}: {found[0].message}",
            expected="a root without findings",
            advice=found[0].advice,
        )
    for fault, broken, observed, look in _not_as_asked(certificate):
        if broken:
            expected = "P-384, ten years, room for an intermediate, and the four extensions"
            return failed(fault, observed, expected=expected, advice=look)
    return CheckResult(
        "passed", observed="a root that says what it is, critically, and the linter has nothing to add"
    )


def _not_as_asked(certificate: x509.Certificate) -> Iterator[tuple[str, bool, str, str]]:
    """Yield what the task asks for beyond the linter: a fault, whether it is there, what is there, where to look."""
    key = certificate.public_key()
    curve = key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else "no curve"
    yield "other-key", curve != "secp384r1", f"its key is on {curve}", "which curve does the task name?"
    days = (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days
    yield (
        "other-lifetime",
        not 3640 <= days <= 3660,
        f"it is valid for {days} days",
        "count ten years in days",
    )
    kinds = {type(extension.value): extension.value for extension in certificate.extensions}
    room = kinds[x509.BasicConstraints].path_length
    yield (
        "no-room",
        room == 0,
        "no authority may stand below it (pathlen:0)",
        "an intermediate is to come; look at path_length",
    )
    own, above = kinds[x509.SubjectKeyIdentifier], kinds.get(x509.AuthorityKeyIdentifier)
    given = above.key_identifier if above else None
    have = "its authority key identifier is missing, or another key's"
    yield "issuer-identifier", given != own.digest, have, "who issued it? It did"
    have = "it has an extended key usage, which everything below it would be held to"
    yield "purpose-on-a-root", x509.ExtendedKeyUsage in kinds, have, "four extensions were asked for"


# Names as they may stand in a certificate, what to say of them, and the mistake of somebody who says something else.
NAMES = tuple(
    Case(about, (names,), wanted, fault)
    for about, names, wanted, fault in (
        ("a plain name", ["sensor-001"], "ok", "too-strict"),
        ("one letter", ["a"], "ok", "too-strict"),
        ("one digit", ["7"], "ok", "too-strict"),
        ("a name of 63 characters", ["s" * 63], "ok", "wrong-length"),
        ("dashes in a row, and at the end", ["pump--2-"], "ok", "too-strict"),
        ("no name", [], "count", "count"),
        ("two names", ["sensor-001", "sensor-002"], "count", "count"),
        ("two names, the second one admin", ["sensor-001", "admin"], "count", "count"),
        ("the same name twice", ["sensor-001", "sensor-001"], "count", "count"),
        ("two names that are no names", ["+", "/"], "count", "count"),
        ("an empty name", [""], "grammar", "wrong-length"),
        ("a line feed at the end", ["sensor-001\n"], "grammar", "looks-at-a-part"),
        ("a line feed in the middle", ["sensor-001\nadmin"], "grammar", "looks-at-a-part"),
        ("a blank in front", [" sensor-001"], "grammar", "looks-at-a-part"),
        ("a name of 64 characters", ["s" * 64], "grammar", "wrong-length"),
        ("a slash", ["sensor-001/commands"], "grammar", "looks-at-a-part"),
        ("a capital", ["Sensor-001"], "grammar", "wrong-characters"),
        ("a dash in front", ["-sensor"], "grammar", "wrong-characters"),
        ("an underscore", ["sensor_001"], "grammar", "wrong-characters"),
        ("a dot", ["sensor.001"], "grammar", "wrong-characters"),
        ("a wildcard", ["+"], "grammar", "wrong-characters"),
        ("digits of another script", ["sensor-\u0661"], "grammar", "wrong-characters"),
        ("a letter of another script", ["s\u0435nsor"], "grammar", "wrong-characters"),
        ("admin", ["admin"], "reserved", "reserved"),
        ("admin, with a line feed", ["admin\n"], "grammar", "looks-at-a-part"),
        ("a name that begins with admin", ["admin-2"], "ok", "reserved"),
        ("a name that ends with admin", ["sensor-admin"], "ok", "reserved"),
    )
)


def _check_names(lab: Lab) -> CheckResult:
    """Ask the reader's rule about many names."""
    return questioned(
        lab, "name_rule", NAMES,
        expected="count, grammar, reserved or ok, in that order of looking",
        looks={
            "too-strict": "this one is in order; what does the grammar allow?",
            "count": "how many names are there? That comes first, whatever they are",
            "wrong-length": "1 to 63 characters, both included",
            "looks-at-a-part": "does your pattern match *all* of it, to the last character?",
            "wrong-characters": "a-z, 0-9 and -, and which of them may come first? \\d and \\w mean more than that",
            "reserved": "one name is taken, and names that only look like it are not",
        },
        passed=f"{len(NAMES)} names, and the library's grammar says the same",
    )  # fmt: skip


CHECKS = (
    Check(
        "certificate-authority.1",
        "your root signed itself, and the linter finds nothing on it",
        (
            "x509.CertificateBuilder(issuer, subject, public_key, serial) takes the same name twice; two dates follow.",
            "add_extension takes the extension and critical=True or False. Two of the four are critical.",
            "sign(key, hash): SHA-384 goes with P-384. The serial number is x509.random_serial_number().",
        ),
        _check_root,
        why="What a root does not say critically, some program somewhere will not hold against anybody.",
        kind="fill-in",
        minutes=10,
    ),
    Check(
        "certificate-authority.2",
        "your rule says of many names what the library's grammar says",
        (
            "names is a list. How long may it be? That is the first question.",
            "One pattern says it all: [a-z0-9][a-z0-9-]{0,62}. Match the whole name with it.",
            "re.match looks at the beginning only, and $ matches before a last line feed. re.fullmatch does neither.",
        ),
        _check_names,
        why="The broker makes a user of that name, and rules make topics of the user.",
        kind="fill-in",
        minutes=6,
    ),
    *MORE,
)


LESSON = Lesson(
    slug="certificate-authority",
    title="Build an authority that a fleet can trust",
    minutes=60,
    claims=CLAIMS,
    predictions=PREDICTIONS,
    checks=CHECKS,
    quizzes={"questions": QUESTIONS},
    prepare=ready_authority,
)
