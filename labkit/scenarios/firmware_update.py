"""A fleet of virtual boards that takes updates: broker, update service, the house that signs, and boards that really boot."""

from __future__ import annotations

import secrets
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, TypeVar

from labkit.board import VirtualBoard
from labkit.board.board_files import BoardFiles, new_mac
from labkit.clock import Deadline
from labkit.devices import Registry
from labkit.firmware import NvsEntry
from labkit.firmware.update import STAGES, parse_header
from labkit.node import layout, topics
from labkit.node.application import Options, application
from labkit.node.codes import parse_line
from labkit.outcome import ACCEPTED, Outcome
from labkit.provisioning.factory import nvs_values
from labkit.scenarios.mutual_tls import mutual_tls
from labkit.scenarios.releases import ReleaseHouse
from labkit.scenarios.updates import update_site
from labkit.updates import Operations
from labkit.updates.depot import Depot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from labkit.pki import Store
    from labkit.scenarios.mutual_tls import Site
    from labkit.scenarios.updates import UpdateSite
    from labkit.updates.messages import ReleaseView

_T = TypeVar("_T")

SPEED = 60.0
"""So many times faster than ours runs the time of a node."""

REVISION = 2
"""The revision of the fleet's boards."""

ACTOR = "admin"
PATIENCE = 30.0

ENDS = frozenset(rule for rules in STAGES.values() for rule in rules) | {
    "update-confirmed", "update-none", "boot-rolled-back", "image-refused", "slot-failed", "service-refused",
    "service-unreachable", "trust-missing",
}  # fmt: skip
"""Codes with which a device's look for an update ends."""

_REPORTED = frozenset({"update-confirmed", "boot-rolled-back"})
_VALUES = frozenset({"version", "flashed", "why"})
_FAILED = "[the power failed"


class Fleet:
    """Boards that run, and those who look after them. Get one from `updating_fleet`.

    Attributes:
        site: The broker.
        updates: The update service.
        house: Who builds and signs.
        boards: The boards by the names of their devices.
    """

    def __init__(self, site: Site, updates: UpdateSite, house: ReleaseHouse) -> None:
        self.site, self.updates, self.house = site, updates, house
        self.boards: dict[str, VirtualBoard] = {}
        self._marks: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Fleet: {', '.join(f'{name} {self.version(name)}' for name in self.boards)}>"

    # --- releases ------------------------------------------------------------------------------------------------

    def publish(self, image: bytes) -> str:
        """Sign an image, publish it, and return its version; nobody is offered it yet."""
        update = self.house.update(image)
        header = parse_header(update).header
        self._operate(lambda operations: operations.publish(update, actor=ACTOR))
        return str(header.version)

    def roll_out(
        self, version: str, percent: int = 100, *, first: Sequence[str] | None = None
    ) -> ReleaseView:
        """Offer a release to a share of the fleet."""
        product = self.house.product
        return self._operate(
            lambda operations: operations.roll_out(product, version, percent, actor=ACTOR, first=first)
        )

    def release(self, version: str) -> ReleaseView:
        """Return how a release stands, and what the devices said of it."""
        return next(each for each in self._operate(lambda o: o.releases()) if each.version == version)

    def withdraw(self, version: str) -> ReleaseView:
        """Take a release back for good."""
        return self._operate(lambda operations: operations.abort(self.house.product, version, actor=ACTOR))

    def tamper(self, image: bytes, at: int = -1) -> None:
        """Flip a bit of a published image where the update server keeps it, as somebody would who broke into that.

        Args:
            image: The image, as it was published.
            at: Which byte.
        """
        depot = Depot(self.site.store.workspace)
        path = depot.path(parse_header(self.house.update(image)).header)
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        path.write_bytes(data)

    def _operate(self, work: Callable[[Operations], _T]) -> _T:
        store = self.site.store
        with Registry.open(self.updates.service.settings.options["registry"]) as registry:
            return work(Operations(registry, Depot(store.workspace), self.house.keys))

    # --- devices -------------------------------------------------------------------------------------------------

    def version(self, name: str) -> str:
        """Return the version that a device runs; `none` where nothing booted."""
        boot = self.boards[name].last_boot
        return str(boot.outcome.detail["version"]) if boot and boot.booted else "none"

    def versions(self) -> dict[str, str]:
        """Return the version of every device."""
        return {name: self.version(name) for name in self.boards}

    def said(self, name: str) -> list[tuple[str, dict[str, str]]]:
        """Return the codes and values that a device has logged since it was last asked for something."""
        lines = self.boards[name].console.since(self._marks.get(name, 0))
        return [found for line in lines if (found := parse_line(line))]

    def codes(self, name: str) -> list[str]:
        """Return the codes that a device has logged since it was last asked for something."""
        return [code for code, _ in self.said(name)]

    def wait_for(self, name: str, code: str, *, timeout: float = PATIENCE) -> bool:
        """Wait until a device has logged a code since it was last asked; return whether it did."""
        found = self.boards[name].console.wait_for(
            f"code={code}", since=self._marks.get(name, 0), timeout=timeout
        )
        return found is not None

    def ask(self, *names: str) -> None:
        """Tell devices, over the broker, to look for an update."""
        for name in names:
            self._marks[name] = self.boards[name].console.count
        with self.site.session("admin") as operator:
            for name in names:
                operator.publish(f"devices/{name}/commands/update", "{}")

    def update(self, *names: str) -> dict[str, Outcome]:
        """Tell devices to look for an update, wait until each is done with it, and return what became of it.

        Returns:
            By device an outcome at stage `trial`: accepted where the new image was confirmed; refused, with the code, at
            the stage of the update where it was not taken.
        """
        self.ask(*names)
        return {name: self.outcome(name) for name in names}

    def outcome(self, name: str, *, timeout: float = PATIENCE) -> Outcome:
        """Wait until a device is done with what it was asked, and return what became of it; see `update`."""
        deadline = Deadline(timeout)
        while not deadline.passed:
            told = self.said(name)
            at = next((at for at, (code, _) in enumerate(told) if code in ENDS), len(told))
            code = told[at][0] if at < len(told) else ""
            # The service is told before the first reading goes out, and after the line about the update.
            if code in _REPORTED and "telemetry-sent" not in [later for later, _ in told[at:]]:
                code = ""
            if code:
                values = dict(pair for _, each in told for pair in each.items() if pair[0] in _VALUES)
                return _outcome(code, {"device": name, **values, "how": "\n".join(_shown(told))})
            if any(line.startswith(_FAILED) for line in self.boards[name].console.since(self._mark(name))):
                return Outcome("trial", accepted=False, reason="power-cut", detail={"device": name})
            deadline.pause()
        return Outcome("trial", accepted=False, reason="timeout", detail={"device": name})

    def _mark(self, name: str) -> int:
        return self._marks.get(name, 0)

    def cut_power(self, name: str, operations: int | None = None) -> int:
        """Let a device's power fail after so many operations of its flash chip, by chance without a number; return it."""
        chosen = secrets.randbelow(250) + 1 if operations is None else operations
        self.boards[name].cut_power_after(chosen)
        return chosen

    def power_up(self, name: str) -> Outcome:
        """Press a board's button, wait until its device is at the broker, and return what the boot came to."""
        board = self.boards[name]
        self._marks[name] = board.console.count
        board.reset()
        self.wait_for(name, "mqtt-connected")
        boot = board.last_boot
        assert boot is not None  # noqa: S101 - a reset boots
        return boot.outcome


