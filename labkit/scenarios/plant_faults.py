"""What can be wrong with a plant: each fault is planted in artefacts, and named by what was done."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        name: Its name.
        component: The part of the plant that it is planted in.
        items: The items of the checklist that must find it.
        what: What was done, in a sentence.
    """

    name: str
    component: str
    items: frozenset[str]
    what: str


def _fault(name: str, component: str, items: str, what: str) -> Fault:
    return Fault(name, component, frozenset(items.split()), what)


FAULTS: Mapping[str, Fault] = {
    fault.name: fault
    for fault in (
        _fault("plain-door", "broker", "communication-1 communication-4", "a listener without TLS was left open"),
        _fault("legacy-suites", "broker", "communication-2", "a CBC suite with SHA-1 was allowed for an old client"),
        _fault("token-door", "broker", "communication-4", "a second TLS listener takes passwords instead of certificates"),
        _fault("password-door", "broker", "communication-4 access-2", "a second TLS listener takes admin's password admin"),
        _fault("no-list", "broker", "communication-4 monitoring-3", "the broker was started without a revocation list"),
        _fault("late-list", "broker", "communication-4", "the revocation list was not renewed in time"),
        _fault("wide-rules", "broker", "access-1", "a pattern lets each device write below devices/"),
        _fault("nosy-rules", "broker", "access-1", "a pattern lets each device read all telemetry"),
        _fault("quiet-log", "broker", "monitoring-1", "log_type was set to information"),
        _fault("plain-flows", "tools", "communication-1", "the flow editor connects to port 1883 without TLS"),
        _fault("blind-flows", "tools", "communication-3", "the flow editor does not verify the broker"),
        _fault("default-password", "tools", "access-2", "the dashboard has the password that it came with"),
        _fault("open-flows", "tools", "access-3", "the flow editor asks nobody who they are"),
        _fault("open-database", "tools", "access-3", "the database asks nobody who they are"),
        _fault("long-operator", "history", "communication-5", "an operator's certificate is valid for five years"),
        _fault("long-server", "history", "communication-5", "a server's certificate is valid for four years"),
        _fault("never-renewed", "history", "communication-6", "no device has ever renewed"),
        _fault("late-renewal", "history", "communication-6", "a device's certificate ends in ten days"),
        _fault("unregistered", "history", "identity-4", "a device was issued a certificate past the registry"),
        _fault("long-token", "history", "access-4", "a token was made that counts for a year"),
        _fault("never-retired", "history", "monitoring-3", "no device was ever taken out of service"),
        _fault("forgotten-list", "history", "monitoring-3", "a device was taken out of the registry, and not put on the list"),
        _fault("twin-name", "images", "identity-1", "two factory images say that they are one device"),
        _fault("shared-key", "images", "identity-2", "two factory images have one private key"),
        _fault("shared-token", "images", "identity-2", "two factory images have one token"),
        _fault("key-in-image", "images", "identity-3", "a private key was built into the application"),
        _fault("password-in-image", "images", "identity-3", "a broker password was built into the application"),
        _fault("no-root", "images", "communication-3", "factory images lack the root certificate"),
        _fault("no-secure-boot", "board", "firmware-1", "secure boot was never burnt"),
        _fault("stranger-app", "board", "firmware-1 firmware-2", "an application of somebody else lies in a readable flash"),
        _fault("plain-flash", "board", "firmware-2", "flash encryption was never turned on"),
        _fault("old-firmware", "board", "firmware-2 firmware-3", "a board runs a version of three releases ago, readable"),
        _fault("open-jtag", "board", "firmware-5", "JTAG was left open"),
        _fault("open-download", "board", "firmware-5", "the download mode was left open"),
        _fault("unsigned-update", "updates", "firmware-3", "a hotfix was published without a signature"),
        _fault("stranger-update", "updates", "firmware-3", "an update was published that somebody else has signed"),
        _fault("no-rollback", "bench", "firmware-4", "rollback was never tried"),
        _fault("flat-network", "network", "network-1", "devices got addresses in the office network"),
        _fault("no-switch-record", "documents", "network-1", "nobody has written down what the switch is set to"),
        _fault("way-to-office", "network", "network-2", "devices reach file shares in the office"),
        _fault("way-out", "network", "network-3", "devices reach web servers on the internet"),
        _fault("way-to-broker", "network", "network-4", "the office reaches the broker's port"),
        _fault("open-ipv6", "network", "network-2 network-3 network-4", "the rules are for IPv4 alone"),
        _fault("no-alerts", "alerts", "monitoring-2", "there are no alert rules"),
        _fault("deaf-alerts", "alerts", "monitoring-2", "thresholds are so high that nothing reaches them"),
        _fault("noisy-alerts", "alerts", "monitoring-2", "the first failed handshake raises an alarm"),
        _fault("no-plan", "documents", "monitoring-4", "there is no incident response plan"),
        _fault("stale-plan", "documents", "monitoring-4", "the incident response plan was last read three years ago"),
        _fault("unread-plan", "documents", "monitoring-4", "nobody has reviewed the incident response plan"),
    )
}  # fmt: skip
"""The faults by name."""

