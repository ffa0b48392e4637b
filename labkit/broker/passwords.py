"""Mosquitto's password file: a user name and a salted, slow hash a line (`man mosquitto_passwd`)."""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ROUNDS = 101
"""PBKDF2 rounds: what mosquitto_passwd of 2.0 writes. It is little, and another reason for long random passwords."""

_SALT = 12


def password_file(users: Mapping[str, str], *, rounds: int = ROUNDS) -> str:
    """Return a password file.

    Args:
        users: Passwords by user name.
        rounds: How often the hash is repeated.

    Raises:
        ValueError: A user name is empty or has a colon or a line feed in it, which would end it.
    """
    return "".join(_line(user, password, rounds) for user, password in users.items())


def _line(user: str, password: str, rounds: int) -> str:
    if not user or any(mark in user for mark in ":\r\n\0"):
        text = f"this can't be a user name in a password file: {user!r}"
        raise ValueError(text)
    salt = secrets.token_bytes(_SALT)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, rounds)
    return f"{user}:$7${rounds}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}\n"
