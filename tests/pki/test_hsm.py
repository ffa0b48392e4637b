"""Keys in a hardware module: made there, used there, and not to be had; SoftHSM2 is the real component."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import pickle
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from labkit.errors import (
    CeremonyError,
    FormatError,
    HsmError,
    IssuanceRefusedError,
    SigningKeyError,
    ToolMissingError,
)
from labkit.firmware.signing_keys import CEREMONY, SigningKeys
from labkit.firmware.update import Target, Version, sign_update
from labkit.firmware.update_stream import verify_update
from labkit.pki import Store, ceremony, hsm, openssl
from labkit.pki.hsm import HardwareModule, HsmKey, Reference
from labkit.pki.hsm_root import LOG, Log, create_in_module
from labkit.pki.keys import Key
from labkit.processes import run
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.workspace import Workspace as WorkspaceType

PIN = b"987654"
WITNESSES = ("Ada", "Grace")

pytestmark = pytest.mark.tool


@pytest.fixture
def module(hsm_token: str) -> HardwareModule:
    """Return a module with an empty token."""
    return HardwareModule(hsm_token)


# --- keys ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "algorithm"), [("p256", hashes.SHA256()), ("p384", hashes.SHA384())])
def test_a_key_signs_in_the_module(
    module: HardwareModule, kind: str, algorithm: hashes.HashAlgorithm
) -> None:
    """What it signs verifies with its public half, also given as a digest; other data does not."""
    key = module.generate("one", PIN, kind=kind)
    made = key.sign(b"message", ec.ECDSA(algorithm))
    key.public_key().verify(made, b"message", ec.ECDSA(algorithm))
    digest = hashlib.new(algorithm.name, b"message").digest()
    again = key.sign(digest, ec.ECDSA(utils.Prehashed(algorithm)))
    key.public_key().verify(again, b"message", ec.ECDSA(algorithm))
    with pytest.raises(InvalidSignature):
        key.public_key().verify(made, b"another", ec.ECDSA(algorithm))
    assert ["one"] == module.labels(PIN)


def test_the_private_half_is_not_to_be_had(module: HardwareModule) -> None:
    """Our key refuses each way out, and so does the module itself; of a key that may leave it, the number is read."""
    key = module.generate("kept", PIN)
    for attempt in (
        key.private_numbers,
        lambda: key.private_bytes(serialization.Encoding.PEM, None, None),
        lambda: key.exchange(ec.ECDH(), key.public_key()),
        lambda: Key(key).pem(b"passphrase"),
    ):
        with pytest.raises(HsmError) as caught:
            attempt()
        assert "stays" == caught.value.rule
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(key)
    assert key is copy.copy(key) is copy.deepcopy(key)
    assert PIN.decode() not in repr(key)
    found = numbers_in(module)
    assert found["kept"] is None
    number = int.from_bytes(found["loose"] or b"")  # a module may leave out zeros in front
    assert public_point_in(module, "loose") == ec.derive_private_key(number, ec.SECP256R1()).public_key()


def numbers_in(module: HardwareModule) -> dict[str, bytes | None]:
    """Return the private numbers that the module gives out; beside ours it gets a key that may leave it."""
    import pkcs11
    from pkcs11.util.ec import encode_named_curve_parameters

    attribute, found = pkcs11.Attribute, {}
    token = pkcs11.lib(str(module.module)).get_token(token_label=module.token)
    with token.open(rw=True, user_pin=PIN.decode()) as session:
        curve = {attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
        parameters = session.create_domain_parameters(pkcs11.KeyType.EC, curve, local=True)
        loose = {attribute.SENSITIVE: False, attribute.EXTRACTABLE: True}
        parameters.generate_keypair(store=True, label="loose", private_template=loose)
        for each in session.get_objects({attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY}):
            try:
                found[each.label] = each[attribute.VALUE]
            except pkcs11.exceptions.AttributeSensitive:
                found[each.label] = None
    return found


def public_point_in(module: HardwareModule, label: str) -> ec.EllipticCurvePublicKey:
    """Return the public half of a P-256 key in the module."""
    import pkcs11

    token = pkcs11.lib(str(module.module)).get_token(token_label=module.token)
    with token.open(user_pin=PIN.decode()) as session:
        wanted = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PUBLIC_KEY, pkcs11.Attribute.LABEL: label}
        (found,) = session.get_objects(wanted)
        point = found[pkcs11.Attribute.EC_POINT][2:]  # behind the head of a DER octet string
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)


def test_another_tool_says_the_same(module: HardwareModule) -> None:
    """OpenSC's tool lists the key as made in the module and never to leave it."""
    module.generate("kept", PIN)
    tool = ["pkcs11-tool", "--module", str(module.module), "--token-label", module.token]
    told = run([*tool, "--login", "--pin", PIN.decode(), "--list-objects", "--type", "privkey"]).stdout
    assert "kept" in told
    assert "sensitive, always sensitive, never extractable, local" in told


