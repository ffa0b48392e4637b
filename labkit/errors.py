"""The one error tree of labkit.

Every error says what is wrong (`message`), what to type next (`advice`) and carries the values it speaks of as
attributes, so that callers and tests compare values and never text. Misuse by the programmer is `ValueError` or
`RuntimeError`, never one of these::

    LabError
    ├── FormatError                 bytes or text that do not parse        (what, offset)
    │   └── ImageFormatError                                               (rule)
    ├── ToolError                   a program that we run                  (tool)
    │   ├── ToolMissingError
    │   ├── ToolVersionError                                               (found, needed)
    │   ├── ToolFailedError                                                (argv, returncode, output)
    │   └── ToolTimeoutError                                               (argv, seconds)
    ├── WorkspaceError              state on disk                          (path)
    │   ├── WorkspaceUnwritableError
    │   ├── DiskFullError
    │   ├── WorkspaceCorruptError
    │   ├── WorkspaceBusyError                                             (holder)
    │   └── CheckpointMissingError                                         (name)
    ├── PkiError
    │   ├── NameRefusedError                                               (name, rule)
    │   ├── PassphraseError                                                (path)
    │   ├── KeyRefusedError                                                (rule)
    │   ├── RequestRefusedError                                            (rule)
    │   ├── AlreadyIssuedError                                             (name, serial, not_after)
    │   ├── NotIssuedError                                                 (name)
    │   ├── AuthorityMissingError                                          (path)
    │   ├── IssuanceRefusedError                                           (rule)
    │   ├── ChainInvalidError                                              (rule, subject)
    │   ├── HsmError                a key in a hardware module             (label, rule)
    │   ├── CeremonyError                                                  (rule)
    │   ├── RevocationRefusedError                                         (name, rule)
    │   └── RevocationListError                                            (rule)
    ├── BrokerError
    │   ├── PortTakenError                                                 (port)
    │   ├── BrokerConfigError                                              (line, key)
    │   ├── AclError                                                       (line)
    │   ├── BrokerStartError                                               (log)
    │   ├── BrokerGoneError                                                (log)
    │   ├── BrokerNotRunningError                                          (path)
    │   ├── BrokerRunningError                                             (path)
    │   └── ReloadRefusedError                                             (log)
    ├── MqttError
    │   ├── TopicRefusedError                                              (topic, rule)
    │   ├── IdentityRefusedError                                           (path, rule)
    │   ├── ForwardSecrecyError                                            (version, suite, group)
    │   └── NotConnectedError                                              (outcome)
    ├── FirmwareError
    │   ├── NvsRefusedError                                                (key, rule)
    │   ├── PartitionRefusedError                                          (label, rule)
    │   ├── ImageRefusedError                                              (rule)
    │   ├── SignatureRefusedError                                          (rule)
    │   ├── OtaRefusedError                                                (rule)
    │   ├── UpdateRefusedError                                             (rule, stage)
    │   ├── SigningKeyError                                                (rule)
    │   └── FlashBoundsError                                               (offset, length, size)
    ├── BoardError
    │   ├── ChipUnknownError                                               (name, known)
    │   ├── EfuseUnknownError                                              (name)
    │   ├── EfuseProtectedError                                            (name, rule)
    │   ├── BoardBusyError                                                 (path, holder)
    │   ├── BoardGoneError
    │   ├── NoTerminalError
    │   ├── JtagLockedError                                                (chip)
    │   ├── SnapshotMissingError                                           (name, known)
    │   ├── PortRefusedError                                               (port, rule)
    │   └── BurnRefusedError                                               (rule)
    ├── RegistryError                the registry of devices
    │   ├── DeviceUnknownError                                             (name)
    │   ├── DeviceExistsError                                              (name, rule)
    │   ├── MoveRefusedError                                               (name, state, wanted)
    │   ├── ReleaseUnknownError                                            (product, version)
    │   ├── ReleaseRefusedError                                            (product, version, rule)
    │   └── RegistryUnusableError                                          (url)
    ├── ProvisioningError
    │   ├── RefusedError            the service says no                    (code)
    │   ├── ServiceStartError                                              (log)
    │   ├── ServiceUnreachableError                                        (url)
    │   ├── SlotsError                                                     (path)
    │   └── BatchError                                                     (name, rule)
    ├── NodeError                    the sensor node
    │   └── MessageRefusedError                                            (code)
    ├── NetworkError                zones, rules and namespaces
    │   ├── NamespacesUnavailableError                                     (why)
    │   └── NamespaceError                                                 (output)
    ├── AuditError
    │   ├── TargetRefusedError                                             (host)
    │   ├── ItemUnknownError                                               (item)
    │   └── ReportUnreadableError                                          (path)
    └── CourseError
        ├── LessonUnknownError                                             (slug, known)
        ├── ClaimUnknownError                                              (claim, known)
        ├── NotRefusedError                                                (expected, outcome)
        ├── AnswerUnreadableError                                          (path)
        ├── NotebookError                                                  (path)
        ├── SubmissionsMissingError                                        (path)
        ├── RosterError             a table that an instructor gave         (path)
        ├── GraderFaultError        the grader itself, not a submission    (place)
        ├── PackRefusedError        a pack that must not leave             (path, rule)
        ├── DriftError                                                     (paths)
        └── SiteError                                                      (what)
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path


class LabError(Exception):
    """Something the user can mend: what is wrong, and the next thing to type.

    Subclasses declare their values as annotations; the constructor insists on exactly those.

    Args:
        message: One sentence that names what is wrong.
        advice: The next thing to type or to do.
        **values: The values that the message speaks of, one for each declared name.
    """

    message: str
    advice: str

    def __init__(self, message: str, *, advice: str, **values: object) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        declared = self._declared()
        if values.keys() != declared:
            text = f"{type(self).__name__} takes exactly the values {sorted(declared)}, got {sorted(values)}"
            raise TypeError(text)
        self.__dict__.update(values)

    @classmethod
    def _declared(cls) -> set[str]:
        names = {name for base in cls.__mro__ for name in inspect.get_annotations(base)}
        return names - {"message", "advice"}

    def values(self) -> dict[str, object]:
        """Return the declared values by name, for machine-readable output."""
        return {name: self.__dict__[name] for name in sorted(self._declared())}


class FormatError(LabError):
    """Bytes or text that do not follow their format."""

    what: str
    offset: int


class ImageFormatError(FormatError):
    """A firmware image that a chip would not start; the rule is one stable word."""

    rule: str


class ToolError(LabError):
    """An external program."""

    tool: str


class ToolMissingError(ToolError):
    """The program is not on this machine."""


class ToolVersionError(ToolError):
    """The program is here, but of a version that will not do."""

    found: str
    needed: str


class ToolFailedError(ToolError):
    """The program ran and said no."""

    argv: Sequence[str]
    returncode: int
    output: str


class ToolTimeoutError(ToolError):
    """The program did not finish in its time."""

    argv: Sequence[str]
    seconds: float


class WorkspaceError(LabError):
    """State on disk."""

    path: Path


class WorkspaceUnwritableError(WorkspaceError):
    """The folder does not let us write."""


class DiskFullError(WorkspaceError):
    """No space is left; what was there before is unchanged."""


class WorkspaceCorruptError(WorkspaceError):
    """A file of the workspace does not hold what it should."""


class WorkspaceBusyError(WorkspaceError):
    """Another process works in this folder."""

    holder: str


class CheckpointMissingError(WorkspaceError):
    """No checkpoint of that name."""

    name: str


class PkiError(LabError):
    """Keys, names and certificates."""


class NameRefusedError(PkiError):
    """A device id or host name outside the grammar."""

    name: str
    rule: str


class PassphraseError(PkiError):
    """The passphrase is missing or does not open the key."""

    path: Path


class KeyRefusedError(PkiError):
    """A key that policy does not allow."""

    rule: str


class RequestRefusedError(PkiError):
    """A certificate signing request that proves nothing or is not one."""

    rule: str


class AlreadyIssuedError(PkiError):
    """The name has a valid certificate already."""

    name: str
    serial: str
    not_after: datetime


class NotIssuedError(PkiError):
    """The name has no certificate in this workspace."""

    name: str


class AuthorityMissingError(PkiError):
    """The workspace has no certificate authority yet."""

    path: Path


class IssuanceRefusedError(PkiError):
    """The authority may not or must not sign this."""

    rule: str


class ChainInvalidError(PkiError):
    """A chain that does not lead to the trust anchor."""

    rule: str
    subject: str


class HsmError(PkiError):
    """A hardware module that refuses, or a key that is not in it; the rule says why."""

    label: str
    rule: str


class CeremonyError(PkiError):
    """A key ceremony that must not go on; the rule says why."""

    rule: str


class RevocationRefusedError(PkiError):
    """There is nothing to revoke, or it is revoked already."""

    name: str
    rule: str


class RevocationListError(PkiError):
    """A revocation list that must not be used."""

    rule: str


class BrokerError(LabError):
    """The MQTT broker."""


class PortTakenError(BrokerError):
    """Another program listens on the port."""

    port: int


class BrokerConfigError(BrokerError):
    """A configuration line that is unknown or malformed."""

    line: int
    key: str


class AclError(BrokerError):
    """An access control line that is unknown or malformed."""

    line: int


class BrokerStartError(BrokerError):
    """The broker did not come up."""

    log: str


class BrokerGoneError(BrokerError):
    """The broker was running and is not any more."""

    log: str


class BrokerNotRunningError(BrokerError):
    """No broker runs in this workspace."""

    path: Path


class BrokerRunningError(BrokerError):
    """A broker runs in this folder already."""

    path: Path


class ReloadRefusedError(BrokerError):
    """New rules were refused; the old ones are still in force."""

    log: str


class MqttError(LabError):
    """MQTT itself."""


class TopicRefusedError(MqttError):
    """A topic name or filter that MQTT does not allow."""

    topic: str
    rule: str


class IdentityRefusedError(MqttError):
    """Our own certificate, key or trust file can't be used."""

    path: Path
    rule: str


