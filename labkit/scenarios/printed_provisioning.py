"""The printed provisioning server in its museum, and the attacks on it; each is tried on ours too."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from labkit.errors import RefusedError, ServiceStartError, ServiceUnreachableError
from labkit.outcome import ACCEPTED, Outcome
from labkit.pki import Key, make_request
from labkit.pki.keys import check_policy, fingerprint
from labkit.pki.template import common_name
from labkit.workspace import make_folder, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from labkit.pki import Store
    from labkit.scenarios.provisioning import ProvisioningSite

_T = TypeVar("_T")

LOOPBACK = "127.0.0.1"
PATIENCE = 3.0
"""Seconds for which an honest client waits."""

BITS = 1024
"""The RSA key that nobody should certify any more; `cryptography` makes none that is shorter."""


class Target(Protocol):
    """A provisioning server as an attacker sees it."""

    port: int

    def outsider(self, device_id: str) -> str:
        """Make a token without any credential.

        Raises:
            RefusedError: It wants one.
        """

    def token(self, device_id: str) -> str:
        """Return a token that somebody has come by in an honest way.

        Raises:
            RefusedError: Nobody makes a token for that.
        """

    def provision(self, token: str, csr: bytes) -> x509.Certificate:
        """Ask for a certificate.

        Raises:
            RefusedError: It says no.
            ServiceUnreachableError: It does not answer.
        """

    def intact(self) -> bool:
        """Return whether its authority's files are there and whole."""


