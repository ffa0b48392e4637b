"""Where the images of releases lie: put there once, whole, and only if devices would take them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from labkit.firmware.update import HEADER_LENGTH, Header, parse_header, refused, verify_signature
from labkit.workspace import make_folder, os_errors, write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.firmware.update import TrustedKeys
    from labkit.workspace import Workspace

FOLDER = "updates"
LONGEST_UPDATE = 8 * 1024 * 1024
"""Longest update that is taken; the largest flash of the course's boards has 8 MiB."""


def verify_release(update: bytes, trusted: TrustedKeys) -> Header:
    """Verify that an update is one that devices will take, but for what only they know; return its header.

    Raises:
        UpdateRefusedError: `rule` is one of the stages `header`, `signature` and `image`.

    Does not check: product, hardware and version, which every device compares with itself. That the image boots.
    """
    signed = parse_header(update)
    verify_signature(signed, trusted)
    image = memoryview(update)[HEADER_LENGTH:]
    if len(image) > signed.header.size:
        raise refused("image-long")
    if len(image) < signed.header.size:
        raise refused("image-short")
    if hashlib.sha256(image).digest() != signed.header.digest:
        raise refused("image-digest")
    return signed.header


class Depot:
    """The folder of images, each under the name of its SHA-256, so that nothing is ever replaced by something else.

    Args:
        workspace: Where it is; the folder is `updates`.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def path(self, header: Header) -> Path:
        """Return where the image of a release lies; the header stands in the registry."""
        return self._workspace.path(FOLDER, f"{header.digest.hex()}.bin")

    def put(self, header: Header, image: bytes) -> Path:
        """Put an image that was verified into its place.

        Raises:
            DiskFullError, WorkspaceUnwritableError: It could not be written; what was there is as it was.
        """
        path = self.path(header)
        make_folder(path.parent, private=True)
        return write_atomic(path, image)

    def holds(self, header: Header) -> bool:
        """Return whether an image is there in its whole length.

        Does not check: its bytes; the device does.
        """
        path = self.path(header)
        with os_errors(path):
            return path.is_file() and path.stat().st_size == header.size
