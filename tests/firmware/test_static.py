"""What can be said of the firmware's C without running it: bugs, complexity, who includes whom, and codes that are in the book."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from labkit.node import codes, layout
from labkit.node.commands import LONGEST_INTERVAL, LONGEST_PAYLOAD, SHORTEST_INTERVAL, USUAL_INTERVAL, WORDS

FIRMWARE = Path(__file__).parents[2] / "firmware"
COMPONENTS = FIRMWARE / "components"
CORE = sorted((COMPONENTS / "lab_core").rglob("*.[ch]"))
SOURCES = sorted([*COMPONENTS.rglob("*.c"), *(FIRMWARE / "main").glob("*.c")])
HOST_SOURCES = sorted((FIRMWARE / "host_test").rglob("*.c"))
HEADERS = sorted(COMPONENTS.rglob("*.h"))
NEEDS_CHIP = re.compile(r'#include ["<](esp_|freertos/|nvs|driver/|mqtt_client|sdkconfig)')

LAYERS = {
    "lab_core": 0,
    "lab_ports": 1,
    "lab_identity": 2, "lab_esp": 2, "lab_https": 2, "lab_mqtt": 2, "lab_network": 2, "lab_sensor": 2,
    "lab_provisioning": 3, "lab_update": 2,
    "lab_node": 4,
}  # fmt: skip
"""Every component and its floor; README has the same map."""


def portable(path: Path) -> bool:
    """Return whether a file can be compiled on this machine."""
    return NEEDS_CHIP.search(path.read_text("utf-8")) is None


def owner(header: str) -> str | None:
    """Return whose header it is."""
    found = [path.parts[len(COMPONENTS.parts)] for path in HEADERS if path.name == header]
    return found[0] if found else None


@pytest.mark.parametrize("path", [*SOURCES, *HEADERS], ids=lambda path: str(path.relative_to(FIRMWARE)))
def test_no_component_includes_sideways(path: Path) -> None:
    """A component includes what lies below it, and nothing beside or above."""
    own = path.relative_to(FIRMWARE).parts[1] if path.is_relative_to(COMPONENTS) else "main"
    for header in re.findall(r'#include "(lab_[a-z_]+\.h)"', path.read_text("utf-8")):
        other = owner(header)
        if other in {own, None}:
            continue
        assert own == "main" or LAYERS[str(other)] < LAYERS[own], f"{own} includes {header} of {other}"


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.name)
def test_the_core_needs_no_chip(path: Path) -> None:
    """The core knows the C library and itself: no ESP-IDF, no FreeRTOS, no Mbed TLS."""
    allowed = re.compile(r'"lab_[a-z_]+\.h"|<(assert|stdbool|stddef|stdint|string)\.h>')
    included = re.findall(r"#include (\S+)", path.read_text("utf-8"))
    assert [name for name in included if not allowed.fullmatch(name)] == []


def test_names_in_storage_are_those_of_the_layout() -> None:
    """C and Python look for the same values in the same places, and allow them the same length."""
    text = (COMPONENTS / "lab_core/include/lab_layout.h").read_text("utf-8")
    found = dict(re.findall(r'#define LAB_(AT_[A-Z_]+|SPACE_[A-Z]+|PARTITION) "([a-z_]+)"', text))
    spaces = (layout.IDENTITY, layout.NETWORK, layout.SERVICE, layout.SETTINGS, layout.UPDATE)
    assert {name: found.pop(f"SPACE_{name.upper()}") for name in spaces} == {name: name for name in spaces}
    assert found.pop("PARTITION") == layout.PARTITION
    slots = {found.pop(f"AT_{slot}_{what}") for slot in "AB" for what in ("KEY", "CHAIN")}
    assert {name for pair in layout.SLOTS.values() for name in pair} == slots
    expected = {getattr(layout, name.removeprefix("AT_")) for name in found}
    assert expected == set(found.values())
    longest = dict(re.findall(r"LAB_LONGEST_([A-Z]+) = (\d+)", text))
    kinds = {"PEM": "chain", "TOKEN": "token", "SSID": "ssid", "PASSWORD": "password", "HOST": "broker_host",
             "URL": "update_url", "VERSION": "tried"}  # fmt: skip
    assert {kind: layout.LONGEST[name] for kind, name in kinds.items()} == {
        k: int(v) for k, v in longest.items()
    }


def test_limits_of_commands() -> None:
    """The words and bounds of commands stand in C as they do in Python."""
    text = (COMPONENTS / "lab_core/include/lab_commands.h").read_text("utf-8")
    wanted = {"PAYLOAD_LONGEST": LONGEST_PAYLOAD, "INTERVAL_SHORTEST": SHORTEST_INTERVAL,
              "INTERVAL_LONGEST": LONGEST_INTERVAL, "INTERVAL_USUAL": USUAL_INTERVAL}  # fmt: skip
    assert wanted == {name: int(re.findall(rf"LAB_{name} = (\d+)", text)[0]) for name in wanted}
    (words,) = re.findall(
        r"s_words\[\] = \{([^}]*)\}", (COMPONENTS / "lab_core/src/lab_commands.c").read_text("utf-8")
    )
    assert ("", *WORDS) == tuple(re.findall(r'"([a-z]*)"', words))


def test_codes_are_explained() -> None:
    """README lists every code with its level and its meaning, and no other."""
    text = (FIRMWARE / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \| (info|warning|error) \| (.*?) \|$", text, re.MULTILINE)
    assert [(code.name, code.level, code.meaning) for code in codes.CODES.values()] == rows


def test_every_code_is_used() -> None:
    """No code stands in the table for nothing."""
    text = "".join(path.read_text("utf-8") for path in SOURCES)
    names = {name: f"LAB_{name.upper().replace('-', '_')}" for name in codes.CODES}
    assert [name for name, symbol in names.items() if not re.search(rf"\b{symbol}\b", text)] == []


def test_nothing_turns_verification_off() -> None:
    """No file of ours uses what makes ESP-IDF skip a check of the other side."""
    forbidden = ("skip_cert_common_name_check", "SKIP_SERVER_CERT_VERIFY", "INSECURE", "esp_crt_bundle_attach",
                 "MBEDTLS_SSL_VERIFY_NONE", "setInsecure", "SKIP_COMMON_NAME_CHECK", "skip_common_name")  # fmt: skip
    files = [path for path in FIRMWARE.rglob("*") if path.is_file() and path.suffix != ".md"]
    found = [
        (path.name, word)
        for path in files
        for word in forbidden
        if word in path.read_text("utf-8", "replace")
    ]
    assert found == []


def test_no_secret_has_a_place_in_the_build() -> None:
    """Neither Kconfig nor a default of it has a name for a password, a key, or a network."""
    texts = [path.read_text("utf-8") for path in [*FIRMWARE.rglob("Kconfig*"), *FIRMWARE.glob("sdkconfig.*")]]
    names = re.findall(r"(?:config|CONFIG_)\s*(LAB_[A-Z0-9_]+)", "\n".join(texts))
    assert names
    assert [name for name in names if re.search("PASS|SECRET|TOKEN|SSID|PRIVATE", name)] == []


def test_the_application_only_wires() -> None:
    """app_main.c has at most eighty lines, and no file of C more than four hundred."""
    assert len((FIRMWARE / "main/app_main.c").read_text("utf-8").splitlines()) <= 80
    long = [path.name for path in [*SOURCES, *HEADERS] if len(path.read_text("utf-8").splitlines()) > 400]
    assert long == []


@pytest.mark.tool
@pytest.mark.firmware
def test_functions_stay_simple(firmware_tools: None) -> None:
    """No function has a cyclomatic complexity above 8 or more than 45 lines, as pmccabe counts."""
    said = subprocess.run(
        ["pmccabe", *map(str, [*SOURCES, *HOST_SOURCES])], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split("\t") for line in said.splitlines()]
    assert len(rows) > 200
    assert [row[-1] for row in rows if int(row[0]) > 8] == []
    assert [row[-1] for row in rows if int(row[4]) > 45] == []


@pytest.mark.tool
@pytest.mark.firmware
def test_cppcheck_finds_nothing(firmware_tools: None) -> None:
    """Cppcheck has nothing to say about the components."""
    argv = ["cppcheck", "--quiet", "--std=c11", "--enable=warning,style,performance,portability", "--error-exitcode=1",
            "--suppress=missingIncludeSystem",
            "--suppress=variableScope",  # a function's buffers stand at its top, where one sees what stack it takes
            "--suppress=unusedStructMember", *(f"-I{path}" for path in COMPONENTS.glob("*/include")),
            *(str(path) for path in SOURCES if portable(path))]  # fmt: skip
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (0, "") == (ended.returncode, ended.stderr)


@pytest.mark.tool
@pytest.mark.firmware
@pytest.mark.slow
def test_clang_tidy_finds_nothing(firmware_tools: None) -> None:
    """clang-tidy has nothing to say about what compiles here; firmware/.clang-tidy says what it looks for."""
    includes = [f"-I{path}" for path in COMPONENTS.glob("*/include")]
    files = [str(path) for path in SOURCES if portable(path)]
    argv = [
        "clang-tidy",
        "--quiet",
        f"--config-file={FIRMWARE / '.clang-tidy'}",
        *files,
        "--",
        "-std=c11",
        *includes,
    ]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-4000:]