def test_others_verify_what_it_signs(module: HardwareModule, tmp_path: Path, openssl: Path) -> None:
    """openssl verifies a signature of the module's key with the public half alone."""
    key = module.generate("public", PIN)
    paths = [tmp_path / name for name in ("public.pem", "message", "signature")]
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for path, content in zip(
        paths, (public, b"message", key.sign(b"message", ec.ECDSA(hashes.SHA256()))), strict=True
    ):
        path.write_bytes(content)
    argv = [str(openssl), "dgst", "-sha256", "-verify", str(paths[0]), "-signature", str(paths[2])]
    assert "Verified OK" in run([*argv, str(paths[1])]).stdout


def test_what_a_module_refuses(module: HardwareModule) -> None:
    """A wrong PIN, a token or a key that is not there, a label that is taken: each has its reason; the control works."""
    module.generate("there", PIN)
    cases = {
        "pin": lambda: module.labels(b"123456"),
        "token": lambda: HardwareModule("nowhere").labels(PIN),
        "unknown": lambda: module.key("nobody", PIN),
        "exists": lambda: module.generate("there", PIN),
    }
    for rule, attempt in cases.items():
        with pytest.raises(HsmError) as caught:
            attempt()
        assert rule == caught.value.rule
        assert PIN.decode() not in caught.value.message
    assert ["there"] == module.labels(PIN)


