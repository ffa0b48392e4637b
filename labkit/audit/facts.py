"""What was found out about a target, as values. Rules read these and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    from labkit.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Door:
    """A port on which a broker listens.

    Attributes:
        place: Address and port.
        plain: What a CONNECT without TLS came to; `None` where nothing answered in MQTT.
        tls: Whether it speaks TLS.
        silent: Whether nobody listens there at all.
        nobody: What a client without a certificate came to.
        strangers: What clients with certificates of others came to, by what they are.
        device: What a device of ours came to: the control.
        revoked: What a device that was taken out of service came to, if there is one to try.
        logins: User name and password of a public list that it let in.
    """

    place: str
    plain: Outcome | None
    tls: bool
    silent: bool = False
    nobody: Outcome | None = None
    strangers: Mapping[str, Outcome] = field(default_factory=dict)
    device: Outcome | None = None
    revoked: Outcome | None = None
    logins: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Trial:
    """Something that was tried, and what had to come of it.

    Attributes:
        what: What was tried.
        wanted: Whether it had to succeed; such a one is a control.
        succeeded: Whether it did.
        detail: What was seen.
    """

    what: str
    wanted: bool
    succeeded: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class CertificateFact:
    """A certificate that is in service, or was given to somebody.

    Attributes:
        place: Where it was found.
        name: The common name of its subject.
        role: `device`, `server` or `operator`.
        serial: In hexadecimal.
        key: The fingerprint of its public key.
        not_before: When it began to count.
        not_after: When it ceases to.
    """

    place: str
    name: str
    role: str
    serial: str
    key: str
    not_before: dt.datetime
    not_after: dt.datetime

    @property
    def days(self) -> int:
        """How long it is valid, in days."""
        return (self.not_after - self.not_before).days


@dataclass(frozen=True, slots=True)
class FleetFacts:
    """What the registry says.

    Attributes:
        place: Where it is.
        problem: Why it can't be read; empty if it can.
        states: The state of each device.
        certificates: Serial number, name, status, reason, end and key of each certificate.
        tokens: Device, time of making, end, and whether it is still out, of each token.
        events: Time, actor, action and subject of each line of the trail.
    """

    place: str
    problem: str = ""
    states: Mapping[str, str] = field(default_factory=dict)
    certificates: Sequence[FleetCertificate] = ()
    tokens: Sequence[FleetToken] = ()
    events: Sequence[tuple[dt.datetime, str, str, str]] = ()


@dataclass(frozen=True, slots=True)
class FleetCertificate:
    """A certificate as the registry has it."""

    serial: str
    name: str
    status: str
    reason: str
    not_after: dt.datetime
    key: str


@dataclass(frozen=True, slots=True)
class FleetToken:
    """A token as the registry has it."""

    device: str
    made_at: dt.datetime
    ends_at: dt.datetime
    out: bool


@dataclass(frozen=True, slots=True)
class ListFacts:
    """What a revocation list says.

    Attributes:
        place: Where it is.
        problem: Why it must not be used; empty if it may.
        this_update: When it began to count.
        next_update: When it ceases to.
        serials: The serial numbers on it, in hexadecimal.
    """

    place: str
    problem: str = ""
    this_update: dt.datetime | None = None
    next_update: dt.datetime | None = None
    serials: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ClientFacts:
    """The settings of an MQTT client of ours.

    Attributes:
        place: Which file, which client in it.
        host: Where it connects.
        port: On which port.
        tls: Whether it uses TLS.
        verifies: Whether it verifies the broker.
    """

    place: str
    host: str
    port: int
    tls: bool
    verifies: bool


@dataclass(frozen=True, slots=True)
class ToolFacts:
    """What a tool beside the plant did.

    Attributes:
        name: What it is called.
        url: Where it is.
        open_paths: Paths that it served without credentials.
        logins: User name and password of a public list that it let in.
        asked: How many paths asked for credentials.
        problem: Why it could not be tried.
    """

    name: str
    url: str
    open_paths: Sequence[str] = ()
    logins: Sequence[tuple[str, str]] = ()
    asked: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Secret:
    """Something in an image or a dump that must not be read there.

    Attributes:
        place: Which file, which partition of it.
        offset: Where in it.
        kind: What it is. Never its value.
        digest: SHA-256 of what it says, to find it in another place.
        key: The fingerprint of its public key, where it is a private key.
        inside: `image`, `nvs` or `flash`: the kind of place.
    """

    place: str
    offset: int
    kind: str
    digest: str
    key: str = ""
    inside: str = "flash"


@dataclass(frozen=True, slots=True)
class FlashFacts:
    """What can be read in an image or a dump.

    Attributes:
        name: What it is called.
        secrets: Secrets in it.
        names: Common names of the device certificates in it.
        anchors: Subjects of the authorities in it.
        readable: Parts that can be read although a board's flash should be encrypted.
        verifies_broker: Whether an authority in it is the one that the broker's certificate comes from; None where no
            device certificate is in it.
        version: The version of the application that it runs.
    """

    name: str
    secrets: Sequence[Secret] = ()
    names: Sequence[str] = ()
    anchors: Sequence[str] = ()
    readable: Sequence[str] = ()
    verifies_broker: bool | None = None
    version: str = ""


@dataclass(frozen=True, slots=True)
class BoardFacts:
    """What a board's eFuses and flash say.

    Attributes:
        name: What it is called.
        flash: What can be read in its flash.
        problem: Why its eFuses could not be read.
        secure_boot: Whether secure boot is on.
        signature: `verified`, `unreadable` where only the chip can read what lies in the flash, or what is wrong with it.
        flash_encryption: Whether flash encryption is on.
        jtag: Whether JTAG is open.
        download: `open`, `secure` or `disabled`.
        slots: Number and state of each entry of otadata.
    """

    name: str
    flash: FlashFacts
    problem: str = ""
    secure_boot: bool = False
    signature: str = ""
    flash_encryption: bool = False
    jtag: bool = True
    download: str = "open"
    slots: Sequence[tuple[int, str]] = ()


@dataclass(frozen=True, slots=True)
class UpdateFacts:
    """A published update.

    Attributes:
        name: Its file.
        version: The version that it brings.
        project: Whose firmware it is.
        signature: `verified`, or what is wrong.
    """

    name: str
    version: str
    project: str
    signature: str


@dataclass(frozen=True, slots=True)
class Passage:
    """A way from one zone to another that the rules leave open.

    Attributes:
        source: The zone where it begins.
        target: The zone where it ends.
        port: The port.
        protocol: `tcp` or `udp`.
        family: 4 or 6.
        needed: The flow that needs it; empty where none does.
    """

    source: str
    target: str
    port: int
    protocol: str
    family: int
    needed: str = ""


@dataclass(frozen=True, slots=True)
class NetworkFacts:
    """What the plan of the network says, and what its rules let through.

    Attributes:
        place: Where the plan is.
        problem: Why it can't be read.
        zones: Subnets by zone.
        roles: The zone of each role: `devices`, `backend`, `office`, `internet`.
        passages: What the rules leave open.
        closed: How many ways they close.
        missing: Flows that are needed and closed.
        broker_port: The broker's port.
        how: How it was found out: the evaluator, or the kernel.
    """

    place: str
    problem: str = ""
    zones: Mapping[str, Sequence[str]] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)
    passages: Sequence[Passage] = ()
    closed: int = 0
    missing: Sequence[str] = ()
    broker_port: int = 8883
    how: str = "the evaluator"


@dataclass(frozen=True, slots=True)
class RecordFacts:
    """A document with a date and a reader.

    Attributes:
        place: Where it is.
        dated: When it was written or changed.
        reviewer: Who reviewed it.
        reviewed: When.
        words: How long it is.
        problem: What is wrong with its head.
    """

    place: str
    dated: dt.date | None = None
    reviewer: str = ""
    reviewed: dt.date | None = None
    words: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class AlertFacts:
    """What the alert rules in force did with a recorded attack.

    Attributes:
        place: Where they are.
        problem: Why they can't be read.
        fired: Detectors that raised an alert.
        silent: Detectors that did not, though the recording has what they look for.
        noise: Detectors that raised one on a quiet day.
    """

    place: str
    problem: str = ""
    fired: Sequence[str] = ()
    silent: Sequence[str] = ()
    noise: Sequence[str] = ()


class Facts(Protocol):
    """Everything that rules can ask for; found out when it is asked for, and once."""

    now: dt.datetime
    parts: frozenset[str]

    @property
    def doors(self) -> Sequence[Door]:
        """The broker's ports."""

    @property
    def offers(self) -> Mapping[str, Sequence[tuple[str, str, str, str]]]:
        """By door: version, suite, verdict and what is wrong with the suite, for each offer that was made."""

    @property
    def rights(self) -> Sequence[Trial]:
        """What devices could write and read, as an observer saw it."""

    @property
    def rules(self) -> Sequence[Trial]:
        """What the broker's rules give to each device outside its own topics."""

    @property
    def strange_authorities(self) -> Sequence[str] | None:
        """Whom the broker believes besides our authorities; None where its configuration is not at hand."""

    @property
    def broker_list(self) -> ListFacts | None:
        """The revocation list that the broker goes by."""

    @property
    def certificates(self) -> Sequence[CertificateFact]:
        """Certificates in service."""

    @property
    def fleet(self) -> FleetFacts | None:
        """The registry."""

    @property
    def clients(self) -> Sequence[ClientFacts]:
        """Settings of our own MQTT clients."""

    @property
    def tools(self) -> Sequence[ToolFacts]:
        """Tools beside the plant."""

    @property
    def service(self) -> Sequence[Trial] | None:
        """What the provisioning service did with callers without credentials."""

    @property
    def logged(self) -> Sequence[Trial]:
        """Whether refusals left a line."""

    @property
    def images(self) -> Sequence[FlashFacts]:
        """Firmware images as built."""

    @property
    def boards(self) -> Sequence[BoardFacts]:
        """What was read from boards."""

    @property
    def test_boards(self) -> Sequence[BoardFacts]:
        """What was read from boards on the bench."""

    @property
    def updates(self) -> Sequence[UpdateFacts] | None:
        """Published updates."""

    @property
    def network(self) -> NetworkFacts | None:
        """The network."""

    @property
    def alerts(self) -> AlertFacts | None:
        """Alert rules."""

    def record(self, name: str) -> RecordFacts | None:
        """Return a document, or None where there is none."""
