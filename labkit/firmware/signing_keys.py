"""The keys that sign updates: encrypted on disk, known by their ids, each followed by the next with an overlap.

In the workspace: `signing/ID.key` (PKCS #8, encrypted with a passphrase, 0600) or `signing/ID.hsm.json` (which hardware
module has it), `signing/ID.pub`, `signing/keys.json` (what
each key is for now), and `signing/log.jsonl`: who signed what, for the day on which a key is lost.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from labkit.clock import SYSTEM_CLOCK, Clock
from labkit.errors import PassphraseError, SigningKeyError, UpdateRefusedError, WorkspaceCorruptError
from labkit.firmware.update import (
    HEADER_LENGTH,
    SIGNED_LENGTH,
    KeySigner,
    Signer,
    TrustedKeys,
    key_id,
    parse_header,
)
from labkit.pki import hsm
from labkit.pki.hsm_root import Log, refuse_without_witnesses
from labkit.pki.keys import Key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from labkit.pki.hsm import HardwareModule
    from labkit.workspace import Workspace

FOLDER = "signing"
SHORTEST_PASSPHRASE = 8
VARIABLE = "LABKIT_SIGNING_PASSPHRASE"
"""Where commands look for the passphrase before they ask."""

_BOOK = f"{FOLDER}/keys.json"
_LOG = f"{FOLDER}/log.jsonl"
CEREMONY = f"{FOLDER}/ceremony.log"


class KeyState(StrEnum):
    """What a signing key is for."""

    CURRENT = "current"
    """It signs, and devices trust it."""

    OVERLAP = "overlap"
    """Devices are to trust it too: it will sign, or has signed."""

    RETIRED = "retired"
    """New images leave it out."""

    REVOKED = "revoked"
    """New images name it as one that counts no more."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """What the book says of a key.

    Attributes:
        key_id: Its id, in hexadecimal.
        made: When it was made.
        state: What it is for.
        since: Since when.
    """

    key_id: str
    made: str
    state: KeyState
    since: str


class SigningKeys:
    """The signing keys of a workspace.

    Args:
        workspace: The folder.
        clock: What time it is.
    """

    def __init__(self, workspace: Workspace, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.workspace = workspace
        self._clock = clock

    def __repr__(self) -> str:
        return f"<SigningKeys: {', '.join(f'{one.key_id} {one.state}' for one in self.all()) or 'none'}>"

    # --- what there is -------------------------------------------------------------------------------------------

    def all(self) -> tuple[SigningKey, ...]:
        """Return every key that was ever made, the oldest first.

        Raises:
            WorkspaceCorruptError: The book is damaged.
        """
        try:
            rows = self.workspace.read_json(_BOOK)
        except FileNotFoundError:
            return ()
        try:
            return tuple(SigningKey(**{**row, "state": KeyState(row["state"])}) for row in rows)
        except (TypeError, ValueError, KeyError) as error:
            raise self._damaged(self.workspace.path(_BOOK)) from error

    def find(self, name: str = "") -> SigningKey:
        """Return a key by its id, or by the beginning of it; the current one without a name.

        Raises:
            SigningKeyError: `rule` is `unknown` or `none`.
        """
        if not name:
            found = [one for one in self.all() if one.state is KeyState.CURRENT]
            if not found:
                raise _refused("none", "There is no key that signs.", "Make one: labkit firmware key new")
            return found[0]
        found = [one for one in self.all() if one.key_id.startswith(name)]
        if len(found) != 1:
            known = ", ".join(one.key_id for one in self.all()) or "none"
            raise _refused("unknown", f"There is no signing key {name!r}.", f"Keys here: {known}.")
        return found[0]

    def public(self, name: str = "") -> ec.EllipticCurvePublicKey:
        """Return the public half of a key.

        Raises:
            SigningKeyError: There is no such key.
            WorkspaceCorruptError: Its file is not there, or holds another key.
        """
        one = self.find(name)
        path = self.path(one, "pub")
        try:
            public = serialization.load_pem_public_key(path.read_bytes())
        except (OSError, ValueError, UnsupportedAlgorithm) as error:
            raise self._damaged(path) from error
        # The file's name is what the book goes by, and anybody who can write there may have put another key into it.
        if not isinstance(public, ec.EllipticCurvePublicKey) or key_id(public).hex() != one.key_id:
            raise self._damaged(path)
        return public

    def trusted(self) -> TrustedKeys:
        """Return whom an image that is built now should trust, and whom no more."""
        states = {one.key_id: one.state for one in self.all()}
        counting = [name for name, state in states.items() if state in {KeyState.CURRENT, KeyState.OVERLAP}]
        revoked = [bytes.fromhex(name) for name, state in states.items() if state is KeyState.REVOKED]
        return TrustedKeys.of([self.public(name) for name in counting], revoked=revoked)

    def path(self, one: SigningKey, suffix: str) -> Path:
        """Return the file of a key: `key` (encrypted) or `pub`."""
        return self.workspace.path(FOLDER, f"{one.key_id}.{suffix}")

    # --- a key's life --------------------------------------------------------------------------------------------

    def create(
        self, passphrase: bytes, *, module: HardwareModule | None = None, present: Sequence[str] = ()
    ) -> SigningKey:
        """Make a key. The first one signs; later ones are trusted first, until `promote` lets them sign.

        Args:
            passphrase: What the private key is encrypted with on disk; the PIN, where it is made in a module.
            module: The hardware module to make it in; then it never leaves it, and a file says where it is.
            present: Who is there when it is made in a module; at least two, and the ceremony's log has them.

        Raises:
            PassphraseError: It is shorter than 8 bytes, and no PIN.
            CeremonyError, HsmError: Fewer than two are there, or the module refuses.
        """
        if module is not None:
            return self._create_in(module, passphrase, present)
        if len(passphrase) < SHORTEST_PASSPHRASE:
            raise PassphraseError(
                f"A passphrase of {len(passphrase)} bytes protects nothing.",
                advice=f"Take at least {SHORTEST_PASSPHRASE}, at the prompt or with {VARIABLE}.",
                path=self.workspace.path(FOLDER),
            )
        key = Key.generate()
        assert isinstance(key.public, ec.EllipticCurvePublicKey)  # noqa: S101 - generate() makes P-256
        return self._add(key.public, key.pem(passphrase))

    def adopt(self, public: ec.EllipticCurvePublicKey) -> SigningKey:
        """Take a key into the book whose private half is elsewhere, where this library can't ask for it.

        Raises:
            SigningKeyError: `rule` is `exists`.
            ValueError: It is not on P-256.
        """
        return self._add(public, None)

    def _create_in(self, module: HardwareModule, pin: bytes, present: Sequence[str]) -> SigningKey:
        refuse_without_witnesses(present)
        made = module.generate(f"signing-{secrets.token_hex(4)}", pin)
        with self.workspace.transaction():
            added = self._add(made.public_key(), made.reference.text().encode(), suffix=hsm.SUFFIX)
            log = Log(self.workspace, CEREMONY, clock=self._clock)
            where = asdict(made.reference)
            log.note("signing key made in the module", present, {**where, "key id": added.key_id})
        return added

    def _add(
        self, public: ec.EllipticCurvePublicKey, private: bytes | None, *, suffix: str = ".key"
    ) -> SigningKey:
        name, now = key_id(public).hex(), self._now()
        encoded = public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        with self.workspace.transaction():
            book = self.all()
            if any(one.key_id == name for one in book):
                raise _refused("exists", f"The key {name} is in the book.", "labkit firmware key list")
            state = KeyState.OVERLAP if any(o.state is KeyState.CURRENT for o in book) else KeyState.CURRENT
            made = SigningKey(name, now, state, now)
            if private is not None:
                self.workspace.write(f"{FOLDER}/{name}{suffix}", private, secret=True)
            self.workspace.write(f"{FOLDER}/{name}.pub", encoded)
            self._write((*book, made))
            self.note("key-made" if private else "key-adopted", key_id=name, state=str(state))
        return made

    def promote(self, name: str) -> SigningKey:
        """Let a trusted key sign from now on; the one that did stays trusted.

        Raises:
            SigningKeyError: `rule` is `unknown`, or `state`: it is retired or revoked.
        """
        return self._move(name, KeyState.CURRENT, {KeyState.OVERLAP, KeyState.CURRENT})

    def retire(self, name: str) -> SigningKey:
        """Leave a key out of new images: its time is over and nobody has it.

        Raises:
            SigningKeyError: `rule` is `unknown`, or `state`: it signs, or is revoked.
        """
        return self._move(name, KeyState.RETIRED, {KeyState.OVERLAP, KeyState.RETIRED})

    def revoke(self, name: str) -> SigningKey:
        """Name a key in new images as one that counts no more: somebody has it. Another one has to sign first.

        Raises:
            SigningKeyError: `rule` is `unknown`, or `state`: it signs.
        """
        return self._move(name, KeyState.REVOKED, {KeyState.OVERLAP, KeyState.RETIRED, KeyState.REVOKED})

    def signer(self, passphrase: bytes, name: str = "") -> LoggedSigner:
        """Unlock a key for signing.

        Args:
            passphrase: What it is encrypted with.
            name: Which one; the current one without a name.

        Raises:
            SigningKeyError: `rule` is `unknown`, `none`, `state` (it is retired or revoked) or `elsewhere` (its private half
                is not here).
            PassphraseError, HsmError: The passphrase does not open it, or the module refuses.
            WorkspaceCorruptError: Its file is not there, or holds another key.
        """
        one = self.find(name)
        if one.state not in {KeyState.CURRENT, KeyState.OVERLAP}:
            raise self._wrong_state(one, "sign")
        path = self.path(one, "key")
        private = self._private(one, path, passphrase)
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise self._damaged(path)
        signer = KeySigner(private)
        if signer.key_id.hex() != one.key_id:
            raise self._damaged(path)
        return LoggedSigner(signer, self.note)

    def in_module(self, name: str = "") -> bool:
        """Return whether a key is in a hardware module, so that its PIN opens it and no passphrase.

        Raises:
            SigningKeyError: There is no such key.
        """
        return hsm.beside(self.path(self.find(name), "key")).exists()

    def _private(self, one: SigningKey, path: Path, passphrase: bytes) -> object:
        if hsm.beside(path).exists():
            return hsm.open_reference(hsm.beside(path), passphrase)
        if not path.exists():
            raise _refused(
                "elsewhere", f"The private half of {one.key_id} is not here.", "Ask the module that has it."
            )
        try:
            data = path.read_bytes()
        except OSError as error:
            raise self._damaged(path) from error
        return Key.load(data, path=path, passphrase=passphrase).private

    def note(self, action: str, **values: Any) -> None:
        """Add a line to the log of what the keys did."""
        line = {"time": self._now(), "action": action, **values}
        with self.workspace.transaction():
            path = self.workspace.path(_LOG)
            before = path.read_bytes() if path.exists() else b""
            self.workspace.write(_LOG, before + json.dumps(line).encode() + b"\n")

    def log(self) -> list[dict[str, Any]]:
        """Return the log, the oldest line first."""
        path = self.workspace.path(_LOG)
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def _move(self, name: str, state: KeyState, allowed: set[KeyState]) -> SigningKey:
        with self.workspace.transaction():
            one = self.find(name)
            if one.state not in allowed:
                raise self._wrong_state(one, state)
            book = []
            for each in self.all():
                wanted = each.state
                if each == one:
                    wanted = state
                elif state is KeyState.CURRENT and each.state is KeyState.CURRENT:
                    wanted = KeyState.OVERLAP
                since = self._now() if wanted is not each.state else each.since
                book.append(replace(each, state=wanted, since=since))
            self._write(tuple(book))
            self.note(f"key-{state}", key_id=one.key_id)
        return self.find(one.key_id)

    def _write(self, book: tuple[SigningKey, ...]) -> None:
        self.workspace.write_json(_BOOK, [asdict(one) for one in book])

    def _now(self) -> str:
        return self._clock.now().isoformat(timespec="seconds")

    @staticmethod
    def _wrong_state(one: SigningKey, wanted: str) -> SigningKeyError:
        advice = {
            KeyState.CURRENT: "Let another one sign first: labkit firmware key promote ID",
            KeyState.OVERLAP: "labkit firmware key list shows what each key is for.",
        }.get(one.state, "What is over stays over. Make a new key: labkit firmware key new")
        return _refused(
            "state", f"The key {one.key_id} is {one.state}; it can't become or do: {wanted}.", advice
        )

    @staticmethod
    def _damaged(path: Path) -> WorkspaceCorruptError:
        return WorkspaceCorruptError(
            f"{path} does not hold what its name says.",
            advice="Take it from your backup, or make a new key: labkit firmware key new",
            path=path,
        )


class LoggedSigner:
    """A signer that writes down every signature.

    Args:
        signer: Whoever signs: a key in memory, or one in a hardware module.
        note: Where it is written down; see `SigningKeys.note`.
    """

    def __init__(self, signer: Signer, note: Callable[..., None]) -> None:
        self._signer, self._note = signer, note

    def __repr__(self) -> str:
        return f"<LoggedSigner {self.key_id.hex()}>"

    @property
    def key_id(self) -> bytes:
        """The key's id."""
        return self._signer.key_id

    def sign(self, message: bytes) -> bytes:
        """Return r and s. What was signed is noted first, so that no signature is without its line."""
        self._note("signed", key_id=self.key_id.hex(), **_told(message))
        return self._signer.sign(message)


def _told(message: bytes) -> dict[str, Any]:
    try:
        header = parse_header(message + bytes(HEADER_LENGTH - SIGNED_LENGTH)).header
    except UpdateRefusedError:
        return {"bytes": len(message)}
    return {"product": header.product, "version": str(header.version), "sha256": header.digest.hex()}


def new_passphrase() -> bytes:
    """Return a random passphrase of 128 bits."""
    return secrets.token_hex(16).encode()


def _refused(rule: str, message: str, advice: str) -> SigningKeyError:
    return SigningKeyError(message, advice=advice, rule=rule)
