"""A plant's papers: its network plan with rules, its alert rules, and records with a date and a reader."""

from __future__ import annotations

import dataclasses
import datetime as dt
import ipaddress
from typing import TYPE_CHECKING

from labkit.audit.monitor.alerts import READY, AlertRules, Rule
from labkit.audit.plans import write_plan
from labkit.clock import SYSTEM_CLOCK
from labkit.network import COURSE_PLAN, Plan, router_rules
from labkit.network.iptables_text import render
from labkit.workspace import make_folder

if TYPE_CHECKING:
    from pathlib import Path

_ROLES = {"devices": "iot", "backend": "backend", "office": "corporate", "internet": "internet"}

_WAYS = {
    "way-to-office": "iptables -I FORWARD 1 -i vlan20 -d 192.168.10.0/24 -p tcp --dport 445 -j ACCEPT\n",
    "way-out": "iptables -I FORWARD 1 -i vlan20 -o wan -p tcp --dport 80 -j ACCEPT\n",
    "way-to-broker": "iptables -I FORWARD 1 -i vlan10 -d 192.168.30.0/24 -p tcp --dport 8883 -j ACCEPT\n",
    "open-ipv6": "ip6tables -P FORWARD ACCEPT\nip6tables -F FORWARD\n",
}
"""What somebody has added to the rules."""


def write_network(folder: Path, faults: frozenset[str]) -> Path:
    """Write the plan of the course's zones with the rules that follow from it, and what was added to them."""
    plan = COURSE_PLAN
    if "flat-network" in faults:
        zones = tuple(
            dataclasses.replace(zone, subnet=ipaddress.IPv4Network("192.168.10.128/25"))
            if zone.name == "iot"
            else zone
            for zone in plan.zones
        )
        plan = Plan(zones, plan.flows)
    firewall = router_rules(plan)
    rules = render(firewall, 4) + render(firewall, 6)
    rules += "".join(line for name, line in _WAYS.items() if name in faults)
    write_plan(make_folder(folder), plan, _ROLES, rules)
    return folder


def write_alerts(path: Path, faults: frozenset[str]) -> Path:
    """Write alert rules, or take them away."""
    path.unlink(missing_ok=True)
    rules = READY
    if "no-alerts" in faults:
        return path
    if "deaf-alerts" in faults:
        rules = AlertRules(
            tuple(
                dataclasses.replace(rule, at_least=0.001 if rule.detector.endswith("ending") else 1e6)
                for rule in rules
            )
        )
    if "noisy-alerts" in faults:
        rules = AlertRules(
            (Rule("failed-tls", 1, 60, "page"), *(r for r in rules if r.detector != "failed-tls"))
        )
    path.write_text(rules.to_json(), encoding="utf-8")
    return path


_PLAN = """
# A device was compromised

Who decides: the operator on duty; after an hour the plant's manager.

1. Detect. An alert names the device. Open the log, note the time, and start a page of notes.
2. Decide. Is it one device? If the authority's key is in doubt, this plan is not enough: follow the ceremony for keys.
3. Cut. Take it out of service: labkit provision decommission NAME --reason key-compromise. Its session must end.
4. Look. Try the old certificate: it must be refused as revoked. Read who else has spoken to its topics since.
5. Clean. New board or erased flash, new key, a fresh token, and its first boot. The old id goes on only with a new key.
6. Learn. Within a week: what let it happen, which rule would have noticed earlier, and who changes it.
"""

_SWITCH = """
# What the switch is set to

Exported from the switch in rack 2 and compared with the plan. Ports 1 to 12 are access ports of VLAN 10, ports 13 to 36
of VLAN 20 with client isolation, ports 37 to 44 of VLAN 30; port 48 is the trunk to the router with these three VLANs
tagged and nothing untagged. The SSID plant-sensors is mapped to VLAN 20, the SSID office to VLAN 10. Unused ports are
shut. The management address is in VLAN 10 and answers SSH with keys alone.
"""


def write_documents(folder: Path, faults: frozenset[str]) -> Path:
    """Write the plan for incidents and the record of the switch, each with date and reader."""
    make_folder(folder)
    today = SYSTEM_CLOCK.now().date()
    write_record(
        folder / "incident-response.md", _PLAN, written=today - dt.timedelta(days=90), reviewer="R. Hopper"
    )
    if "no-plan" in faults:
        (folder / "incident-response.md").unlink()
    if "stale-plan" in faults:
        old = today - dt.timedelta(days=3 * 365)
        write_record(folder / "incident-response.md", _PLAN, written=old, reviewer="R. Hopper", reviewed=old)
    if "unread-plan" in faults:
        write_record(folder / "incident-response.md", _PLAN, written=today, reviewer="")
    write_record(folder / "switch.md", _SWITCH, written=today - dt.timedelta(days=60), reviewer="K. Johnson")
    if "no-switch-record" in faults:
        (folder / "switch.md").unlink()
    return folder


def write_record(
    path: Path, text: str, *, written: dt.date, reviewer: str, reviewed: dt.date | None = None
) -> Path:
    """Write a record with a head.

    Args:
        path: Where to.
        text: What it says.
        written: When it was written.
        reviewer: Who has reviewed it; nobody where empty.
        reviewed: When; ten days later where it is not given.
    """
    head = [f"date: {written}"]
    if reviewer:
        head += [f"reviewed-by: {reviewer}", f"reviewed-on: {reviewed or written + dt.timedelta(days=10)}"]
    path.write_text("---\n" + "\n".join(head) + "\n---\n" + text, encoding="utf-8")
    return path
