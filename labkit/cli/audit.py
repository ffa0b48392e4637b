"""`labkit audit`: measure, report, compare."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labkit.cli.console import Address, emit_json, emit_table, json_option, open_store, spoken
from labkit.workspace import Workspace, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from labkit.audit import Item, Report, Target

_COLOURS = {"pass": "green", "fail": "red", "needs a person": "magenta", "not applicable": None}

file_option = click.Path(exists=True, dir_okay=False, path_type=Path)
out_option = click.Path(dir_okay=False, path_type=Path)


@click.group()
def audit() -> None:
    """Audit by 27 rules over what is really there, and compare before and after.

    \b
      labkit audit run --weak 7            a deliberately weak plant, staged for the audit
      labkit audit run                     the plant of this workspace; its broker must run
      labkit audit run --flash dump.bin    whatever can be read in a dump of a flash
      labkit audit diff                    the last two audits
      labkit audit report --html a.html    the last audit as a page
      labkit audit items                   what is asked, and how to mend it
    """  # noqa: D301 - click wants the character itself


@audit.command()
@click.option(
    "--weak", type=int, metavar="SEED", help="Stage a weak plant with faults that the seed chooses."
)
@click.option("--at", "address", type=Address(), help="A broker; needs --trust.")
@click.option(
    "--i-own",
    "owned",
    default="",
    metavar="HOST",
    help="Say that an address other than this machine is yours.",
)
@click.option("--trust", type=file_option, help="The root that clients of the broker believe.")
@click.option(
    "--name", default="", help="The name in the broker's certificate, where that is not its address."
)
@click.option("--cert", type=file_option, help="A device's certificate, with --key: the control.")
@click.option("--key", type=file_option, help="Its private key.")
@click.option("--flash", type=file_option, help="A dump of a flash, or an image.")
@click.option("--efuses", type=file_option, help="The eFuses that belong to the dump.")
@click.option(
    "--board",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder of a virtual board.",
)
@click.option(
    "--service-port", type=click.IntRange(1, 65535), help="Where the workspace's provisioning service runs."
)
@click.option("--item", "items", multiple=True, metavar="ID", help="Only this item; may be given again.")
@click.option("--html", type=out_option, help="Also write the report as a page.")
@click.option("--markdown", type=out_option, help="Also write it as Markdown.")
@json_option
def run(**options: Any) -> int:
    """Audit the plant of this workspace, or what the options name.

    Intruders, passwords and forbidden messages are tried for real, on this machine, or at an address that you own and
    name. Nothing is changed. The report is kept in the workspace for `labkit audit diff`.

    Exit status 1 where an item fails.
    """
    from labkit.audit import audit as look
    from labkit.audit.shelf import save

    with ExitStack() as stack:
        target = _target(options, stack)
        with _progress(len(options["items"]) or 27) as progress:
            report = look(target, items=options["items"], owned=options["owned"], progress=progress)
    kept = save(Workspace.open(), report)
    _write(report, options["html"], options["markdown"])
    if options["as_json"]:
        emit_json(report.to_json())
    else:
        _print(report)
        click.echo(spoken(f"Kept as {kept}. Next: labkit audit report --html audit.html"))
    return 1 if report.failed() else 0


def _target(options: dict[str, Any], stack: ExitStack) -> Target:
    from labkit.audit import workspaces
    from labkit.mqtt import Identity

    chosen = [name for name in ("weak", "address", "flash", "board") if options[name] is not None]
    if len(chosen) > 1:
        raise click.UsageError("Give one of --weak, --at, --flash and --board.")
    if options["weak"] is not None:
        from labkit.scenarios.audited_plant import weak_plant

        return stack.enter_context(weak_plant(Workspace.open(), options["weak"])).target
    if options["flash"]:
        return workspaces.flash_target(options["flash"], efuses=options["efuses"], trust=options["trust"])
    if options["board"]:
        return workspaces.board_target(options["board"], trust=options["trust"])
    if options["address"]:
        if not options["trust"]:
            raise click.UsageError("--at needs --trust FILE.")
        if bool(options["cert"]) != bool(options["key"]):
            raise click.UsageError("Give --cert and --key together.")
        device = Identity(options["cert"], options["key"]) if options["cert"] else None
        return workspaces.address_target(
            options["address"].host,
            options["address"].port,
            trust=options["trust"],
            device=device,
            name=options["name"],
            owned=options["owned"],
        )
    return workspaces.workspace_target(open_store(), service_port=options["service_port"])


@contextmanager
def _progress(total: int) -> Iterator[Callable[[Item], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<17}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total)
        yield lambda item: bar.update(task, advance=1, description=item.id)


def _print(report: Report) -> None:
    from labkit.audit import MISTAKES

    for judged in report.judged:
        word = click.style(f"{judged.verdict.value:<15}", fg=_COLOURS[judged.verdict.value])
        click.echo(f"{word} {judged.item.id:<17} {judged.item.asks}")
        for each in judged.faults:
            click.echo(f"{'':<33} {each.source}: {each.what}")
    if found := report.mistakes():
        click.echo("Common mistakes: " + "; ".join(MISTAKES[name] for name in found))
    click.secho(report.summary() + ".", bold=True)


def _write(report: Report, html: Path | None, markdown: Path | None) -> None:
    from labkit.audit.markdown import markdown as as_markdown
    from labkit.audit.page import page

    if html:
        write_atomic(html.absolute(), page(report))
    if markdown:
        write_atomic(markdown.absolute(), as_markdown(report))


@audit.command()
@click.argument("file", required=False, type=file_option)
@click.option("--html", type=out_option, help="Write a page that loads nothing.")
@click.option("--markdown", type=out_option, help="Write Markdown.")
@json_option
def report(file: Path | None, html: Path | None, markdown: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Show the last report, or the one in FILE; write it as a page or as Markdown."""
    from labkit.audit.shelf import newest, read_report

    found = read_report(file or newest(Workspace.open(), 1)[0])
    _write(found, html, markdown)
    if as_json:
        emit_json(found.to_json())
    elif html or markdown:
        click.echo(f"Written: {', '.join(str(path) for path in (html, markdown) if path)}")
    else:
        _print(found)


