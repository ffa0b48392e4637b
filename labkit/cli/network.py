"""`labkit network`: zones, flows, the rules that follow from them, and who reaches whom then."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from labkit.cli.console import emit_json, emit_table, json_option, spoken

if TYPE_CHECKING:
    from labkit.network import Cell, Matrix
    from labkit.scenarios.segmented_plant import SegmentedPlant

NODES = ("router", "corporate", "iot", "backend", "internet")


@click.group()
def network() -> None:
    """Plan zones and flows, derive firewall rules, and measure who reaches whom.

    Rules are put in force only in network namespaces of our own, which end with the command. The firewall of this
    machine is never touched. Where there are no namespaces, everything is predicted, and says so.
    """


@network.command()
@click.option(
    "--printed", is_flag=True, help="Hold the lesson's printed list of VLAN rules against what is needed."
)
@json_option
def plan(printed: bool, as_json: bool) -> None:  # noqa: FBT001 - click passes flags by position
    """Show the course's zones and every flow between them, each with what it is for."""
    from labkit.network import COURSE_PLAN, NEEDED, PRINTED, compare

    found = compare(PRINTED, NEEDED)
    if as_json:
        emit_json(
            {
                "zones": COURSE_PLAN.zones,
                "flows": PRINTED if printed else NEEDED,
                **({"comparison": found} if printed else {}),
            }
        )
        return
    if printed:
        rows = [("cut off", str(flow), flow.service) for flow in found.cut_off]
        rows += [
            ("wrong way round or needed by nobody", str(flow), flow.service)
            for flow in (*found.turned_round, *found.surplus)
        ]
        emit_table(("the printed list", "flow", "service"), rows)
        return
    emit_table(
        ("zone", "VLAN", "IPv4", "IPv6", "members"),
        [(z.name, z.vlan or "", z.subnet, z.subnet6, z.members) for z in COURSE_PLAN.zones],
    )
    click.echo()
    emit_table(("flow", "service", "needed for"), [(str(f), f.service, f.reason) for f in NEEDED])
    click.echo("\nEverything else is forbidden, in both families.")


@network.command()
@click.option("--node", type=click.Choice(NODES), default="router", show_default=True, help="Whose rules.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["nft", "iptables"]),
    default="nft",
    show_default=True,
    help="In whose words; iptables means ip6tables as well.",
)
@click.option(
    "--try", "tried", is_flag=True, help="Put them in force in namespaces, and show who reaches whom then."
)
def apply(node: str, form: str, tried: bool) -> int:  # noqa: FBT001
    """Print the rules that follow from the flows, ready for a router or a server of yours.

    \b
      labkit network apply                          what the router between the zones needs
      labkit network apply --node backend           what the broker's machine needs besides
      labkit network apply --try                    in force in namespaces of ours, and measured

    Nothing on this machine is changed. To use the rules on one of yours, read them first, then give them to nft there:
    docs/segmentation.md tells how, how not to lock yourself out, and how they outlive a restart.
    """  # noqa: D301 - click wants the character itself
    from labkit.network import COURSE_PLAN, derive, iptables_text, nftables

    rules = derive(COURSE_PLAN, node)
    if form == "nft":
        click.echo(nftables.render(rules), nl=False)
    else:
        click.echo(iptables_text.render(rules, 4) + "\n" + iptables_text.render(rules, 6), nl=False)
    if not tried:
        click.echo(
            spoken("# Only printed. In force in namespaces, and measured: labkit network apply --try"),
            err=True,
        )
        return 0
    from labkit.scenarios.segmented_plant import cells_of, segmented_plant

    with segmented_plant() as plant:
        plant.apply(node, rules, program=form)
        _show(plant, plant.matrix(cells_of(plant)))
    return 0


@network.command()
@click.option(
    "--rules",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of iptables and ip6tables commands to go by, in place of ours.",
)
@click.option(
    "--node", type=click.Choice(NODES), default="backend", show_default=True, help="On which node they are."
)
@click.option("--open", "unprotected", is_flag=True, help="No rules at all.")
@click.option("--simulate", is_flag=True, help="Predict, also where it could be measured.")
@json_option
def matrix(rules: Path | None, node: str, unprotected: bool, simulate: bool, as_json: bool) -> None:  # noqa: FBT001
    """Show who reaches whom: measured in namespaces, or predicted where there are none.

    \b
      labkit network matrix                         with the rules that follow from the flows
      labkit network matrix --open                  without any
      labkit network matrix --rules my-rules.sh     with yours, on the broker's machine

    A file of rules is read by our parser first; what it does not understand is refused, and nothing is run.
    """  # noqa: D301
    from labkit.network import COURSE_PLAN, derive
    from labkit.scenarios.segmented_plant import cells_of, segmented_plant

    text = rules.read_text(encoding="utf-8", errors="replace") if rules else ""
    with segmented_plant(simulate=simulate) as plant:
        if rules:
            plant.type_commands(node, text)
        elif not unprotected:
            for each in ("router", "backend"):
                plant.apply(each, derive(COURSE_PLAN, each))
        found = plant.matrix(cells_of(plant))
        if as_json:
            emit_json({"how": plant.how, "simulated": plant.simulated, "pairs": _listed(found)})
        else:
            _show(plant, found)