class PrintedService:
    """The museum piece, running. Get one from `printed_service`.

    Attributes:
        folder: Everything that it can reach: a copy of the authority, its tokens, its files.
        port: Where it listens, on loopback.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port

    def __repr__(self) -> str:
        return f"<PrintedService on port {self.port}>"

    @property
    def signed(self) -> int:
        """How many certificates openssl has signed, handed out or not."""
        try:
            return len((self.folder / "signed.log").read_text().splitlines())
        except FileNotFoundError:
            return 0

    def outsider(self, device_id: str) -> str:
        """Make a token; it asks for no credential."""
        return str(self.post("/generate-token", {"device_id": device_id})["token"])

    token = outsider

    def provision(self, token: str, csr: bytes) -> x509.Certificate:
        """Ask for a certificate."""
        told = self.post("/provision", {"token": token, "csr": csr.decode()})
        try:
            return x509.load_pem_x509_certificate(told["certificate"].encode())
        except ValueError as error:
            raise RefusedError("what came is no certificate", advice="", code="torn") from error

    def intact(self) -> bool:
        """Return whether the copy of the authority is there and whole."""
        try:
            pem = (self.folder / "intermediate/intermediate.crt").read_bytes()
        except FileNotFoundError:
            return False
        return pem == (self.folder / "intermediate.kept").read_bytes()

    def post(self, path: str, value: Any) -> dict[str, Any]:
        """Send a request, as its devices do: without any look at its certificate, which nobody could verify.

        Raises:
            RefusedError: It says no; `code` is the number of its status.
            ServiceUnreachableError: It does not answer in time.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(LOOPBACK, self.port, timeout=PATIENCE, context=context)
        try:
            connection.request("POST", path, json.dumps(value), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            told: dict[str, Any] = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ServiceUnreachableError(
                f"The printed server does not answer: {error}",
                advice="",
                url=f"https://{LOOPBACK}:{self.port}",
            ) from error
        finally:
            connection.close()
        if answer.status != 200:
            raise RefusedError(str(told.get("error")), advice="", code=f"status-{answer.status}")
        return told


@contextmanager
def printed_service(
    store: Store, *, own_files: bool = False, label: str = "museum"
) -> Iterator[PrintedService]:
    """Stage the printed server for the length of the block: on loopback, with a copy of the authority.

    Args:
        store: The authority that is copied.
        own_files: Give each request files of its own, which is the first thing that people mend.
        label: The name of its folder below `scratch/`.

    Raises:
        ServiceStartError: It did not come up.
    """
    folder = store.workspace.path("scratch", label)
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("tmp", "intermediate"):
        make_folder(folder / name, private=True)
    issuer = store.authority()
    certificate = issuer.certificate.public_bytes(serialization.Encoding.PEM)
    write_atomic(folder / "intermediate/intermediate.crt", certificate)
    write_atomic(folder / "intermediate.kept", certificate)
    write_atomic(folder / "intermediate/intermediate.key", issuer.key.pem(), secret=True)
    write_atomic(folder / "device.ext", "extendedKeyUsage=clientAuth\n")
    write_atomic(folder / "tokens.json", "{}")
    argv = [sys.executable, "-m", "labkit.scenarios.printed_server", str(folder)]
    child = subprocess.Popen(
        [*argv, *(["--own-files"] if own_files else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        line = child.stdout.readline().strip() if child.stdout else ""
        if not line.isdigit():
            raise ServiceStartError(
                "The printed server did not come up.", advice="labkit doctor", log=f"it said {line!r}"
            )
        yield PrintedService(folder, int(line))
    finally:
        child.kill()
        child.communicate()


class OurService:
    """Our service as an attacker sees it.

    Args:
        office: The running service.
    """

    def __init__(self, office: ProvisioningSite) -> None:
        self._office = office
        self.port = office.service.port

    def outsider(self, device_id: str) -> str:
        """Try to make a token without a certificate."""
        value = {"device_ids": [device_id]}
        return str(self._office.anyone.call("POST", "/tokens", value)["tokens"][device_id])

    def token(self, device_id: str) -> str:
        """Return a token that an operator made."""
        return self._office.token(device_id)

    def provision(self, token: str, csr: bytes) -> x509.Certificate:
        """Ask for a certificate."""
        told = self._office.anyone.provision(token, csr)
        return x509.load_pem_x509_certificate(told["certificate"].encode())

    def intact(self) -> bool:
        """Return whether the authority's files are there and belong together."""
        self._office.store.authority()
        return True


# --- the attacks --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Loot:
    """A certificate that an attack brought in, with its key."""

    certificate: x509.Certificate
    key: Key


def zero_to_admin(target: Target) -> tuple[Outcome, Loot | None]:
    """From no credential at all to a certificate with the name `admin`, in two requests."""
    key = Key.generate()
    try:
        token = target.outsider("sensor-666")
        made = target.provision(token, make_request(key, "admin"))
    except RefusedError as error:
        return _blocked(error.code, error.message), None
    if common_name(made.subject) != "admin":
        return _blocked("subject-ignored", common_name(made.subject)), None
    return _succeeded(name="admin"), Loot(made, key)


def borrowed_name(target: Target, *, mine: str = "sensor-103", wanted: str = "sensor-001") -> Outcome:
    """With an honest token for one device, ask for a certificate in the name of another."""
    try:
        made = target.provision(target.token(mine), make_request(Key.generate(), wanted))
    except RefusedError as error:
        return _blocked(error.code, error.message)
    name = common_name(made.subject)
    return _succeeded(name=name) if name == wanted else _blocked("subject-ignored", name)


def double_spend(target: Target, *, clients: int = 6, rounds: int = 4) -> Outcome:
    """Several clients with a key each show the same token at the same moment; more than one certificate is a success."""
    words: Counter[str] = Counter()
    best = 0
    for number in range(rounds):
        token = target.token(f"sensor-2{number:02d}")
        found = _together(clients, lambda _, t=token: _verdict(target, t, "sensor-200"))  # type: ignore[misc]
        best = max(best, found.count(ACCEPTED))
        words.update(found)
    if best > 1:
        return _succeeded(certificates=best, verdicts=dict(words))
    return _blocked(_most(words), verdicts=dict(words))


def replay(target: Target, *, devices: int = 8) -> Outcome:
    """Devices enrol at the same moment, all honestly; afterwards their spent tokens are shown again."""
    tokens = [target.token(f"sensor-3{number:02d}") for number in range(devices)]
    first = _together(devices, lambda number: _verdict(target, tokens[number], f"sensor-3{number:02d}"))
    again = [_verdict(target, token, "admin") for token in tokens]
    detail: dict[str, Any] = {"enrolled": first.count(ACCEPTED), "replayed": again.count(ACCEPTED)}
    if ACCEPTED in again:
        return _succeeded(**detail)
    return _blocked(_most(Counter(again)), **detail)


def swapped_keys(target: Target, *, rounds: int = 25) -> Outcome:
    """Two tokens for one device are used at the same moment: whose key is in whose certificate?"""
    for number in range(rounds):
        tokens = [target.token("sensor-400"), target.token("sensor-400")]
        keys = [Key.generate(), Key.generate()]

        def ask(index: int, tokens: list[str] = tokens, keys: list[Key] = keys) -> bool:
            try:
                made = target.provision(tokens[index], make_request(keys[index], "sensor-400"))
            except (RefusedError, ServiceUnreachableError):
                return False
            return fingerprint(check_policy(made.public_key())) != keys[index].fingerprint

        if any(_together(2, ask)):
            return _succeeded(rounds=number + 1)
    return _blocked("own-key", rounds=rounds)


def name_as_path(target: Target) -> Outcome:
    """Enrol a device whose name leads to the authority's own certificate; then look whether anybody can still enrol."""
    try:
        token = target.token("../intermediate/intermediate")
    except RefusedError as error:
        return _blocked(error.code, error.message, intact=target.intact())
    with contextlib.suppress(RefusedError, ServiceUnreachableError):
        target.provision(token, make_request(Key.generate(), "sensor-500"))
    after = _verdict(target, target.token("sensor-501"), "sensor-501")
    if target.intact() and after == ACCEPTED:
        return _blocked("path-ignored", intact=True)
    return _succeeded(intact=target.intact(), next_device=after)


def one_idle_client(target: Target) -> Outcome:
    """Connect, say nothing, and see whether an honest device is served meanwhile."""
    token = target.token("sensor-600")
    with socket.create_connection((LOOPBACK, target.port)):
        try:
            target.provision(token, make_request(Key.generate(), "sensor-600"))
        except ServiceUnreachableError as error:
            return _succeeded(honest_device=error.message)
        except RefusedError as error:
            return _blocked(error.code, error.message)
    return _blocked("served")


def weak_key(target: Target) -> Outcome:
    """Ask for a certificate for an RSA key of 1,024 bits."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, BITS)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sensor-700")])
    signed = x509.CertificateSigningRequestBuilder(name).sign(key, hashes.SHA256())
    try:
        target.provision(target.token("sensor-700"), signed.public_bytes(serialization.Encoding.PEM))
    except RefusedError as error:
        return _blocked(error.code, error.message)
    return _succeeded(bits=BITS)


ATTACKS: dict[str, Callable[[Target], Outcome]] = {
    "from nothing to admin": lambda target: zero_to_admin(target)[0],
    "another's name": borrowed_name,
    "a token, many times at once": double_spend,
    "a spent token again": replay,
    "your certificate, my key": swapped_keys,
    "a weak key": weak_key,
    "one idle client": one_idle_client,
    "a name that is a path": name_as_path,
}
"""The attacks, by what they are called in a table; after the last one the printed server serves nobody any more."""


def _verdict(target: Target, token: str, name: str) -> str:
    try:
        target.provision(token, make_request(Key(ec.generate_private_key(ec.SECP256R1())), name))
    except RefusedError as error:
        return error.code
    except ServiceUnreachableError:
        return "no-answer"
    return ACCEPTED


def _together(count: int, action: Callable[[int], _T]) -> list[_T]:
    barrier = threading.Barrier(count)

    def one(number: int) -> _T:
        barrier.wait(30)
        return action(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def _most(words: Counter[str]) -> str:
    refusals = Counter({word: number for word, number in words.items() if word != ACCEPTED})
    return refusals.most_common(1)[0][0] if refusals else "served"


def _succeeded(**detail: Any) -> Outcome:
    return Outcome("http", accepted=True, reason=ACCEPTED, detail=detail)


def _blocked(reason: str, message: str = "", **detail: Any) -> Outcome:
    return Outcome("http", accepted=False, reason=reason, detail={"message": message, **detail})