@audit.command()
@click.argument("before", required=False, type=file_option)
@click.argument("after", required=False, type=file_option)
@click.option("--html", type=out_option, help="Write a page.")
@click.option("--markdown", type=out_option, help="Write Markdown.")
@json_option
def diff(
    before: Path | None,
    after: Path | None,
    html: Path | None,
    markdown: Path | None,
    as_json: bool,  # noqa: FBT001
) -> int:
    """Compare two reports: the files BEFORE and AFTER, or the last two audits.

    Exit status 1 where an item that did not fail before fails now.
    """
    from labkit.audit import compare
    from labkit.audit.markdown import comparison
    from labkit.audit.page import comparison_page
    from labkit.audit.shelf import newest, read_report

    if before and not after:
        raise click.UsageError("Give two files, or none.")
    paths = [before, after] if before and after else newest(Workspace.open(), 2)
    old, new = (read_report(path) for path in paths)
    changes = compare(old, new)
    if html:
        write_atomic(html.absolute(), comparison_page(old, new, changes))
    if markdown:
        write_atomic(markdown.absolute(), comparison(old, new, changes))
    if as_json:
        emit_json([_change(each) for each in changes])
    else:
        rows = [
            (
                c.item.id,
                c.before or "-",
                c.after or "-",
                c.kind,
                "; ".join(e.what for e in (*c.mended, *c.new)),
            )
            for c in changes
            if c.kind not in {"same", "not compared"}
        ]
        emit_table(("item", "before", "after", "", "what is gone, and what is new"), rows)
        click.echo(f"Before: {old.summary()}. After: {new.summary()}.")
    return 1 if any(change.kind == "broken" for change in changes) else 0


def _change(change: Any) -> dict[str, Any]:
    return {
        "id": change.item.id,
        "before": change.before,
        "after": change.after,
        "kind": change.kind,
        "gone": [each.to_json() for each in change.mended],
        "new": [each.to_json() for each in change.new],
    }


@audit.command()
@json_option
def items(as_json: bool) -> None:  # noqa: FBT001
    """Show the checklist: what each item asks, which OWASP rows it serves, and how to mend it."""
    from labkit.audit import ITEMS

    if as_json:
        emit_json(
            [
                {
                    "id": i.id,
                    "asks": i.asks,
                    "owasp": i.owasp,
                    "remedy": i.remedy,
                    "steps": i.steps,
                    "person": i.person,
                }
                for i in ITEMS
            ]
        )
        return
    for item in ITEMS:
        click.secho(f"{item.id}  {item.asks}", bold=True)
        click.echo(f"  OWASP {' '.join(item.owasp)}" + ("; a pass needs a person" if item.person else ""))
        click.echo(f"  {item.remedy}")
        for number, step in enumerate(item.steps, start=1):
            click.echo(f"    {number}. {step}")
