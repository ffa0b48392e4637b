"""First boot: a token and a request become a certificate, once."""

from __future__ import annotations

import datetime as dt
import json
import socket
import ssl
import tarfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from labkit.clock import Deadline
from labkit.devices import Registry, State, identify
from labkit.errors import RefusedError
from labkit.mqtt import Identity
from labkit.pki import DEVICE, Entry, IdentityFiles, Key, make_request, openssl
from labkit.pki.flawed import craft
from labkit.pki.template import common_name
from labkit.processes import run
from labkit.provisioning.client import Client
from labkit.provisioning.factory import Batch, Factory
from labkit.scenarios.provisioning import ProvisioningSite, attempt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from labkit.outcome import Outcome


def registry(office: ProvisioningSite) -> Registry:
    """Return the service's registry, to look into it."""
    return Registry.open(office.store.workspace.path("registry/fleet.db"))


def counts(office: ProvisioningSite) -> tuple[int, int]:
    """Return how many certificates there are, and how many tokens were spent."""
    with registry(office) as found, found.read() as tx:
        spent = [
            token for device in tx.fleet.list() for token in tx.tokens.of(device.device_id) if token.used_at
        ]
        return len(tx.certificates.entries()), len(spent)


def test_first_boot(office: ProvisioningSite, tmp_path: Path) -> None:
    """A device gets a certificate that openssl verifies, and erases its token."""
    slots = office.enrolled("first-boot")
    slot = slots.current
    assert slot is not None
    assert "first-boot" == common_name(slot.certificate.subject)
    assert slots.token is None
    leaf = tmp_path / "leaf.crt"
    leaf.write_bytes(slot.certificate.public_bytes(serialization.Encoding.PEM))
    verdict = openssl.verify(leaf, trust=office.store.trust_anchor, untrusted=slot.chain, purpose="sslclient")
    assert verdict.ok, verdict
    assert State.ENROLLED.value == office.show("first-boot")["state"]


def test_the_token_decides_on_the_name(office: ProvisioningSite) -> None:
    """Whatever subject and extensions a request asks for, the certificate has the token's device and our profile."""
    key = ec.generate_private_key(ec.SECP256R1())
    wanted = [("admin",), ("sensor-001/commands",), ("+",), ("x" * 64,), ("a", "admin")]
    for number, names in enumerate(wanted):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, n) for n in names])
        builder = (
            x509.CertificateSigningRequestBuilder(subject)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("broker.local")]), critical=False)
        )
        pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        told = office.anyone.provision(office.token(f"named-{number}"), pem)
        made = x509.load_pem_x509_certificate(told["certificate"].encode())
        assert f"named-{number}" == common_name(made.subject)
        assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        san = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert [f"named-{number}"] == san.get_values_for_type(x509.DNSName)
        assert {"basicConstraints", "subjectAltName"} <= set(told["ignored"])


def test_a_lost_reply_is_given_again(office: ProvisioningSite) -> None:
    """The same token with the same key gets the identical certificate; nothing more is issued or spent."""
    token, key = office.token("lost-reply"), Key.generate()
    first = office.anyone.provision(token, make_request(key, "lost-reply"))
    before = counts(office)
    again = office.anyone.provision(token, make_request(key, "something-else"))
    assert (first["certificate"], False, True) == (again["certificate"], first["repeated"], again["repeated"])
    assert before == counts(office)


def test_a_spent_token_is_spent(office: ProvisioningSite) -> None:
    """With another key it is refused, leaves a line in the trail, and nothing is issued; the control went through."""
    token = office.token("spent")
    assert office.ask(token).accepted
    before = counts(office)
    assert "token-spent" == office.ask(token).reason
    assert before == counts(office)
    with registry(office) as found, found.read() as tx:
        assert "token-reused" == tx.trail.events("spent")[-1].action