def test_a_library_that_is_none(
    module: HardwareModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is no library, and none at all, are named."""
    path = tmp_path / "module.so"
    path.write_bytes(b"no library")
    with pytest.raises(HsmError) as caught:
        HardwareModule(module.token, module=path).labels(PIN)
    assert "module" == caught.value.rule
    monkeypatch.setenv(hsm.VARIABLE, str(tmp_path / "missing.so"))
    with pytest.raises(ToolMissingError, match=r"missing\.so"):
        hsm.find_module()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"module": "/x", "token": "t"}', "\xff"])
def test_a_reference_that_is_none(tmp_path: Path, text: str) -> None:
    """A file that does not say where a key is, is refused before a module is asked."""
    path = tmp_path / "ca.hsm.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(HsmError) as caught:
        hsm.open_reference(path, PIN)
    assert "reference" == caught.value.rule
    path.write_text(Reference("/x.so", "t", "k").text())
    assert Reference("/x.so", "t", "k") == Reference.read(path)


def test_a_signature_that_does_not_fit(module: HardwareModule) -> None:
    """When private and public half don't belong together, no signature leaves the module's key."""
    module.generate("one", PIN)
    other = module.generate("two", PIN)
    mixed = HsmKey(module, "one", PIN, other.public_key())
    with pytest.raises(HsmError) as caught:
        mixed.sign(b"message", ec.ECDSA(hashes.SHA256()))
    assert "signature" == caught.value.rule


def test_tokens_are_made_once(hsm_token: str) -> None:
    """A second token of one name, and a PIN that is too short, are refused; the first one is as it was."""
    for label, pin, rule in ((hsm_token, PIN, "exists"), ("another", b"123", "pin")):
        with pytest.raises(HsmError) as caught:
            hsm.new_softhsm_token(label, pin)
        assert rule == caught.value.rule
    assert "another" not in hsm.tokens()
    assert [] == HardwareModule(hsm_token).labels(PIN)


# --- the root -----------------------------------------------------------------------------------------------------


def test_a_root_in_a_module(module: HardwareModule, workspace: WorkspaceType, tmp_path: Path) -> None:
    """Its chain verifies with openssl, its key is in no file, it signs again with the PIN, and every step is in the log."""
    store = Store(workspace)
    create_in_module(store, module, pin=PIN, present=WITNESSES)
    files = store.issue_device("sensor-001")
    assert openssl.verify(
        files.certificate, trust=store.trust_anchor, untrusted=store.intermediate, purpose="sslclient"
    ).ok
    assert not workspace.path("root/ca.key").exists()
    said = json.loads(workspace.path("root/ca.hsm.json").read_text())
    assert {"module": str(module.module), "token": module.token, "key": "root"} == said
    root = store.root(PIN)
    assert (True, "p384") == (root.is_root, root.key.kind)
    second = root.new_intermediate("Second CA")
    second.certificate.verify_directly_issued_by(root.certificate)
    with pytest.raises(HsmError) as caught:
        store.root(b"wrong-pin")
    assert "pin" == caught.value.rule
    log = Log(workspace, LOG).text()
    steps = ceremony.verify_log(log, seal=ceremony.seal(log))
    assert ["root's key made in the module", "root signed itself", "root signed the intermediate"] == [
        step.action for step in steps
    ]
    assert {WITNESSES} == {step.present for step in steps}
    assert root.key.fingerprint == steps[0].facts["fingerprint"]
    with pytest.raises(FormatError):
        ceremony.verify_log(log.replace("Grace", "Eve"))


def test_nobody_watches(module: HardwareModule, workspace: WorkspaceType) -> None:
    """Without two witnesses nothing is made, in the module or on disk; nor is a second authority."""
    store = Store(workspace)
    for present in ((), ("Ada",), ("Ada", "Ada"), ("Ada", " ")):
        with pytest.raises(CeremonyError) as caught:
            create_in_module(store, module, pin=PIN, present=present)
        assert "witnesses" == caught.value.rule
    assert [] == module.labels(PIN)
    assert not store.exists
    create_in_module(store, module, pin=PIN, present=WITNESSES)
    with pytest.raises(IssuanceRefusedError) as refused:
        create_in_module(store, module, pin=PIN, present=WITNESSES)
    assert "authority-exists" == refused.value.rule
    assert ["root"] == module.labels(PIN)


def test_an_attempt_that_was_cut_off(
    module: HardwareModule, workspace: WorkspaceType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that an attempt left behind is not used for another root; the next attempt makes its own."""
    store = Store(workspace)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "save_authorities", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            create_in_module(store, module, pin=PIN, present=WITNESSES)
    create_in_module(store, module, pin=PIN, present=WITNESSES)
    assert ["root", "root-2"] == module.labels(PIN)
    assert "root-2" == json.loads(workspace.path("root/ca.hsm.json").read_text())["key"]
    assert isinstance(store.certificate("root"), x509.Certificate)
    assert store.root(PIN).is_root


# --- signing keys -------------------------------------------------------------------------------------------------


def test_a_signing_key_in_a_module(module: HardwareModule, workspace: WorkspaceType) -> None:
    """An update that it signed is taken by a device; its key is in no file, and ceremony and signature are logged."""
    keys = SigningKeys(workspace)
    made = keys.create(PIN, module=module, present=WITNESSES)
    assert keys.in_module()
    assert not keys.path(made, "key").exists()
    update = sign_update(
        bytes(2048), product="course-node", version=Version(1, 0, 0), signer=keys.signer(PIN)
    )
    target = Target("course-node", 1, Version(0, 0, 1))
    assert bytes(2048) == verify_update(update, keys.trusted(), target)
    assert ["key-made", "signed"] == [line["action"] for line in keys.log()]
    (step,) = ceremony.verify_log(Log(workspace, CEREMONY).text())
    assert (WITNESSES, made.key_id) == (step.present, step.facts["key id"])
    with pytest.raises(HsmError) as caught:
        keys.signer(b"000000")
    assert "pin" == caught.value.rule
    second = keys.create(b"correct horse battery")
    keys.promote(second.key_id)
    assert not keys.in_module()
    keys.revoke(made.key_id)
    with pytest.raises(SigningKeyError) as refused:
        keys.signer(PIN, made.key_id)
    assert "state" == refused.value.rule
    with pytest.raises(CeremonyError):
        keys.create(PIN, module=module, present=["Ada"])
    assert 1 == len(module.labels(PIN))


def test_softhsm_keeps_its_own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where somebody has configured SoftHSM2 already, that stays; otherwise its folder is ours alone."""
    monkeypatch.setenv("SOFTHSM2_CONF", "/somewhere/else")
    hsm.use_softhsm(tmp_path / "hsm")
    assert "/somewhere/else" == os.environ["SOFTHSM2_CONF"]
    assert not (tmp_path / "hsm").exists()
    monkeypatch.delenv("SOFTHSM2_CONF")
    hsm.use_softhsm(tmp_path / "hsm")
    assert str(tmp_path / "hsm" / "softhsm2.conf") == os.environ["SOFTHSM2_CONF"]
    assert 0 == (tmp_path / "hsm").stat().st_mode & 0o077
    assert Workspace.open(tmp_path / "w").path("hsm").name == "hsm"
