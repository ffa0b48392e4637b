"""`labkit image`: built by the real tools, read by ours, and refused in words that help."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from labkit.cli import main
from labkit.firmware.partitions import COURSE_TABLE, build_table, render_csv
from labkit.firmware.tools import run_tool, sign_image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CSV = "key,type,encoding,value\nidentity,namespace,,\nid,data,string,sensor-001\nkey,data,hex2bin,aabb\nslot,data,u8,1\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of our own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(here: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a way to run a command that must say yes, and get what it says."""

    def run(*words: str) -> str:
        assert 0 == main(["image", *words])
        return capsys.readouterr().out

    return run


def refused(capsys: pytest.CaptureFixture[str], *words: str, status: int = 2) -> str:
    """Run a command that must say no, and return its complaint."""
    capsys.readouterr()
    assert status == main(["image", *words])
    return capsys.readouterr().err


@pytest.mark.tool
def test_an_application_is_built_and_read(run: Callable[..., str], here: Path) -> None:
    """The real esptool makes it, and both say the same of it."""
    told = run(
        "build", "--version", "1.2", "--secure-version", "3", "--behaviour", '{"interval":60}', "-o", "a.bin"
    )
    for words in ("course-node", '{"interval": 60}', "DROM", "Next: esptool write-flash 0x20000"):
        assert words in told
    found = json.loads(run("info", "a.bin", "--json"))
    assert ("1.2", 3, "none") == (found["version"], found["secure version"], found["signature"])
    assert "App version: 1.2" in run_tool("esptool", "image-info", here / "a.bin").stdout
    data = bytearray((here / "a.bin").read_bytes())
    data[60] ^= 1
    (here / "a.bin").write_bytes(data)


@pytest.mark.tool
def test_a_bootloader_is_built_for_its_place(run: Callable[..., str]) -> None:
    """The next thing to type names the chip's own offset."""
    assert "write-flash 0x0 bootloader.bin" in run("build", "--bootloader", "--chip", "esp32c3")
    said = run("build", "--bootloader", "-o", "b.bin")
    assert ("write-flash 0x1000 b.bin" in said, "no machine code" in said) == (True, True)
    assert "machine code" in run("info", "b.bin")
    assert {"file": "app.bin"}.items() <= json.loads(run("build", "--json")).items()