def test_tokens_end(office: ProvisioningSite) -> None:
    """A token that has run out, one that was taken back, and one that never was are told apart; a good one counts."""
    late, withdrawn, good = office.token("late", hours=1e-9), office.token("withdrawn"), office.token("good")
    office.operator.call("DELETE", "/devices/withdrawn/tokens")
    before = counts(office)
    assert "token-expired" == office.ask(late).reason
    assert "token-revoked" == office.ask(withdrawn).reason
    assert "token-unknown" == office.ask(good[:-1] + ("A" if good[-1] != "A" else "B")).reason
    assert "token-unknown" == office.ask("x").reason
    assert before == counts(office)
    assert office.ask(good).accepted


def _request(key: object, name: str = "sensor-001") -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    signed = x509.CertificateSigningRequestBuilder(subject).sign(key, digest)  # type: ignore[call-overload]
    pem: bytes = signed.public_bytes(serialization.Encoding.PEM)
    return pem


def test_requests_that_prove_nothing(office: ProvisioningSite) -> None:
    """Each request that is wrong is refused for what is wrong with it, the token stays good, and then it counts."""
    token, key = office.token("hostile"), ec.generate_private_key(ec.SECP256R1())
    good = _request(key)
    der = bytearray(x509.load_pem_x509_csr(good).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    broken = ssl.DER_cert_to_PEM_cert(bytes(der)).replace("CERTIFICATE", "CERTIFICATE REQUEST").encode()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    cases = {
        "csr-not-one-request": [
            good + good,
            good + private,
            b"nothing",
            b"\0" + b"x" * 10,
            b"-----BEGIN X-----",
        ],
        "csr-unreadable": [
            good[:150] + b"\n-----END CERTIFICATE REQUEST-----\n",
            good.replace(b"M", b"?", 3),
        ],
        "csr-no-proof": [broken],
        "key-rsa-too-short": [_request(rsa.generate_private_key(65537, 1024))],
        "key-curve": [_request(ec.generate_private_key(curve)) for curve in (ec.SECP256K1(), ec.SECP384R1())],
        "key-kind": [_request(ed25519.Ed25519PrivateKey.generate())],
    }
    before = counts(office)
    for reason, requests in cases.items():
        for pem in requests:
            outcome = attempt(lambda pem=pem: office.anyone.provision(token, pem))  # type: ignore[misc]
            assert ("http", reason) == (outcome.stage, outcome.reason), pem
    assert before == counts(office)
    assert attempt(lambda: office.anyone.provision(token, good)).accepted


@pytest.mark.tool
def test_a_key_of_a_bygone_age(office: ProvisioningSite, tmp_path: Path, openssl: Path) -> None:
    """RSA with 512 bits, which openssl still makes, is refused for its length; the token stays good."""
    token, request = office.token("rsa-512"), tmp_path / "request.pem"
    argv = [str(openssl), "req", "-new", "-newkey", "rsa:512", "-nodes", "-subj", "/CN=rsa-512"]
    run([*argv, "-keyout", str(tmp_path / "key.pem"), "-out", str(request)])
    refused = attempt(lambda: office.anyone.provision(token, request.read_bytes()))
    assert "key-rsa-too-short" == refused.reason
    assert office.ask(token).accepted


def test_a_key_is_one_devices(office: ProvisioningSite) -> None:
    """A second device can't have the key of the first, and its token stays good for another key."""
    key = Key.generate()
    assert office.ask(office.token("key-one"), key=key).accepted
    token = office.token("key-two")
    assert "key-reused" == office.ask(token, key=key).reason
    assert office.ask(token).accepted


def test_a_new_token_replaces_the_old_identity(office: ProvisioningSite) -> None:
    """Who enrols again has one certificate that counts; the one before is refused as superseded."""
    old = office.enrolled("again").current
    assert old is not None
    chain, key = old.chain.read_bytes(), old.key.read_bytes()
    office.enrolled("again")
    folder = office.store.workspace.path("scratch")
    (folder / "old.crt").write_bytes(chain)
    (folder / "old.key").write_bytes(key)
    before = Client(
        office.service.url,
        trust=office.store.trust_anchor,
        identity=Identity(folder / "old.crt", folder / "old.key"),
    )
    assert "certificate-superseded" == attempt(lambda: before.call("GET", "/config")).reason
    now = office.slots("again").current
    assert now is not None
    assert attempt(lambda: office.anyone.as_device(now).call("GET", "/config")).accepted


def test_operators_are_of_another_authority(office: ProvisioningSite) -> None:
    """A device's certificate, even one called admin, or none at all opens nothing administrative."""
    slot = office.enrolled("ambitious").current
    assert slot is not None
    impostor = office.client(office.store.identity("admin"))  # of the devices' authority
    calls = [
        ("POST", "/tokens", {"device_ids": ["ambitious"]}),
        ("GET", "/devices", None),
        ("GET", "/devices/ambitious", None),
    ]
    before = counts(office)
    for method, path, value in calls:
        for client, reason in (
            (office.anyone, "certificate-missing"),
            (office.anyone.as_device(slot), "not-an-operator"),
            (impostor, "not-an-operator"),
        ):
            outcome = attempt(lambda c=client, m=method, p=path, v=value: c.call(m, p, v))  # type: ignore[misc]
            assert reason == outcome.reason
        assert attempt(lambda m=method, p=path, v=value: office.operator.call(m, p, v)).accepted  # type: ignore[misc]
    assert before == counts(office)


def test_a_header_proves_nothing(office: ProvisioningSite) -> None:
    """Who writes a certificate into a header instead of presenting it is nobody."""
    files = office.store.workspace.path("operators/admin.crt").read_text().replace("\n", "%0A")
    names = (
        "X-Client-Cert",
        "X-SSL-Client-Cert",
        "Ssl-Client-Cert",
        "X-Forwarded-Client-Cert",
        "Client-Cert",
    )
    headers = {**dict.fromkeys(names, files), "X-Forwarded-For": "10.0.0.1", "X-Forwarded-Proto": "https"}
    reply = office.anyone.send("GET", "/devices", headers=headers)
    assert (401, "certificate-missing") == (reply.status, reply.json()["code"])
    assert '"127.0.0.1"' in office.decisions.read_text().splitlines()[-1]


def test_a_device_from_the_factory_reports_for_duty(office: ProvisioningSite) -> None:
    """What left the line with its certificate fetches its configuration with it, and is enrolled by that."""
    with registry(office) as found:
        report = Factory(office.store, found).run(Batch("duty", "duty-", 1), executor=ThreadPoolExecutor(1))
    assert "made" == office.show("duty-001")["state"]
    bundle = office.store.workspace.path("scratch", "duty.pem")
    with tarfile.open(report.archive) as archive:
        content = archive.extractfile("duty-001.pem")
        assert content
        bundle.parent.mkdir(exist_ok=True)
        bundle.write_bytes(content.read() + office.store.intermediate.read_bytes())
    told = office.client(IdentityFiles("duty-001", bundle, bundle)).call("GET", "/config")
    assert ("duty-001", "devices/duty-001/telemetry") == (told["device_id"], told["topics"]["telemetry"])
    assert "enrolled" == office.show("duty-001")["state"]


def test_a_resumed_session_shows_an_old_certificate(office: ProvisioningSite) -> None:
    """A TLS 1.2 session goes on after its certificate has run out; the service looks at the date itself."""
    issuer = office.store.authority()
    # Validity begins five minutes before `start`; this one ends in four seconds.
    start = dt.datetime.now(dt.UTC) - dt.timedelta(days=1) + dt.timedelta(minutes=5, seconds=4)
    short = craft(issuer, "resumed", start=start, profile=replace(DEVICE, days=1))
    entry = Entry.of(
        short.certificate, short.key.public, name="resumed", profile="device", issuer=issuer.name
    )
    with registry(office) as found, found.begin() as tx:
        tx.fleet.add([identify("resumed")], actor="test")
        tx.certificates.record([entry], now=tx.now)
    files = office.store.save_intruder("resumed", short)
    context = ssl.create_default_context(cafile=str(office.store.trust_anchor))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(files.certificate, files.key)
    with ask_for_config(office, context, None) as first:
        assert b"200" == first.recv(1000)[9:12]
        deadline = Deadline((short.certificate.not_valid_after_utc - dt.datetime.now(dt.UTC)).total_seconds())
        while not deadline.passed:
            deadline.pause(0.05)
        with ask_for_config(office, context, first.session) as second:
            assert second.session_reused
            assert b"certificate-expired" in second.makefile("rb").read()
    with (
        pytest.raises(ssl.SSLError),
        ask_for_config(office, context, None) as third,
    ):  # the control: TLS itself
        third.recv(1)


@contextmanager
def ask_for_config(
    office: ProvisioningSite, context: ssl.SSLContext, session: ssl.SSLSession | None
) -> Iterator[ssl.SSLSocket]:
    """Connect, ask for the configuration, and let the reply be read."""
    with (
        socket.create_connection(("127.0.0.1", office.service.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost", session=session) as secure,
    ):
        secure.sendall(b"GET /config HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        yield secure


def test_operators_are_no_devices(office: ProvisioningSite) -> None:
    """An operator's certificate can't renew or fetch a device's configuration, and neither can one without a record."""
    assert "not-a-device" == attempt(lambda: office.operator.call("GET", "/config")).reason
    stranger = office.client(office.store.identity("not-in-registry"))
    assert "certificate-unknown" == attempt(lambda: stranger.call("GET", "/config")).reason


def test_one_log_line_a_decision(office: ProvisioningSite) -> None:
    """Each request leaves one line with its code, and none has the token or a key in it."""
    token = office.token("logged")
    lines = len(office.decisions.read_text().splitlines())
    key = Key.generate()
    assert office.ask(token, key=key).accepted
    office.ask(token, key=key)
    office.ask(token)
    fresh = [json.loads(line) for line in office.decisions.read_text().splitlines()[lines:]]
    assert [("issued", 200), ("repeated", 200), ("token-spent", 409)] == [
        (e["code"], e["status"]) for e in fresh
    ]
    assert ["logged", "logged", ""] == [e["subject"] for e in fresh]
    everything = (
        office.decisions.read_text() + office.store.workspace.path("registry/service.log").read_text()
    )
    assert token not in everything
    assert "PRIVATE" not in everything


def test_of_eight_at_once_one_gets_it(office: ProvisioningSite) -> None:
    """Eight clients with a key each race for one token: one certificate, seven refusals, one spent token."""
    token, before = office.token("raced"), counts(office)

    def ask(_: int) -> Outcome:
        return office.ask(token)

    with ThreadPoolExecutor(8) as pool:
        found = [outcome.reason for outcome in pool.map(ask, range(8))]
    assert {"accepted": 1, "token-spent": 7} == {reason: found.count(reason) for reason in set(found)}
    assert (before[0] + 1, before[1] + 1) == counts(office)


def test_what_is_refused_says_what_to_do(office: ProvisioningSite) -> None:
    """A refusal is a problem document with a stable code and advice, and is never to be cached."""
    reply = office.anyone.send("POST", "/provision", b'{"token": "x"}', media_type="application/json")
    told = reply.json()
    assert (400, "application/problem+json", "malformed", 400) == (
        reply.status, reply.media_type, told["code"], told["status"],
    )  # fmt: skip
    assert {"type", "title", "advice", "detail"} <= told.keys()


def test_the_clients_error_carries_the_code(office: ProvisioningSite) -> None:
    """A refusal comes out of the client as an error with the service's code and advice."""
    with pytest.raises(RefusedError) as caught:
        office.anyone.provision("nonsense", make_request(Key.generate(), "x"))
    assert "token-unknown" == caught.value.code
    assert caught.value.advice
