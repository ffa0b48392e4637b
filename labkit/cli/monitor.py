"""`labkit monitor`: watch the logs of the workspace's plant."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labkit.cli.console import open_store

if TYPE_CHECKING:
    from labkit.audit.monitor import AlertRules, Watch

LOOK = 0.5
"""Seconds between two looks."""

LOOK_UP = 60
"""Every so many looks, registry and list are read again."""


@click.command()
@click.option(
    "--rules", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Alert rules of your own."
)
@click.option("--print-rules", is_flag=True, help="Print the ready alert rules, to begin your own with.")
@click.option("--prometheus-rules", is_flag=True, help="Print the same as a rule file for Prometheus.")
@click.option("--from-start", is_flag=True, help="Also read what the logs hold already.")
@click.option("--once", is_flag=True, help="Look once, print what was found, and stop.")
@click.option(
    "--metrics-port", type=click.IntRange(0, 65535), help="Serve numbers for Prometheus on 127.0.0.1; 0: any."
)
@click.option("--json", "as_json", is_flag=True, help="Print each alert as a line of JSON.")
def monitor(  # noqa: PLR0917 - click passes by name
    rules: Path | None,
    print_rules: bool,  # noqa: FBT001
    prometheus_rules: bool,  # noqa: FBT001
    from_start: bool,  # noqa: FBT001
    once: bool,  # noqa: FBT001
    metrics_port: int | None,
    as_json: bool,  # noqa: FBT001
) -> int:
    """Watch the broker's log and the provisioning service's until Ctrl-C, and say what somebody has to look at.

    \b
      labkit monitor                              a live view
      labkit monitor --from-start --once          what the logs have held so far
      labkit monitor --metrics-port 9101          and http://127.0.0.1:9101/metrics
      labkit monitor --prometheus-rules > labkit-rules.yml

    Exit status with --once: 1 where there was an alert.
    """  # noqa: D301 - click wants the character itself
    from labkit.audit.monitor.alerts import READY, read_rules
    from labkit.audit.monitor.endpoint import MetricsEndpoint
    from labkit.audit.monitor.metrics import prometheus_rules as as_prometheus

    chosen = read_rules(rules.read_text(encoding="utf-8", errors="replace")) if rules else READY
    if print_rules or prometheus_rules:
        click.echo(chosen.to_json() if print_rules else as_prometheus(chosen), nl=False)
        return 0
    watch = _watch(chosen, from_start=from_start)
    if once:
        found = watch.look().alerts
        for alert in found:
            _say(alert, as_json=as_json)
        if not as_json:
            click.echo(_counts(watch))
        return 1 if found else 0
    with ExitStack() as stack:
        if metrics_port is not None:
            endpoint = stack.enter_context(MetricsEndpoint(watch.metrics, port=metrics_port))
            click.echo(f"Numbers for Prometheus: {endpoint.url}", err=True)
        _follow(watch, as_json=as_json)
    return 0


def _watch(rules: AlertRules, *, from_start: bool) -> Watch:
    from labkit.audit.monitor import Watch
    from labkit.provisioning.office import DECISIONS, REGISTRY

    store = open_store()
    path = store.workspace.path
    return Watch(
        broker=path("broker"),
        decisions=path(DECISIONS),
        registry=str(path(REGISTRY)) if path(REGISTRY).exists() else None,
        crl=store.revocations.path if store.exists and store.revocations.path.exists() else None,
        rules=rules,
        from_start=from_start,
    )


def _follow(watch: Watch, *, as_json: bool) -> None:
    from labkit.clock import Deadline

    looks = 0
    try:
        with _view(watch, plain=as_json or not sys.stdout.isatty()) as show:
            while True:
                for alert in watch.look().alerts:
                    show(alert, as_json)
                show(None, as_json)
                looks += 1
                if looks % LOOK_UP == 0:
                    watch.look_up()
                Deadline(LOOK).pause(LOOK)
    except KeyboardInterrupt:
        if not as_json:
            click.echo("\nStopped.")


def _view(watch: Watch, *, plain: bool) -> Any:
    return _Lines() if plain else _Live(watch)


class _Lines:
    """Alerts as lines."""

    def __enter__(self) -> Any:
        return lambda alert, as_json: _say(alert, as_json=as_json) if alert else None

    def __exit__(self, *_: object) -> None:
        """Leave nothing."""


class _Live:
    """A view that is drawn anew in place."""

    def __init__(self, watch: Watch) -> None:
        from rich.live import Live

        self._watch = watch
        self._live = Live(refresh_per_second=4)

    def __enter__(self) -> Any:
        self._live.__enter__()
        return lambda *_: self._live.update(_drawn(self._watch))

    def __exit__(self, *_: object) -> None:
        self._live.__exit__(None, None, None)


def _drawn(watch: Watch) -> Any:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    alerts = Table(title="Alerts", expand=True)
    for column in ("time (UTC)", "", "detector", "about", "what was noticed"):
        alerts.add_column(column)
    for alert in list(watch.alerts)[-8:]:
        cells = (f"{alert.at:%H:%M:%S}", alert.severity, alert.detector, alert.subject, alert.message)
        # Text, not markup: names in the log are chosen by whoever connects.
        alerts.add_row(*map(Text, cells))
    events = Table(title="Events", expand=True)
    for column in ("time (UTC)", "kind", "who", "what"):
        events.add_column(column)
    for event in list(watch.events)[-10:]:
        events.add_row(*map(Text, (f"{event.at:%H:%M:%S}", event.kind, event.who[:40], event.cause[:60])))
    return Group(alerts, events, Text(_counts(watch) + "   Ctrl-C stops"))


def _counts(watch: Watch) -> str:
    tally = watch.tally()
    words = ", ".join(f"{number} {kind}" for kind, number in tally.most_common()) or "nothing yet"
    return f"Seen: {words}. Alerts: {len(watch.alerts)}."


def _say(alert: Any, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(alert.to_json()))
        return
    colour = {"page": "red", "warning": "yellow"}.get(alert.severity)
    click.secho(
        f"{alert.at:%H:%M:%S} {alert.severity}: {alert.detector}: {alert.subject}: {alert.message}", fg=colour
    )
    click.echo(f"  {alert.action}")
