"""labkit.mqtt.contexts: whom a client believes, and which of our own files is to blame."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from labkit.errors import IdentityRefusedError
from labkit.mqtt import Endpoint, Identity, client_context, probe
from labkit.pki import Key
from tests.simulators.mqtt_peer import self_made_server, tls_peer

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.pki import Store


@pytest.mark.parametrize("tls", [None, "1.2", "1.3"])
def test_every_context_verifies(store: Store, tls: str | None) -> None:
    """There is no way to a context that does not check chain and name, or that speaks less than TLS 1.2."""
    context = client_context(store.trust_anchor, tls=tls)
    assert (ssl.CERT_REQUIRED, True) == (context.verify_mode, context.check_hostname)
    assert not context.hostname_checks_common_name
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("tls", ["1.1", "TLSv1.2", ""])
def test_unknown_versions_are_misuse(store: Store, tls: str) -> None:
    """A version of TLS that the course does not speak is a ValueError that lists the others."""
    with pytest.raises(ValueError, match=r"1\.2, 1\.3"):
        client_context(store.trust_anchor, tls=tls)


def test_a_common_name_is_no_host_name(tmp_path: Path) -> None:
    """A certificate that is called localhost by its common name alone does not pass for localhost."""
    for names, verdict in (((), ("tls", "server-wrong-name")), (("localhost",), ("mqtt", "not-mqtt"))):
        certificate, key = self_made_server(tmp_path, names=names)
        with tls_peer(
            certificate, key, lambda tls: [tls.recv(100), tls.sendall(b"HTTP"), tls.recv(1)]
        ) as peer:
            named = Endpoint(peer.endpoint.host, peer.endpoint.port, "localhost")
            outcome = probe(named, trust=certificate, timeout=2)
        assert verdict == (outcome.stage, outcome.reason)


@pytest.mark.parametrize(
    ("damage", "rule", "blamed"),
    [
        ("nothing", None, None),
        ("other-key", "key-mismatch", "key"),
        ("junk-key", "unreadable", "key"),
        ("encrypted-key", "unreadable", "key"),
        ("absent-key", "unreadable", "key"),
        ("junk-certificate", "unreadable", "certificate"),
        ("absent-certificate", "unreadable", "certificate"),
    ],
)
def test_the_file_to_blame_is_named(
    store: Store, tmp_path: Path, damage: str, rule: str | None, blamed: str | None
) -> None:
    """Of certificate and key, the one that is wrong is in the error, and no key material is."""
    device = store.issue_device("sensor-001")
    paths = {"certificate": tmp_path / "my.crt", "key": tmp_path / "my.key"}
    paths["certificate"].write_bytes(device.certificate.read_bytes())
    paths["key"].write_bytes(device.key.read_bytes())
    what, _, which = damage.partition("-")
    content = {
        "other": lambda: Key.generate().pem(),
        "junk": lambda: paths[which].read_bytes()[:90],
        "encrypted": lambda: Key.load(device.key.read_bytes(), path=device.key).pem(b"correct horse"),
    }
    if what == "absent":
        paths[which].unlink()
    elif which:
        paths[which].write_bytes(content[what]())
    who = Identity(paths["certificate"], paths["key"])
    if rule is None or blamed is None:
        assert client_context(store.trust_anchor, who)
        return
    with pytest.raises(IdentityRefusedError) as caught:
        client_context(store.trust_anchor, who)
    assert (rule, paths[blamed]) == (caught.value.rule, caught.value.path)
    assert "PRIVATE KEY" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b"no certificate at all"])
def test_a_trust_file_must_hold_certificates(tmp_path: Path, content: bytes | None) -> None:
    """Without trust anchors there is no context, rather than one that believes nobody or everybody."""
    trust = tmp_path / "ca.crt"
    if content is not None:
        trust.write_bytes(content)
    with pytest.raises(IdentityRefusedError) as caught:
        client_context(trust)
    assert ("unreadable", trust) == (caught.value.rule, caught.value.path)
