"""Find out everything that rules ask for: each thing when it is asked for, and once."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Self

from labkit.audit import callers, doors, flashes, fleet, rights, watch
from labkit.audit.facts import AlertFacts, Trial
from labkit.audit.monitor.rehearsal import rehearse
from labkit.audit.target import verify_ours
from labkit.broker import acl
from labkit.broker import config as configuration
from labkit.errors import LabError
from labkit.mqtt import Endpoint, Identity, probe
from labkit.pki import Authority, Issued
from labkit.pki.flawed import self_signed
from labkit.pki.identities import read_certificate
from labkit.pki.template import common_name, organisation
from labkit.workspace import write_together

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    from labkit.audit.facts import (
        BoardFacts,
        CertificateFact,
        ClientFacts,
        Door,
        FlashFacts,
        FleetFacts,
        ListFacts,
        NetworkFacts,
        RecordFacts,
        ToolFacts,
        UpdateFacts,
    )
    from labkit.audit.target import Target
    from labkit.broker import BrokerConfig


class Collector:
    """The facts about a target, found out live. Use it inside `with`.

    Args:
        target: What to look at.
        now: The time to judge at.
        owned: An address that whoever asks says is theirs; see `verify_ours`.

    Raises:
        TargetRefusedError: A door is at an address that is neither this machine nor was named.
    """

    def __init__(self, target: Target, *, now: dt.datetime, owned: str = "") -> None:
        self.target = target
        self.now = now
        self.parts = target.parts
        for each in [*target.doors, *([target.service] if target.service else [])]:
            verify_ours(each.host, owned=owned)
        for tool in target.tools:
            verify_ours(callers.host_of(tool), owned=owned)
        self._owned = owned
        self._stack = ExitStack()
        self._folder: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._folder = None

    @cached_property
    def _places(self) -> list[Endpoint]:
        found = doors.find_doors(self.target.doors, self.target.broker)
        for each in found:
            verify_ours(each.host, owned=self._owned)
        return found

    @cached_property
    def doors(self) -> Sequence[Door]:
        """The broker's ports."""
        strangers = self._strangers()
        device = next(iter(self.target.devices.values()), None)
        return [
            doors.knock(
                each, trust=self.target.trust, device=device, strangers=strangers, revoked=self.target.revoked
            )
            for each in self._places
        ]

    @cached_property
    def offers(self) -> Mapping[str, Sequence[tuple[str, str, str, str]]]:
        """What each TLS door agreed to."""
        return {
            f"{each.host}:{each.port}": doors.agreed(each) for each in self._places if doors.speaks_tls(each)
        }

    def _strangers(self) -> dict[str, Identity]:
        """Make a client with a certificate of its own, and one of an authority with the right name and another key."""
        found = {"a client with a certificate of its own": self_signed("stranger")}
        if self.target.issuer is not None:
            real = read_certificate(self.target.issuer)
            root = Authority.new_root(common_name(real.issuer), organisation=organisation(real.issuer))
            impostor = root.new_intermediate(common_name(real.subject)).issue_device("stranger")
            found["a client of an authority that only has the right name"] = impostor
        return {who: self._saved(number, issued) for number, (who, issued) in enumerate(found.items())}

    def _saved(self, number: int, issued: Issued) -> Identity:
        if self._folder is None:
            self._folder = Path(self._stack.enter_context(TemporaryDirectory(prefix="labkit-")))
        identity = Identity(self._folder / f"{number}.crt", self._folder / f"{number}.key")
        write_together(
            [(identity.key, issued.key_pem, True), (identity.certificate, issued.certificate_pem, False)]
        )
        return identity

    @cached_property
    def _good_doors(self) -> list[Endpoint]:
        """The doors that let a device in for its certificate; failing that, one that lets everybody in."""
        device, trust = next(iter(self.target.devices.values()), None), self.target.trust
        if device is None or trust is None:
            return []
        found = [
            each
            for each in self._places
            if doors.speaks_tls(each) and probe(each, trust=trust, identity=device).accepted
        ]
        return [each for each in found if not probe(each, trust=trust).accepted] or found[:1]

    @cached_property
    def rights(self) -> Sequence[Trial]:
        """What devices could write and read, as an observer saw it; each door may have rules of its own."""
        target, found = self.target, list[Trial]()
        if target.trust is None or target.operator is None or len(target.devices) < 2:
            return [_not_tried("two devices and an operator could be tried at a TLS door")]
        for door in self._good_doors:
            found += watch.try_rights(
                door, trust=target.trust, operator=target.operator, devices=target.devices, fence=target.fence
            )
        return found or [_not_tried("two devices and an operator could be tried at a TLS door")]

    @cached_property
    def logged(self) -> Sequence[Trial]:
        """Whether refusals left a line."""
        target, found, door = self.target, [], next(iter(self._good_doors), None)
        if target.broker is not None:
            if door is None or target.trust is None:
                found.append(_not_tried("a device could be tried at a TLS door"))
            else:
                name, device = next(iter(target.devices.items()))
                found += watch.try_logging(door, target.broker, trust=target.trust, device=device, name=name)
        if target.service is not None and target.decisions is not None and target.trust is not None:
            before = target.decisions.stat().st_size if target.decisions.exists() else 0
            callers.knock_at_service(target.service, trust=target.trust)
            found.append(watch.try_decisions(target.decisions, before))
        return found

    @cached_property
    def broker_list(self) -> ListFacts | None:
        """The revocation list that the broker goes by."""
        path = self.target.crl or self._configured_list()
        return fleet.read_crl(path, self.target.issuer, self.now) if path else None

    @cached_property
    def _config(self) -> BrokerConfig | None:
        """The broker's configuration, where it can be read."""
        if self.target.broker is None:
            return None
        try:
            return configuration.parse((self.target.broker / "mosquitto.conf").read_text(encoding="utf-8"))
        except (OSError, ValueError, LabError):
            return None

    def _configured_list(self) -> Path | None:
        """Return the list of the first door that asks for certificates, or None where one of them goes by none."""
        listeners = self._config.listeners if self._config else ()
        lists = [each.crlfile for each in listeners if each.require_certificate]
        return lists[0] if lists and all(lists) else None

    @cached_property
    def rules(self) -> Sequence[Trial]:
        """What the broker's rules give to each device."""
        config = self._config
        if config is None or config.acl_file is None:
            return []  # without rules everything is allowed, which the live trials see
        try:
            rules = acl.parse(config.acl_file.read_text(encoding="utf-8"))
        except (OSError, ValueError, LabError) as error:
            return [
                Trial(f"{config.acl_file.name} can be read", wanted=True, succeeded=False, detail=str(error))
            ]
        names = sorted({each.name for each in self.certificates if each.role == "device"})
        bound = all(each.use_username_as_clientid for each in config.listeners if each.certfile)
        return rights.granted(rules, names, bound=bound)

    @cached_property
    def strange_authorities(self) -> Sequence[str] | None:
        """Whom the broker believes besides our authorities."""
        if self._config is None or self.target.trust is None:
            return None
        found: dict[str, None] = {}
        for each in self._config.listeners:
            folder = sorted(each.capath.iterdir()) if each.capath and each.capath.is_dir() else []
            for path in [*([each.cafile] if each.cafile else []), *folder]:
                try:
                    names = fleet.strange_authorities(path.read_bytes(), read_certificate(self.target.trust))
                except (OSError, ValueError, LabError):
                    names = [f"{path.name}, which can't be read"]
                found |= dict.fromkeys(names)
        return list(found)

    @cached_property
    def certificates(self) -> Sequence[CertificateFact]:
        """Certificates in service."""
        return list(fleet.read_certificates(self.target.certificates))

    @cached_property
    def fleet(self) -> FleetFacts | None:
        """The registry."""
        return fleet.read_fleet(self.target.registry) if self.target.registry else None

    @cached_property
    def clients(self) -> Sequence[ClientFacts]:
        """Settings of our own MQTT clients."""
        return [
            fact
            for path in self.target.client_settings
            for fact in callers.client_settings(path.read_bytes(), path.name)
        ]

    @cached_property
    def tools(self) -> Sequence[ToolFacts]:
        """Tools beside the plant."""
        return [callers.call_tool(tool) for tool in self.target.tools]

    @cached_property
    def service(self) -> Sequence[Trial] | None:
        """What the provisioning service did with callers without credentials."""
        target = self.target
        if target.service is None or target.trust is None:
            return None
        return callers.call_service(target.service, trust=target.trust)

    @cached_property
    def images(self) -> Sequence[FlashFacts]:
        """Firmware images as built."""
        return [
            flashes.look_into(path.read_bytes(), path.name, trust=self._root) for path in self.target.images
        ]

    @cached_property
    def boards(self) -> Sequence[BoardFacts]:
        """What was read from boards."""
        return [flashes.look_at(board, trust=self._root) for board in self.target.boards]

    @cached_property
    def test_boards(self) -> Sequence[BoardFacts]:
        """What was read from boards on the bench."""
        return [flashes.look_at(board) for board in self.target.test_boards]

    @cached_property
    def _root(self) -> bytes | None:
        return self.target.trust.read_bytes() if self.target.trust else None

    @cached_property
    def updates(self) -> Sequence[UpdateFacts] | None:
        """Published updates."""
        if self.target.updates is None:
            return None
        return flashes.look_at_updates(self.target.updates, self.target.signing_keys)

    @cached_property
    def network(self) -> NetworkFacts | None:
        """The network."""
        from labkit.audit import plans

        return plans.read_network(self.target.network) if self.target.network else None

    @cached_property
    def alerts(self) -> AlertFacts | None:
        """Alert rules."""
        return rehearse(self.target.alerts) if self.target.alerts else None

    def record(self, name: str) -> RecordFacts | None:
        """Return a document, or None where there is none."""
        folder = self.target.documents
        return fleet.read_record(folder / f"{name}.md") if folder else None


def _not_tried(what: str) -> Trial:
    return Trial(what, wanted=True, succeeded=False)
