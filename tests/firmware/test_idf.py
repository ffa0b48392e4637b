"""Building and flashing the firmware: what is run, what is refused, and what no build gets to see."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from labkit.cli import main
from labkit.errors import FormatError, ToolFailedError, ToolMissingError
from labkit.firmware import idf
from labkit.firmware.partitions import COURSE_TABLE, build_table, parse_csv, render_csv
from labkit.firmware.update import TrustedKeys
from labkit.pki import Store
from labkit.workspace import Workspace

FIRMWARE = Path(__file__).parents[2] / "firmware"


def pretend(folder: Path, name: str, script: str) -> None:
    """Put a program into a folder that is PATH."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with programs that is all of PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_the_table_is_labkits(tmp_path: Path) -> None:
    """The firmware's partition table is the one that labkit builds with, byte for byte."""
    assert render_csv(COURSE_TABLE) == (FIRMWARE / "partitions.csv").read_text("utf-8")


def test_the_secure_table_leaves_room_for_a_larger_bootloader() -> None:
    """It has the same partitions, with the slots in the same place; the rest lies behind the table at 0xD000."""
    table = parse_csv((FIRMWARE / "partitions.secure.csv").read_text("utf-8"))
    assert build_table(table)
    kinds = [(p.label, p.type, p.subtype, p.size, p.flags) for p in COURSE_TABLE]
    assert kinds == [(p.label, p.type, p.subtype, p.size, p.flags) for p in table]
    assert [p.offset for p in COURSE_TABLE.ota_slots] == [p.offset for p in table.ota_slots]
    told = dict(
        line.split("=", 1)
        for line in (FIRMWARE / "sdkconfig.defaults.secure").read_text("utf-8").splitlines()
        if line.startswith("CONFIG_")
    )
    assert '"partitions.secure.csv"' == told["CONFIG_PARTITION_TABLE_CUSTOM_FILENAME"]
    assert int(told["CONFIG_PARTITION_TABLE_OFFSET"], 16) + 0x1000 <= min(p.offset for p in table)


def test_idf_is_taken_before_its_container(only: Path) -> None:
    """idf.py is used where it is; a container otherwise, with nothing of this machine in it but the project."""
    with pytest.raises(ToolMissingError) as caught:
        idf.find_builder()
    assert "export.sh" in caught.value.advice
    assert idf.IMAGE in caught.value.advice
    pretend(only, "podman", "true")
    command = idf.find_builder().command(Path("/somewhere"), "build")
    assert [str(only / "podman"), "run", "--rm", "--volume", "/somewhere:/project"] == command[:5]
    assert [idf.IMAGE, "idf.py", "build"] == command[-3:]
    pretend(only, "idf.py", "true")
    assert [str(only / "idf.py"), "build"] == idf.find_builder().command(Path("/somewhere"), "build")


def test_each_configuration_has_a_folder_of_its_own() -> None:
    """Two builds never share a configuration, and every file that is named is there."""
    words = {
        (target, name): idf.build_words(target, name) for target in idf.TARGETS for name in idf.CONFIGURATIONS
    }
    assert len(words) == len({one[one.index("-B") + 1] for one in words.values()})
    for extra in idf.CONFIGURATIONS.values():
        assert [name for name in extra if not (FIRMWARE / name).exists()] == []
    assert "--preview" in words["linux", "plain"]
    for target, name in (("esp8266", "plain"), ("esp32", "debug")):
        with pytest.raises(ValueError, match="there are"):
            idf.build_words(target, name)


def test_what_the_image_trusts() -> None:
    """The files for the image hold public things alone, and a key that was revoked is named and not listed."""
    keys = [ec.generate_private_key(ec.SECP256R1()).public_key() for _ in range(2)]
    ids = list(TrustedKeys.of(keys).keys)
    files = idf.render_trust("ROOT\n", TrustedKeys.of(keys, revoked=[ids[1]]))
    assert "ROOT\n" == files["root.pem"]
    text = files["update_keys.pem"]
    assert keys[0] == serialization.load_pem_public_key(text.encode())
    assert (1, f"revoked {ids[1].hex()}\n") == (
        text.count("BEGIN PUBLIC KEY"),
        text.splitlines(keepends=True)[-1],
    )
    assert "nobody\n" == idf.render_trust("ROOT\n", TrustedKeys.of([]))["update_keys.pem"]


def plan(folder: Path, files: dict[str, str], chip: str = "esp32c3") -> Path:
    """Write what a build leaves."""
    value = {"flash_files": files, "extra_esptool_args": {"chip": chip}}
    (folder / "flasher_args.json").write_text(json.dumps(value))
    return folder


