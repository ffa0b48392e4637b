"""Our certificates before judges that we did not write: openssl, and the strict verifier of newer Pythons."""

from __future__ import annotations

import datetime as dt
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from labkit.clock import SYSTEM_CLOCK
from labkit.errors import ChainInvalidError, ToolFailedError
from labkit.pki import Store, flawed, openssl, verify_chain
from labkit.processes import find_tool, run

if TYPE_CHECKING:
    from labkit.pki import IdentityFiles, Issued
    from labkit.workspace import Workspace

pytestmark = pytest.mark.tool


def asked(store: Store, certificate: Path, purpose: str = "sslclient") -> openssl.Verdict:
    """Return openssl's verdict with the lab's root as anchor."""
    return openssl.verify(
        certificate, trust=store.trust_anchor, untrusted=store.intermediate, purpose=purpose
    )


def test_good_chains_hold(openssl: Path, store: Store) -> None:
    """The command accepts device, operator and broker for their purposes, strictly."""
    assert asked(store, store.issue_device("sensor-001").certificate).ok
    assert asked(store, store.issue_operator("admin").certificate).ok
    assert asked(store, store.server().certificate, "sslserver").ok


@pytest.mark.parametrize(
    ("defect", "code", "rule"),
    [
        ("expired", 10, "expired"),
        ("not_yet_valid", 9, "not-yet-valid"),
        ("rogue", 20, "path"),
        ("self_signed", 18, "path"),
    ],
)
def test_flawed_ones_are_refused_for_their_defect(
    openssl: Path, store: Store, defect: str, code: int, rule: str
) -> None:
    """Each flawed certificate is refused by openssl and by us for its own defect."""
    maker = getattr(flawed, defect)
    issued: Issued = (
        maker("sensor-001") if defect == "self_signed" else maker(store.authority(), "sensor-001")
    )
    files = store.save_intruder("intruder", issued)
    assert code == asked(store, files.certificate).code
    with pytest.raises(ChainInvalidError) as caught:
        verify_chain(
            issued.certificate, [store.certificate("intermediate")], [store.certificate("root")],
            purpose="client", now=SYSTEM_CLOCK.now(),
        )  # fmt: skip
    assert rule == caught.value.rule


def test_purpose_is_judged(openssl: Path, store: Store) -> None:
    """The broker's certificate is refused as a client's, by openssl and by us."""
    assert asked(store, store.server().certificate).code == 26
    with pytest.raises(ChainInvalidError) as caught:
        verify_chain(
            store.certificate("broker"), [store.certificate("intermediate")], [store.certificate("root")],
            purpose="client", now=SYSTEM_CLOCK.now(),
        )  # fmt: skip
    assert caught.value.rule == "purpose"


def test_openssl_reads_what_we_wrote(openssl: Path, store: Store) -> None:
    """The command prints the extensions that we put in, with their criticality."""
    files: IdentityFiles = store.issue_device("sensor-001")
    text = run(["openssl", "x509", "-in", files.certificate, "-noout", "-text"]).stdout
    for words in (
        "Key Usage: critical",
        "Basic Constraints: critical",
        "TLS Web Client Authentication",
        "CA:FALSE",
    ):
        assert words in text


def test_no_verdict_is_an_error(openssl: Path, store: Store, tmp_path: Path) -> None:
    """A file that openssl can't read gives no verdict, and that is said."""
    (tmp_path / "x.crt").write_text("nothing")
    with pytest.raises(ToolFailedError, match="no verdict"):
        asked(store, tmp_path / "x.crt")


def test_chain_in_one_file_does_not_help(openssl: Path, store: Store) -> None:
    """The command reads the first certificate of a file only: without -untrusted the chain breaks."""
    from labkit.pki.openssl import verify

    assert verify(store.server_chain, trust=store.trust_anchor).code == 20
    assert verify(store.server_chain, trust=store.trust_anchor, untrusted=store.server_chain).ok


def test_time_is_a_parameter(openssl: Path, store: Store) -> None:
    """The command judges at the time that it is given."""
    from labkit.pki.openssl import verify

    files = store.issue_device("sensor-001")
    later = SYSTEM_CLOCK.now() + dt.timedelta(days=366)
    verdict = verify(files.certificate, trust=store.trust_anchor, untrusted=store.intermediate, at=later)
    assert (verdict.code, verdict.depth) == (10, 0)
    assert str(verdict) == "error 10 at depth 0: certificate has expired"


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("OpenSSL 3.0.19 27 Jan 2026", ("-no-CApath", "-no-CAstore")),
        ("OpenSSL 1.1.1w  11 Sep 2023", ("-no-CApath",)),
        ("LibreSSL 3.3.6", ()),
    ],
)
def test_options_fit_the_version(
    monkeypatch: pytest.MonkeyPatch, line: str, options: tuple[str, ...]
) -> None:
    """The system's own anchors are left out in the way that each version knows."""
    monkeypatch.setattr(openssl, "version", lambda: line)
    assert options == openssl._without_system.__wrapped__()


def test_pkilint_finds_nothing(store: Store) -> None:
    """A linter for RFC 5280 finds nothing, but that names without a dot are no names of the public net."""
    linter = find_tool("lint_pkix_cert")
    if linter is None:
        pytest.skip("pkilint is not installed")
    files = [store.trust_anchor, store.intermediate, store.server().certificate]
    files.append(store.issue_device("sensor-001").certificate)
    found = [run([linter, "lint", "-s", "WARNING", file], check=False).stdout for file in files]
    assert {"pkix.invalid_domain_name_syntax"} == set(
        re.findall(r"^ +(\S+) \(", "".join(found), re.MULTILINE)
    )


@pytest.mark.parametrize("rsa", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_strict_python_accepts_the_chain(workspace: Workspace, rsa: bool) -> None:  # noqa: FBT001
    """Python 3.13's default verification, which is strict about RFC 5280, accepts our server and our client."""
    pyenv = sorted(Path.home().glob(".pyenv/versions/3.1[3-9]*/bin"))
    python = next(
        (p for p in (find_tool("python3.14"), find_tool("python3.13"), *_pythons(pyenv)) if p and _starts(p)),
        None,
    )
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
    files = (
        store.server_chain,
        store.server().key,
        store.trust_anchor,
        device.certificate,
        device.key,
        store.trust_bundle,
    )
    ended = subprocess.run([python, "-c", program, *files], capture_output=True, text=True, check=False)
    assert (ended.stdout.strip(), ended.stderr) == ("sensor-001", "")


def _pythons(folders: list[Path]) -> list[Path]:
    return [folder / "python3" for folder in folders]


def _starts(python: Path) -> bool:
    return run([python, "-c", "import ssl"], check=False).returncode == 0
