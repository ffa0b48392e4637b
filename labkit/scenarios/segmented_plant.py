"""The plant in zones: a router, a host in each zone, the real broker in the backend; measured, or predicted where it must be."""

from __future__ import annotations

import dataclasses
import shlex
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from labkit.broker import Broker, find_program
from labkit.errors import NamespaceError, NamespacesUnavailableError
from labkit.mqtt import Endpoint, Identity, probe
from labkit.network import (
    COURSE_PLAN,
    NEEDED,
    OPEN,
    ROUTER,
    Attempt,
    Firewall,
    Testbed,
    Topology,
    attempt_of,
    availability,
    iptables,
    iptables_text,
    needed_ports,
    predict,
    predicted,
)
from labkit.network.namespaces import NFT
from labkit.outcome import ACCEPTED, Outcome
from labkit.scenarios.diagnosis import diagnose
from labkit.scenarios.mutual_tls import configuration
from labkit.workspace import make_folder, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from labkit.broker import BrokerConfig
    from labkit.network import Cell, Matrix, Plan, Reply
    from labkit.network.zones import Address
    from labkit.pki import IdentityFiles, Store

BROKER_PORT = 8883
BACKEND = "backend"

ACCOUNTING = 5432
"""Where the accounting database listens, in the office."""

PORTS = tuple(sorted({*needed_ports(NEEDED), ("tcp", 1883), ("tcp", ACCOUNTING)}))
"""Where everybody listens in the plant: what is needed, and two ports that nobody else should reach."""

SIMULATION = "a simulation: predicted from the rules, not measured"


