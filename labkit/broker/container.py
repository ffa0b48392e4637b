"""A broker in a container of docker or podman, started and stopped like any other program.

The engine's client is the guard's child: it hands signals on, prints what the broker prints, and its standard input
ends with the guard. The image (`docker/broker`) stops at the end of that, so that a container outlives nobody.

The container shares this machine's network, where the broker listens on loopback like the program does: behind a
forwarded port it would see another client's port than the client has, and the log could not be told apart by it.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from labkit import processes
from labkit.broker import config as configuration
from labkit.broker import staging
from labkit.broker.mosquitto import Mosquitto, read_version
from labkit.clock import Deadline
from labkit.errors import ToolFailedError, ToolMissingError, ToolTimeoutError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labkit.broker.config import BrokerConfig

VARIABLE = "LABKIT_BROKER"
IMAGE_VARIABLE = "LABKIT_BROKER_IMAGE"
BASE_VARIABLE = "BROKER_IMAGE"

IMAGE = "localhost/iot-labs-broker"
"""What the image is called, here and in `docker/compose.yaml`."""

ENGINES = ("docker", "podman")
"""What runs containers, best first."""

_WANTED = {"docker": ENGINES, "podman": ("podman",)}
"""What `LABKIT_BROKER` may say, and whom it means: podman stands in for docker where that does not answer."""

_SAME = frozenset({"", "local"})

# How an engine finds its daemon and its images; a broker's own environment has none of them.
_ENGINES_OWN = (
    "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "DBUS_SESSION_BUS_ADDRESS", "REGISTRY_AUTH_FILE",
    "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT", "CONTAINER_HOST", "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF",
)  # fmt: skip

_ANSWER = 20.0
_FIRST = 180.0
_START = 60.0
"""Seconds for a start: engines without root and without an overlay copy the whole image first."""

_BUILD = 600.0


@dataclass(frozen=True, slots=True)
class Contained(Mosquitto):
    """Mosquitto in a container; `path` is the engine's program.

    Attributes:
        image: The image.
        identity: The engine's words about whom the broker runs as.
    """

    image: str = IMAGE
    identity: tuple[str, ...] = field(default=())

    def command(self, config_file: Path, openssl_conf: Path) -> list[str]:
        """Fill the container's folder, beside the configuration, and return the command line that serves it."""
        config = configuration.parse(config_file.read_text(encoding="utf-8"))
        folder = config_file.parent / staging.FOLDER
        staging.stage(config, folder, openssl_conf=openssl_conf.read_text(encoding="utf-8"))
        name = "labkit-" + hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
        _free(self.path, name)
        return [
            str(self.path), "run", "--rm", "--interactive", "--pull", "never", "--name", name, "--network", "host",
            "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "64",
            "--log-driver", "none", "--no-healthcheck", *self.identity,
            *(["--env", "LABKIT_OPEN_DOORS=1"] if open_doors(config) else []),
            "--volume", f"{folder}:{staging.PLACE}:ro,Z", self.image, "--while-stdin",
        ]  # fmt: skip


def _free(engine: Path, name: str) -> None:
    """See to it that no container has a name: usually none has.

    One is left over where a whole machine went down under it. And docker gives a name back only some time after its
    client has ended, while it still removes the container; to be asked for that again is an error to it.
    """
    deadline = Deadline(_ANSWER)
    while processes.run([engine, "container", "inspect", name], check=False, timeout=_ANSWER).returncode == 0:
        processes.run([engine, "rm", "--force", name], check=False, timeout=_ANSWER)
        if deadline.passed:
            return  # what starts it will say so
        deadline.pause(0.1)


def open_doors(config: BrokerConfig) -> bool:
    """Return whether a configuration lets in who can't prove who they are, as some lessons show."""
    closed = all(each.certfile and each.keyfile and each.require_certificate for each in config.listeners)
    return config.allow_anonymous or not closed


def wanted() -> Sequence[str]:
    """Return the engines that `LABKIT_BROKER` asks for, best first; none where the broker runs on this machine.

    Raises:
        ToolMissingError: It says something else.
    """
    said = os.environ.get(VARIABLE, "").strip().lower()
    if said in _SAME:
        return ()
    if said not in _WANTED:
        raise ToolMissingError(
            f"{VARIABLE} is {said!r}, which is no way to run a broker.",
            advice=f"Say {VARIABLE}=docker or {VARIABLE}=podman, or leave it out for the program on this machine.",
            tool=said,
        )
    return _WANTED[said]


