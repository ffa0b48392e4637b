"""A whole plant to audit: broker, registry, service, tools, boards, network and papers; sound, or with faults planted.

Dashboard, database and flow editor are stand-ins, and the boards are files. Broker, certificates, registry and service
are the real ones.
"""

from __future__ import annotations

import datetime as dt
import secrets
import shutil
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from labkit.audit import PARTS, Target
from labkit.broker import Acl, Broker, BrokerConfig
from labkit.clock import SYSTEM_CLOCK, FixedClock
from labkit.mqtt import Endpoint, Identity
from labkit.pki import Issued, Key, Store, make_request
from labkit.pki.flawed import craft
from labkit.pki.identities import IdentityFiles
from labkit.pki.profiles import OPERATOR, SERVER
from labkit.provisioning import prepare
from labkit.provisioning.office import DECISIONS
from labkit.scenarios import plant_boards, plant_papers, plant_tools
from labkit.scenarios.mutual_tls import Site
from labkit.scenarios.plant_broker import broker_config, broker_rules
from labkit.scenarios.plant_faults import FAULTS, choose_faults, possible
from labkit.scenarios.plant_history import FORGOTTEN, IN_SERVICE, RETIRED, History
from labkit.scenarios.plant_tools import DASHBOARD, DATABASE, FLOW_EDITOR, Passwords
from labkit.scenarios.provisioning import NAME, ProvisioningSite
from labkit.scenarios.separate import separate_authority
from labkit.serving import RunningService
from labkit.workspace import make_folder, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from labkit.audit import BoardFiles, Tool
    from labkit.workspace import Workspace


