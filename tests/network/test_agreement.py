"""The evaluator against the real kernel, over rule sets made at random: they agree on every pair."""

from __future__ import annotations

import os
import random
from collections import Counter
from dataclasses import dataclass

import pytest

from labkit.network import Attempt, Firewall, Reply, Testbed, Topology, generated, predict, rules
from labkit.network.namespaces import IPTABLES, NFT
from labkit.network.rules import MATCHERS
from tests.conftest import seed

pytestmark = pytest.mark.tool

SETS = 500 if os.environ.get("LABKIT_TEST_FULL") else 100
ATTEMPTS = 60
KNOWN = ("40/9",)
"""Rule sets on which they once disagreed, tried each time: a reset that was rejected in its turn."""


@dataclass(frozen=True)
class Trial:
    """One rule set, what was tried under it, and what the kernel did."""

    name: str
    firewalls: dict[str, Firewall]
    attempts: list[Attempt]
    measured: list[Reply]


@pytest.fixture(scope="module")
def trials(bed: Testbed, topology: Topology) -> list[Trial]:
    """Return what the kernel did with rule sets of this run's seed; every other one is loaded by iptables."""
    found = []
    for number, name in enumerate([*KNOWN, *(f"{seed()}/{number}" for number in range(SETS))]):
        source = random.Random(name)
        sets, attempts = generated.firewalls(source, topology), generated.attempts(source, topology, ATTEMPTS)
        for node, firewall in sets.items():
            bed.load(node, firewall, program=NFT if number % 2 else IPTABLES)
        found.append(Trial(name, sets, attempts, bed.measure(attempts)))
    return found


def wrong(topology: Topology, trials: list[Trial]) -> list[str]:
    """Return each pair on which evaluator and kernel disagree."""
    return [
        f"set {trial.name}: {attempt}: measured {reply.result}, predicted {promised}"
        for trial in trials
        for attempt, reply in zip(trial.attempts, trial.measured, strict=True)
        if (promised := predict(topology, trial.firewalls, attempt)).result != reply.result
    ]


def test_evaluator_and_kernel_agree(topology: Topology, trials: list[Trial]) -> None:
    """On every pair of every rule set the kernel does what was predicted: open, silence, or a no."""
    assert [] == wrong(topology, trials)


def test_the_rule_sets_are_worth_it(trials: list[Trial]) -> None:
    """Each matcher is in at least a tenth of the sets, a quarter to three quarters of pairs are open, all three happen."""
    used = Counter(
        name
        for trial in trials
        for name in {
            name for wall in trial.firewalls.values() for _, _, rule in wall.rules() for name in rule.matchers
        }
    )
    assert dict.fromkeys(MATCHERS, True) == {name: used[name] >= SETS / 10 for name in MATCHERS}
    results = Counter(reply.result for trial in trials for reply in trial.measured)
    assert 0.25 <= results["open"] / results.total() <= 0.75
    assert {"open", "dropped", "rejected"} == set(results)
    assert results["rejected"] >= results.total() / 100


@pytest.mark.parametrize("name", sorted(MATCHERS))
def test_a_matcher_that_is_wrong_is_noticed(
    name: str, topology: Topology, trials: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An evaluator that ignores one matcher disagrees with the kernel: the comparison can fail."""
    monkeypatch.setitem(rules.MATCHERS, name, lambda *_: True)  # type: ignore[arg-type]
    assert wrong(topology, trials)


def test_silence_is_not_impatience(bed: Testbed, trials: list[Trial]) -> None:
    """Waiting longer than TCP waits before it asks again changes nothing: what was silent stays silent."""
    chosen = trials[-1]
    for node, firewall in chosen.firewalls.items():
        bed.load(node, firewall)
    assert chosen.measured == bed.measure(chosen.attempts, patience=1.3)
