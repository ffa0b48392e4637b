"""The house keeps its floors: imports go down, pure files stay pure, public names are sorted."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import labkit

PACKAGE = Path(labkit.__file__).parent

LAYERS: dict[str, int] = {
    "errors": 0,
    "outcome": 0,
    "clock": 0,
    "workspace": 0,
    "processes": 0,
    "ports": 0,
    "pki": 1,
    "broker": 2,
    "devices": 2,
    "firmware": 2,
    "mqtt": 2,
    "network": 2,
    "serving": 2,
    "threats": 2,
    "provisioning": 3,
    "updates": 3,
    "board": 3,
    "node": 4,
    "audit": 4,
    "scenarios": 5,
    "display": 5,
    "course": 6,
    "cli": 7,
}
"""Every part of labkit and its floor. A new part is added here, in the same change."""

PURE = (
    "errors.py",
    "outcome.py",
    "pki/names.py",
    "pki/keys.py",
    "pki/profiles.py",
    "pki/csr.py",
    "pki/der_template.py",
    "pki/authority.py",
    "pki/by_hand.py",
    "pki/ceremony.py",
    "pki/template.py",
    "pki/ledger.py",
    "pki/describe.py",
    "pki/flawed.py",
    "pki/flawed_bytes.py",
    "pki/lint.py",
    "pki/lint_rules.py",
    "pki/zoo.py",
    "pki/revocation.py",
    "broker/config.py",
    "broker/acl.py",
    "broker/log.py",
    "broker/emqx.py",
    "broker/rabbitmq.py",
    "broker/vernemq.py",
    "mqtt/topics.py",
    "mqtt/packets.py",
    "mqtt/handshake.py",
    "mqtt/key_schedule.py",
    "mqtt/messages.py",
    "mqtt/records.py",
    "mqtt/static_rsa.py",
    "mqtt/suites.py",
    "devices/identity.py",
    "devices/lifecycle.py",
    "devices/rollout.py",
    "firmware/description.py",
    "firmware/elf.py",
    "firmware/image.py",
    "firmware/memory_map.py",
    "firmware/nvs.py",
    "firmware/nvs_encryption.py",
    "firmware/nvs_reader.py",
    "firmware/nvs_store.py",
    "firmware/flash_encryption.py",
    "firmware/flash_image.py",
    "firmware/flawed_images.py",
    "firmware/release.py",
    "firmware/secure_boot.py",
    "firmware/otadata.py",
    "firmware/partitions.py",
    "firmware/update.py",
    "firmware/update_stream.py",
    "network/zones.py",
    "network/rules.py",
    "network/iptables.py",
    "network/iptables_text.py",
    "network/script_lines.py",
    "network/nftables.py",
    "network/policy.py",
    "network/wiring.py",
    "network/generated.py",
    "network/reachability.py",
    "serving/problems.py",
    "threats/model.py",
    "threats/plant.py",
    "threats/stride.py",
    "threats/catalogue.py",
    "threats/owasp.py",
    "threats/risk.py",
    "threats/attack_trees.py",
    "threats/diagram.py",
    "threats/exports.py",
    "threats/patching.py",
    "provisioning/messages.py",
    "provisioning/policy.py",
    "provisioning/broker_door.py",
    "provisioning/archive.py",
    "updates/messages.py",
    "updates/policy.py",
    "updates/ranges.py",
    "board/boot_console.py",
    "board/bootloader.py",
    "board/first_boot.py",
    "board/flash_view.py",
    "board/machine.py",
    "board/ota.py",
    "board/secure_boot_plan.py",
    "board/slots.py",
    "board/verification.py",
    "board/chips.py",
    "board/debugger.py",
    "board/efuse.py",
    "board/efuse_controller.py",
    "board/efuse_factory.py",
    "board/efuse_fields.py",
    "board/flash_reader.py",
    "board/flash_writer.py",
    "board/loader_protocol.py",
    "board/nor_flash.py",
    "board/rfc2217.py",
    "board/rom_loader.py",
    "board/slip.py",
    "board/spi_flash.py",
    "board/transcript.py",
    "node/backoff.py",
    "node/codes.py",
    "node/commands.py",
    "node/documents.py",
    "node/faults.py",
    "node/layout.py",
    "node/manifest.py",
    "node/renewal.py",
    "node/replies.py",
    "node/states.py",
    "node/telemetry.py",
    "node/topics.py",
    "node/trust.py",
    "audit/evidence.py",
    "audit/checklist.py",
    "audit/target.py",
    "audit/facts.py",
    "audit/flash_scan.py",
    "audit/rules.py",
    "audit/rules_access.py",
    "audit/rules_communication.py",
    "audit/rules_documents.py",
    "audit/rules_firmware.py",
    "audit/rules_identity.py",
    "audit/rules_monitoring.py",
    "audit/rules_network.py",
    "audit/report.py",
    "audit/markdown.py",
    "audit/page.py",
    "audit/passwords.py",
    "audit/dependencies.py",
    "audit/privacy.py",
    "audit/monitor/events.py",
    "audit/monitor/alerts.py",
    "audit/monitor/detectors.py",
    "audit/monitor/metrics.py",
    "scenarios/diagnosis.py",
    "course/lesson.py",
    "course/exercise.py",
)
"""Files that turn values into values: no socket, process, file, clock or framework of their own."""

IMPURE = {
    "asyncio", "fcntl", "filelock", "http", "io", "multiprocessing", "os", "paho", "select", "selectors",
    "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time", "urllib",
    "labkit.processes", "labkit.ports", "labkit.workspace",
}  # fmt: skip

FILES = sorted(PACKAGE.rglob("*.py"))


def part_of(module: str) -> str:
    """Return which part of labkit a dotted module name belongs to."""
    return module.split(".")[1] if "." in module else ""


def imports_of(path: Path) -> set[str]:
    """Return the modules that a file imports when it runs, type checking aside."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            if node.module == "labkit":
                found |= {f"labkit.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    """A file imports from floors below its own, or from its own part, and never sideways."""
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own.startswith("__"):
        return
    floor = LAYERS[own]
    for module in imports_of(path):
        other = part_of(module) if module.startswith("labkit") else ""
        if other in {"", own, "__version__"}:
            continue
        allowed = LAYERS[other] < floor or (floor == 0 and LAYERS[other] == 0)
        assert allowed, f"{own} (floor {floor}) imports {other} (floor {LAYERS[other]})"


@pytest.mark.parametrize("name", PURE)
def test_pure_files_import_nothing_impure(name: str) -> None:
    """The pure core has no socket, process, file or clock of its own."""
    path = PACKAGE / name
    touched = {
        module for module in imports_of(path) for bad in IMPURE if (module + ".").startswith(bad + ".")
    }
    assert set() == touched
    calls = {
        ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
    }
    assert not calls & {"open", "datetime.now", "dt.datetime.now", "datetime.datetime.now", "Path.open"}


def test_only_the_clock_asks_for_the_time() -> None:
    """No file but clock.py asks the machine what time it is."""
    askers = {
        str(path.relative_to(PACKAGE))
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in {"now", "utcnow", "today"}
        if ast.unparse(node.value) in {"datetime", "dt.datetime", "datetime.datetime", "date", "dt.date"}
    }
    assert {"clock.py"} == askers


@pytest.mark.parametrize("name", sorted(m.name for m in pkgutil.iter_modules([str(PACKAGE)]) if m.ispkg))
def test_packages_say_what_is_public(name: str) -> None:
    """Each package says what is public, once, and has all of it; the linter keeps the order."""
    package = importlib.import_module(f"labkit.{name}")
    public = getattr(package, "__all__", None)
    assert public is not None, f"labkit.{name} has no __all__"
    assert len(set(public)) == len(public)
    assert [word for word in public if not hasattr(package, word)] == []


def test_importing_labkit_is_cheap() -> None:
    """Importing the command line loads no plotting, notebook, TLS or crypto machinery."""
    heavy = (
        "matplotlib",
        "IPython",
        "nbclient",
        "cryptography",
        "paho",
        "jupytext",
        "nbconvert",
        "ipywidgets",
    )
    program = "import sys, labkit.cli; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set() == set(heavy) & set(ended.stdout.split())


def test_notebooks_need_no_grammar() -> None:
    """Reading and writing notebooks loads no grammar of addresses, which would take seconds at every start."""
    program = "import sys, labkit.course.notebooks; print(*(name in sys.modules for name in ('jsonschema', 'lark')))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == "True False\n"


def test_no_lesson_is_named_outside_the_course() -> None:
    """Mechanisms do not know which lesson uses them."""
    from labkit.course.lessons import slugs

    named = {
        (str(path.relative_to(PACKAGE)), slug)
        for path in FILES
        if path.relative_to(PACKAGE).parts[0] not in {"course", "cli"}
        for slug in slugs()
        if "-" in slug  # the others are words of the field
        if f'"{slug}"' in path.read_text(encoding="utf-8")
    }
    assert set() == named
