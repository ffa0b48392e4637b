"""A service and a broker for exercise first-boot, and the programs of students that run against them.

A program runs in a process of its own; whatever it calls of its device is done here, so that the judge sees each step,
and can let the power fail behind any of them.
"""

from __future__ import annotations

import secrets
import shutil
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from labkit.board.nor_flash import PowerCut
from labkit.course.exercises.first_boot_device import METHODS, SIZE, Device
from labkit.errors import RefusedError, ServiceUnreachableError
from labkit.firmware import NvsEntry, build_image
from labkit.node import layout
from labkit.pki import Store
from labkit.pki.csr import read_request
from labkit.pki.keys import fingerprint
from labkit.scenarios import device_files
from labkit.scenarios.device_boot import device_bench
from labkit.scenarios.mutual_tls import Site, mutual_tls
from labkit.scenarios.provisioning import ProvisioningSite, provisioning_site
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from labkit.course.answers import Answer, Reply
    from labkit.course.work import Work
    from labkit.provisioning.operations import Dossier

SECONDS = 20.0
"""How long one run of a program may take."""

PATIENCE = 10.0
"""How long to wait for a reading of a board."""

UNLIMITED = {"requests_per_minute": 0, "failures_per_minute": 0}

_kept: list[Stage] = []


class Counter:
    """What an operator's program sees of the service.

    Attributes:
        asked_for: The devices for which it had tokens made.
    """

    def __init__(self, office: ProvisioningSite) -> None:
        self._office = office
        self.asked_for: set[str] = set()

    def call(self, method: str, path: str, value: Any = None) -> Any:
        """Ask the service as an operator."""
        reply = self._office.operator.call(method, path, value)
        if isinstance(reply, dict):
            self.asked_for |= set(reply.get("tokens") or ())
        return reply


class Stage:
    """A service and a broker; the judge has one, and the student.

    Attributes:
        site: The broker.
        office: The service.
        reachable: Whether devices reach the service.
    """

    def __init__(self, site: Site, office: ProvisioningSite) -> None:
        self.site, self.office, self.reachable = site, office, True

    def new_device(self, name: str | None = None, *, token: str | None = None) -> Device:
        """Return a device that has left the factory: the registry has it, and a token is in it.

        Args:
            name: Its id; one that nobody can know without it.
            token: Its token; a fresh one without it.
        """
        name = name or f"unit-{secrets.token_hex(6)}"
        device = Device(name, provision=self._provision, knock=self.site.attempt)
        device.put(token=token or self.office.token(name))
        return device

    def _provision(self, token: str, csr: bytes) -> str:
        if not self.reachable:
            raise ServiceUnreachableError(
                "The service does not answer.", advice="Try again later.", url=self.office.service.url
            )
        return str(self.office.anyone.provision(token, csr)["chain"])

    @property
    def counter(self) -> Counter:
        """The operators' way in."""
        return Counter(self.office)

    def service(self, fault: str = "") -> Service:
        """Return the service as a test of it sees it; with a fault, one that is broken like that."""
        return Service(self, fault)

    def node_speaks(self, device: Device) -> str:
        """Let the course's node boot on a board with what a device has stored.

        Returns:
            Nothing where a reading of it came to the broker; else what the board said last.
        """
        values = [
            NvsEntry(layout.IDENTITY, layout.DEVICE_ID, "string", device.id),
            *(NvsEntry(layout.IDENTITY, name, "string", text) for name, text in device.stored.items()),
            NvsEntry(layout.IDENTITY, layout.ROOT, "string", self.site.trust.read_text()),
            *device_files.addresses(self.site),
        ]
        with device_bench(self.site, device.id) as bench:
            bench.make_firmware()
            bench.write(device_files.IDENTITY, build_image(values, size=SIZE))
            places = bench.plan("node-1.0.0.bin")
            parts = {
                int(offset, 16): bench.read(name)
                for offset, name in zip(places[::2], places[1::2], strict=True)
            }
            flash = bytearray(b"\xff" * max(offset + len(data) for offset, data in parts.items()))
            for offset, data in parts.items():
                flash[offset : offset + len(data)] = data
            bench.program(0, bytes(flash))
            said = bench.console(until="telemetry-sent", timeout=PATIENCE).lines
            admitted = [line for line in bench.admitted() if f"u'{device.id}'" in line]
            return "" if admitted and "telemetry-sent" in said[-1] else (said or ("nothing",))[-1]

    def dossier(self, name: str) -> Dossier:
        """Return what the registry has of a device."""
        return self.office.dossier(name)