APART: tuple[frozenset[str], ...] = (
    frozenset({"no-list", "late-list"}),
    frozenset({"no-list", "forgotten-list"}),
    frozenset({"token-door", "password-door"}),
    frozenset({"never-renewed", "late-renewal"}),
    frozenset({"twin-name", "shared-key", "shared-token", "no-root"}),
    frozenset({"stranger-app", "plain-flash", "old-firmware"}),
    frozenset({"no-secure-boot", "stranger-app"}),
    frozenset({"plain-flows", "blind-flows"}),
    frozenset({"flat-network", "way-to-office", "way-out", "way-to-broker", "open-ipv6"}),
    frozenset({"no-alerts", "deaf-alerts", "noisy-alerts"}),
    frozenset({"no-plan", "stale-plan", "unread-plan"}),
)
"""Faults of which one hides the other, or makes it impossible; a plant has one of each set at most."""

MISTAKES: Mapping[str, tuple[str, ...]] = {
    "hardcoded-credentials": ("key-in-image", "password-in-image"),
    "no-tls": ("plain-door", "plain-flows"),
    "unpatched-firmware": ("old-firmware",),
    "open-debug-ports": ("open-jtag", "open-download"),
    "default-passwords": ("default-password", "password-door"),
    "no-rotation": ("never-renewed", "long-operator", "late-renewal"),
}
"""How each of the six common mistakes can be planted."""

MORE = 7
"""How many faults a weak plant has beside the six mistakes."""


def possible(faults: Iterable[str]) -> bool:
    """Return whether a plant can have all these faults, so that each of them shows."""
    chosen = set(faults)
    return all(len(chosen & apart) <= 1 for apart in APART)


def choose_faults(seed: int, *, more: int = MORE) -> frozenset[str]:
    """Return the faults of a weak plant: each of the six mistakes in one of its forms, and some more.

    Args:
        seed: Who asks with the same seed gets the same faults. Keys never come from it.
        more: How many beside the six.
    """
    source = random.Random(seed)  # noqa: S311 - it chooses a lesson's faults, and guards nothing
    chosen: set[str] = set()
    for forms in MISTAKES.values():
        fitting = [name for name in forms if possible({*chosen, name})]
        chosen.add(source.choice(fitting))
    rest = sorted(FAULTS.keys() - chosen)
    source.shuffle(rest)
    for name in rest:
        if len(chosen) < len(MISTAKES) + more and possible({*chosen, name}):
            chosen.add(name)
    return frozenset(chosen)


def expected_failures(faults: Iterable[str]) -> frozenset[str]:
    """Return the items that must fail."""
    return frozenset(item for name in faults for item in FAULTS[name].items)
