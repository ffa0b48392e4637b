"""The rule of each item: from facts to evidence."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from labkit.audit import (
    rules_access,
    rules_communication,
    rules_firmware,
    rules_identity,
    rules_monitoring,
    rules_network,
)
from labkit.audit.rules_documents import reviewed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from labkit.audit.evidence import Evidence
    from labkit.audit.facts import Facts

    Rule = Callable[[Facts], Iterable[Evidence]]


def _separate(facts: Facts) -> Iterable[Evidence]:
    return rules_network.separate(facts, partial(reviewed, facts))


def _plan(facts: Facts) -> Iterable[Evidence]:
    return reviewed(facts, "incident-response")


RULES: Mapping[str, Rule] = {
    "communication-1": rules_communication.encrypted,
    "communication-2": rules_communication.suites,
    "communication-3": rules_communication.broker_verified,
    "communication-4": rules_communication.mutual,
    "communication-5": rules_communication.lifetimes,
    "communication-6": rules_communication.renewal,
    "identity-1": rules_identity.unique,
    "identity-2": rules_identity.unshared,
    "identity-3": rules_identity.not_built_in,
    "identity-4": rules_identity.registered,
    "firmware-1": rules_firmware.secure_boot,
    "firmware-2": rules_firmware.encrypted_flash,
    "firmware-3": rules_firmware.signed_updates,
    "firmware-4": rules_firmware.rollback,
    "firmware-5": rules_firmware.debug_closed,
    "network-1": _separate,
    "network-2": rules_network.only_broker,
    "network-3": rules_network.no_internet,
    "network-4": rules_network.broker_guarded,
    "access-1": rules_access.own_topics,
    "access-2": rules_access.no_default_passwords,
    "access-3": rules_access.interfaces_ask,
    "access-4": rules_access.short_tokens,
    "monitoring-1": rules_monitoring.refusals_logged,
    "monitoring-2": rules_monitoring.alerts,
    "monitoring-3": rules_monitoring.decommissioned,
    "monitoring-4": _plan,
}
"""The rules by their items' ids."""