class Plant:
    """A plant that runs. Get one from `audited_plant` or `weak_plant`.

    Attributes:
        store: The devices' authority.
        folder: Where what is audited lies: settings, images, dumps, papers.
        faults: What was planted.
        without: Parts that it does not have.
        tools: Dashboard, database and flow editor.
        config: The broker's configuration, as it was started.
    """

    def __init__(self, store: Store, faults: Iterable[str], without: Iterable[str] = ()) -> None:
        self.store = store
        self.without = frozenset(without)
        self.folder = make_folder(store.workspace.path("scratch", "plant"), private=True)
        self.faults = frozenset(faults)
        self.tools: tuple[Tool, ...] = ()
        self._stack = ExitStack()
        self._broker_stack = ExitStack()
        self._broker: Broker | None = None
        self._service: RunningService | None = None
        self._passwords = Passwords(*(secrets.token_urlsafe(15) for _ in range(3)))
        self._registries = 0
        self.registry = str(store.workspace.path("registry/fleet.db"))
        self.certificates: list[Path] = []
        self.images: tuple[Path, ...] = ()
        self.boards: tuple[BoardFiles, ...] = ()
        self.bench: tuple[BoardFiles, ...] = ()
        self.keys: tuple[Path, ...] = ()
        self.revoked: Identity | None = None

    def __repr__(self) -> str:
        where = f"port {self.port}" if self._broker else "no port"
        return f"<Plant: broker on {where}, {len(self.tools)} tools, {len(self.faults)} faults planted>"

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop everything."""
        self._broker_stack.close()
        self._stack.close()

    def _start(self) -> None:
        self.store.ensure_authority()
        self.store.identity("admin")
        # The service comes first: at its start it puts on the list whatever was forgotten.
        settings = prepare(
            self.store, registry=self.registry, limits={"requests_per_minute": 0, "failures_per_minute": 0}
        )
        if "service" not in self.without:
            self._service = self._stack.enter_context(RunningService(settings))
        for build in self._builders().values():
            build()
        self.tools = self._stack.enter_context(plant_tools.stand_ins(self.folder))

    def _builders(self) -> dict[str, Callable[[], None]]:
        """Return what makes each part, in the order in which they need each other."""
        return {
            "history": self._history, "broker": self._restart, "tools": self._tools, "images": self._images,
            **({} if "board" in self.without else {"board": self._board}),
            **({} if "updates" in self.without else {"updates": self._updates}),
            **({} if "board" in self.without else {"bench": self._bench}),
            "network": self._network, "alerts": self._alerts, "documents": self._documents,
        }  # fmt: skip

    # --- what runs ------------------------------------------------------------------------------------------------

    @property
    def broker(self) -> Broker:
        """The running broker."""
        if self._broker is None:
            text = "the plant is not running; use it inside `with`"
            raise RuntimeError(text)
        return self._broker

    @property
    def site(self) -> Site:
        """The broker with those who deal with it."""
        return Site(self.store, self.broker)

    @property
    def office(self) -> ProvisioningSite:
        """The provisioning service with those who deal with it."""
        if self._service is None:
            text = "the plant is not running; use it inside `with`"
            raise RuntimeError(text)
        return ProvisioningSite(self.store, self._service)

    @property
    def config(self) -> BrokerConfig:
        """The broker's configuration."""
        config = self.broker.config
        if config is None:
            text = "the broker is not running"
            raise RuntimeError(text)
        return config

    @property
    def port(self) -> int:
        """The broker's TLS port."""
        return self.config.listeners[0].port

    def identity(self, name: str) -> IdentityFiles:
        """Return the identity of a device in service."""
        folder = self.folder / "devices"
        return IdentityFiles(name, folder / f"{name}.crt", folder / f"{name}.key")

    def restart_broker(self, config: BrokerConfig, acl: Acl | None = None) -> None:
        """Stop the broker, and start it with another configuration on the same port.

        Args:
            config: The configuration.
            acl: The rules; those that are in force where they are not given.
        """
        rules = self.broker.acl if acl is None else acl
        self._run(lambda _: config, rules, port=config.listeners[0].port)

    def _run(self, make: Any, acl: Acl, *, port: int | None = None) -> None:
        self._broker_stack.close()
        home = self.store.workspace.path("broker")
        self._broker = self._broker_stack.enter_context(Broker(home, make, acl=acl, port=port))

    def _restart(self) -> None:
        port = self.port if self._broker is not None else None
        self._run(self._make_config, broker_rules(self.faults), port=port)

    def _make_config(self, port: int) -> BrokerConfig:
        return broker_config(self.store, self.folder, self.faults, port=port)

    # --- what is on record ------------------------------------------------------------------------------------------

    def _history(self) -> None:
        devices = self.folder / "devices"
        shutil.rmtree(devices, ignore_errors=True)
        if self._registries:
            self.registry = str(self.store.workspace.path(f"registry/fleet-{self._registries}.db"))
        self._registries += 1
        past = History(self.store, self.registry, devices)
        try:
            self._live(past)
        finally:
            past.close()
        self._issue_past_the_desk(devices)
        self.certificates = [
            devices,
            self.store.workspace.path("devices"),
            self.store.workspace.path("server/broker.crt"),
        ]

    def _live(self, past: History) -> None:
        if "late-renewal" in self.faults:
            past.at(355)
            past.enrol("sensor-003")
        past.at(40)
        for name in IN_SERVICE:
            if not (name == "sensor-003" and "late-renewal" in self.faults):
                past.enrol(name)
        leaver = past.enrol(RETIRED)
        if "never-renewed" not in self.faults:
            past.at(20)
            past.renew(self.identity("sensor-002"))
        past.at(10)
        self.revoked = None
        if "never-retired" not in self.faults:
            past.retire(RETIRED)
            self.revoked = self.put_away(leaver)
        if "forgotten-list" in self.faults:
            gone = past.enrol(FORGOTTEN)
            past.retire(FORGOTTEN, publish=False)
            self.put_away(gone)
        past.at(0)
        if "long-token" in self.faults:
            past.token("sensor-001", hours=24 * 365)

    def put_away(self, files: IdentityFiles) -> Identity:
        """Take the identity of a device that is out of service from the shelf of those in service."""
        away = make_folder(self.folder / "retired", private=True)
        paths = [path.replace(away / path.name) for path in (files.certificate, files.key)]
        return Identity(*paths)

    def drill_renewal(self, name: str) -> None:
        """Let a device renew over HTTPS with the certificate that it has, confirm, and keep the new one.

        Raises:
            RefusedError: The service said no.
        """
        self.office.act(name, "renewal")
        old, key = self.identity(name), Key.generate()
        granted = self.office.client(old).renew(make_request(key, name))
        write_atomic(old.key, key.pem(), secret=True)
        write_atomic(old.certificate, str(granted["certificate"]).encode())
        self.office.client(old).call("POST", "/renew/confirm")

    def _issue_past_the_desk(self, folder: Path) -> None:
        authority, now = self.store.authority(), SYSTEM_CLOCK.now()
        if "long-operator" in self.faults:
            self._keep(
                folder,
                "observer",
                craft(authority, "observer", start=now, profile=replace(OPERATOR, days=1800)),
            )
        if "long-server" in self.faults:
            self._keep(
                folder,
                "dashboard",
                craft(authority, "dashboard.local", start=now, profile=replace(SERVER, days=1460)),
            )
        if "unregistered" in self.faults:
            self._keep(folder, "sensor-066", authority.issue_device("sensor-066", renew=True))

    @staticmethod
    def _keep(folder: Path, name: str, issued: Issued) -> None:
        write_atomic(folder / f"{name}.crt", issued.certificate_pem)
        write_atomic(folder / f"{name}.key", issued.key_pem, secret=True)

    # --- what lies on shelves ---------------------------------------------------------------------------------------

    def _tools(self) -> None:
        passwords = (
            replace(self._passwords, dashboard="admin")
            if "default-password" in self.faults
            else self._passwords
        )
        named = {"open-flows": FLOW_EDITOR, "open-database": DATABASE, "open-dashboard": DASHBOARD}
        plant_tools.write_settings(
            self.folder,
            passwords,
            broker_port=self.port,
            open_tools=frozenset(tool for fault, tool in named.items() if fault in self.faults),
            flows_tls="plain-flows" not in self.faults,
            flows_verify="blind-flows" not in self.faults,
        )

    def _images(self) -> None:
        self.images = plant_boards.write_images(self.folder / "images", self.store, faults=self.faults)

    def _board(self) -> None:
        identity = self.identity("sensor-001")
        folder = self.folder / "boards"
        self.boards = (
            plant_boards.write_board(folder, "sensor-001", identity, self.store, faults=self.faults),
        )

    def _updates(self) -> None:
        key = plant_boards.write_updates(
            self.folder / "updates",
            unsigned="unsigned-update" in self.faults,
            stranger="stranger-update" in self.faults,
        )
        self.keys = (key,)

    def _bench(self) -> None:
        drilled = "no-rollback" not in self.faults
        self.bench = (plant_boards.write_test_board(self.folder / "boards", drilled=drilled),)

    def _network(self) -> None:
        plant_papers.write_network(self.folder / "network", self.faults)

    def _alerts(self) -> None:
        plant_papers.write_alerts(self.folder / "alerts.json", self.faults)

    def _documents(self) -> None:
        plant_papers.write_documents(self.folder / "documents", self.faults)

    def plant(self, faults: Iterable[str]) -> None:
        """Have these faults and no others: what is concerned is made anew, and restarted if it runs.

        Args:
            faults: Names of `FAULTS`.

        Raises:
            ValueError: There is no such fault, or one hides the other.
        """
        wanted = frozenset(faults)
        if not wanted <= FAULTS.keys() or not possible(wanted):
            text = f"a plant can't have {sorted(wanted)}"
            raise ValueError(text)
        touched = {FAULTS[name].component for name in wanted ^ self.faults}
        self.faults = wanted
        if "history" in touched:
            touched |= {"broker", "board"}  # new identities, and a new list
        for name, build in self._builders().items():
            if name in touched:
                build()

    # --- what is audited ----------------------------------------------------------------------------------------------

    @property
    def target(self) -> Target:
        """The plant as what an audit looks at."""
        path = self.store.workspace.path
        service = None if "service" in self.without else Endpoint("127.0.0.1", self.office.service.port, NAME)
        two = {name: _identity(self.identity(name)) for name in IN_SERVICE[:2]}
        return Target(
            title="the plant",
            parts=frozenset(PARTS) - self.without,
            broker=path("broker"),
            trust=self.store.trust_anchor,
            issuer=self.store.intermediate,
            devices=two,
            operator=_identity(self.store.identity("admin")),
            revoked=self.revoked,
            certificates=tuple(self.certificates),
            registry=self.registry,
            service=service,
            decisions=path(DECISIONS) if service else None,
            tools=self.tools,
            client_settings=(self.folder / plant_tools.FLOWS,),
            images=self.images,
            boards=self.boards,
            test_boards=self.bench,
            updates=None if "updates" in self.without else self.folder / "updates",
            signing_keys=self.keys,
            network=self.folder / "network",
            alerts=self.folder / "alerts.json",
            documents=self.folder / "documents",
        )


