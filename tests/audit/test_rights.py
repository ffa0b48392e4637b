"""What rules give to devices: each grant outside a device's own topics is found, and nothing else is reported."""

from __future__ import annotations

import pytest

from labkit.audit.rights import MOST, granted
from labkit.broker import DEVICE_ACL, Acl, Rule

NAMES = ("sensor-001", "sensor-002", "sensor-003")


def found(*rules: Rule, bound: bool = True) -> set[str]:
    """Return what is told of the course's rules with more of them."""
    trials = granted(Acl((*DEVICE_ACL.rules, *rules)), NAMES, bound=bound)
    return {trial.what for trial in trials if trial.succeeded}


def test_the_rules_of_the_course_give_nothing_away() -> None:
    """The course's rules pass, with one line that says how many devices were looked at."""
    (trial,) = granted(DEVICE_ACL, NAMES, bound=True)
    assert (False, False, True) == (trial.wanted, trial.succeeded, "3 devices" in trial.what)


GIVEN = [
    (Rule("write", "devices/sensor-001/commands/open", user="sensor-003"), "sensor-003 write devices/sensor-001/commands/open"),
    (Rule("readwrite", "#", user="sensor-002"), "sensor-002 write devices/sensor-001/telemetry/audit"),
    (Rule("read", "+/+/telemetry/#", user="sensor-002"), "sensor-002 read devices/sensor-001/telemetry/audit"),
    (Rule("write", "devices/#", pattern=True), "sensor-003 write devices/sensor-002/telemetry/audit"),
    (Rule("write", "plant/%u/alarm", pattern=True), "sensor-001 write plant/sensor-001/alarm"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "told"), GIVEN)
def test_what_is_given_away_is_found(rule: Rule, told: str) -> None:
    """A grant in another's topics is found; a denial of the same takes it back."""
    assert f"the rules let {told}" in found(rule)
    user = told.split(maxsplit=1)[0]
    assert not any(user in what.split()[3:4] for what in found(rule, Rule("deny", "#", user=user)))


def test_a_client_id_that_is_not_bound_is_a_choice() -> None:
    """A pattern with %c gives away everybody's topics where the client chooses its id, and nothing where it can't."""
    rule = Rule("write", "devices/%c/telemetry/#", pattern=True)
    assert set() == found(rule)
    assert "the rules let sensor-002 write devices/sensor-001/telemetry/audit" in found(rule, bound=False)


def test_announcements_are_for_all_to_read() -> None:
    """A topic outside devices/ may be read by all; a long list of findings has an end."""
    assert set() == found(Rule("read", "plant/time", user="sensor-001"))
    many = tuple(f"sensor-{n:03}" for n in range(500))
    wide = Acl((Rule("write", "devices/#", pattern=True),))
    assert MOST == len(granted(wide, many, bound=True))
