"""labkit.firmware.signing_keys: encrypted on disk, one following the other, each signature written down."""

from __future__ import annotations

import hashlib
import stat
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from labkit.errors import (
    LabError,
    PassphraseError,
    SigningKeyError,
    UpdateRefusedError,
    WorkspaceCorruptError,
)
from labkit.firmware.signing_keys import KeyState, LoggedSigner, SigningKeys
from labkit.firmware.update import (
    HEADER_LENGTH,
    SIGNED_LENGTH,
    KeySigner,
    Target,
    TrustedKeys,
    Version,
    sign_update,
)
from labkit.firmware.update_stream import verify_update
from labkit.pki import Key
from labkit.processes import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from labkit.workspace import Workspace

SECRET = b"a passphrase of the tests"
IMAGE = bytes(range(256)) * 8
TARGET = Target("course-node", 1, Version(1, 0, 0))


@pytest.fixture
def keys(workspace: Workspace) -> SigningKeys:
    """Return keys of which one signs."""
    made = SigningKeys(workspace)
    made.create(SECRET)
    return made


def signed(keys: SigningKeys, name: str = "") -> bytes:
    """Return an update."""
    return sign_update(
        IMAGE, product="course-node", version=Version(1, 1, 0), signer=keys.signer(SECRET, name)
    )


def reason(update: bytes, trusted: TrustedKeys) -> str:
    """Return why an update is refused, or `ok`."""
    try:
        verify_update(update, trusted, TARGET)
    except UpdateRefusedError as error:
        return error.rule
    return "ok"


def state_on_disk(keys: SigningKeys) -> dict[str, str]:
    """Return a digest of every file of the keys."""
    folder = keys.workspace.path("signing")
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_nothing_in_the_clear(keys: SigningKeys) -> None:
    """The private key is encrypted and its owner's alone; nothing shows it or the passphrase."""
    one = keys.find()
    path = keys.path(one, "key")
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in path.read_bytes()
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert one.key_id == keys.signer(SECRET).key_id.hex()
    for shown in (repr(keys), repr(keys.signer(SECRET)), str(keys.log()), repr(one)):
        assert "PRIVATE" not in shown
        assert SECRET.decode() not in shown


@pytest.mark.tool
def test_openssl_agrees(keys: SigningKeys, openssl: Path, tmp_path: Path) -> None:
    """The real openssl verifies the header's signature with the key's public half, and not that of changed bytes."""
    update = signed(keys)
    raw = update[SIGNED_LENGTH:HEADER_LENGTH]
    (tmp_path / "signature").write_bytes(
        encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    )
    words = [openssl, "dgst", "-sha256", "-verify", keys.path(keys.find(), "pub")]
    for changed, said in ((0, "Verified OK"), (1, "Verification failure")):
        (tmp_path / "header").write_bytes(bytes([update[0] ^ changed]) + update[1:SIGNED_LENGTH])
        ended = run([*words, "-signature", tmp_path / "signature", tmp_path / "header"], check=False)
        assert said in ended.output


@pytest.mark.tool
def test_openssl_opens_the_key_with_the_passphrase(keys: SigningKeys, openssl: Path) -> None:
    """The file is what openssl reads as well, with the right passphrase and with no other."""
    path = keys.path(keys.find(), "key")
    for secret, code in ((SECRET, 0), (b"another one", 1)):
        ended = run(
            [openssl, "pkey", "-in", path, "-passin", f"pass:{secret.decode()}", "-noout"], check=False
        )
        assert code == ended.returncode


def test_one_key_follows_the_other(keys: SigningKeys) -> None:
    """In every phase of a change the update of the key that signs is taken by devices of this phase and the one before."""
    old = keys.find()
    only_old, by_old = keys.trusted(), signed(keys)
    new = keys.create(SECRET)
    assert (KeyState.OVERLAP, old) == (new.state, keys.find())
    both = keys.trusted()
    assert ("ok", "ok") == (reason(by_old, only_old), reason(by_old, both))
    keys.promote(new.key_id)
    by_new = signed(keys)
    assert ("ok", "key-unknown") == (reason(by_new, both), reason(by_new, only_old))
    assert "ok" == reason(signed(keys, old.key_id), keys.trusted())
    keys.retire(old.key_id)
    assert ("ok", "key-unknown") == (reason(by_new, keys.trusted()), reason(by_old, keys.trusted()))
    keys.revoke(old.key_id)
    assert ("ok", "key-revoked") == (reason(by_new, keys.trusted()), reason(by_old, keys.trusted()))


def unlocked_by_another(keys: SigningKeys) -> None:
    """Try a wrong passphrase."""
    keys.signer(b"another one")


def revoked_while_it_signs(keys: SigningKeys) -> None:
    """Revoke the only key."""
    keys.revoke(keys.find().key_id)