def test_the_plan_for_the_flash(tmp_path: Path) -> None:
    """What a build left is written where it says, in order, and its header is left alone."""
    for name in ("app.bin", "boot.bin"):
        (tmp_path / name).write_bytes(b"x")
    found = idf.read_flash_plan(plan(tmp_path, {"0x20000": "app.bin", "0x0": "boot.bin"}))
    words = [
        "--chip",
        "esp32c3",
        "write-flash",
        "0x0",
        str(tmp_path / "boot.bin"),
        "0x20000",
        str(tmp_path / "app.bin"),
    ]
    assert words == found.words()


@pytest.mark.parametrize(
    "files", [{"0x0": "../secret"}, {"0x0": "/etc/passwd"}, {"0x0": "gone.bin"}, {"x": "app.bin"}]
)
def test_a_plan_that_leads_elsewhere(tmp_path: Path, files: dict[str, str]) -> None:
    """A plan that names files outside of the build, or none, is refused; the honest one beside it is not."""
    (tmp_path / "secret").write_bytes(b"x")
    build = tmp_path / "build"
    build.mkdir()
    (build / "app.bin").write_bytes(b"x")
    assert idf.read_flash_plan(plan(build, {"0x0": "app.bin"})).files
    with pytest.raises(FormatError) as caught:
        idf.read_flash_plan(plan(build, files))
    assert "flasher_args.json" == caught.value.what
    with pytest.raises(FormatError):
        idf.read_flash_plan(plan(build, {"0x0": "app.bin"}, chip="esp8266"))
    with pytest.raises(FormatError):
        idf.read_flash_plan(tmp_path)


def test_a_program_that_fails_is_told(tmp_path: Path, only: Path) -> None:
    """A build that fails ends with an error, and one that does not ends without."""
    pretend(only, "good", "exit 0")
    pretend(only, "bad", "exit 3")
    idf.attach([str(only / "good")], cwd=tmp_path)
    with pytest.raises(ToolFailedError) as caught:
        idf.attach([str(only / "bad")], cwd=tmp_path)
    assert 3 == caught.value.returncode


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the project's outline that labkit takes for its firmware, beside a workspace with an authority."""
    monkeypatch.setenv("LABKIT_WORKSPACE", str(tmp_path / "w"))
    Store(Workspace.open(tmp_path / "w")).create(passphrase=b"correct horse")
    project = tmp_path / "firmware"
    (project / "main").mkdir(parents=True)
    (project / "main" / "app_main.c").touch()
    monkeypatch.setattr(idf, "project_folder", lambda: project)
    return project


def test_build_by_command(lab: Path, only: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The command puts the authority's certificate in its place and has ESP-IDF build; no key of the lab is there."""
    assert 1 == main(["firmware", "build"])
    assert "Nothing on this machine builds" in capfd.readouterr().err
    assert not (lab / "trust").exists()
    pretend(only, "idf.py", 'echo "ran: $*"')
    assert 0 == main(["firmware", "build", "--target", "esp32", "--for", "secure"])
    said = capfd.readouterr().out
    assert "IDF_TARGET=esp32" in said
    assert "sdkconfig.defaults;sdkconfig.defaults.secure" in said
    x509.load_pem_x509_certificate((lab / "trust" / "root.pem").read_bytes())
    assert ["root.pem", "update_keys.pem"] == sorted(path.name for path in (lab / "trust").iterdir())
    assert not any(b"PRIVATE" in path.read_bytes() for path in (lab / "trust").iterdir())
    assert 2 == main(["firmware", "build", "--target", "z80"])


def test_flash_by_command(
    lab: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A board is written to only where its port is named; an image that burns fuses wants the board's MAC besides."""
    from labkit.firmware import ports

    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(
        ports, "run_on_port", lambda program, port, *words, **_: ran.append((program, port.name, *words))
    )
    for folder in ("build-esp32c3", "build-esp32c3-secure"):
        (lab / folder).mkdir()
        (lab / folder / "app.bin").write_bytes(b"x")
        plan(lab / folder, {"0x20000": "app.bin"})
    assert 2 == main(["firmware", "flash"])
    assert 1 == main(["firmware", "flash", "--port", "/dev/ttyUSB0", "--for", "secure"])
    assert "can't be undone" in capsys.readouterr().err
    assert [] == ran
    assert 0 == main(["firmware", "flash", "--port", "/dev/ttyUSB0"])
    assert [("esptool", "/dev/ttyUSB0", "--chip")] == [one[:3] for one in ran]


def test_monitor_by_command(lab: Path, only: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The monitor is ESP-IDF's where that is at hand, on the port that was named."""
    pretend(only, "idf.py", 'echo "ran: $*"')
    assert 0 == main(["firmware", "monitor", "--port", "/dev/ttyUSB7"])
    assert "ran: -p /dev/ttyUSB7 monitor" in capfd.readouterr().out
    assert 1 == main(["firmware", "monitor", "--port", ""])
