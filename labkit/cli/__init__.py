"""The command `labkit`: one small file a domain, each command parses, calls and prints."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

import click

from labkit import __version__
from labkit.cli.console import print_error
from labkit.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_COMMANDS = {
    # word: (module, one line for the overview). Modules are imported when their word is used.
    "ca": ("ca", "Make a certificate authority; issue, verify, revoke and export certificates."),
    "broker": ("broker", "Run the course's broker; print its configuration."),
    "probe": ("probe", "Try one connection: where it was refused, and why."),
    "provision": (
        "provision",
        "Enrol devices with tokens, renew, decommission; the factory line; the registry.",
    ),
    "firmware": (
        "firmware",
        "Build and sign firmware, keep the keys that sign; verify an update as a device does.",
    ),
    "board": ("board", "Run a virtual ESP32 that esptool and espefuse work on; snapshots, fuses, console."),
    "threats": ("threats", "The plant's threat model: look at it, export it; your risk register."),
    "network": ("network", "Zones, flows and firewall rules; measure who reaches whom."),
    "audit": ("audit", "Audit a plant, a broker, a dump or a board by 27 rules; compare before and after."),
    "monitor": ("monitor", "Watch the logs: alerts, a live view, and numbers for Prometheus."),
    "image": ("image", "Build and read what goes into a device's flash: images, NVS, partition tables."),
    "hsm": ("hsm", "Keep the root's key, or a signing key, in a hardware module (PKCS #11)."),
    "run": ("lessons", "Execute every lesson without a person and write a report."),
    "lab": ("lessons", "Open JupyterLab on the course."),
    "notebooks": ("lessons", "Build the student copies; check that none has drifted."),
    "check": ("handing_in", "Ask the checks of an exercise, without a notebook."),
    "submit": ("handing_in", "Pack an exercise to hand it in; prints a receipt."),
    "grade": ("grading", "Grade a folder of submissions: a table, and feedback for each student."),
    "release": ("grading", "Export a copy of the course for students: without solutions."),
    "site": ("site", "Build the course as a site, with every lesson executed; show it."),
    "nbgrader": ("nbgrader", "Take the graded exercises to nbgrader."),
    "status": ("state", "Show what the lab holds and what is running."),
    "reset": ("state", "Start over, or go back to a checkpoint."),
    "doctor": ("state", "Look for every tool the course uses and say what is missing."),
}

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it: 128 + SIGINT."""


class _Lazy(click.Group):
    """A group whose commands are imported only when they are used, so that `--help` answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"labkit.cli.{_COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(word, line) for word, (_, line) in _COMMANDS.items()])


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Each command explains itself: labkit ca --help. The lab lives in ./workspace, or where "
    "LABKIT_WORKSPACE points.",
)
@click.version_option(__version__, prog_name="labkit")
@click.option("--debug", is_flag=True, help="Show tracebacks (also LABKIT_DEBUG=1).")
def cli(debug: bool) -> None:  # noqa: FBT001 - click passes flags by position
    """IoT Device Security Labs: learn device security by attacking your own.

    \b
    A first round, from nothing to a refused intruder:
      labkit ca init                       make a root, an intermediate and the broker's certificate
      labkit ca issue sensor-001           give one device an identity
      labkit broker run                    start Mosquitto; stop it with Ctrl-C
      labkit probe --as sensor-001         in a second terminal: accepted
      labkit probe                         without a certificate: refused, and why
    """  # noqa: D301 - click wants the character itself
    if debug:
        os.environ["LABKIT_DEBUG"] = "1"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The words after `labkit`; the process's own without them.

    Returns:
        The exit status: 0 for yes, 1 for a clear no, 2 for words that make no sense, 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        result = cli.main(args=words, prog_name="labkit", standalone_mode=False)
    except LabError as error:
        if os.environ.get("LABKIT_DEBUG"):
            raise
        print_error(error, as_json="--json" in words)
        return 1
    except click.exceptions.Abort:
        click.echo("Stopped.", err=True)
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:
        # The reader went away (labkit … | head). Python would complain again at exit when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if os.environ.get("LABKIT_DEBUG"):
            raise
        place = f": {error.filename}" if error.filename else ""
        click.secho(f"labkit: {error.strerror or error}{place}", fg="red", err=True)
        click.echo("  Is the folder there, and yours? LABKIT_WORKSPACE=~/my-lab chooses another.", err=True)
        return 1
    return result if isinstance(result, int) else 0
