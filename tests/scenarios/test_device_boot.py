"""labkit.scenarios.device_boot: a device's whole way, from files to the broker's log, with the real tools."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING

import pytest

from labkit.board import NorFlash
from labkit.errors import FormatError
from labkit.firmware import NvsEntry
from labkit.firmware.nvs_encryption import build_key_partition
from labkit.firmware.tools import encrypt_nvs
from labkit.node import layout
from labkit.processes import Completed
from labkit.scenarios import device_boot, device_files
from labkit.scenarios.board_in_use import put_into_use, write_identity_at
from labkit.scenarios.board_readout import chip_values, dump, forge, impostor, loot, pem_in, place, texts_in
from labkit.scenarios.device_boot import Bench, Transcript, device_bench
from labkit.scenarios.provisioning import provisioning_site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.outcome import Outcome
    from labkit.scenarios import Site

pytestmark = [pytest.mark.broker, pytest.mark.tool]


def flashed(bench: Bench) -> Bench:
    """Write everything onto a bench's board."""
    bench.make_firmware()
    bench.make_identity()
    bench.esptool("write-flash", *bench.plan("node-1.0.0.bin"))
    return bench


@pytest.fixture
def bench(site: Site) -> Iterator[Bench]:
    """Return a bench with a device that works."""
    with device_bench(site, "sensor-001") as made:
        yield flashed(made)


def verdict(outcome: Outcome) -> tuple[str, str]:
    """Return what counts."""
    return outcome.stage, outcome.reason


def test_a_transcript_has_no_cursor() -> None:
    """What a tool wrote to move in a terminal is left out."""
    said = "Connecting...\n\x1b[1A\x1b[2KStub flasher running.\nWrote 3 bytes.\n"
    transcript = Transcript("esptool", Completed(("esptool",), 0, said, "", 0.1))
    assert "Connecting...\nStub flasher running.\nWrote 3 bytes." == transcript.text