class SegmentedPlant:
    """Zones with rules. Get one from `segmented_plant`.

    Args:
        topology: Who is where.
        testbed: The zones in the real kernel, or None: then everything is predicted and says so.
        why: Why there is no testbed.

    Attributes:
        simulated: Whether everything is predicted.
    """

    def __init__(self, topology: Topology, testbed: Testbed | None, why: str = "") -> None:
        self.topology = topology
        self.testbed = testbed
        self.why = why
        self._firewalls: dict[str, Firewall] = {}
        self._broker: Broker | None = None
        self._store: Store | None = None

    def __repr__(self) -> str:
        return f"<SegmentedPlant of {len(self.topology.nodes)} nodes; {self.how}>"

    @property
    def simulated(self) -> bool:
        """Whether everything is predicted."""
        return self.testbed is None

    @property
    def how(self) -> str:
        """How its answers come about, in words."""
        if self.testbed is None:
            return f"{SIMULATION} ({self.why})" if self.why else SIMULATION
        return f"measured in the kernel, in {self.testbed.kind} namespaces"

    @property
    def firewalls(self) -> Mapping[str, Firewall]:
        """The rules of each node that has any."""
        return dict(self._firewalls)

    # --- rules ----------------------------------------------------------------------------------------------------

    def apply(self, node: str, firewall: Firewall, *, program: str = NFT) -> None:
        """Put rules in force on a node, in place of what was there.

        Args:
            node: The router, or a zone's host.
            firewall: The rules.
            program: `nft` or `iptables`.
        """
        if self.testbed:
            self.testbed.load(node, firewall, program=program)
        self._firewalls[node] = firewall

    def type_commands(self, node: str, text: str) -> Firewall:
        """Type iptables and ip6tables commands on a node, each as it stands, after what is there.

        They are read by our parser first, and typed only if it understands every one.

        Args:
            node: The node.
            text: The commands.

        Returns:
            The rules that the node has now, as our parser sees them.

        Raises:
            FormatError: A command is not understood; nothing was typed.
            NamespaceError: The real program refused one; what was in force before is again.
        """
        before = self._firewalls.get(node)
        understood = iptables.parse(text, firewall=before)
        if self.testbed:
            lines = text.replace("\\\n", " ").split("\n")
            typed = [shlex.split(line, comments=True) for line in lines]
            # In a namespace of ours nobody needs sudo, and it would want a terminal.
            typed = [words[1:] if words[0] == "sudo" else words for words in typed if words]
            try:
                self.testbed.load_text(node, [[words, ""] for words in typed])
            except NamespaceError:
                self._restore(node, before)
                raise
            self.testbed.note(node, understood)
        self._firewalls[node] = understood
        return understood

    def _restore(self, node: str, before: Firewall | None) -> None:
        """Go back to what was in force: half a script is worse than none."""
        if before is None:
            self.clear(node)
        else:
            self.apply(node, before)

    def clear(self, node: str | None = None) -> None:
        """Take all rules off a node, or off all of them."""
        for each in [node] if node else self.topology.nodes:
            if self.testbed:
                self.testbed.clear(each)
            self._firewalls.pop(each, None)

    def listing(self, node: str, *words: str) -> str:
        """Return what a program that lists rules prints on a node; in a simulation, our own text, which says so.

        Args:
            node: The node.
            *words: The program and its arguments, such as `iptables -S`.
        """
        if self.testbed:
            return self.testbed.load_text(node, [[list(words), ""]])[0].rstrip()
        rules = self._firewalls.get(node, Firewall.open())
        return (
            f"# {SIMULATION}\n{iptables_text.render(rules, 6 if words[0].startswith('ip6') else 4).rstrip()}"
        )

    def counters(self, node: str) -> list[tuple[str, str, int]]:
        """Return chain, comment and packets of each rule that nft has on a node; none in a simulation."""
        return self.testbed.counters(node) if self.testbed else []

    # --- who reaches whom -----------------------------------------------------------------------------------------

    def prediction(self, wanted: Sequence[Cell]) -> Matrix:
        """Return the matrix that the rules promise."""
        return predicted(self.topology, self._firewalls, wanted)

    def matrix(self, wanted: Sequence[Cell]) -> Matrix:
        """Return the measured matrix, or the predicted one in a simulation."""
        return self.testbed.matrix(wanted) if self.testbed else self.prediction(wanted)

    def attempt(
        self,
        source: str,
        destination: str | Address,
        protocol: str = "tcp",
        port: int = BROKER_PORT,
        *,
        family: int = 4,
        claimed: Address | None = None,
    ) -> Outcome:
        """Let one node try to reach another, and report what became of it.

        Args:
            source: Who tries.
            destination: A node, or an address.
            protocol: `tcp` or `udp`.
            port: The port.
            family: 4 or 6, where the destination is a node.
            claimed: An address to send from.

        Returns:
            An outcome at stage `network`: accepted, `dropped` or `rejected`. Its detail names the rule that decides by
            our prediction, and how we know.
        """
        address = (
            self.topology.address(destination, family, seen_from=source)
            if isinstance(destination, str)
            else destination
        )
        attempt = Attempt(source, address, protocol, port, claimed)
        promised = predict(self.topology, self._firewalls, attempt)
        reply = self.testbed.measure([attempt])[0] if self.testbed else promised
        return self._outcome(attempt, reply, promised)

    def _outcome(self, attempt: Attempt, reply: Reply, promised: Reply) -> Outcome:
        open_ = reply.result == OPEN
        detail = {
            "attempt": f"{attempt.source} -> {attempt.destination} {attempt.protocol}/{attempt.port}"
            + (f", as {attempt.claimed}" if attempt.claimed else ""),
            "how": self.how,
            "predicted": promised.result,
        }
        if promised.verdict and promised.result == reply.result:
            detail["rule"] = f"{promised.verdict} on {promised.node}"
        return Outcome("network", accepted=open_, reason=ACCEPTED if open_ else reply.result, detail=detail)

    def agreement(self, wanted: Sequence[Cell]) -> Outcome:
        """Hold the measured matrix against the predicted one.

        Returns:
            Accepted at stage `network` if no pair differs; `disagrees` if one does; `not-measured` in a simulation.
        """
        if self.testbed is None:
            return Outcome("network", accepted=False, reason="not-measured", detail={"how": self.how})
        measured, promised = self.matrix(wanted), self.prediction(wanted)
        wrong = [cell for cell in wanted if measured[cell].result != promised[cell].result]
        reached = sum(reply.result == OPEN for reply in measured.values())
        detail = {
            "attempt": f"{len(wanted)} pairs, of which {reached} are open", "how": self.how,
            "different": [str(cell) for cell in wrong],
        }  # fmt: skip
        return Outcome(
            "network", accepted=not wrong, reason="disagrees" if wrong else ACCEPTED, detail=detail
        )

    # --- the broker -----------------------------------------------------------------------------------------------

    @property
    def broker(self) -> Broker | None:
        """The broker in the backend zone; None in a simulation."""
        return self._broker

    def connect(self, source: str, identity: IdentityFiles | None, *, timeout: float = 2.0) -> Outcome:
        """Let somebody in a zone open an MQTT session with the broker, over TLS.

        Args:
            source: The zone that it comes from.
            identity: Who it is; None shows no certificate.
            timeout: Seconds for each step.

        Returns:
            The outcome of the probe. In a simulation that of `attempt`: without a network there is no session.
        """
        if self.testbed is None or self._store is None:
            return self.attempt(source, BACKEND)
        address = str(self.topology.address(BACKEND, 4))
        bed = self.testbed
        endpoint = Endpoint(
            address, BROKER_PORT, "localhost", dial=lambda where, wait: bed.dial(source, where, wait)
        )
        who = Identity(identity.certificate, identity.key) if identity else None
        assert self._broker is not None  # noqa: S101 - set together with the store
        mark = self._broker.log.mark()
        outcome = probe(endpoint, trust=self._store.trust_anchor, identity=who, timeout=timeout)
        port = outcome.detail.get("local_port")
        lines = self._broker.log.story_of(port, since=mark) if port else []
        return diagnose(outcome, broker_lines=lines).with_detail(
            how=f"{self.how}; the broker is Mosquitto in the backend zone"
        )

    @contextmanager
    def serving(self, store: Store, folder: Path) -> Iterator[None]:
        """Run the real broker in the backend zone for the length of the block."""
        assert self.testbed is not None  # noqa: S101 - only then
        real = find_program()  # a container would have a network of its own
        make_folder(folder, private=True)
        wrapper = folder / "mosquitto-in-backend"
        line = shlex.join([*self.testbed.inside(BACKEND), str(real.path)])
        write_atomic(wrapper, f'#!/bin/sh\nexec {line} "$@"\n')
        wrapper.chmod(0o700)

        def make_config(_: int) -> BrokerConfig:
            made = configuration(store, folder, port=BROKER_PORT)
            # Every address of the namespace, which is nobody's but ours.
            everywhere = [dataclasses.replace(made.listeners[0], host=host) for host in ("0.0.0.0", "::")]  # noqa: S104
            # In a user namespace it is root of nothing but its own network, and there is no `mosquitto` to become.
            return dataclasses.replace(made, listeners=tuple(everywhere), user="root")

        with Broker(folder, make_config, mosquitto=dataclasses.replace(real, path=wrapper)) as broker:
            self._broker, self._store = broker, store
            try:
                yield
            finally:
                self._broker = self._store = None


