"""Every flawed application: refused by the board, and by an update that is running, for the same reason."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from labkit.board import Machine, boot
from labkit.errors import OtaRefusedError
from labkit.firmware.description import AppDescription, build_app, build_behaviour
from labkit.firmware.flawed_images import FLAWED_IMAGES, FlawedImage, Material
from labkit.firmware.image import build_image
from labkit.firmware.otadata import NEW, VALID
from labkit.firmware.tools import run_tool, sign_image
from tests.simulators.flashed_board import Flashed, app, bootloader, digest_of, sign

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric import rsa

BOTH = pytest.mark.parametrize("chip", ["esp32", "esp32c3"])
FLAWS = pytest.mark.parametrize("flaw", FLAWED_IMAGES, ids=lambda flaw: flaw.name)


@pytest.fixture(scope="session")
def ecdsa_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a key that no virtual board can verify with."""
    key = tmp_path_factory.mktemp("ecdsa") / "key.pem"
    run_tool("espsecure", "generate-signing-key", "--version", "2", "--scheme", "ecdsa256", key)
    return key


@pytest.fixture(scope="session")
def material(boot_keys: list[rsa.RSAPrivateKey], ecdsa_key: Path) -> dict[str, Material]:
    """Return good applications for both chips."""
    found = {}
    for chip, other in (("esp32", "esp32c3"), ("esp32c3", "esp32")):
        good = app(chip, "2.0.0", secure_version=2, behaviour={"interval": 60})
        product = build_app(AppDescription("pump", "1", 2)) + build_behaviour({})
        found[chip] = Material(
            chip_name=chip,
            signed=sign(good, boot_keys[0]),
            older=sign(app(chip, "1.0.0", secure_version=1, behaviour={"interval": 60}), boot_keys[0]),
            stranger=sign(good, boot_keys[1]),
            ecdsa=sign_image(good, ecdsa_key),
            foreign=sign(app(other, "2.0.0", secure_version=2), boot_keys[0]),
            other_product=sign(
                build_image(
                    [
                        (
                            {"esp32": 0x3F400020, "esp32c3": 0x3C000020}[chip],
                            product + bytes(-len(product) % 4),
                        )
                    ],
                    chip_id={"esp32": 0, "esp32c3": 5}[chip],
                    entry=0,
                ),
                boot_keys[0],
            ),
        )
    return found


def board_with(chip: str, key: rsa.RSAPrivateKey | None, first: bytes, second: bytes = b"") -> Flashed:
    """Return a board whose fuses are at security version 2, with a fresh choice of the second application, if any."""
    board = Flashed(chip)
    board.efuses.burn({"SECURE_VERSION": 3})
    start = bootloader(chip)
    if key is not None:
        board.trust(key)
        start = sign(start, key)
    otadata = [(1, VALID), (2, NEW)] if second else [(1, VALID)]
    return board.fill(first, second or None, boot=start, otadata=otadata)


@BOTH
@FLAWS
def test_a_board_says_why(
    chip: str, flaw: FlawedImage, material: dict[str, Material], boot_keys: list[rsa.RSAPrivateKey]
) -> None:
    """Without and with Secure Boot, a board that has only this application says what the table says."""
    for key, expected in ((None, flaw.plain), (boot_keys[0], flaw.secured)):
        good = board_with(chip, key, material[chip].signed)
        assert boot(good.flash, good.efuses).booted
        board = board_with(chip, key, flaw.make(material[chip]))
        assert expected == boot(board.flash, board.efuses).outcome.reason


@BOTH
@FLAWS
def test_an_update_says_the_same(
    chip: str, flaw: FlawedImage, material: dict[str, Material], boot_keys: list[rsa.RSAPrivateKey]
) -> None:
    """An application that receives it as an update does not choose it, for the reason that the bootloader would have."""
    for key, expected in ((None, flaw.plain), (boot_keys[0], flaw.secured)):
        board = board_with(chip, key, material[chip].signed)
        done = boot(board.flash, board.efuses)
        machine = Machine(
            board.flash, board.efuses, done, say=print, stopping=threading.Event(), restart=print
        )
        update = machine.begin_update()
        update.write(flaw.make(material[chip]))
        if expected in {"accepted", "behaviour"}:  # what it is to do, only the virtual board asks
            update.finish()
            continue
        with pytest.raises(OtaRefusedError) as caught:
            update.finish()
        assert expected == caught.value.rule
        again = boot(board.flash, board.efuses)
        assert "2.0.0" == again.outcome.detail["version"]


@BOTH
@FLAWS
def test_another_application_boots_instead(
    chip: str, flaw: FlawedImage, material: dict[str, Material], boot_keys: list[rsa.RSAPrivateKey]
) -> None:
    """With a good application in the first slot, a flawed choice costs nothing: the good one boots."""
    if flaw.secured == "accepted":
        return
    board = board_with(chip, boot_keys[0], material[chip].signed, flaw.make(material[chip]))
    done = boot(board.flash, board.efuses)
    # Anti-rollback asks for the description first, before any signature.
    expected = "description" if flaw.plain == "description" else flaw.secured
    assert ("ota_0", {"ota_1": expected}) == (done.outcome.detail["slot"], done.outcome.detail["refused"])


def test_the_table_is_long_and_every_defect_is_there_once() -> None:
    """At least 25 are refused, each under a name of its own, and each with a story."""
    assert len({flaw.name for flaw in FLAWED_IMAGES}) == len(FLAWED_IMAGES)
    assert len([flaw for flaw in FLAWED_IMAGES if flaw.secured != "accepted"]) >= 25
    assert all(flaw.story for flaw in FLAWED_IMAGES)


SIGNATURES = {
    "image-digest", "signature", "signature-block", "unsigned", "untrusted-key", "signature-scheme",
}  # fmt: skip
BY_THE_GIVEN_KEY = {"another-modulus"}
"""espsecure verifies with the key that it is given, and does not ask which key the block says it is; a chip does."""


@pytest.mark.tool
@pytest.mark.slow
@pytest.mark.parametrize(
    "flaw", [flaw for flaw in FLAWED_IMAGES if flaw.secured in SIGNATURES], ids=lambda flaw: flaw.name
)
def test_espsecure_refuses_it_too(
    flaw: FlawedImage, material: dict[str, Material], boot_keys: list[rsa.RSAPrivateKey], tmp_path: Path
) -> None:
    """What a board refuses for its signature, the real espsecure does not verify; the good one it does."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = tmp_path / "key.pem"
    public = boot_keys[0].public_key()
    key.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert len(digest_of(boot_keys[0])) == 32
    refusal = 0 if flaw.name in BY_THE_GIVEN_KEY else 2
    for data, status in ((material["esp32"].signed, 0), (flaw.make(material["esp32"]), refusal)):
        file = tmp_path / "image.bin"
        file.write_bytes(data.ljust(-(-len(data) // 4096) * 4096, b"\xff"))
        words = ["verify-signature", "--version", "2", "--keyfile", key, file]
        assert status == run_tool("espsecure", *words, check=False).returncode