class Service:
    """What a student's test sees: a service that holds, or one that is broken in one way.

    Args:
        stage: The service behind all of them.
        fault: How it is broken; empty for the one that holds.
    """

    def __init__(self, stage: Stage, fault: str) -> None:
        self._stage, self._fault = stage, fault
        self._names: dict[str, str] = {}
        self._granted: dict[str, str] = {}
        self._keys: set[tuple[str, str]] = set()

    def token(self, name: Any = "") -> str:
        """Return a fresh token, for a device of that name; the judge gives it a name that nobody has used."""
        if not isinstance(name, str):
            text = "a device's name is a text"
            raise TypeError(text)
        real = f"try-{secrets.token_hex(6)}"
        token = self._stage.office.token(real)
        self._names[token] = real
        return token

    def provision(self, token: str, csr: str | bytes) -> str:
        """Ask for a certificate; return its chain."""
        request = csr.encode() if isinstance(csr, str) else csr
        spent = token in self._granted
        if self._fault == "refuses-all":
            raise _refused("token-spent", "The token was spent with another key")
        if self._fault == "limits" and self._granted:
            raise _refused("rate-limited", "Too many requests from this address")
        if self._fault == "forgets" and spent:
            raise _refused("token-unknown", "There is no such token")
        if self._fault == "repeats" and spent:
            return self._granted[token]
        if self._fault == "accepts" and spent:
            return self._signed(token, request)
        if self._fault == "refuses-the-same" and spent:
            seen = (token, fingerprint(read_request(request).public_key)) in self._keys
            if seen:
                raise _refused("token-spent", "The token was spent")
            return self._signed(token, request)
        chain = str(self._stage.office.anyone.provision(token, request)["chain"])
        self._granted[token] = chain
        self._keys.add((token, fingerprint(read_request(request).public_key)))
        return chain

    def _signed(self, token: str, request: bytes) -> str:
        authority = self._stage.office.store.authority()
        return authority.issue_device(
            self._names[token], request=read_request(request), renew=True
        ).chain_pem.decode()


def _refused(code: str, message: str) -> RefusedError:
    return RefusedError(message, advice="Ask an operator.", code=code)


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Set up a service and a broker in a folder, for the length of the block; what was in it is gone.

    Checks that run in the same process meanwhile use it too, since devices are new each time. A grader's process has none
    but the judge's own.
    """
    shutil.rmtree(folder, ignore_errors=True)
    store = Store(Workspace.open(folder))
    store.ensure_authority()
    with ExitStack() as stack:
        # The root alone: what lies between it and a device has to come from the device.
        site = stack.enter_context(mutual_tls(store, cafile=store.trust_anchor))
        one = Stage(site, stack.enter_context(provisioning_site(store, limits=UNLIMITED)))
        _kept.append(one)
        try:
            yield one
        finally:
            _kept.remove(one)


def stage_of(work: Work) -> Stage:
    """Return the stage that a work is judged on."""
    return _kept[-1] if _kept else work.enter(stage(work.scratch.path("stage")))


def switched_on(boot: Answer, device: Device, *, cut_after: int | None = None) -> Reply | None:
    """Let a student's program run on a device; None where the power failed.

    Args:
        boot: The program.
        device: The device.
        cut_after: After how many calls that change anything the power fails.
    """
    device.switch_on(cut_after=cut_after)
    try:
        return boot.converse(device, METHODS, facts={"id": device.id}, seconds=SECONDS)
    except PowerCut:
        return None