def _outcome(code: str, detail: dict[str, object]) -> Outcome:
    if code == "update-confirmed":
        return Outcome("trial", accepted=True, reason=ACCEPTED, detail=detail)
    stage = next((stage for stage, rules in STAGES.items() if code in rules), "trial")
    return Outcome(stage, accepted=False, reason=code, detail=detail)


def _shown(told: Sequence[tuple[str, dict[str, str]]]) -> tuple[str, ...]:
    return tuple(
        " ".join([code, *(f"{name}={text}" for name, text in values.items())]) for code, values in told
    )


@contextmanager
def updating_fleet(
    store: Store,
    *names: str,
    image: bytes | None = None,
    house: ReleaseHouse | None = None,
    speed: float = SPEED,
) -> Iterator[Fleet]:
    """Stage a broker, an update service and some boards for the length of the block.

    Args:
        store: The devices' authority.
        names: The devices.
        image: What runs on them at first; version 1.4.2 without it.
        house: Who builds and signs; a new one without it.
        speed: How many times faster than ours a node's time runs.

    Raises:
        ServiceStartError, BrokerStartError: It does not come up.
    """
    maker = house or ReleaseHouse(store.workspace)
    running = image or maker.image("1.4.2")
    with ExitStack() as stack:
        site = stack.enter_context(mutual_tls(store))
        updates = stack.enter_context(update_site(store))
        fleet = Fleet(site, updates, maker)
        node = application(Options(speed=speed))
        for name in names:
            folder = store.workspace.path("boards", name)
            _make(BoardFiles(folder), maker, running, _values(fleet, name))
            fleet.boards[name] = stack.enter_context(VirtualBoard.open(folder, application=node))
        for name in names:
            fleet.wait_for(name, "mqtt-connected")
        yield fleet


def _make(files: BoardFiles, house: ReleaseHouse, image: bytes, values: Sequence[NvsEntry]) -> None:
    """Make a board as it leaves the line."""
    files.create(house.chip, mac=new_mac())
    files.save_flash(house.flash(image, values))


def _values(fleet: Fleet, name: str) -> list[NvsEntry]:
    """Return what a device of the fleet finds in its own partition."""
    files, site = fleet.updates.identity(name), fleet.site
    topics.device_id(name)
    return [
        *nvs_values(name, files.certificate.read_text(), files.key.read_text(), site.trust.read_text()),
        NvsEntry(layout.IDENTITY, layout.HARDWARE, "u16", REVISION),
        NvsEntry(layout.SERVICE, layout.BROKER_HOST, "string", site.host),
        NvsEntry(layout.SERVICE, layout.BROKER_PORT, "u16", site.port),
        NvsEntry(layout.SERVICE, layout.UPDATE_URL, "string", fleet.updates.service.url),
    ]