@pytest.mark.timeout(60)
def test_nobody_waits_for_a_board_that_lies_still(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the start has failed, no word of an application is waited for; once it succeeds, the word comes."""
    monkeypatch.setattr(device_boot, "PATIENCE", 3600.0)
    with device_bench(site, "sensor-001") as bench:
        bench.restart()
        bench.board.console.wait_for("invalid header", timeout=20)
        assert "telemetry-sent" not in str(bench.console(timeout=3600))
        assert "not-delivered" == bench.hear().reason
        assert "no-answer" == bench.command("interval", "30").reason
        flashed(bench)
        assert "telemetry-sent" in str(bench.console(timeout=50))


def test_the_whole_way(site: Site, bench: Bench) -> None:
    """Written by esptool, booted from flash, let in by its certificate's name, heard by an operator."""
    assert ("application", "accepted") == verdict(bench.boot())
    connected = bench.connection()
    assert ("mqtt", "accepted") == verdict(connected)
    assert "u'sensor-001'" in connected.detail["broker_log"][0]
    heard = bench.hear()
    assert ("authorised", "accepted") == verdict(heard)
    assert "sensor-001" == json.loads(heard.detail["received"])["device"]
    said = str(bench.console())
    assert (
        said.index("ets Jul 29 2019")
        < said.index("code=boot-provisioned")
        < said.index("code=telemetry-sent")
    )
    assert "PRIVATE KEY" not in said


def test_a_blank_board_starts_nothing(site: Site) -> None:
    """Before anything is written the ROM finds no bootloader, and nobody connects."""
    with device_bench(site, "sensor-009") as bench:
        assert ("rom", "magic") == verdict(bench.boot())
        assert [] == bench.admitted()


def test_commands_and_refusals(bench: Bench) -> None:
    """A command is obeyed or refused with the device's own code, and refusing changes nothing."""
    assert ("authorised", "accepted") == verdict(bench.command("interval", '{"seconds": 10}'))
    before = texts_in(bench.board.flash_image()[place("fctry").offset : place("fctry").end])
    assert ("authorised", "json-range") == verdict(bench.command("interval", '{"seconds": 0}'))
    after = texts_in(bench.board.flash_image()[place("fctry").offset : place("fctry").end])
    assert ("10", before) == (after[layout.INTERVAL], after)


def test_expired_and_back_again(site: Site, bench: Bench) -> None:
    """With an expired certificate alone changed the board is refused by TLS; with the good one it is let in."""
    bench.make_identity(site.intruders("expired")["expired"], name="expired.bin")
    bench.esptool("write-flash", "0x10000", "expired.bin")
    refused = bench.connection(site.intruders("expired")["expired"])
    assert ("tls", "certificate-expired") == verdict(refused)
    assert "certificate verify failed" in refused.detail["broker_log"][0]
    assert "certificate has expired" in refused.detail["openssl"]
    bench.esptool("write-flash", "0x10000", "fctry.bin")
    assert ("mqtt", "accepted") == verdict(bench.connection())


def test_the_printed_offset(bench: Bench) -> None:
    """The same bytes at 0x9000 cost the board its network and its update; in their own partition they cost nothing."""
    before = put_into_use(bench)
    assert ("ota_1", "1.1.0", "greenhouse") == (before.slot, before.version, before.wifi)
    assert ("application", "accepted") == verdict(write_identity_at(bench, "0x10000", before))
    wiped = write_identity_at(bench, "0x9000", before)
    assert ("partitions", "other-slot") == verdict(wiped)
    assert "after: version 1.0.0 from ota_0, Wi-Fi network none" in wiped.detail["found"]


def test_the_key_is_read_out_and_opens_the_door(bench: Bench) -> None:
    """What a dump holds makes another computer the device; a dump without a key says so."""
    outcome, found = loot(bench)
    assert ("key", "accepted") == verdict(outcome)
    thief = impostor(bench, found, "thief")
    forged = forge(bench, thief)
    assert ("authorised", "accepted", 85.0) == (
        *verdict(forged),
        json.loads(forged.detail["received"])["temp"],
    )
    assert ("key", "no-key") == verdict(loot(bench, "ota_0")[0])
    # The device comes back and throws the thief out; who wants to be heard is heard all the same, every time.
    assert [True] * 10 == [forge(bench, thief).accepted for _ in range(10)]


def test_a_key_in_an_image(bench: Bench) -> None:
    """What is linked into an image stands in its file, and the image is a good one all the same."""
    identity = bench.site.identity("sensor-001")
    path = bench.make_firmware(
        "1.1.0", embedded=identity.certificate.read_bytes() + identity.key.read_bytes()
    )
    found = pem_in(path.read_bytes())
    assert identity.key.read_text() == found["key"]
    assert {} == pem_in(bench.make_firmware().read_bytes())
    assert "Validation hash: " in bench.esptool("image-info", "node-1.1.0.bin").text


def test_flash_encryption_leaves_nvs_open(bench: Bench) -> None:
    """Burned first, nothing starts; written through the chip it runs, its application is noise, its key is not."""
    bench.espsecure("generate-flash-encryption-key", "flash.key")
    fuses = ("FLASH_CRYPT_CONFIG", "0xf", "FLASH_CRYPT_CNT", "1")
    bench.espefuse("burn-key", "flash_encryption", "flash.key", "burn-efuse", *fuses)
    assert ("rom", "not-encrypted") == verdict(bench.boot())
    bench.esptool("write-flash", "--encrypt", *bench.plan("node-1.0.0.bin", identity=False))
    assert ("mqtt", "accepted") == verdict(bench.connection())
    assert ("parse", "encrypted") == verdict(loot(bench, "ota_0")[0])
    assert ("key", "accepted") == verdict(loot(bench)[0])
    key = secrets.token_bytes(64)
    bench.write("sealed.bin", encrypt_nvs(bench.values(), key))
    bench.write("keys.bin", build_key_partition(key))
    bench.esptool("write-flash", "0x10000", "sealed.bin")
    bench.esptool("write-flash", "--encrypt", "0x16000", "keys.bin")
    assert ("parse", "encrypted") == verdict(loot(bench)[0])
    assert ("authorised", "accepted") == verdict(bench.hear())
    flash = bench.board.flash_image()
    assert key not in flash
    assert "sensor-001" == (chip_values(NorFlash(flash), bench.board.efuses) or {})["device_id"]
    bench.esptool("write-flash", "0x16000", "keys.bin")  # not through the encryption: the chip can't read it
    assert chip_values(NorFlash(bench.board.flash_image()), bench.board.efuses) is None


def test_keys_from_the_hmac_unit_and_a_closed_loader(site: Site) -> None:
    """On the C3 a fuse is the key to NVS; in Secure Download Mode nothing is read out at all."""
    with device_bench(site, "sensor-002", chip="esp32c3") as bench:
        bench.make_firmware(nvs="hmac")
        bench.write("hmac.key", secrets.token_bytes(32))
        bench.espefuse("burn-key", "BLOCK_KEY0", "hmac.key", "HMAC_UP")
        bench.make_sealed_by_hmac("hmac.key")
        bench.esptool("write-flash", *bench.plan("node-1.0.0.bin"))
        assert ("authorised", "accepted") == verdict(bench.hear())
        assert ("parse", "encrypted") == verdict(loot(bench)[0])
        bench.espefuse("burn-efuse", "ENABLE_SECURITY_DOWNLOAD", "1")
        assert ("read", "download-mode") == verdict(loot(bench)[0])
        assert ("authorised", "accepted") == verdict(bench.hear())


def test_a_first_boot_on_a_board(site: Site) -> None:
    """A board with a token alone enrols over the network, keeps its identity in flash, and has no token any more."""
    with (
        provisioning_site(site.store, limits={"requests_per_minute": 0, "failures_per_minute": 0}) as office,
        device_bench(site, "sensor-201") as bench,
    ):
        bench.make_firmware()
        token = office.token("sensor-201")
        bench.make_partition(device_files.first_boot_values(site, "sensor-201", token, office.service.url))
        bench.esptool("write-flash", *bench.plan("node-1.0.0.bin"))
        assert ("mqtt", "accepted") == verdict(bench.connection())
        found = texts_in(bench.board.flash_image()[place("fctry").offset : place("fctry").end])
        assert (False, True) == (layout.TOKEN in found, "PRIVATE KEY" in found["key"])
        bench.restart()
        assert ("mqtt", "accepted") == verdict(bench.connection())
        assert "boot-provisioned" in str(bench.console())


def test_files_of_the_bench_are_private(bench: Bench) -> None:
    """Whatever holds a key on the bench can be read by its owner alone."""
    dump(bench)
    for name in ("fctry.bin", "fctry.csv"):
        assert 0o600 == (bench.folder / name).stat().st_mode & 0o777
    assert 0o700 == bench.folder.stat().st_mode & 0o777


def test_pem_in_anything() -> None:
    """Certificates and keys are found between any bytes; halves of them are not."""
    good = "-----BEGIN CERTIFICATE-----\n" + "A" * 64 + "\n-----END CERTIFICATE-----\n"
    assert {"chain": good * 2} == pem_in(b"\0\xff" + good.encode() + b"\0" * 9 + good.encode())
    for bad in (good[:-20], good.replace("END CERTIFICATE", "END KEY"), "-----BEGIN X-----" * 1000):
        assert {} == pem_in(bad.encode())


def test_a_dump_of_noise_is_no_partition() -> None:
    """Random bytes are refused as what they are."""
    with pytest.raises(FormatError) as caught:
        texts_in(secrets.token_bytes(0x6000))
    assert "nvs" == caught.value.what
    with pytest.raises(ValueError, match="no partition"):
        place("nowhere")


def test_values_are_the_devices_own(site: Site) -> None:
    """What goes into a device's partition fits the keys and lengths of its layout."""
    for entry in device_files.identity_values(site, "sensor-001"):
        assert isinstance(entry, NvsEntry)
        longest = layout.LONGEST.get(entry.key)
        assert longest is None or len(str(entry.value)) <= longest
