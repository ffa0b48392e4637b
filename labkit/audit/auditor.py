"""Audit a target: ask each item's rule for evidence, and let the evidence decide."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from labkit.audit.checklist import BY_ID, ITEMS, Item
from labkit.audit.collector import Collector
from labkit.audit.evidence import Evidence, Verdict, fault, verdict_of
from labkit.audit.report import Judged, Report
from labkit.audit.rules import RULES
from labkit.clock import SYSTEM_CLOCK, Clock
from labkit.errors import ItemUnknownError, LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from labkit.audit.facts import Facts
    from labkit.audit.target import Target


def audit(
    target: Target,
    *,
    items: Iterable[str] = (),
    clock: Clock = SYSTEM_CLOCK,
    owned: str = "",
    progress: Callable[[Item], None] = lambda _: None,
) -> Report:
    """Audit a target.

    Args:
        target: What to audit.
        items: The ids of the items to look at; all without any.
        clock: What time it is.
        owned: An address other than this machine that whoever asks says is theirs.
        progress: Told of each item before it is looked at.

    Returns:
        The report.

    Raises:
        ItemUnknownError: There is no such item.
        TargetRefusedError: The target is at an address at which we don't try things.

    Does not check: what the target does not show. A plant can be broken in ways that no item asks for.
    """
    chosen = tuple(_item(each) for each in items) or ITEMS
    started = time.monotonic()
    with Collector(target, now=clock.now(), owned=owned) as facts:
        judged = []
        for item in chosen:
            progress(item)
            judged.append(_judge(item, target, facts))
    return Report(target.title, facts.now, tuple(judged), time.monotonic() - started)


def _item(item_id: str) -> Item:
    if item_id not in BY_ID:
        raise ItemUnknownError(
            f"The checklist has no item {item_id!r}.",
            advice=f"Its items are: {', '.join(BY_ID)}.",
            item=item_id,
        )
    return BY_ID[item_id]


def _judge(item: Item, target: Target, facts: Facts) -> Judged:
    if not item.scope & target.parts:
        return Judged(item, Verdict.NOT_APPLICABLE, ())
    try:
        evidence = tuple(RULES[item.id](facts))
    except (LabError, OSError, ValueError) as error:
        # Fail closed: what could not be found out, because a file is damaged or gone, is not fine.
        why = error.message if isinstance(error, LabError) else f"{type(error).__name__}: {error}"
        evidence = (fault(f"could not be found out: {why}", item.id),)
    if not evidence:
        evidence = (fault("nothing was found to judge by", item.id),)
    return Judged(item, verdict_of(evidence), tuple(sorted(evidence, key=_faults_first)))


def _faults_first(evidence: Evidence) -> bool:
    return evidence.holds