def find(names: Sequence[str], *, build: bool = True) -> Contained:
    """Find an engine that answers, and the broker's image; ask once a process.

    Args:
        names: The engines to ask, best first.
        build: Whether the image may be built, from `docker/broker`; its base is fetched then.

    Raises:
        ToolMissingError: No engine answers, there is no image, or this system's containers have no loopback of ours.
        ToolVersionError: The image's Mosquitto is too old.
        ToolFailedError, ToolTimeoutError: The image can't be built.
    """
    if sys.platform != "linux":
        raise ToolMissingError(
            "Lessons with the broker in a container need Linux: elsewhere containers run in a machine of their own, "
            "which has another loopback.",
            advice=f"Leave {VARIABLE} out. The compose stack works on every system: docs/containers.md",
            tool=names[0],
        )
    image = os.environ.get(IMAGE_VARIABLE, IMAGE)
    return _found(tuple(names), image, build)


@functools.cache
def _found(names: tuple[str, ...], image: str, build: bool) -> Contained:  # noqa: FBT001 - a cache's key
    name, engine = find_engine(names)
    if processes.run([engine, "image", "inspect", image], check=False, timeout=_ANSWER).returncode:
        if not build or image != IMAGE:
            raise ToolMissingError(
                f"{name} has no image {image}.", advice="Build it: labkit broker build", tool=name
            )
        build_image(engine)
    who = identity(name, engine)
    # As the user that will run it: the first time, an engine without root copies the image for that user.
    words = ["--rm", "--network", "none", "--pull", "never", *who, "--entrypoint", "mosquitto", image, "-h"]
    said = processes.run([engine, "run", *words], check=False, timeout=_FIRST).output
    version = read_version(said, f"the image {image}", advice="Build it again: labkit broker build")
    env = {key: os.environ[key] for key in _ENGINES_OWN if key in os.environ}
    return Contained(engine, version, f"{name}, image {image}", env, _START, image, who)


def find_engine(names: Sequence[str]) -> tuple[str, Path]:
    """Return the first engine that answers: its name and its program.

    Raises:
        ToolMissingError: None does; the advice has what they said.
    """
    said = []
    for name in names:
        found = processes.find_tool(name)
        if found is None:
            said.append(f"{name} is not on this machine")
            continue
        try:
            asked = processes.run([found, "info"], check=False, timeout=_ANSWER)
        except ToolTimeoutError:
            said.append(f"{name} does not answer")
            continue
        if asked.returncode == 0:
            return name, found
        said.append(f"{name} says: {(asked.stderr.strip().splitlines() or ['nothing'])[-1]}")
    raise ToolMissingError(
        "No engine for containers answers: " + "; ".join(said) + ".",
        advice=f"Start one, install one ({processes.install_line('podman')}), or leave {VARIABLE} out.",
        tool=names[0],
    )


def image_size(engine: Path, image: str = IMAGE) -> int:
    """Return how many bytes an image takes.

    Raises:
        ToolFailedError: The engine has no such image.
    """
    said = processes.run([engine, "image", "inspect", "--format", "{{.Size}}", image], timeout=_ANSWER).stdout
    return int(said)


def build_image(engine: Path, *, base: str | None = None) -> None:
    """Build the broker's image from `docker/broker`.

    Args:
        engine: The engine's program.
        base: What to build on; what `BROKER_IMAGE` names without it, or else the course's choice.

    Raises:
        ToolMissingError: The folder is not here: labkit was installed without it.
        ToolFailedError, ToolTimeoutError: It can't be built; without a network for example.
    """
    folder = Path(__file__).parents[2] / "docker" / "broker"
    if not (folder / "Dockerfile").is_file():
        raise ToolMissingError(
            "The broker's Dockerfile is not here; it comes with the course's repository.",
            advice="Clone the repository and call labkit there.",
            tool="docker",
        )
    base = base or os.environ.get(BASE_VARIABLE)
    other = ["--build-arg", f"{BASE_VARIABLE}={base}"] if base else []
    # podman's own format has no health checks.
    kept = ["--format", "docker"] if engine.name == "podman" else []
    argv: list[str | Path] = [engine, "build", *kept, *other, "--tag", IMAGE, folder]
    try:
        processes.run(argv, timeout=_BUILD)
    except ToolFailedError as error:
        error.advice = f"Without a network, name a base that the engine has: {BASE_VARIABLE}=… {error.advice}"
        raise


def identity(name: str, engine: Path) -> tuple[str, ...]:
    """Return the engine's words about whom the broker runs as: who may read the staged files, and never this root.

    Args:
        name: The engine's name.
        engine: Its program.
    """
    if not hasattr(os, "geteuid"):
        return ()  # Windows: files in a container belong to whoever asks
    if os.geteuid() == 0:
        return ("--user", f"{staging.USER}:{staging.USER}")
    us = f"{os.geteuid()}:{os.getegid()}"
    if name == "podman":
        return ("--userns", "keep-id", "--user", us)
    security = processes.run([engine, "info", "--format", "{{.SecurityOptions}}"], timeout=_ANSWER).stdout
    # Without root, docker maps us to its root, which is nobody but us.
    return ("--user", "0:0") if "rootless" in security else ("--user", us)
