"""Our certificates before judges that we did not write: openssl, and the strict verifier of newer Pythons."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from labkit.clock import SYSTEM_CLOCK
from labkit.errors import ChainInvalidError, ToolFailedError
from labkit.pki import Store, describe, flawed, openssl, verify_chain
from labkit.processes import find_tool, run

if TYPE_CHECKING:
    from labkit.pki import IdentityFiles, Issued
    from labkit.workspace import Workspace

pytestmark = pytest.mark.tool


def asked(store: Store, certificate: Path, purpose: str = "sslclient") -> openssl.Verdict:
    """Return openssl's verdict with the lab's root as anchor."""
    return openssl.verify(certificate, trust=store.trust_anchor, untrusted=store.intermediate, purpose=purpose)


def test_good_chains_hold(openssl: Path, store: Store) -> None:
    """openssl accepts device, operator and broker for their purposes, strictly."""
    assert asked(store, store.issue_device("sensor-001").certificate).ok
    assert asked(store, store.issue_operator("admin").certificate).ok
    assert asked(store, store.server().certificate, "sslserver").ok


@pytest.mark.parametrize(
    ("defect", "code", "rule"),
    [("expired", 10, "expired"), ("not_yet_valid", 9, "not-yet-valid"), ("rogue", 20, "path"), ("self_signed", 18, "path")],
)
def test_flawed_ones_are_refused_for_their_defect(
    openssl: Path, store: Store, defect: str, code: int, rule: str
) -> None:
    """Each flawed certificate is refused by openssl and by us for its own defect."""
    maker = getattr(flawed, defect)
    issued: Issued = maker("sensor-001") if defect == "self_signed" else maker(store.authority(), "sensor-001")
    files = store.save_intruder("intruder", issued)
    assert code == asked(store, files.certificate).code
    with pytest.raises(ChainInvalidError) as caught:
        verify_chain(
            issued.certificate, [store.certificate("intermediate")], [store.certificate("root")],
            purpose="client", now=SYSTEM_CLOCK.now(),
        )  # fmt: skip
    assert rule == caught.value.rule


def test_flawed_ones_look_right(store: Store) -> None:
    """A rogue's certificate has our names to the letter, and is not in our ledger."""
    before = store.ledger.entries()
    rogue = describe(flawed.rogue(store.authority(), "sensor-001").certificate)
    assert before == store.ledger.entries()
    true = describe(store.certificate(store.issue_device("sensor-001").name))
    assert (true.subject, true.issuer) == (rogue.subject, rogue.issuer)


def test_purpose_is_judged(openssl: Path, store: Store) -> None:
    """The broker's certificate is refused as a client's, by openssl and by us."""
    assert asked(store, store.server().certificate).code == 26
    with pytest.raises(ChainInvalidError) as caught:
        verify_chain(
            store.certificate("broker"), [store.certificate("intermediate")], [store.certificate("root")],
            purpose="client", now=SYSTEM_CLOCK.now(),
        )  # fmt: skip
    assert caught.value.rule == "purpose"


def test_wrong_name_is_judged(store: Store) -> None:
    """A server is accepted under its names and addresses and under no other."""
    chain = ([store.certificate("intermediate")], [store.certificate("root")])
    for name in ("localhost", "broker.local", "127.0.0.1", "::1"):
        verify_chain(store.certificate("broker"), *chain, purpose="server", now=SYSTEM_CLOCK.now(), name=name)
    with pytest.raises(ChainInvalidError) as caught:
        verify_chain(store.certificate("broker"), *chain, purpose="server", now=SYSTEM_CLOCK.now(), name="evil.local")
    assert caught.value.rule == "path"


def test_openssl_reads_what_we_wrote(openssl: Path, store: Store) -> None:
    """openssl prints the extensions that we put in, with their criticality."""
    files: IdentityFiles = store.issue_device("sensor-001")
    text = run(["openssl", "x509", "-in", files.certificate, "-noout", "-text"]).stdout
    for words in ("Key Usage: critical", "Basic Constraints: critical", "TLS Web Client Authentication", "CA:FALSE"):
        assert words in text


def test_no_verdict_is_an_error(openssl: Path, store: Store, tmp_path: Path) -> None:
    """A file that openssl can't read gives no verdict, and that is said."""
    (tmp_path / "x.crt").write_text("nothing")
    with pytest.raises(ToolFailedError, match="no verdict"):
        asked(store, tmp_path / "x.crt")


def test_chain_in_one_file_does_not_help(openssl: Path, store: Store) -> None:
    """openssl verify reads the first certificate of a file only: without -untrusted the chain breaks."""
    from labkit.pki.openssl import verify

    assert verify(store.server_chain, trust=store.trust_anchor).code == 20
    assert verify(store.server_chain, trust=store.trust_anchor, untrusted=store.server_chain).ok


@pytest.mark.parametrize("rsa", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_strict_python_accepts_the_chain(workspace: Workspace, rsa: bool) -> None:  # noqa: FBT001
    """Python 3.13's default verification, which is strict about RFC 5280, accepts our server and our client."""
    pyenv = sorted(Path.home().glob(".pyenv/versions/3.1[3-9]*/bin"))
    python = next((p for p in (find_tool("python3.14"), find_tool("python3.13"), *_pythons(pyenv)) if p and _starts(p)), None)
    if python is None:
        pytest.skip("no Python 3.13 or newer here")
    store = Store(workspace)
    store.create(passphrase=b"x", rsa=rsa)
    device = store.issue_device("sensor-001")
    program = (
        "import ssl, sys; chain, key, ca, crt, dkey, bundle = sys.argv[1:]\n"
        "server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=bundle)\n"
        "server.load_cert_chain(chain, key); server.verify_mode = ssl.CERT_REQUIRED\n"
        "client = ssl.create_default_context(cafile=ca); client.load_cert_chain(crt, dkey)\n"
        "assert client.verify_flags & ssl.VERIFY_X509_STRICT\n"
        "a, b, c, d = (ssl.MemoryBIO() for _ in range(4))\n"
        "s, k = server.wrap_bio(a, b, True), client.wrap_bio(c, d, server_hostname='localhost')\n"
        "for _ in range(4):\n"
        "    for end in (k, s):\n"
        "        try: end.do_handshake()\n"
        "        except ssl.SSLWantReadError: pass\n"
        "        a.write(d.read()); c.write(b.read())\n"
        "print(s.getpeercert()['subject'][-1][0][1])"
    )
    files = (store.server_chain, store.server().key, store.trust_anchor, device.certificate, device.key, store.trust_bundle)
    ended = subprocess.run([python, "-c", program, *files], capture_output=True, text=True, check=False)
    assert (ended.stdout.strip(), ended.stderr) == ("sensor-001", "")


def _pythons(folders: list[Path]) -> list[Path]:
    return [folder / "python3" for folder in folders]


def _starts(python: Path) -> bool:
    return run([python, "-c", "import ssl"], check=False).returncode == 0
