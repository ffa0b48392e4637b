"""Corners of the handshake that Mosquitto never shows, with openssl's own server at the other end."""

from __future__ import annotations

import re
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from labkit.clock import Deadline
from labkit.mqtt import Endpoint, Handshake, Relay, Secrets, read_handshake
from labkit.pki import Authority
from labkit.ports import is_listening, reserve_port
from labkit.processes import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.tool


@contextmanager
def s_server(folder: Path, *options: str) -> Iterator[Endpoint]:
    """Run openssl's server for the length of the block."""
    issued = Authority.new_root("Root").new_intermediate("CA").issue_server(["localhost"], ["127.0.0.1"])
    (folder / "chain.pem").write_bytes(issued.chain_pem)
    (folder / "key.pem").write_bytes(issued.key_pem)
    with reserve_port() as port:
        argv = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", "chain.pem", "-cert_chain", "chain.pem",
                "-key", "key.pem", "-quiet", "-rev", *options]  # fmt: skip
        with subprocess.Popen(
            argv, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as child:
            deadline = Deadline(10)
            while not is_listening(port) and not deadline.passed:
                deadline.pause()
            try:
                yield Endpoint("127.0.0.1", port)
            finally:
                child.terminate()


def recorded(endpoint: Endpoint, folder: Path, *options: str, said: bytes = b"Q\n") -> tuple[Handshake, str]:
    """Connect with openssl's client through a relay; return what was on the wire, and its own account."""
    with Relay(endpoint) as relay:
        argv = [
            "openssl",
            "s_client",
            "-connect",
            f"127.0.0.1:{relay.endpoint.port}",
            "-keylogfile",
            "keys",
            *options,
        ]
        told = run(argv, cwd=folder, stdin=said, check=False, timeout=20).stdout
        secrets = Secrets.parse((folder / "keys").read_text())
        return read_handshake(relay.last(), secrets=secrets), told


def names(seen: Handshake) -> list[str]:
    """Return the names of all messages."""
    return [message.name for message in seen.messages]


def test_a_wrong_guess_costs_a_round_trip(openssl: object, tmp_path: Path) -> None:
    """A server that wants another group says so in a HelloRetryRequest; the client waits twice, and all is opened."""
    with s_server(tmp_path, "-groups", "secp384r1") as endpoint:
        seen, _ = recorded(endpoint, tmp_path, "-tls1_3", "-groups", "X25519:secp384r1")
    assert names(seen).count("ClientHello") == 2
    assert "HelloRetryRequest" in names(seen)
    assert ("secp384r1", 2, True) == (seen.group, seen.round_trips, all(m.opened for m in seen.messages))
    assert "Finished" in names(seen)


def test_new_keys_in_the_middle_are_followed(openssl: object, tmp_path: Path) -> None:
    """After a KeyUpdate (RFC 8446 §4.6.3) what follows, the client's goodbye, is opened with the next key."""
    with s_server(tmp_path) as endpoint:
        seen, _ = recorded(endpoint, tmp_path, "-tls1_3", said=b"k\n")
    said = [m for m in seen.messages if m.direction == "client"]
    assert "KeyUpdate" in [m.name for m in said]
    assert ("Alert", "close_notify", True) == (said[-1].name, said[-1].detail["alert"], said[-1].opened)


@pytest.mark.parametrize(
    "suite", ["TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"]
)
def test_every_suite_of_13_is_opened(openssl: object, tmp_path: Path, suite: str) -> None:
    """Handshake and data are opened with each of the three."""
    with s_server(tmp_path) as endpoint:
        seen, _ = recorded(endpoint, tmp_path, "-tls1_3", "-ciphersuites", suite, said=b"hello\nQ\n")
    assert suite == seen.suite
    assert any(b"hello" in m.content for m in seen.messages)


@pytest.mark.parametrize("suite", ["ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES256-GCM-SHA384"])
def test_aead_suites_of_12_are_opened_with_the_key_log(openssl: object, tmp_path: Path, suite: str) -> None:
    """With forward secrecy too, whoever has the key log reads everything."""
    with s_server(tmp_path) as endpoint:
        seen, _ = recorded(endpoint, tmp_path, "-tls1_2", "-cipher", suite, said=b"hello\nQ\n")
    assert any(b"hello" in m.content for m in seen.messages)


def test_cbc_stays_closed_and_is_named(openssl: object, tmp_path: Path) -> None:
    """A suite that we don't open is read as far as it is in the open, and no further."""
    with s_server(tmp_path) as endpoint:
        seen, _ = recorded(
            endpoint, tmp_path, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA", said=b"hello\nQ\n"
        )
    assert seen.suite == "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"
    assert not any(m.content for m in seen.messages)


@pytest.mark.parametrize("version", ["1_2", "1_3"])
def test_openssls_trace_has_the_same_hellos(openssl: object, tmp_path: Path, version: str) -> None:
    """Suites offered and chosen, in their order, are those of s_client -trace."""
    with s_server(tmp_path) as endpoint:
        seen, told = recorded(endpoint, tmp_path, f"-tls{version}", "-trace")
    if "cipher_suites" not in told:
        pytest.skip("this openssl was built without -trace")
    offered, chosen = told.split("cipher_suites", 1)[1].split("compression_methods", 1)
    codes = re.findall(r"\{0x([0-9A-F]{2}), 0x([0-9A-F]{2})\} (\S+)", offered)
    known = [name for name in seen.offered_suites if not name.startswith("0x")]
    assert len(codes) == len(seen.offered_suites)
    assert known == [
        name
        for (_, _, name), ours in zip(codes, seen.offered_suites, strict=True)
        if not ours.startswith("0x")
    ]
    (_high, _low, name) = re.findall(r"cipher_suite \{0x([0-9A-F]{2}), 0x([0-9A-F]{2})\} (\S+)", chosen)[0]
    assert name == seen.suite
