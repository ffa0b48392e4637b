"""Run the broker of `docker/compose.yaml` with whichever engine and whichever compose is here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labkit import processes
from labkit.broker import container
from labkit.errors import ToolFailedError, ToolMissingError

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICE = "broker"
_PATIENCE = 900.0
"""Seconds for a command of compose, which may have to fetch and build an image."""


@dataclass(frozen=True, slots=True)
class Compose:
    """A compose command that works here.

    Attributes:
        engine: `docker` or `podman`.
        program: The engine's program.
        words: The command.
        file: The compose file.
    """

    engine: str
    program: Path
    words: tuple[str, ...]
    file: Path

    def up(self, *, files: Path, port: int) -> None:
        """Start the broker, and nothing else; one that runs is left alone.

        Args:
            files: The folder that it mounts.
            port: Its port on 127.0.0.1.

        Raises:
            ToolFailedError, ToolTimeoutError: It can't be built or started; the error has the engine's words.
        """
        env = {
            "LABKIT_BROKER_FILES": str(files),
            "LABKIT_BROKER_PORT": str(port),
            **self._identity(),
        }
        self._run("up", "--detach", "--no-deps", SERVICE, env=env)

    def reload(self) -> None:
        """Have the running broker read its files again.

        Raises:
            ToolFailedError: It does not run.
        """
        self._run("kill", "--signal", "HUP", SERVICE)

    def down(self) -> None:
        """Stop and remove every container and network of the stack; its volumes stay."""
        self._run("down")

    def logs(self) -> str:
        """Return what the broker has said last."""
        return processes.run([*self.words, "--file", self.file, "logs", SERVICE], check=False).output

    def _run(self, *words: str, env: Mapping[str, str] | None = None) -> None:
        argv: list[str | Path] = [*self.words, "--file", self.file, *words]
        try:
            # podman's own format of images has no health checks.
            processes.run(argv, env={"BUILDAH_FORMAT": "docker", **(env or {})}, timeout=_PATIENCE)
        except ToolFailedError as error:
            error.advice = (
                f"Without a network, build on a base that the engine has: BROKER_IMAGE=… {error.advice}"
            )
            raise

    def _identity(self) -> dict[str, str]:
        """Return whom the broker runs as: the owner of its files."""
        words = container.identity(self.engine, self.program)
        given = dict(zip(words[::2], words[1::2], strict=True))
        names = {"--user": "LABKIT_USER", "--userns": "PODMAN_USERNS"}
        return {names[word]: value for word, value in given.items()}


def find_compose() -> Compose:
    """Return a compose command whose engine answers.

    Raises:
        ToolMissingError: There is none; the advice says what to install.
    """
    file = Path(__file__).parents[2] / "docker" / "compose.yaml"
    if not file.is_file():
        raise ToolMissingError(
            "The compose file is not here; it comes with the course's repository.",
            advice="Clone the repository and call labkit there.",
            tool="compose",
        )
    name, engine = container.find_engine(container.wanted() or container.ENGINES)
    choices: list[tuple[str, ...]] = [(str(engine), "compose")]
    if found := processes.find_tool(f"{name}-compose"):
        choices.insert(0 if name == "podman" else 1, (str(found),))
    for words in choices:
        if processes.run([*words, "version"], check=False).returncode == 0:
            return Compose(name, engine, words, file)
    advice = {"docker": "Install its compose plugin: sudo apt install docker-compose-v2",
              "podman": "Install podman-compose: sudo apt install podman-compose (or pip install podman-compose)"}  # fmt: skip
    raise ToolMissingError(f"{name} is here, and no compose for it.", advice=advice[name], tool="compose")
