"""What a student hands in beside the notebook: answers, certificates, configuration. Never a private key."""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
from typing import TYPE_CHECKING

from labkit.errors import PackRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from labkit.workspace import Workspace

MOST_OF_ONE = 8 << 20
MOST = 48 << 20
MOST_FILES = 1500

_PLACES = (
    "root",
    "intermediate",
    "server",
    "devices",
    "operators",
    "intruders",
    "broker",
    "registry",
    "factory",
    "audit",
)
_PUBLIC = {".crt", ".crl", ".csr", ".conf", ".acl", ".cnf", ".md", ".csv"}
_PLAIN_NAMES = {"acl", "aclfile", "devices.csv"}
_PEM = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_ENCODED = re.compile(rb"LS0tLS1CRUdJTi[A-Za-z0-9+/]{20,}")
_HEX = re.compile(rb"(?:30[0-9a-fA-F]{2}|3082[0-9a-fA-F]{4})[0-9a-fA-F]{60,}")


def gather(workspace: Workspace, slug: str) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """Return what of a workspace is handed in, and the names of keys that stay at home.

    Args:
        workspace: The student's workspace. It is only read.
        slug: The exercise.

    Returns:
        Files by their place in the workspace; and the files of keys (*.key), which are left out.

    Raises:
        PackRefusedError: An answer that is no *.key holds a private key, is not a plain file, or all is too much.
    """
    found: dict[str, bytes] = {}
    kept_home: list[str] = []
    for path, is_answer in _candidates(workspace, slug):
        name = path.relative_to(workspace.root).as_posix()
        if path.is_symlink() or not path.is_file():
            if is_answer and not path.is_dir():
                raise _refused(path, name, "link", f"{name} is not a plain file")
            continue
        if path.stat().st_size > MOST_OF_ONE:
            raise _refused(path, name, "size", f"{name} is larger than {MOST_OF_ONE >> 20} MB")
        data = path.read_bytes()
        if why := key_in(data):
            if is_answer and path.suffix != ".key":  # a key where nobody looks for one
                raise _refused(path, name, "private-key", f"{name} holds {why}")
            kept_home.append(name)
            continue
        found[name] = data
    if len(found) > MOST_FILES or sum(map(len, found.values())) > MOST:
        raise _refused(
            workspace.root, "", "size", f"there are {len(found)} files, or more than {MOST >> 20} MB"
        )
    return found, tuple(kept_home)


def _candidates(workspace: Workspace, slug: str) -> Iterator[tuple[Path, bool]]:
    """Yield files and whether they are answers. Of the lab's folders only what is public by its nature comes along."""
    for path in sorted(workspace.path("answers", slug).rglob("*")):
        yield path, True
    for place in _PLACES:
        for path in sorted(workspace.path(place).rglob("*")):
            if path.suffix in _PUBLIC or path.name in _PLAIN_NAMES:
                yield path, False


def key_in(data: bytes) -> str:
    """Return in words what key a file holds, or nothing.

    Does not check: keys that were hidden on purpose: encrypted, split, in pictures, or as bare numbers.
    """
    if _PEM.search(data):
        return "a private key (PEM)"
    for found in _ENCODED.finditer(data):
        if _PEM.search(_decoded(found[0])):
            return "a private key (PEM, in base64)"
    if _is_der_key(data):
        return "a private key (DER)"
    for found in _HEX.finditer(data):
        digits = found[0][: len(found[0]) // 2 * 2]
        if _is_der_key(binascii.unhexlify(digits)):
            return "a private key (DER, in hexadecimal digits)"
    return "a private key (JWK)" if _is_jwk(data) else ""


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text[: len(text) // 4 * 4])
    except ValueError:
        return b""


def _is_der_key(data: bytes) -> bool:
    """Return whether bytes are a private key in DER: an encrypted one too, which is a SEQUENCE with an algorithm first."""
    if data[:1] != b"\x30" or len(data) > MOST_OF_ONE:
        return False
    from cryptography.hazmat.primitives.serialization import load_der_private_key, pkcs12

    with contextlib.suppress(Exception):  # whatever it is, it is no key that can be read
        try:
            load_der_private_key(data, None)
        except TypeError:
            return True  # it wants a passphrase
        return True
    try:
        return pkcs12.load_key_and_certificates(data, None)[0] is not None
    except ValueError as error:
        return "password" in str(error).lower() or "mac" in str(error).lower()
    except Exception:  # noqa: BLE001 - likewise
        return False


def _is_jwk(data: bytes) -> bool:
    if b'"kty"' not in data:
        return False
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return False
    keys = found.get("keys", [found]) if isinstance(found, dict) else found
    return isinstance(keys, list) and any(isinstance(key, dict) and {"kty", "d"} <= set(key) for key in keys)


def _refused(path: Path, name: str, rule: str, why: str) -> PackRefusedError:
    advice = {
        "private-key": f"Remove it: a key that was handed in is no secret any more. Then: rm workspace/{name}",
        "link": f"Put the file itself there: rm workspace/{name}",
    }.get(rule, "Hand in what the exercise asks for; move other files out of answers/.")
    return PackRefusedError(f"Not packed: {why}.", advice=advice, path=path, rule=rule)
