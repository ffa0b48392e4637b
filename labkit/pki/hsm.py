"""Keys in a hardware module, by PKCS #11: made there, used there, and never anywhere else.

SoftHSM2 stands in for a module. It keeps its tokens in files and protects them with the PIN alone: the same commands, and
none of the hardware. Name another module with LABKIT_PKCS11_MODULE and everything here works with it.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from labkit.errors import HsmError, ToolFailedError, ToolMissingError
from labkit.pki.keys import Key
from labkit.processes import run
from labkit.workspace import make_folder, write_atomic

if TYPE_CHECKING:
    from types import ModuleType

VARIABLE = "LABKIT_PKCS11_MODULE"
SHORTEST_PIN = 6
SUFFIX = ".hsm.json"
"""How the file is called that says where a key is, beside where the key would lie."""

_SOFTHSM = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)
_CURVES: dict[str, ec.EllipticCurve] = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1()}


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a key is; nothing in it is secret.

    Attributes:
        module: The module's library.
        token: The token's label.
        key: The key's label.
    """

    module: str
    token: str
    key: str

    def text(self) -> str:
        """Return it as it is written."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def read(cls, path: Path) -> Reference:
        """Return what a file says.

        Raises:
            HsmError: `rule` is `reference`: it says nothing of the kind.
        """
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{name: str(value[name]) for name in ("module", "token", "key")})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _error("reference", path.name, f"{path} does not say where a key is") from error


class HardwareModule:
    """A token in a module. It is opened for each operation, and closed behind it.

    Args:
        token: The token's label.
        module: The module's library; `find_module()` without it.

    Raises:
        ToolMissingError: The library, or the package that speaks to it, is not there.
    """

    def __init__(self, token: str, *, module: Path | None = None) -> None:
        self.token = token
        self.module = module or find_module()
        self._speaks = speak()

    def __repr__(self) -> str:
        return f"<HardwareModule {self.token!r} in {self.module.name}>"

    def generate(self, label: str, pin: bytes, *, kind: str = "p256") -> HsmKey:
        """Make a key pair in the module; its private half can't be read out, not even wrapped.

        Args:
            label: What to call it.
            pin: What opens the token.
            kind: `p256` or `p384`.

        Raises:
            HsmError: `rule` is `exists`, or see `session`.
        """
        from pkcs11.util.ec import encode_named_curve_parameters

        p11 = self._speaks
        with _Session(self, pin, write=True) as session:
            if self._find(session, p11.ObjectClass.PRIVATE_KEY, label):
                raise _error("exists", label, f"the token {self.token} has a key {label!r} already")
            curve = encode_named_curve_parameters(_CURVES[kind].name)
            parameters = session.create_domain_parameters(
                p11.KeyType.EC, {p11.Attribute.EC_PARAMS: curve}, local=True
            )
            parameters.generate_keypair(
                store=True, label=label, id=secrets.token_bytes(8),
                mechanism=p11.Mechanism.EC_KEY_PAIR_GEN,
                capabilities=p11.MechanismFlag.SIGN | p11.MechanismFlag.VERIFY,
                private_template={p11.Attribute.SENSITIVE: True, p11.Attribute.EXTRACTABLE: False},
            )  # fmt: skip
        return self.key(label, pin)

    def key(self, label: str, pin: bytes) -> HsmKey:
        """Return a key that is in the module.

        Raises:
            HsmError: `rule` is `unknown` (no such key), `kind` (it is not on P-256 or P-384), or see `_Session`.
        """
        from pkcs11.util.ec import encode_ec_public_key

        with _Session(self, pin) as session:
            found = self._find(session, self._speaks.ObjectClass.PUBLIC_KEY, label)
            if not found or not self._find(session, self._speaks.ObjectClass.PRIVATE_KEY, label):
                raise _error("unknown", label, f"the token {self.token} has no key {label!r}")
            public = serialization.load_der_public_key(encode_ec_public_key(found[0]))
        if not isinstance(public, ec.EllipticCurvePublicKey) or public.curve.name not in {
            curve.name for curve in _CURVES.values()
        }:
            raise _error("kind", label, f"the key {label!r} is not on P-256 or P-384")
        return HsmKey(self, label, pin, public)

    def labels(self, pin: bytes) -> list[str]:
        """Return the labels of the private keys in the token.

        Raises:
            HsmError: See `_Session`.
        """
        with _Session(self, pin) as session:
            return sorted(key.label for key in self._find(session, self._speaks.ObjectClass.PRIVATE_KEY))

    def reference(self, label: str) -> Reference:
        """Return where a key is, for a file beside where it would lie."""
        return Reference(str(self.module), self.token, label)

    def sign(self, label: str, pin: bytes, digest: bytes) -> bytes:
        """Return r and s of a signature of a digest, one behind the other.

        Raises:
            HsmError: `rule` is `unknown`, or see `_Session`.
        """
        with _Session(self, pin) as session:
            found = self._find(session, self._speaks.ObjectClass.PRIVATE_KEY, label)
            if not found:
                raise _error("unknown", label, f"the token {self.token} has no key {label!r}")
            return bytes(found[0].sign(digest, mechanism=self._speaks.Mechanism.ECDSA))

    def _find(self, session: Any, kind: Any, label: str | None = None) -> list[Any]:
        wanted = {self._speaks.Attribute.CLASS: kind}
        if label is not None:
            wanted[self._speaks.Attribute.LABEL] = label
        return list(session.get_objects(wanted))


class HsmKey(ec.EllipticCurvePrivateKey):
    """A private key that signs in its module. `pki.Key` takes it like any other.

    Args:
        module: Where it is.
        label: What it is called there.
        pin: What opens the token.
        public: Its public half.
    """

    def __init__(
        self, module: HardwareModule, label: str, pin: bytes, public: ec.EllipticCurvePublicKey
    ) -> None:
        self.module = module
        self.label = label
        self._pin = pin
        self._public = public

    def __repr__(self) -> str:
        return f"<HsmKey {self.label!r} in {self.module!r}>"

    def __reduce__(self) -> str | tuple[object, ...]:
        text = "a key in a module is not pickled"
        raise TypeError(text)

    def __copy__(self) -> HsmKey:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> HsmKey:
        return self

    @property
    def curve(self) -> ec.EllipticCurve:
        """Its curve."""
        return self._public.curve

    @property
    def key_size(self) -> int:
        """Its size in bits."""
        return self._public.key_size

    @property
    def reference(self) -> Reference:
        """Where it is."""
        return self.module.reference(self.label)

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """Return its public half."""
        return self._public

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """Return a signature in DER, made in the module.

        Raises:
            HsmError: `rule` is `signature` (what came back does not verify with the public half, so that the two don't
                belong together, or the module is broken), or see `HardwareModule.sign`.
        """
        algorithm = signature_algorithm.algorithm
        digest = _digest(bytes(data), algorithm)
        raw = self.module.sign(self.label, self._pin, digest)
        half = len(raw) // 2
        made = utils.encode_dss_signature(int.from_bytes(raw[:half]), int.from_bytes(raw[half:]))
        try:
            self._public.verify(made, bytes(data), signature_algorithm)
        except InvalidSignature as error:
            raise _error("signature", self.label, "the module's signature does not verify") from error
        return made

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> NoReturn:
        """Refuse: this key signs, and does nothing else."""
        del algorithm, peer_public_key
        raise _stays(self.label)

    def private_numbers(self) -> NoReturn:
        """Refuse: nobody has the number."""
        raise _stays(self.label)

    def private_bytes(self, encoding: object, format: object, encryption_algorithm: object) -> NoReturn:  # noqa: A002 - cryptography calls it that
        """Refuse: the module does not give it out."""
        del encoding, format, encryption_algorithm
        raise _stays(self.label)


def open_reference(path: Path, pin: bytes) -> HsmKey:
    """Return the key that a file says where to find.

    Raises:
        HsmError: See `Reference.read` and `HardwareModule.key`.
        ToolMissingError: The module, or the package that speaks to it, is not there.
    """
    found = Reference.read(path)
    return HardwareModule(found.token, module=Path(found.module)).key(found.key, pin)


def beside(path: Path) -> Path:
    """Return the file that says where a key is, beside where the key would lie."""
    return path.with_suffix(SUFFIX)


def key_beside(path: Path, pin: bytes | None) -> Key | None:
    """Return the key in a module that stands for the one that would lie at a path; None where that is a file.

    Raises:
        HsmError, ToolMissingError: See `open_reference`.
    """
    return Key(open_reference(beside(path), pin or b"")) if beside(path).exists() else None


def find_module() -> Path:
    """Return the library of the module: what LABKIT_PKCS11_MODULE says, or SoftHSM2's.

    Raises:
        ToolMissingError: There is none.
    """
    given = os.environ.get(VARIABLE)
    for candidate in (given,) if given else _SOFTHSM:
        if Path(candidate).is_file():
            return Path(candidate)
    raise ToolMissingError(
        f"No PKCS #11 module is here{f' at {given}' if given else ''}.",
        advice=f"Debian: sudo apt install softhsm2. Another module: set {VARIABLE} to its library.",
        tool="softhsm2",
    )


def use_softhsm(folder: Path) -> None:
    """Let SoftHSM2 keep its tokens in a folder, unless SOFTHSM2_CONF names a configuration already.

    Call it before the first operation of a process: the library reads its configuration once.
    """
    if "SOFTHSM2_CONF" in os.environ:
        return
    config = folder / "softhsm2.conf"
    if not config.exists():
        tokens = make_folder(make_folder(folder, private=True) / "tokens", private=True)
        lines = f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
        write_atomic(config, lines, secret=True)
    os.environ["SOFTHSM2_CONF"] = str(config)


def new_softhsm_token(label: str, pin: bytes) -> None:
    """Make a token in SoftHSM2. A real module's token is made with its maker's tools.

    Raises:
        HsmError: `rule` is `pin` (shorter than 6), `exists` or `token` (SoftHSM2 refused).
        ToolMissingError: softhsm2-util is not there.
    """
    if len(pin) < SHORTEST_PIN:
        raise _error("pin", label, f"a PIN has at least {SHORTEST_PIN} characters")
    if label in tokens():
        raise _error("exists", label, f"there is a token {label!r} already")
    # Whoever lists processes sees these two. The first counts for a moment, until it is changed below; the second is
    # forgotten, because a token that is locked is made anew.
    first, officer = secrets.token_hex(8), secrets.token_hex(8)
    argv = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", first, "--so-pin", officer]
    try:
        run(argv, timeout=30)
    except ToolFailedError as error:
        raise _error("token", label, "SoftHSM2 did not make the token") from error
    library = _library(find_module(), fresh=True)
    with library.get_token(token_label=label).open(rw=True, user_pin=first) as session:
        session.set_pin(first, pin.decode())


def tokens() -> list[str]:
    """Return the labels of the tokens in the module.

    Raises:
        HsmError: `rule` is `module`: the library does not load.
        ToolMissingError: There is no module, or no package that speaks to it.
    """
    library = _library(find_module())
    found = (slot.get_token().label for slot in library.get_slots(token_present=True))
    return sorted(label for label in found if label)


class _Session:
    """A session with a token, logged in; it ends with its block.

    Raises:
        HsmError: `rule` is `module` (the library does not load), `token` (no such token), `pin` (wrong), `locked` (too many
            wrong ones), or `refused` (whatever else it says).
    """

    def __init__(self, module: HardwareModule, pin: bytes, *, write: bool = False) -> None:
        self._module = module
        self._pin = pin
        self._write = write
        self._session: Any = None

    def __enter__(self) -> Any:
        from pkcs11 import exceptions

        token = self._module.token
        try:
            found = _library(self._module.module).get_token(token_label=token)
            self._session = found.open(rw=self._write, user_pin=self._pin.decode())
        except exceptions.NoSuchToken as error:
            raise _error("token", token, f"there is no token {token!r} in {self._module.module}") from error
        except (exceptions.PinIncorrect, exceptions.PinInvalid, exceptions.PinLenRange) as error:
            raise _error("pin", token, f"the PIN does not open the token {token!r}") from error
        except exceptions.PinLocked as error:
            raise _error("locked", token, f"the token {token!r} is locked after too many PINs") from error
        except exceptions.PKCS11Error as error:
            raise _error("refused", token, f"the module says {type(error).__name__}") from error
        return self._session

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        from pkcs11 import exceptions

        self._session.close()
        if isinstance(error, exceptions.PKCS11Error):
            raise _error("refused", self._module.token, f"the module says {type(error).__name__}") from error


def _library(path: Path, *, fresh: bool = False) -> Any:
    p11 = speak()
    try:
        library = p11.lib(str(path))
        if fresh:
            library.reinitialize()  # it counts the tokens when it begins
    except p11.exceptions.PKCS11Error as error:
        raise _error("module", path.name, f"{path} does not load as a PKCS #11 module") from error
    return library


def speak() -> ModuleType:
    """Return the package that speaks PKCS #11.

    Raises:
        ToolMissingError: It is not there.
    """
    try:
        import pkcs11
    except ImportError as error:
        raise ToolMissingError(
            "The package python-pkcs11 is not here.",
            advice="python3 lab.py extras adds it.",
            tool="python-pkcs11",
        ) from error
    module: ModuleType = pkcs11
    return module


def _digest(data: bytes, algorithm: hashes.HashAlgorithm | utils.Prehashed) -> bytes:
    if isinstance(algorithm, utils.Prehashed):
        return data
    digest = hashes.Hash(algorithm)
    digest.update(data)
    return digest.finalize()


def _stays(label: str) -> HsmError:
    return _error("stays", label, "it stays in its module, and only its signatures leave it")


def _error(rule: str, label: str, why: str) -> HsmError:
    return HsmError(
        f"The hardware module: {why}.",
        advice="See what there is: labkit hsm list",
        label=label,
        rule=rule,
    )