@network.command()
@click.option(
    "--generated",
    type=click.IntRange(0, 5000),
    default=0,
    help="Also hold the evaluator against the kernel over so many rule sets made at random.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Where chance begins.")
@json_option
def test(generated: int, seed: int, as_json: bool) -> int:  # noqa: FBT001
    """Put the derived rules in force in namespaces, try every pair, and hold it against flows and prediction.

    Exit status 0 if what is needed is open, nothing else is, and the kernel did what was predicted; 1 if not.
    """
    from labkit.network import COURSE_PLAN, NEEDED, against_flows, derive, disagreements
    from labkit.scenarios.segmented_plant import cells_of, segmented_plant

    with segmented_plant() as plant:
        for node in ("router", "backend"):
            plant.apply(node, derive(COURSE_PLAN, node))
        wanted = cells_of(plant)
        found = plant.matrix(wanted)
        differ = disagreements(found, plant.prediction(wanted))
        cut_off, surplus = against_flows(found, NEEDED)
        facts = {
            "how": plant.how, "simulated": plant.simulated, "pairs": len(wanted),
            "cut_off": [str(cell) for cell in cut_off], "too_open": [str(cell) for cell in surplus],
            "not_as_predicted": [str(cell) for cell in differ],
        }  # fmt: skip
    if generated:
        facts["generated"] = _generated(generated, seed)
    good = not (cut_off or surplus or differ) and not facts.get("generated", {}).get("different")  # type: ignore[attr-defined]
    if as_json:
        emit_json(facts)
    else:
        emit_table(
            ("what", "found"), [(key.replace("_", " "), _short(value)) for key, value in facts.items()]
        )
    return 0 if good else 1


def _short(value: object) -> object:
    if isinstance(value, list):
        return ", ".join(value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {each}" for key, each in value.items())
    return value


def _generated(number: int, seed: int) -> dict[str, object]:
    import random

    from rich.progress import track

    from labkit.network import COURSE_PLAN, Testbed, Topology, availability, generated, predict
    from labkit.network.namespaces import IPTABLES, NFT

    if not (found := availability()):
        return {"different": 0, "note": f"not measured: {found.why}"}
    topology, pairs, opened, different = Topology(COURSE_PLAN), 0, 0, 0
    with Testbed(topology, generated.PORTS, fixed_neighbours=True) as bed:
        from rich.console import Console

        for each in track(range(number), "Rule sets", console=Console(stderr=True), transient=True):
            source = random.Random(f"{seed}/{each}")  # noqa: S311 - reproducible, and nothing secret
            sets, tries = generated.firewalls(source, topology), generated.attempts(source, topology, 60)
            for node, rules in sets.items():
                bed.load(node, rules, program=NFT if each % 2 else IPTABLES)
            measured = bed.measure(tries)
            promised = [predict(topology, sets, one) for one in tries]
            pairs += len(tries)
            opened += sum(reply.result == "open" for reply in measured)
            different += sum(a.result != b.result for a, b in zip(measured, promised, strict=True))
    return {"sets": number, "pairs": pairs, "open": opened, "different": different}


def _listed(found: Matrix) -> list[dict[str, object]]:
    def plain(cell: Cell) -> dict[str, object]:
        return {
            "source": cell.source,
            "destination": cell.destination,
            "protocol": cell.protocol,
            "port": cell.port,
            "family": cell.family,
        }

    return [{**plain(cell), "result": reply.result} for cell, reply in found.items()]


def _show(plant: SegmentedPlant, found: Matrix) -> None:
    from labkit.display.reachability import reachability
    from labkit.network import NEEDED

    click.echo(
        str(
            reachability(
                found, "Who reaches whom", needed={flow.key for flow in NEEDED}, note=f"This is {plant.how}."
            )
        )
    )