class ForwardSecrecyError(MqttError):
    """A recording that the server's key does not open."""

    version: str
    suite: str
    group: str


class NotConnectedError(MqttError):
    """The session could not be opened, or is gone."""

    outcome: object


class FirmwareError(LabError):
    """What goes into a device's flash."""


class NvsRefusedError(FirmwareError):
    """A value that NVS can't hold, or a CSV that says something else than was meant."""

    key: str
    rule: str


class PartitionRefusedError(FirmwareError):
    """A partition table that makes no sense."""

    label: str
    rule: str


class ImageRefusedError(FirmwareError):
    """An image that can't be built as asked."""

    rule: str


class SignatureRefusedError(FirmwareError):
    """A firmware signature that does not vouch for the image."""

    rule: str


class OtaRefusedError(FirmwareError):
    """An update in place that can't go on."""

    rule: str


class FlashBoundsError(FirmwareError):
    """Flash that is not there, or no whole sectors of it."""

    offset: int
    length: int
    size: int


class BoardError(LabError):
    """A board, virtual or real."""


class ChipUnknownError(BoardError):
    """A chip that the virtual board can't be."""

    name: str
    known: Sequence[str]


class EfuseUnknownError(BoardError):
    """A field, block or revision that the chip does not have, or a value that does not fit."""

    name: str


