"""An update as the device takes it: in chunks, verified as it goes by."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from labkit.errors import UpdateRefusedError
from labkit.firmware.update import HEADER_LENGTH, decide, parse_header, refused, verify_signature

if TYPE_CHECKING:
    from labkit.firmware.update import Header, Manifest, Target, TrustedKeys


class UpdateStream:
    """Takes an update in chunks of any size and hands on the image, of which it never holds more than a chunk.

    Nothing of the image is handed on before header, signature and policy have been looked at. What was handed on is no
    verdict: only when `finish` returns may the slot be booted. After a refusal every further call refuses as well.

    Args:
        trusted: Whose signatures count.
        target: The device.
        manifest: What the server announced, if it did.

    Does not check: that the image boots. The bootloader looks at it, and the device rolls back if it can't connect.
    """

    def __init__(self, trusted: TrustedKeys, target: Target, *, manifest: Manifest | None = None) -> None:
        self._trusted = trusted
        self._target = target
        self._manifest = manifest
        self._head = b""
        self._header: Header | None = None
        self._hash = hashlib.sha256()
        self._received = 0
        self._refusal: UpdateRefusedError | None = None

    @property
    def header(self) -> Header | None:
        """The header, once it has been verified."""
        return self._header

    @property
    def received(self) -> int:
        """Bytes of the image that were handed on."""
        return self._received

    def feed(self, chunk: bytes) -> bytes:
        """Take a chunk, and return what belongs into the slot.

        Raises:
            UpdateRefusedError: `rule` is one of `STAGES`, but for `header-short`, `image-short` and `image-digest`.
        """
        if self._refusal is not None:
            raise self._refusal
        try:
            return self._take(chunk)
        except UpdateRefusedError as error:
            self._refusal = error
            raise

    def finish(self) -> Header:
        """Return the header of an update that is whole.

        Raises:
            UpdateRefusedError: `rule` is `header-short`, `image-short` or `image-digest`, or what `feed` said.
        """
        if self._refusal is not None:
            raise self._refusal
        if self._header is None:
            raise refused("header-short")
        if self._received < self._header.size:
            raise refused("image-short")
        if self._hash.digest() != self._header.digest:
            raise refused("image-digest")
        return self._header

    def _take(self, chunk: bytes) -> bytes:
        if self._header is None:
            missing = HEADER_LENGTH - len(self._head)
            self._head, chunk = self._head + chunk[:missing], chunk[missing:]
            if len(self._head) < HEADER_LENGTH:
                return b""
            self._header = self._verified()
        # A subtraction that can't wrap: `received` never passes `size`.
        if len(chunk) > self._header.size - self._received:
            raise refused("image-long")
        self._hash.update(chunk)
        self._received += len(chunk)
        return chunk

    def _verified(self) -> Header:
        signed = parse_header(self._head)
        verify_signature(signed, self._trusted)
        outcome = decide(signed.header, self._target)
        if not outcome.accepted:
            raise refused(outcome.reason)
        if self._manifest is not None and self._manifest.header != signed.header:
            raise refused("manifest-differs")
        return signed.header


def verify_update(update: bytes, trusted: TrustedKeys, target: Target) -> bytes:
    """Verify a whole update and return its image.

    Raises:
        UpdateRefusedError: See `UpdateStream`.

    Does not check: see `UpdateStream`.
    """
    stream = UpdateStream(trusted, target)
    image = stream.feed(update)
    stream.finish()
    return image
