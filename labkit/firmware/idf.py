"""Building the firmware: ESP-IDF where it is at hand, its container otherwise; and what was built, for esptool.

Nothing here signs, and nothing looks for a board.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import labkit
from labkit.errors import FormatError, ToolFailedError, ToolMissingError
from labkit.processes import find_tool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labkit.firmware.update import TrustedKeys

IMAGE = "espressif/idf:v6.0.2"
"""The container that builds, pinned here and nowhere else."""

TARGETS = ("esp32", "esp32c3", "esp32s3", "linux")
CONFIGURATIONS = {"plain": (), "secure": ("sdkconfig.defaults.secure",), "qemu": ("sdkconfig.defaults.ci",)}
"""What is added to `sdkconfig.defaults`, by name."""

INSTALL = (
    "Install ESP-IDF 5.5 or 6.x (https://docs.espressif.com/projects/esp-idf/en/stable/get-started/) and type "
    f". $IDF_PATH/export.sh in this shell; or install Docker or Podman, and its container is used: {IMAGE}"
)


def project_folder() -> Path:
    """Return the folder of the firmware's source.

    Raises:
        ToolMissingError: It is not here: labkit was installed without it.
    """
    folder = Path(labkit.__file__).parents[1] / "firmware"
    if not (folder / "main" / "app_main.c").exists():
        raise ToolMissingError(
            "The firmware's source is not here; it comes with the course's repository.",
            advice="Clone the repository and call labkit there.",
            tool="firmware",
        )
    return folder


def render_trust(root: str, trusted: TrustedKeys) -> dict[str, str]:
    """Return the files that say whom an image trusts, by name: an authority's certificate, and the keys of updates.

    Args:
        root: The certificate in PEM.
        trusted: Whose updates the image takes; keys that were revoked are listed as such.
    """
    pems = [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        for one, public in trusted.keys.items()
        if one not in trusted.revoked
    ]
    revoked = sorted(f"revoked {one.hex()}\n" for one in trusted.revoked)
    return {"root.pem": root, "update_keys.pem": "".join([*pems, *revoked]) or "nobody\n"}


@dataclass(frozen=True, slots=True)
class Builder:
    """What builds.

    Attributes:
        name: `idf.py`, `docker` or `podman`.
        program: Where it is.
    """

    name: str
    program: Path

    def command(self, project: Path, *words: str) -> list[str]:
        """Return the command line that runs idf.py with some words in a project's folder."""
        if self.name == "idf.py":
            return [str(self.program), *words]
        mount = ["--volume", f"{project}:/project", "--workdir", "/project"]
        return [str(self.program), "run", "--rm", *mount, IMAGE, "idf.py", *words]


def find_builder() -> Builder:
    """Return what can build here.

    Raises:
        ToolMissingError: Nothing can; the advice says what to install.
    """
    for name in ("idf.py", "docker", "podman"):
        found = find_tool(name)
        if found is not None:
            return Builder(name, found)
    raise ToolMissingError(
        "Nothing on this machine builds firmware for an ESP32.", advice=INSTALL, tool="idf.py"
    )


def build_words(target: str, configuration: str = "plain") -> list[str]:
    """Return idf.py's words for a build in a folder of its own.

    Raises:
        ValueError: There is no such target or configuration.
    """
    if target not in TARGETS or configuration not in CONFIGURATIONS:
        text = f"there are {', '.join(TARGETS)}, and {', '.join(CONFIGURATIONS)}"
        raise ValueError(text)
    folder = build_folder(target, configuration)
    defaults = ";".join(["sdkconfig.defaults", *CONFIGURATIONS[configuration]])
    preview = ["--preview"] if target == "linux" else []
    return [
        *preview, "-B", folder, "-D", f"IDF_TARGET={target}", "-D", f"SDKCONFIG={folder}/sdkconfig",
        "-D", f"SDKCONFIG_DEFAULTS={defaults}", "build",
    ]  # fmt: skip


def build_folder(target: str, configuration: str = "plain") -> str:
    """Return the name of a build's folder inside the project."""
    return f"build-{target}" + ("" if configuration == "plain" else f"-{configuration}")


def attach(argv: Sequence[str], *, cwd: Path) -> None:
    """Run a program that speaks to the terminal itself, to its end.

    Raises:
        ToolFailedError: It ended with a status other than 0.
    """
    ended = subprocess.run(argv, cwd=cwd, check=False)
    if ended.returncode != 0:
        raise ToolFailedError(
            f"{Path(argv[0]).name} ended with status {ended.returncode}.",
            advice="Its own words above say why.",
            tool=Path(argv[0]).name,
            argv=tuple(argv),
            returncode=ended.returncode,
            output="",
        )


@dataclass(frozen=True, slots=True)
class FlashPlan:
    """What a build says that has to be written where.

    Attributes:
        chip: For which chip.
        files: The files by their offset. The identity's partition is not among them: no build knows who a device is.
    """

    chip: str
    files: tuple[tuple[int, Path], ...]

    def words(self) -> list[str]:
        """Return esptool's words; what stands in an image's header about the flash chip is left as it was built."""
        parts = [word for offset, path in self.files for word in (hex(offset), str(path))]
        return ["--chip", self.chip, "write-flash", *parts]


def read_flash_plan(build: Path) -> FlashPlan:
    """Return what a build left to be flashed (`flasher_args.json`).

    Raises:
        FormatError: The build is not whole, or its list leads outside of its folder.
    """
    path = build / "flasher_args.json"
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        chip = str(told["extra_esptool_args"]["chip"])
        files = [(int(offset, 0), (build / name).resolve()) for offset, name in told["flash_files"].items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_plan(path) from error
    if chip not in TARGETS or not all(
        one.is_relative_to(build.resolve()) and one.is_file() for _, one in files
    ):
        raise _no_plan(path)
    return FlashPlan(chip, tuple(sorted(files)))


def _no_plan(path: Path) -> FormatError:
    return FormatError(
        f"{path} does not say what is to be flashed.",
        advice="Build first: labkit firmware build",
        what="flasher_args.json",
        offset=0,
    )