class EfuseProtectedError(BoardError):
    """Fuses that can't be burned like that any more."""

    name: str
    rule: str


class UpdateRefusedError(FirmwareError):
    """An update that a device must not take; the rules are those of `firmware.update.STAGES`."""

    rule: str
    stage: str


class BoardBusyError(BoardError):
    """Another process runs this board."""

    path: Path
    holder: str


class BoardGoneError(BoardError):
    """The virtual board was running and is not any more."""


class NoTerminalError(BoardError):
    """The board's serial port can't be a pseudo-terminal."""


class JtagLockedError(BoardError):
    """No debugger gets in."""

    chip: str


class SnapshotMissingError(BoardError):
    """No snapshot of that name."""

    name: str
    known: Sequence[str]


class PortRefusedError(BoardError):
    """A serial port that is not used, or not used like that."""

    port: str
    rule: str


class BurnRefusedError(BoardError):
    """Fuses that must not be burned on this board, or not so."""

    rule: str


class SigningKeyError(FirmwareError):
    """A signing key that is not there, or that is not to be used for this."""

    rule: str


class RegistryError(LabError):
    """The registry of devices."""


class DeviceUnknownError(RegistryError):
    """The registry has no such device."""

    name: str


class DeviceExistsError(RegistryError):
    """The id, the serial number or the MAC belongs to a device already."""

    name: str
    rule: str


