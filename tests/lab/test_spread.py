"""The tests on all cores: groups that exist, one slice for all workers, and an end when Ctrl-C asks for it."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from labkit.clock import Deadline
from tests.lab.test_lab_script import ROOT, environment, script
from tests.spread import APART, LONGEST, group, rank

if TYPE_CHECKING:
    from types import ModuleType

    from labkit.broker import Mosquitto

__all__ = ["script"]
pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends signals to a process group")


@pytest.mark.parametrize("name", [*APART, *LONGEST])
def test_what_the_tables_name_exists(name: str) -> None:
    """Each name is a file, or a test in one."""
    path, _, test = name.partition("[")[0].partition("::")
    assert (ROOT / path).exists()
    if test:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_a_file_stays_together_unless_a_table_says_otherwise() -> None:
    """A group is a file, or one test that stands apart; what is long comes first."""
    assert group("tests/pki/test_csr.py::test_x[a::b]") == "tests/pki/test_csr.py"
    assert group(f"{APART[0]}[one]") != group(f"{APART[0]}[two]")
    assert (
        rank(f"{LONGEST[0]}::test_x") < rank(f"{LONGEST[1]}::test_x") < rank("tests/pki/test_csr.py::test_x")
    )


@pytest.mark.parametrize("words", ["", "-q -x --cov=labkit --color=yes tests/pki"])
def test_many_tests_take_all_cores(script: ModuleType, words: str) -> None:
    """A run of many tests takes every core, four at most."""
    cores = len(psutil.Process().cpu_affinity())
    assert script.spread(words.split()) == (["-n", str(min(cores + 1, 4))] if cores > 1 else [])


@pytest.mark.parametrize("words", ["tests/x.py::test_y", "-n 0", "-n3", "--pdb", "--co", "-p no:xdist"])
def test_one_test_or_the_readers_own_choice_is_left_alone(script: ModuleType, words: str) -> None:
    """A test asked for by name, a debugger and a number of the reader's get no workers from us."""
    assert script.spread(words.split()) == []


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("-q --durations=5 -n 2", None),
        ("tests", None),
        ("tests/pki -q", {"tests.pki"}),
        ("tests/pki/ tests/test_ports.py", {"tests.pki", "tests.test_ports"}),
        ("tests/pki tests/mqtt/test_client.py", {"tests.pki"}),
        ("tests/test_ports.py::test_x", set()),
        ("-k csr", set()),
        ("tests/pki -x", set()),
        ("lab.py", set()),
    ],
)
def test_a_full_run_speaks_of_whole_parts_only(
    script: ModuleType, words: str, parts: set[str] | None
) -> None:
    """A run of some tests of a part leaves that part's row as it is."""
    assert script.covered(words.split()) == parts


def name(process: psutil.Process) -> str:
    """Return a process's name, or nothing if it has ended."""
    try:
        return str(process.name())
    except psutil.Error:
        return ""


def test_ctrl_c_ends_workers_and_brokers(mosquitto: Mosquitto) -> None:
    """Stopped in the middle, a run on two workers says so, and leaves neither a worker nor a broker."""
    argv = [sys.executable, "-m", "pytest", "-q", "-n2", "-p", "no:cacheprovider"]
    argv += ["tests/broker/test_guarded.py", "tests/mqtt/test_client.py"]
    started: set[psutil.Process] = set()
    with subprocess.Popen(
        argv, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as run:
        deadline = Deadline(120)
        while "mosquitto" not in {name(each) for each in started} and not deadline.passed:
            deadline.pause(0.05)
            started |= set(psutil.Process(run.pid).children(recursive=True))
        os.killpg(run.pid, signal.SIGINT)
        said, _ = run.communicate(timeout=60)
    assert run.returncode == 2
    assert "KeyboardInterrupt" in said
    _, alive = psutil.wait_procs(started, timeout=20)
    assert alive == []