def _identity(files: IdentityFiles) -> Identity:
    return Identity(files.certificate, files.key)


AGE = dt.timedelta(days=400)
"""How old a plant's authority is: old enough for everything that has happened since."""


@contextmanager
def audited_plant(
    workspace: Workspace,
    faults: Iterable[str] = (),
    *,
    label: str = "audited",
    without: Iterable[str] = (),
) -> Iterator[Plant]:
    """Stage a plant for the length of the block, with an authority of its own; an earlier one is removed.

    Args:
        workspace: The lab's.
        faults: Names of `FAULTS` to plant; a sound plant without any.
        label: What its folder in `scratch/` is called.
        without: Parts that the plant does not have: `board`, `service`, `updates`.

    Raises:
        ToolMissingError: There is no Mosquitto, or no espsecure.
        BrokerStartError, ServiceStartError: It does not come up.
        ValueError: There is no such fault, or one hides the other.
    """
    wanted = frozenset(faults)
    if not wanted <= FAULTS.keys() or not possible(wanted):
        text = f"a plant can't have {sorted(wanted)}"
        raise ValueError(text)
    born = FixedClock(SYSTEM_CLOCK.now() - AGE)
    store = Store(separate_authority(workspace, label, clock=born).workspace)
    with Plant(store, wanted, without) as plant:
        yield plant


@contextmanager
def weak_plant(workspace: Workspace, seed: int, *, label: str = "audited") -> Iterator[Plant]:
    """Stage a plant with the six common mistakes and some more faults; see `choose_faults`."""
    with audited_plant(workspace, choose_faults(seed), label=label) as plant:
        yield plant
