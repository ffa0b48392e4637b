"""The manifest of an update, as the device reads it."""

from __future__ import annotations

import re

from labkit.firmware.update import FORMAT, Header, Manifest, Version
from labkit.node.codes import refused
from labkit.node.documents import Document, read_object

LONGEST_MANIFEST = 2048
LONGEST_PATH = 200

_PATH = re.compile(r"/updates/[A-Za-z0-9._/-]+")
_HEX = re.compile(r"[0-9a-f]+")


def read_manifest(data: bytes) -> Manifest:
    """Return the manifest in some bytes.

    Fields that the device does not know are left alone, so that the server can say more to newer devices.

    Raises:
        MessageRefusedError: `manifest-format`, `manifest-path`, `header-product`, or a code that begins with `json-`.

    Does not check: who wrote it. It is advice; the signed header decides, and has to agree (`Manifest.agrees`).
    """
    document = read_object(data, longest=LONGEST_MANIFEST)
    if document.integer("format", 0, 65_535) != FORMAT:
        raise refused("manifest-format", "")
    return Manifest(
        path=_path(document.text("path", longest=LONGEST_PATH)),
        header=Header(
            product=_product(document.text("product", longest=31)),
            hardware_min=document.integer("hardware_min", 0, 65_535),
            hardware_max=document.integer("hardware_max", 0, 65_535),
            version=_version(document.text("version", longest=17)),
            secure_version=document.integer("secure_version", 0, 0xFFFFFFFF),
            size=document.integer("size", 1, 0xFFFFFFFF),
            digest=_hex(document, "sha256", 32),
            key_id=_hex(document, "key_id", 8),
        ),
    )


def _path(text: str) -> str:
    if _PATH.fullmatch(text) is None or ".." in text or "//" in text:
        raise refused("manifest-path", "")
    return text


def _product(text: str) -> str:
    if not Header.product_is_one(text):
        raise refused("header-product", "")
    return text


def _version(text: str) -> Version:
    try:
        return Version.parse(text)
    except ValueError as error:
        raise refused("json-range", "version") from error


def _hex(document: Document, name: str, size: int) -> bytes:
    text = document.text(name, longest=2 * size)
    if len(text) != 2 * size or _HEX.fullmatch(text) is None:
        raise refused("json-range", name)
    return bytes.fromhex(text)