@pytest.mark.tool
def test_a_damaged_image_is_told(
    run: Callable[..., str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong checksum or digest is shown, with the right one, and the status is 1; what is no image is refused."""
    run("build", "-o", "a.bin")
    data = bytearray((here / "a.bin").read_bytes())
    data[60] ^= 1
    (here / "a.bin").write_bytes(data)
    with pytest.raises(SystemExit) as caught:
        main(["image", "info", "a.bin"])
    assert 1 == caught.value.code
    assert "would be" in capsys.readouterr().out
    (here / "a.bin").write_bytes(b"text")
    assert "This is no firmware image" in refused(capsys, "info", "a.bin", status=1)


@pytest.mark.tool
def test_signatures_are_told(run: Callable[..., str], here: Path) -> None:
    """Whose key signed, and whether the signature holds; who trusts that key only a board can say."""
    run("build", "-o", "a.bin")
    key = here / "k.pem"
    run_tool("espsecure", "generate-signing-key", "--version", "2", "--scheme", "ecdsa256", key)
    signed = bytearray(sign_image((here / "a.bin").read_bytes(), key))
    (here / "s.bin").write_bytes(signed)
    assert "ecdsa256 holds, key " in run("info", "s.bin")
    (here / "s.bin").write_bytes(signed[: -4096 + 1300])
    assert "cut off" in run("info", "s.bin")
    signed[-4096 + 110] ^= 1
    (here / "s.bin").write_bytes(signed)
    assert "refused: damaged" in run("info", "s.bin")


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000])
def test_behaviour_must_be_an_object(text: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no JSON object is refused before anything is written."""
    assert "--behaviour" in refused(capsys, "build", "--behaviour", text)
    assert [] == list(here.iterdir())


def test_the_courses_table(run: Callable[..., str], here: Path) -> None:
    """It is shown, printed as a CSV and written as bytes; CSV and bytes are read again."""
    assert "fctry     data, nvs       0x10000" in run("table")
    csv = run("table", "--csv")
    assert csv == render_csv(COURSE_TABLE)
    (here / "p.csv").write_text(csv)
    run("table", "p.csv", "-o", "t.bin")
    assert build_table(COURSE_TABLE) == (here / "t.bin").read_bytes()
    assert csv == run("table", "t.bin", "--csv")
    assert run("info", "t.bin") == run("table")
    assert "fctry" in {part["label"] for part in json.loads(run("table", "--json"))}


def test_nvs_is_built_and_read(run: Callable[..., str], here: Path) -> None:
    """Values stay hidden until they are asked for; files with keys are for their owner alone."""
    (here / "v.csv").write_text(CSV)
    assert "3 values in n.bin (0600)." in run("nvs", "v.csv", "-o", "n.bin")
    assert 0o600 == (here / "n.bin").stat().st_mode & 0o777
    told = run("nvs", "n.bin")
    assert "10 characters" in told
    assert "sensor-001" not in told
    assert told == run("info", "n.bin")
    assert "sensor-001" in run("nvs", "n.bin", "--values")
    rows: Any = json.loads(run("nvs", "n.bin", "--values", "--json"))
    assert ["sensor-001", "aabb", 1] == [row["value"] for row in rows]


def test_nvs_is_encrypted(run: Callable[..., str], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """New keys are made once, by this machine's own randomness, and open what they closed."""
    (here / "v.csv").write_text(CSV)
    assert "New keys in k.bin (0600)." in run("nvs", "v.csv", "-o", "n.bin", "--keys", "k.bin")
    kept = (here / "k.bin").read_bytes()
    assert "New keys" not in run("nvs", "v.csv", "-o", "m.bin", "--keys", "k.bin")
    assert kept == (here / "k.bin").read_bytes()
    assert b"sensor-001" not in (here / "n.bin").read_bytes()
    assert "sensor-001" in run("nvs", "n.bin", "--keys", "k.bin", "--values")
    assert "This is no NVS partition" in refused(capsys, "nvs", "n.bin", status=1)
    (here / "h.bin").write_bytes(b"h" * 32)
    run("nvs", "v.csv", "-o", "n.bin", "--hmac-key", "h.bin")
    assert "sensor-001" in run("nvs", "n.bin", "--hmac-key", "h.bin", "--values")
    (here / "h.bin").write_bytes(b"h")
    assert "32 bytes, not 1" in refused(capsys, "nvs", "n.bin", "--hmac-key", "h.bin")
    assert "no number" in refused(capsys, "nvs", "v.csv", "-o", "x.bin", "--size", "much")


def test_parts_are_merged(run: Callable[..., str], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Pairs of address and file become one flash, which `info` takes apart again."""
    (here / "v.csv").write_text(CSV)
    run("nvs", "v.csv", "-o", "n.bin")
    run("table", "-o", "t.bin")
    assert "0x16000 bytes" in run("merge", "0x8000", "t.bin", "0x10000", "n.bin", "-o", "f.bin")
    assert "3 values in identity" in run("info", "f.bin")
    run("merge", "0x8000", "t.bin", "--fill")
    assert 0x400000 == (here / "flash.bin").stat().st_size
    assert "come in pairs" in refused(capsys, "merge", "0x8000")
    assert "no file" in refused(capsys, "merge", "0x8000", "other.bin")
    assert "overlap" not in refused(capsys, "merge", "0x8000", "t.bin", "0x8001", "n.bin", status=1)
    (here / "f.bin").write_bytes(bytes(0x9000))
    assert "noise" in run("info", "f.bin")
