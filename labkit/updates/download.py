"""An update on its way to a device: header and image in pieces, and an end when the release is taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import Response

from labkit.serving.gate import PIECE_BYTES
from labkit.serving.house import in_thread

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator, Mapping

    from starlette.types import Receive, Scope, Send

    from labkit.updates.desk import Image

DOWNLOADS = 4
"""Downloads of one device at the same time, in one worker; an honest device has one, or two while one times out."""

PIECES_BETWEEN_LOOKS = 8
"""After so many pieces (512 KiB) a download looks whether the release was aborted meanwhile."""


class Download(Response):
    """A response that reads the image while it sends it, and holds no more of it than a piece.

    Args:
        image: What is sent.
        part: From where to where, counted from the beginning of the header.
        headers: The header fields.
        busy: Counts the downloads of each device.
        aborted: Returns whether the release was taken back.
    """

    def __init__(
        self,
        image: Image,
        part: tuple[int, int],
        headers: Mapping[str, str],
        *,
        busy: Counter[str],
        aborted: Callable[[], bool],
    ) -> None:
        whole = part == (0, image.size)
        super().__init__(None, 200 if whole else 206, dict(headers), "application/octet-stream")
        self._image = image
        self._part = part
        self._busy = busy
        self._aborted = aborted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        device = self._image.device_id
        self._busy[device] += 1
        try:
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            for number, piece in enumerate(self._pieces(), start=1):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                if number % PIECES_BETWEEN_LOOKS == 0 and await in_thread(self._aborted):
                    scope["state"]["decision"].code = "cut-aborted"
                    await _cut(scope, receive)
                    return
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._busy[device] -= 1
            if not self._busy[device]:
                del self._busy[device]

    def _pieces(self) -> Iterator[bytes]:
        start, end = self._part
        head = self._image.header[start:end]
        if head:
            yield head
        at = max(start, len(self._image.header))
        with self._image.path.open("rb") as file:
            file.seek(at - len(self._image.header))
            # Never beyond the length that was promised, whatever the file has become.
            while at < end and (piece := file.read(min(PIECE_BYTES, end - at))):
                yield piece
                at += len(piece)


async def _cut(scope: Scope, receive: Receive) -> None:
    # HTTP/1.1 has no way to say "no more of this" behind a length but to hang up (RFC 9112 §6.3).
    cut: Any = scope["extensions"]["labkit.cut"]
    cut()
    while (await receive())["type"] != "http.disconnect":
        pass
