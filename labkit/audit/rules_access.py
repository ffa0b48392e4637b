"""Rules about who may do what: topics, doors with passwords, interfaces, tokens."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from labkit.audit.evidence import Evidence, fault, seen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from labkit.audit.facts import Facts, Trial

LONGEST_TOKEN = dt.timedelta(hours=72)
"""A token that counts for longer is an identity that lies around."""


def judged(trials: Sequence[Trial], source: str) -> Iterator[Evidence]:
    """Turn trials into evidence; a control that failed is a fault too."""
    for trial in trials:
        told = f"{trial.what}: {'yes' if trial.succeeded else 'no'}" + (
            f" ({trial.detail})" if trial.detail else ""
        )
        if trial.succeeded == trial.wanted:
            yield seen(told + (" (the control)" if trial.wanted else ""), source)
        else:
            yield fault(told, source)


def own_topics(facts: Facts) -> Iterator[Evidence]:
    """Judge what devices could write and read, as an observer saw it, and what the rules give to all the others."""
    yield from judged(facts.rights, "sessions at the broker, judged by what arrived")
    yield from judged(facts.rules, "the broker's rules")


def no_default_passwords(facts: Facts) -> Iterator[Evidence]:
    """Look for doors that a public list of passwords opened."""
    for place, logins in [
        *((door.place, door.logins) for door in facts.doors),
        *((f"{tool.name}, {tool.url}", tool.logins) for tool in facts.tools if not tool.problem),
    ]:
        for user, password in logins:
            yield fault(f"opens to the user {user!r} with the password {password!r}", place)
        if not logins:
            yield seen("opens to none of the passwords of a public list", place)
    for tool in facts.tools:
        if tool.problem:
            yield fault(tool.problem, f"{tool.name}, {tool.url}")


def interfaces_ask(facts: Facts) -> Iterator[Evidence]:
    """Look for interfaces that serve who says nothing of themselves."""
    if facts.service is not None:
        yield from judged(facts.service, "the provisioning service")
    for tool in facts.tools:
        place = f"{tool.name}, {tool.url}"
        for path in tool.open_paths:
            yield fault(f"serves {path} without credentials", place)
        if tool.problem:
            yield fault(tool.problem, place)
        elif not tool.open_paths:
            yield seen(f"asks for credentials on each of {tool.asked} paths", place)


def short_tokens(facts: Facts) -> Iterator[Evidence]:
    """Look at the lives of tokens that are out; that the registry spends each once is its own tests' matter."""
    fleet = facts.fleet
    if fleet is None or fleet.problem:
        yield fault(
            fleet.problem if fleet else "there is no registry of tokens",
            fleet.place if fleet else "the target",
        )
        return
    for token in fleet.tokens:
        life = token.ends_at - token.made_at
        if token.out and life > LONGEST_TOKEN:
            hours = life.total_seconds() / 3600
            yield fault(f"a token for {token.device} is out and counts for {hours:.0f} hours", fleet.place)
    out = sum(token.out for token in fleet.tokens)
    yield seen(f"{len(fleet.tokens)} tokens were made, {out} are out", fleet.place)