@contextmanager
def segmented_plant(
    store: Store | None = None,
    *,
    plan: Plan = COURSE_PLAN,
    aliases: Mapping[str, tuple[Address, ...]] | None = None,
    simulate: bool = False,
) -> Iterator[SegmentedPlant]:
    """Stage the plant in zones for the length of the block, without any rules at first.

    Args:
        store: The authority of the broker in the backend zone; without it there is no broker there.
        plan: The zones.
        aliases: More addresses of hosts.
        simulate: Predict everything, also where a kernel could be asked.

    Raises:
        NamespaceError: There are namespaces here, and something went wrong in them.
        ToolMissingError, BrokerStartError: See `Broker.start`.
    """
    topology = Topology(plan, aliases or {})
    found = availability() if not simulate else None
    if not found:
        yield SegmentedPlant(topology, None, found.why if found is not None else "")
        return
    with ExitStack() as stack:
        free = [(BACKEND, "tcp", BROKER_PORT)] if store else []
        try:
            bed = stack.enter_context(Testbed(topology, PORTS, free=free))
        except NamespacesUnavailableError as error:
            yield SegmentedPlant(topology, None, error.why)
            return
        plant = SegmentedPlant(topology, bed)
        if store:
            stack.enter_context(plant.serving(store, store.workspace.path("broker/segmented")))
        yield plant


def cells_of(plant: SegmentedPlant, flows: Sequence[tuple[str, int]] = PORTS) -> list[Cell]:
    """Return every pair of the plant's zones with every port."""
    from labkit.network import cells

    return list(cells(plant.topology, flows))


__all__ = ["ACCOUNTING", "PORTS", "ROUTER", "SegmentedPlant", "attempt_of", "cells_of", "segmented_plant"]
