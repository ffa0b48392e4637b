"""The firmware's portable part, built and run on this machine; and compared with its twin and with other libraries."""

from __future__ import annotations

import datetime as dt
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labkit.errors import MessageRefusedError
from labkit.firmware.update import KeySigner, Version, sign_update
from labkit.node import commands, documents, manifest, replies, topics
from labkit.pki import Authority, Key
from labkit.pki.csr import make_request, read_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FIRMWARE = Path(__file__).parents[2] / "firmware"
VECTORS = Path(__file__).parents[1] / "vectors"

pytestmark = [pytest.mark.tool, pytest.mark.firmware]


@pytest.fixture(scope="session")
def host(firmware_tools: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the host build, with sanitizers on."""
    del firmware_tools
    build = tmp_path_factory.mktemp("host")
    configure = ["cmake", "-S", str(FIRMWARE / "host_test"), "-B", str(build), "-G", "Ninja"]
    for argv in ([*configure, "-DCMAKE_C_COMPILER=clang"], ["ninja", "-C", str(build)]):
        ended = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    return build


def test_units(host: Path) -> None:
    """Every unit test of the firmware passes, under the address and the undefined-behaviour sanitizer."""
    ended = subprocess.run(
        ["ctest", "--test-dir", str(host), "--output-on-failure"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout[-6000:]
    (count,) = re.findall(r"100% tests passed, 0 tests failed out of (\d+)", ended.stdout)
    assert int(count) == len(list((FIRMWARE / "host_test" / "tests").glob("test_*.c")))


def seeds() -> dict[str, list[bytes]]:
    """Return what each fuzzer begins with: what the vectors hold."""
    import json

    def read(name: str) -> object:
        return json.loads((VECTORS / f"{name}.json").read_text("utf-8"))

    def field(one: dict[str, str], name: str) -> bytes:
        return bytes.fromhex(one[f"{name}_hex"]) if f"{name}_hex" in one else one[name].encode()

    answers = read("replies")
    updates = [bytes.fromhex(one["header_hex"]) + bytes(one["length"]) for one in read("updates")["cases"]]  # type: ignore[index]
    asked = [(field(one, "topic"), field(one, "payload")) for one in read("commands")]  # type: ignore[attr-defined]
    bodies = [
        field(one, "body") for kind in ("grants", "configurations", "refusals") for one in answers[kind]
    ]  # type: ignore[index]
    return {
        "json": [field(one, "data") for one in read("syntax")],  # type: ignore[attr-defined]
        "command": [bytes([min(len(topic), 255)]) + topic + payload for topic, payload in asked],
        "reply": bodies,
        "manifest": [field(one, "data") for one in read("manifests")],  # type: ignore[attr-defined]
        "update": updates,
        "chain": [one["chain"].encode() for one in answers["grants"] if one["chain"]]  # type: ignore[index]
        + [field(one, "text") for one in answers["times"]],  # type: ignore[index]
    }


@pytest.mark.parametrize("target", ["json", "command", "reply", "manifest", "update", "chain"])
def test_fuzzing(host: Path, tmp_path: Path, target: str) -> None:
    """Fifty thousand inputs that grow out of the vectors find nothing that the sanitizers or the target mind."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number, data in enumerate(seeds()[target]):
        (corpus / f"{number:03d}").write_bytes(data)
    argv = [
        str(host / f"fuzz_{target}"),
        "-runs=50000",
        "-seed=1",
        "-max_len=4096",
        "-print_final_stats=1",
        str(corpus),
    ]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr[-4000:]
    assert re.search(r"number_of_executed_units: 5\d{4}", ended.stderr)
    # A fuzzer that can't see its way covers next to nothing.
    (covered,) = re.findall(r"INITED cov: (\d+)", ended.stderr)
    assert int(covered) > 60


class Oracle:
    """The firmware's core, asked line by line."""

    def __init__(self, program: Path) -> None:
        self._child = subprocess.Popen(
            [str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def ask(self, word: str, *values: bytes | str) -> list[str]:
        """Return the words of the answer."""
        assert self._child.stdin
        assert self._child.stdout
        texts = [value if isinstance(value, str) else value.hex() for value in values]
        self._child.stdin.write(" ".join([word, *texts]) + "\n")
        return self._child.stdout.readline().split()

    def close(self) -> None:
        """End it; it must not have found anything to complain about."""
        assert self._child.stdin
        assert self._child.stdout
        self._child.stdin.close()
        self._child.stdout.close()
        assert self._child.wait(timeout=20) == 0


@pytest.fixture(scope="module")
def oracle(host: Path) -> Iterator[Oracle]:
    """Return the core, ready to answer."""
    running = Oracle(host / "oracle")
    yield running
    running.close()


def told(action: Callable[[], object]) -> str:
    """Return the code that the twin gives."""
    try:
        action()
    except MessageRefusedError as error:
        return error.code
    return "ok"


PIECES = st.sampled_from(
    [b"{", b"}", b"[", b"]", b'"', b":", b",", b"seconds", b'"seconds"', b"30", b"-", b"0", b"1e5", b"1.5", b"true", b"null",
     b"\\u00e9", b"\\ud83d\\ude00", b"\\ud800", b"\\", b" ", b"\n", b"\xc3\xa4", b"\xff", b"\0", b'"format"', b"NaN", b"Z",
     b"2026-11-25T10:00:00", b"-----BEGIN CERTIFICATE-----\n", b"-----END CERTIFICATE-----\n", b"AAAA\n", b"=", b"."]
)  # fmt: skip
NOISE = st.lists(PIECES | st.binary(max_size=3), max_size=14).map(b"".join)
INSIDE = NOISE.map(lambda noise: b'{"seconds":' + noise + b"}")
MUTED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@MUTED
@given(NOISE | INSIDE)
def test_the_core_says_what_its_twin_says(oracle: Oracle, data: bytes) -> None:
    """Whatever bytes come, both give the same code: for JSON, commands, manifests and chains."""
    assert oracle.ask("json", data) == [told(lambda: documents.read_object(data, longest=256))]
    assert oracle.ask("interval", data)[0] == told(lambda: commands.read_interval(data))
    assert oracle.ask("manifest", data)[0] == told(lambda: manifest.read_manifest(data))
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    assert oracle.ask("chain", data)[0] == told(lambda: replies.verify_chain(text))
    assert oracle.ask("id", data)[0] == told(lambda: topics.device_id(text))


@MUTED
@given(
    st.integers(631_152_000, 7_573_824_000),  # 1990 to 2210
    st.sampled_from(["Z", "+00:00", "", "+01:00"]),
)
def test_times_are_read_alike(oracle: Oracle, moment: int, zone: str) -> None:
    """Core, twin and the calendar agree on every second."""
    when = dt.datetime.fromtimestamp(moment, dt.UTC)
    text = f"{when:%Y-%m-%dT%H:%M:%S}".rjust(19, "0") + zone
    expected = told(lambda: replies.read_time(text))
    code, seconds = oracle.ask("time", text.encode())
    assert expected == code
    if code == "ok":
        assert moment == int(seconds)


@MUTED
@given(st.text(max_size=70))
def test_names_are_refused_alike(oracle: Oracle, text: str) -> None:
    """Core and twin refuse the same device ids for the same rule."""
    assert oracle.ask("id", text.encode()) == [told(lambda: topics.device_id(text))]


@pytest.fixture(scope="module")
def authority() -> Authority:
    """Return an authority of Python's."""
    return Authority.new_root("Root").new_intermediate("Intermediate")


def test_python_takes_the_request_that_the_core_makes(oracle: Oracle) -> None:
    """A key that C makes is a key to Python, and its request is one: the right name, on P-256, signed by that key."""
    code, key_hex = oracle.ask("key")
    assert "ok" == code
    private = serialization.load_pem_private_key(bytes.fromhex(key_hex), password=None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    assert isinstance(private.curve, ec.SECP256R1)
    for name in ("sensor-001", "x" * 63):
        code, request_hex = oracle.ask("request", key_hex, name)
        assert "ok" == code
        pem = bytes.fromhex(request_hex)
        csr = x509.load_pem_x509_csr(pem)
        assert csr.is_signature_valid
        assert private.public_key() == csr.public_key()
        assert f"CN={name}" == csr.subject.rfc4514_string()
        assert private.public_key() == read_request(pem).public_key


def test_openssl_takes_it_too(oracle: Oracle, openssl: Path, tmp_path: Path) -> None:
    """A third library verifies the request."""
    request = bytes.fromhex(oracle.ask("request", oracle.ask("key")[1], "sensor-001")[1])
    (tmp_path / "request.csr").write_bytes(request)
    argv = [str(openssl), "req", "-in", str(tmp_path / "request.csr"), "-noout", "-verify", "-subject"]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "sensor-001" in ended.stdout


def test_the_core_takes_what_python_issues(oracle: Oracle, authority: Authority) -> None:
    """A certificate of Python's belongs to its key and to no other, in C's eyes, with its dates to the second."""
    for number, kind in enumerate(("p256", "rsa2048")):
        key, other = Key.generate(kind), Key.generate(kind)
        name = f"sensor-00{number}"
        issued = authority.issue_device(name, request=read_request(make_request(key, name)))
        chain = issued.chain_pem
        code, begins, ends = oracle.ask("match", key.pem(), chain)
        expected = (issued.certificate.not_valid_before_utc, issued.certificate.not_valid_after_utc)
        assert ("ok", *(str(int(when.timestamp())) for when in expected)) == (code, begins, ends)
        assert ["identity-mismatch", "0", "0"] == oracle.ask("match", other.pem(), chain)
        assert "identity-mismatch" == oracle.ask("match", key.pem(), issued.certificate_pem[:-60])[0]


def test_signatures_of_updates(oracle: Oracle) -> None:
    """What Python signs the core takes, with a key that comes and goes; each bit of the header counts."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    pems = [key.public_key().public_bytes(serialization.Encoding.PEM, spki) for key in keys]
    for number, key in enumerate(keys):
        signer = KeySigner(key)
        update = sign_update(bytes(2048), product="course-node", version=Version(1, 1, 0), signer=signer)
        assert ["ok"] == oracle.ask("header", update, pems[number])
        assert ["ok"] == oracle.ask("header", update, pems[0] + pems[1])
        assert ["key-unknown"] == oracle.ask("header", update, pems[1 - number])
        revoked = f"revoked {signer.key_id.hex()}\n".encode()
        assert ["key-revoked"] == oracle.ask("header", update, b"".join(pems) + revoked)
        for at in range(0, 192, 5):
            broken = update[:at] + bytes([update[at] ^ 1]) + update[at + 1 :]
            assert ["ok"] != oracle.ask("header", broken, pems[number])


def test_nothing_of_the_build_is_left_in_the_repository(host: Path) -> None:
    """The build writes into its own folder."""
    del host
    assert not (FIRMWARE / "build").exists() or shutil.which("idf.py")
    assert not (FIRMWARE / "host_test" / "CMakeCache.txt").exists()
