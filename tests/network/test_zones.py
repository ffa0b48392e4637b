"""Zones and flows: what a plan may say, and what a printed one leaves out."""

from __future__ import annotations

import dataclasses

import pytest

from labkit.network import COURSE_PLAN, COURSE_ZONES, NEEDED, PRINTED, Flow, Plan, compare


def test_the_course_plan_allows_what_is_needed() -> None:
    """The course's own plan has nothing to add and nothing to take away."""
    assert compare(COURSE_PLAN.flows, NEEDED).fits


def test_the_printed_list_cuts_devices_off() -> None:
    """The printed list leaves out provisioning, updates, names and time, without which no device enrols."""
    cut_off = {(flow.source, flow.port) for flow in compare(PRINTED, NEEDED).cut_off}
    assert {("iot", 5000), ("iot", 8070), ("iot", 53), ("iot", 123)} <= cut_off


def test_the_printed_list_opens_what_nobody_needs() -> None:
    """The backend may open connections to the office, which is the dashboard's flow the wrong way round."""
    found = compare(PRINTED, NEEDED)
    assert [("backend", "corporate", "tcp", 443)] == [
        flow.key for flow in (*found.turned_round, *found.surplus)
    ]
    assert [("backend", "corporate", "tcp", 443)] == [flow.key for flow in found.turned_round]


def test_a_flow_of_nobody_is_surplus() -> None:
    """A flow that is needed in neither direction is called so."""
    stray = Flow("internet", "iot", "tcp", 23, "telnet")
    found = compare((*NEEDED, stray), NEEDED)
    assert ((), (stray,), ()) == (found.cut_off, found.surplus, found.turned_round)


@pytest.mark.parametrize(
    "flow",
    [
        Flow("iot", "nowhere", "tcp", 1, ""),
        Flow("iot", "iot", "tcp", 1, ""),
        Flow("iot", "backend", "sctp", 1, ""),
        Flow("iot", "backend", "tcp", 0, ""),
        Flow("iot", "backend", "tcp", 65536, ""),
    ],
)
def test_a_plan_refuses_flows_that_make_no_sense(flow: Flow) -> None:
    """A flow goes from one zone to another, with a protocol and a port."""
    with pytest.raises(ValueError, match="a flow"):
        Plan(COURSE_ZONES, (flow,))


def test_a_plan_refuses_two_zones_of_one_name() -> None:
    """Zones are told apart by their names, and none is the router."""
    with pytest.raises(ValueError, match="names of their own"):
        Plan((*COURSE_ZONES, COURSE_ZONES[0]), ())
    with pytest.raises(ValueError, match="names of their own"):
        Plan((dataclasses.replace(COURSE_ZONES[0], name="router"),), ())


def test_a_zone_that_is_not_there() -> None:
    """Asking for a zone that is not there is the caller's mistake."""
    with pytest.raises(ValueError, match="no zone 'dmz'"):
        COURSE_PLAN.zone("dmz")


def test_flows_read_well() -> None:
    """A flow is spelt as people write it."""
    assert "iot -> backend tcp/8883" == str(NEEDED[0])
    assert COURSE_PLAN.flows[:1] == COURSE_PLAN.with_flows(NEEDED[:1]).flows
