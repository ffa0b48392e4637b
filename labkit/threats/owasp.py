"""The OWASP IoT Top 10 of 2018, and what of the course belongs to each row: exercises, items of the audit, threats.

Everything is named by strings. Tests resolve them in both directions: nothing that is named is missing, and nothing that
is there is named by no row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.threats.catalogue import THREATS

if TYPE_CHECKING:
    from labkit.threats.stride import Threat


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        id: I1 to I10.
        title: What OWASP calls it.
        seen: How it looks in a plant like ours.
        audit: The items of the audit that serve it, in the order of the checklist.
        checks: The exercises that work on it: lesson and number, with a dot between.
    """

    id: str
    title: str
    seen: str
    audit: tuple[str, ...]
    checks: tuple[str, ...]

    @property
    def threats(self) -> tuple[Threat, ...]:
        """The plant's threats that belong to it."""
        return tuple(threat for threat in THREATS if self.id in threat.owasp)

    @property
    def lessons(self) -> tuple[str, ...]:
        """The lessons that work on it: by an exercise, or by an experiment that closes one of its threats."""
        by_check = [check.rpartition(".")[0] for check in self.checks]
        by_claim = [lesson for threat in self.threats for lesson in threat.lessons]
        return tuple(dict.fromkeys([*by_check, *by_claim]))


AUDIT_ITEMS = tuple(
    f"{section}-{number}"
    for section, count in (
        ("communication", 6), ("identity", 4), ("firmware", 5), ("network", 4), ("access", 4), ("monitoring", 4),
    )
    for number in range(1, count + 1)
)  # fmt: skip
"""The 27 items of the audit's checklist, in its order."""


def _row(row: str, title: str, seen: str, audit: str, checks: str) -> Row:
    return Row(row, title, seen, tuple(audit.split()), tuple(checks.split()))


ROWS = (
    _row("I1", "Weak, guessable, or hardcoded passwords", "admin/admin; one password in every image",
         "communication-4 identity-1 identity-2 identity-3 access-2 access-4",
         "threat-model.2 threat-model.5 start-here.1 start-here.3 start-here.5 provisioning.1 provisioning.4"),
    _row("I2", "Insecure network services", "port 1883 for everybody; services that nobody uses",
         "communication-1 network-1 network-2 network-3 network-4",
         "threat-model.1 threat-model.3 threat-model.4 segmentation.1 segmentation.2 segmentation.3 segmentation.5 tls.2"),
    _row("I3", "Insecure ecosystem interfaces", "a provisioning service that asks nobody; an open editor",
         "communication-3 access-1 access-3 access-4",
         "mutual-tls.1 mutual-tls.2 mutual-tls.3 mutual-tls.4 certificate-authority.2 certificate-authority.3 certificate-authority.4 provisioning.1 provisioning.3 esp32-flashing.1 revocation.3"),
    _row("I4", "Lack of secure update mechanism", "images that anybody can make; no way back from a bad one",
         "firmware-1 firmware-3 firmware-4", "firmware-signing.1 firmware-signing.2 threat-model.2 esp32-flashing.4 firmware-signing.3 firmware-signing.4 firmware-signing.5"),
    _row("I5", "Use of insecure or outdated components", "a TLS library of the year in which the device was made",
         "firmware-3", "threat-model.2 audit.3 firmware-signing.3"),
    _row("I6", "Insufficient privacy protection", "readings that tell who is at home, kept for ever",
         "network-3", "audit.2 tls.1 tls.5"),
    _row("I7", "Insecure data transfer and storage", "readings and keys in the open, on the wire and in the flash",
         "communication-1 communication-2 communication-3 communication-4 firmware-2",
         "threat-model.1 tls.1 tls.2 tls.3 tls.4 start-here.2 certificate-authority.5 esp32-flashing.2 esp32-flashing.3"),
    _row("I8", "Lack of device management", "nobody knows which devices there are, or how to take one out",
         "communication-5 communication-6 identity-1 identity-4 access-1 monitoring-1 monitoring-2 monitoring-3 monitoring-4",
         "audit.1 audit.4 audit.5 revocation.1 revocation.2 revocation.4 revocation.5 provisioning.2 provisioning.5 certificate-authority.1 start-here.4 mutual-tls.5"),
    _row("I9", "Insecure default settings", "debug ports open, policies that accept, passwords as delivered",
         "firmware-5 access-2 monitoring-1", "segmentation.2 segmentation.4 threat-model.2"),
    _row("I10", "Lack of physical hardening", "a flash chip that is read with a clip",
         "identity-3 firmware-1 firmware-2 firmware-5", "esp32-flashing.2 esp32-flashing.5 threat-model.2 firmware-signing.2"),
)  # fmt: skip
"""The rows, in their order."""

BY_ID = {row.id: row for row in ROWS}
"""The rows by their id."""
