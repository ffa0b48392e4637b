"""`labkit threats`: the plant's threat model, and the reader's risk register."""

from __future__ import annotations

from pathlib import Path

import click

from labkit.cli.console import emit_json, emit_table, json_option
from labkit.workspace import Workspace

TREES = ("botnet", "pivot", "exfiltration", "ransomware", "mirai")
VIEWS = ("threats", "plant", "stride", "owasp", "register", "scales")


@click.group()
def threats() -> None:
    """Look at the threat model of the course's plant, and export it.

    Assets, actors, borders and flows; forty-eight threats; what the OWASP IoT Top 10 has to do with lessons and audit.
    """


@threats.command()
@click.argument("view", type=click.Choice(VIEWS), default="threats")
@click.option("--tree", type=click.Choice(TREES), help="An attack tree instead.")
@click.option(
    "--shut",
    multiple=True,
    metavar="THREAT",
    help="With --tree: take this threat for closed. May stand more than once.",
)
@json_option
def show(view: str, tree: str | None, shut: tuple[str, ...], as_json: bool) -> None:  # noqa: FBT001 - click passes flags by position
    """Show one side of the model.

    \b
      labkit threats show                  every threat, the highest score first
      labkit threats show plant            who is where, and what flows between
      labkit threats show stride           every question that STRIDE asks, and its answers
      labkit threats show owasp            the Top 10, with exercises and items of the audit
      labkit threats show register         your own scores, from the lesson
      labkit threats show scales           what the numbers mean
      labkit threats show --tree botnet --shut default-password
    """  # noqa: D301 - click wants the character itself
    if tree:
        _show_tree(tree, shut, as_json=as_json)
        return
    columns, rows = _VIEWS[view]()
    if as_json:
        emit_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        emit_table(columns, rows)


def _show_tree(name: str, shut: tuple[str, ...], *, as_json: bool) -> None:
    from labkit.threats import MIRAI, THREATS, TREES
    from labkit.threats.attack_trees import text

    if unknown := sorted(set(shut) - {threat.id for threat in THREATS}):
        raise click.UsageError(f"There is no threat {unknown[0]!r}: labkit threats show lists them.")
    tree = MIRAI if name == "mirai" else TREES[name]
    ways, left = tree.ways(), tree.open_ways(shut)
    if as_json:
        emit_json(
            {"goal": tree.goal, "ways": [sorted(way) for way in ways], "open": [sorted(way) for way in left]}
        )
    else:
        click.echo(text(tree, shut))
        click.echo(f"\n{len(left)} of {len(ways)} ways are open.")


def _threats() -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    from labkit.threats import THREATS, reference

    titles = {threat.id: threat for threat in THREATS}
    return ("threat", "score", "level", "what happens", "OWASP", "closed by"), [
        (risk.threat, risk.score, risk.level.value, titles[risk.threat].title, " ".join(titles[risk.threat].owasp),
         ", ".join(titles[risk.threat].lessons) or "the audit")
        for risk in reference(THREATS).ranked()
    ]  # fmt: skip


def _plant() -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    from labkit.threats import PLANT
    from labkit.threats.diagram import how

    crossing = PLANT.crossings()
    return ("flow", "from", "to", "carries", "as found", "as built"), [
        (flow.id, flow.source, flow.target, flow.carries, *((how(flow), how(flow, after=True)) if flow in crossing else ("inside", "inside")))
        for flow in PLANT.flows
    ]  # fmt: skip


def _stride() -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    from labkit.threats import DISMISSALS, PLANT, THREATS, answers

    return ("part", "kind", "threats", "or why not"), [
        (each.element, each.kind.value, " ".join(each.threats), each.dismissed) for each in answers(PLANT, THREATS, DISMISSALS)
    ]  # fmt: skip


def _owasp() -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    from labkit.threats import ROWS

    return ("row", "title", "in a plant like ours", "exercises", "audit"), [
        (row.id, row.title, row.seen, " ".join(row.checks), " ".join(row.audit)) for row in ROWS
    ]  # fmt: skip


def _register() -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    from labkit.threats import load_register

    return ("threat", "likelihood", "impact", "score", "level", "treatment", "reason"), [
        (risk.threat, risk.likelihood, risk.impact, risk.score, risk.level.value, risk.treatment.value, risk.reason)
        for risk in load_register(Workspace.open()).ranked()
    ]  # fmt: skip


def _scales() -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    from labkit.threats import IMPACT, LIKELIHOOD

    return ("number", "likelihood: how much it takes", "impact: how much is lost"), [
        (number, LIKELIHOOD[number], IMPACT[number]) for number in LIKELIHOOD
    ]  # fmt: skip


_VIEWS = {
    "threats": _threats, "plant": _plant, "stride": _stride, "owasp": _owasp, "register": _register, "scales": _scales,
}  # fmt: skip


@threats.command()
@click.option(
    "--format",
    "form",
    type=click.Choice(["threat-dragon", "pytm", "mermaid", "text"]),
    default="threat-dragon",
    show_default=True,
    help="For whom.",
)
@click.option(
    "--after",
    is_flag=True,
    help="mermaid, text: the plant that the lessons build, not the one that was found.",
)
@click.option("--tree", type=click.Choice(TREES), help="mermaid, text: an attack tree instead of the flows.")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="A file; standard output without it."
)
def export(form: str, after: bool, tree: str | None, out: Path | None) -> None:  # noqa: FBT001
    """Write the model for a tool that you have already.

    \b
      threat-dragon   OWASP Threat Dragon 2 opens it (Open an existing threat model)
      pytm            pytm reads it (pytm.load) and looks for threats of its own list
      mermaid         a diagram for Markdown pages, with title and description for screen readers
      text            the same in words
    """  # noqa: D301
    from labkit.threats import MIRAI, PLANT, THREATS, TREES, attack_trees, diagram, exports

    if (tree or after) and form in {"threat-dragon", "pytm"}:
        raise click.UsageError(f"--tree and --after are for mermaid and text, not for {form}.")
    chosen = None if tree is None else MIRAI if tree == "mirai" else TREES[tree]
    if form == "threat-dragon":
        text = exports.threat_dragon(PLANT, THREATS)
    elif form == "pytm":
        text = exports.pytm(PLANT)
    elif form == "mermaid":
        text = diagram.attack_tree(chosen) if chosen else diagram.data_flow(PLANT, after=after)
    else:
        text = (attack_trees.text(chosen) if chosen else diagram.words(PLANT, after=after)) + "\n"
    if out:
        from labkit.workspace import write_atomic

        write_atomic(out, text)
        click.echo(f"wrote {out}")
    else:
        click.echo(text, nl=False)
