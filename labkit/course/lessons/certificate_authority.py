"""Lesson certificate-authority: built by hand, judged by a linter, robbed, and still trusted."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from labkit.clock import SYSTEM_CLOCK
from labkit.course.lab import ready_authority
from labkit.course.lesson import Check, CheckResult, Claim, Lesson, Prediction
from labkit.course.lessons.certificate_authority_questions import QUESTIONS
from labkit.errors import NameRefusedError
from labkit.outcome import Severity
from labkit.pki import Store, flawed
from labkit.pki.identities import read_certificate
from labkit.pki.lint import lint
from labkit.pki.names import device_id
from labkit.workspace import Workspace

if TYPE_CHECKING:
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


def _true_verdict(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    if len(names) != 1:
        return "count"
    try:
        device_id(str(names[0].value))
    except NameRefusedError as error:
        return "reserved" if error.rule == "reserved" else "grammar"
    return "ok"


def _check_root(lab: Lab) -> CheckResult:
    """Lint the reader's root, and see that it signed itself."""
    path = lab.workspace.path(SHELF, "root.crt")
    if not path.exists():
        return CheckResult("not-attempted", expected="complete make_root(), then run the cell below it")
    certificate = read_certificate(path)
    try:
        certificate.verify_directly_issued_by(certificate)
    except Exception:  # noqa: BLE001 - of several libraries' kinds; the answer is the same
        return CheckResult(
            "failed",
            observed="a certificate that its own key did not sign",
            expected="a root: subject and issuer are the same, and so are the keys",
            advice="the key that signs is the key whose public half is in the certificate",
        )
    found = [
        f
        for f in lint(path.read_bytes(), role="root", now=SYSTEM_CLOCK.now())
        if f.severity is not Severity.INFO
    ]
    if found:
        return CheckResult(
            "failed",
            observed=f"{found[0].rule}: {found[0].message}",
            expected="a root without findings",
            advice=found[0].advice,
        )
    return CheckResult(
        "passed", observed="a root that says what it is, critically, and the linter has nothing to add"
    )


def _check_names(lab: Lab) -> CheckResult:
    """Compare the reader's verdicts with the library's grammar, specimen by specimen."""
    try:
        heard: Any = lab.workspace.read_json(f"{SHELF}/names.json")
    except FileNotFoundError:
        return CheckResult("not-attempted", expected="complete name_rule(), then run the cell below it")
    heard = heard if isinstance(heard, dict) else {}
    for path in sorted(lab.workspace.path(SHELF, "specimens").glob("*.der")):
        label = path.stem.replace("-", " ")
        certificate = x509.load_der_x509_certificate(path.read_bytes())
        if heard.get(label) != _true_verdict(certificate):
            return CheckResult(
                "failed",
                observed=f"for {label!r} your rule says {heard.get(label)!r}",
                expected="count, grammar, reserved or ok, in that order of looking",
                advice=f"its subject is {certificate.subject.rfc4514_string()!r}; does your pattern match *all* of it?",
            )
    return CheckResult("passed", observed="five specimens, and the library's grammar says the same")


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
    ),
    Check(
        "certificate-authority.2",
        "your rule says of five specimens what the library's grammar says",
        (
            "certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME) is a list. How long may it be?",
            "One pattern says it all: [a-z0-9][a-z0-9-]{0,62}. Match the whole name with it.",
            "re.match looks at the beginning only, and $ matches before a last line feed. re.fullmatch does neither.",
        ),
        _check_names,
    ),
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
