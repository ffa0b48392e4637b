"""A desk with files on it and the real openssl beside it: hashes, signatures and verdicts, typed as a person would."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from labkit.outcome import ACCEPTED, Outcome
from labkit.processes import require_tool, run
from labkit.scenarios.device_boot import Transcript
from labkit.workspace import make_folder, write_atomic

if TYPE_CHECKING:
    from pathlib import Path


class SigningDesk:
    """The desk.

    Args:
        folder: Where its files are; what lay there is removed.
    """

    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self.folder = make_folder(folder, private=True)

    def __repr__(self) -> str:
        return f"<SigningDesk: {', '.join(sorted(path.name for path in self.folder.iterdir())) or 'empty'}>"

    def write(self, name: str, data: bytes) -> Path:
        """Put a file on the desk, for its owner alone."""
        path = self.folder / name
        write_atomic(path, data, secret=True)
        return path

    def read(self, name: str) -> bytes:
        """Return what a file holds."""
        return (self.folder / name).read_bytes()

    def openssl(self, *words: str, check: bool = True) -> Transcript:
        """Run the real openssl on the desk's files.

        Args:
            *words: What comes after `openssl`.
            check: Raise when it says no.

        Raises:
            ToolFailedError: It said no.
        """
        completed = run([require_tool("openssl"), *words], cwd=self.folder, check=check)
        return Transcript(" ".join(["openssl", *words]), completed)

    def verdict(self, file: str, signature: str, public: str) -> Outcome:
        """Ask openssl whether a signature is one of a file, by a key.

        Args:
            file: What was signed.
            signature: The signature.
            public: The public key.

        Returns:
            An outcome at stage `signature`.
        """
        said = self.openssl("dgst", "-sha256", "-verify", public, "-signature", signature, file, check=False)
        good = said.completed.returncode == 0
        first = said.text.splitlines()[0] if said.text else ""
        detail = {"found": f"{said.command}\n{first}"}
        return Outcome(
            "signature", accepted=good, reason=ACCEPTED if good else "signature-wrong", detail=detail
        )
