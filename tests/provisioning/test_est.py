"""Enrolment over Secure Transport, as curl and openssl speak it: clients that are not ours."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from labkit.pki import Key, Store, make_request
from labkit.pki.template import common_name
from labkit.processes import run
from labkit.provisioning.est import PATH
from labkit.scenarios.provisioning import ProvisioningSite, attempt, provisioning_site
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

POST = (
    "-H",
    "Content-Type: application/pkcs10",
    "-H",
    "Content-Transfer-Encoding: base64",
    "--data-binary",
)
SUBJECT = "/O=IoT Device Security Labs/CN="


def est(office: ProvisioningSite, path: str, *options: str) -> tuple[int, bytes]:
    """Ask with curl, a client that is not ours, and return status and body."""
    url = f"{office.service.url.replace('127.0.0.1', 'localhost')}/.well-known/est/{path}"
    trust = ("--cacert", str(office.store.trust_anchor))
    out = office.store.workspace.path("scratch", "est.out")
    ended = run(["curl", "-sS", *trust, "-o", str(out), "-w", "%{http_code}", *options, url], timeout=30)
    return int(ended.stdout), out.read_bytes()


def request_of(openssl: Path, stem: Path, subject: str) -> Path:
    """Make a key and a request with openssl, and return the request's file, in base64."""
    key, der, text = (stem.with_suffix(f".{kind}") for kind in ("key", "der", "b64"))
    run([str(openssl), "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
         str(key), "-subj", subject, "-outform", "DER", "-out", str(der)])  # fmt: skip
    run([str(openssl), "base64", "-in", str(der), "-out", str(text)])
    return text


def identity_of(body: bytes, stem: Path, name: str) -> tuple[str, ...]:
    """Write what came back as a file for curl, leaf first, and return curl's options for it."""
    # A PKCS #7 is a set, in no order; a client presents its own certificate first.
    found = pkcs7.load_der_pkcs7_certificates(_decoded(body))
    leaf_first = sorted(found, key=lambda c: common_name(c.subject) != name)
    pem = stem.with_suffix(".pem")
    pem.write_bytes(b"".join(c.public_bytes(Encoding.PEM) for c in leaf_first))
    return ("--cert", str(pem), "--key", str(stem.with_suffix(".key")))


@pytest.mark.tool
def test_est_as_others_speak_it(office: ProvisioningSite, tmp_path: Path, openssl: Path) -> None:
    """curl and openssl enrol and renew over EST, and openssl reads the PKCS #7 that comes back."""
    folder = office.store.workspace.path("scratch")
    folder.mkdir(exist_ok=True)
    status, body = est(office, "cacerts")
    assert (200, 2) == (status, len(pkcs7.load_der_pkcs7_certificates(_decoded(body))))

    def request(name: str, subject: str) -> Path:
        return request_of(openssl, tmp_path / name, subject)

    token = office.token("est-device")
    sent = request("one", "/CN=whatever")
    assert 401 == est(office, "simpleenroll", *POST, f"@{sent}")[0]
    assert 401 == est(office, "simpleenroll", *POST, f"@{sent}", "-u", f"another:{token}")[0]
    assert 415 == est(office, "simpleenroll", "--data-binary", f"@{sent}", "-u", f"est-device:{token}")[0]
    status, body = est(office, "simpleenroll", *POST, f"@{sent}", "-u", f"est-device:{token}")
    assert 200 == status
    (tmp_path / "one.p7").write_bytes(_decoded(body))
    printed = run(
        [str(openssl), "pkcs7", "-inform", "DER", "-in", str(tmp_path / "one.p7"), "-print_certs"]
    ).stdout
    assert "CN = est-device" in printed
    who = identity_of(body, tmp_path / "one", "est-device")
    office.act("est-device", "renewal")
    other = request("two", "/CN=est-device")  # not the whole subject, which EST wants
    assert 400 == est(office, "simplereenroll", *POST, f"@{other}", *who)[0]
    same = request("three", "/O=IoT Device Security Labs/CN=est-device")
    status, body = est(office, "simplereenroll", *POST, f"@{same}", *who)
    assert (200, 2) == (status, len(pkcs7.load_der_pkcs7_certificates(_decoded(body))))
    assert 401 == est(office, "simplereenroll", *POST, f"@{same}")[0]


@pytest.mark.tool
def test_a_device_that_knows_only_est_goes_on(
    office: ProvisioningSite, tmp_path: Path, openssl: Path
) -> None:
    """EST has no confirmation: the new certificate is confirmed when it renews itself, and the old one is superseded."""
    office.store.workspace.path("scratch").mkdir(exist_ok=True)
    token = office.token("est-only")
    sent = request_of(openssl, tmp_path / "0", f"{SUBJECT}est-only")
    status, body = est(office, "simpleenroll", *POST, f"@{sent}", "-u", f"est-only:{token}")
    assert 200 == status
    for number in (1, 2, 3):
        office.act("est-only", "renewal")
        who = identity_of(body, tmp_path / str(number - 1), "est-only")
        sent = request_of(openssl, tmp_path / str(number), f"{SUBJECT}est-only")
        status, body = est(office, "simplereenroll", *POST, f"@{sent}", *who)
        assert 200 == status, body
    found = [each["status"] for each in office.show("est-only")["certificates"]]
    assert ["ended", "ended", "active", "pending"] == found
    first = identity_of(body, tmp_path / "3", "est-only")
    sent = request_of(openssl, tmp_path / "4", f"{SUBJECT}est-only")
    assert (
        403 == est(office, "simplereenroll", *POST, f"@{sent}", *first)[0]
    )  # too early, and it is confirmed
    found = [each["status"] for each in office.show("est-only")["certificates"]]
    assert ["ended", "ended", "ended", "active"] == found


def test_a_first_question_is_no_wrong_password(tmp_path: Path) -> None:
    """Who asks without id and token, as clients do at first, is challenged and not counted; a wrong token is."""
    store = Store(Workspace.open(tmp_path / "workspace"))
    limits = {"requests_per_minute": 0.0, "failures_per_minute": 2.0}
    with provisioning_site(store, limits=limits) as office:
        for _ in range(4):
            reply = office.anyone.send("POST", f"{PATH}/simpleenroll", b"x", media_type="application/pkcs10")
            assert (401, "credentials-missing") == (reply.status, reply.json()["code"])
        csr = make_request(Key.generate(), "x")
        wrong = [attempt(lambda: office.anyone.provision("labtok_x", csr)).reason for _ in range(3)]
        assert ["token-unknown", "token-unknown", "rate-limited"] == wrong


def _decoded(body: bytes) -> bytes:
    return base64.b64decode(body)