class MoveRefusedError(RegistryError):
    """A device can't go from the state that it is in to the one that is wanted."""

    name: str
    state: str
    wanted: str


class ReleaseUnknownError(RegistryError):
    """There is no such release of firmware."""

    product: str
    version: str


class ReleaseRefusedError(RegistryError):
    """A release can't be published, or its roll-out can't do what is wanted; the rule says why."""

    product: str
    version: str
    rule: str


class RegistryUnusableError(RegistryError):
    """The database can't be opened, or is none of ours."""

    url: str


class ProvisioningError(LabError):
    """The provisioning service, the device's side of it, and the factory."""


class RefusedError(ProvisioningError):
    """The service says no; the code is stable, see `provisioning.messages.PROBLEMS`."""

    code: str


class ServiceStartError(ProvisioningError):
    """The service did not come up."""

    log: str


class ServiceUnreachableError(ProvisioningError):
    """No answer from the service."""

    url: str


class SlotsError(ProvisioningError):
    """The device's own store of its identity is not usable."""

    path: Path


class BatchError(ProvisioningError):
    """A factory batch that can't be made, or resumed."""

    name: str
    rule: str


class NodeError(LabError):
    """The sensor node's application."""


class MessageRefusedError(NodeError):
    """A command, a reply or a reading that the node refuses; the code is stable, see `node.codes.CODES`."""

    code: str


class NetworkError(LabError):
    """Zones, rules and network namespaces."""


class NamespacesUnavailableError(NetworkError):
    """This machine does not let us have network namespaces."""

    why: str


class NamespaceError(NetworkError):
    """Something went wrong in our network namespaces."""

    output: str


class AuditError(LabError):
    """An audit, its target and its report."""


class TargetRefusedError(AuditError):
    """We don't try things at that address."""

    host: str


class ItemUnknownError(AuditError):
    """The checklist has no such item."""

    item: str


class ReportUnreadableError(AuditError):
    """A file that is no report of an audit."""

    path: Path


class CourseError(LabError):
    """Lessons, claims and notebooks."""


class LessonUnknownError(CourseError):
    """No lesson of that slug."""

    slug: str
    known: Sequence[str]


class ClaimUnknownError(CourseError):
    """The lesson declares no claim, prediction or check of that id."""

    claim: str
    known: Sequence[str]


class NotRefusedError(CourseError):
    """What had to be refused was let in, or was refused for another reason."""

    expected: str
    outcome: object


class AnswerUnreadableError(CourseError):
    """What was handed in can't be read safely: not a plain file, too large, or not what it should be."""

    path: Path


class NotebookError(CourseError):
    """A notebook source that breaks the rules of the course."""

    path: Path


class SubmissionsMissingError(CourseError):
    """There is nothing to grade, or nothing to grade it with."""

    path: Path


class RosterError(CourseError):
    """A table that an instructor gave can't be used: a roster, or a sheet of points."""

    path: Path


class GraderFaultError(CourseError):
    """The grader itself could not do its work; no submission is to blame, and none is judged by it."""

    place: str


class PackRefusedError(CourseError):
    """What is to be handed in holds something that must not be: a private key, or too much."""

    path: Path
    rule: str


class DriftError(CourseError):
    """Generated notebooks that are not what their sources say."""

    paths: Sequence[Path]


class SiteError(CourseError):
    """Pages that can't be built or shown."""

    what: str