def short(keys: SigningKeys) -> None:
    """Protect a key with nothing."""
    keys.create(b"short")


def signed_by_nobody(keys: SigningKeys) -> None:
    """Ask for a key that is not there."""
    keys.signer(SECRET, "0123456789abcdef")


@pytest.mark.parametrize(
    ("act", "kind", "rule"),
    [
        (unlocked_by_another, PassphraseError, None),
        (short, PassphraseError, None),
        (revoked_while_it_signs, SigningKeyError, "state"),
        (signed_by_nobody, SigningKeyError, "unknown"),
    ],
)
def test_refusals_change_nothing(
    keys: SigningKeys, act: Callable[[SigningKeys], None], kind: type[LabError], rule: str | None
) -> None:
    """What is refused leaves every file as it was, and the key that signs goes on signing."""
    before = state_on_disk(keys)
    with pytest.raises(kind) as caught:
        act(keys)
    assert (before, rule) == (state_on_disk(keys), getattr(caught.value, "rule", None))
    assert "ok" == reason(signed(keys), keys.trusted())


@pytest.mark.parametrize("state", ["retired", "revoked"])
def test_what_is_over_stays_over(keys: SigningKeys, state: str) -> None:
    """A retired or revoked key neither signs nor comes back."""
    old = keys.find().key_id
    keys.promote(keys.create(SECRET).key_id)
    {"retired": keys.retire, "revoked": keys.revoke}[state](old)
    for act in (lambda: keys.signer(SECRET, old), lambda: keys.promote(old)):
        with pytest.raises(SigningKeyError) as caught:
            act()
        assert "state" == caught.value.rule
    if state == "revoked":
        with pytest.raises(SigningKeyError):
            keys.retire(old)


@pytest.mark.parametrize("suffix", ["pub", "key"])
def test_a_key_under_anothers_name(keys: SigningKeys, suffix: str) -> None:
    """Somebody who can write there puts a key of their own under the name of one that is trusted: it is not taken."""
    stranger = Key.generate()
    from cryptography.hazmat.primitives import serialization

    public = stranger.public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    good = keys.trusted()
    path = keys.path(keys.find(), suffix)
    path.write_bytes(public if suffix == "pub" else stranger.pem(SECRET))
    with pytest.raises(WorkspaceCorruptError) as caught:
        keys.trusted() if suffix == "pub" else keys.signer(SECRET)
    assert path == caught.value.path
    assert 1 == len(good.keys)


@pytest.mark.parametrize(
    "content", ["{", "[1]", '[{"key_id": "a"}]', '[{"key_id":"a","made":"","state":"x","since":""}]']
)
def test_a_damaged_book(keys: SigningKeys, content: str) -> None:
    """A book that makes no sense is told so, and nothing is trusted."""
    keys.workspace.write("signing/keys.json", content)
    with pytest.raises(WorkspaceCorruptError):
        keys.trusted()


def test_every_signature_is_written_down(keys: SigningKeys) -> None:
    """The log tells which key signed which image of which version, in order."""
    update = signed(keys)
    keys.signer(SECRET).sign(b"something else")
    made, first, second = keys.log()
    assert ("key-made", "signed") == (made["action"], first["action"])
    assert (keys.find().key_id, "course-node", "1.1.0") == (
        first["key_id"],
        first["product"],
        first["version"],
    )
    assert hashlib.sha256(update[HEADER_LENGTH:]).hexdigest() == first["sha256"]
    assert 14 == second["bytes"]


def test_without_a_key(workspace: Workspace) -> None:
    """Where there is no key nobody is trusted, and the advice says how to make one."""
    keys = SigningKeys(workspace)
    assert ({}, [], ()) == (keys.trusted().keys, keys.log(), keys.all())
    with pytest.raises(SigningKeyError) as caught:
        keys.find()
    assert ("none", True) == (caught.value.rule, "firmware key new" in caught.value.advice)


def test_a_key_that_is_kept_elsewhere(keys: SigningKeys) -> None:
    """A module's key is trusted like any other, is in the book once, and does not sign from here; its signatures are logged."""
    module = Key.generate()
    assert isinstance(module.private, ec.EllipticCurvePrivateKey)
    one = keys.adopt(module.private.public_key())
    keys.promote(one.key_id)
    for act, rule in (
        (lambda: keys.signer(SECRET), "elsewhere"),
        (lambda: keys.adopt(module.private.public_key()), "exists"),  # type: ignore[arg-type]
    ):
        with pytest.raises(SigningKeyError) as caught:
            act()
        assert rule == caught.value.rule
    signer = LoggedSigner(KeySigner(module.private), keys.note)
    update = sign_update(IMAGE, product="course-node", version=Version(1, 1, 0), signer=signer)
    assert ("ok", one.key_id) == (reason(update, keys.trusted()), keys.log()[-1]["key_id"])
