# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Sign: ship firmware that only your devices take, and only forwards
#
# **What you'll do.** You sign an image by hand, watch a printed verifier take yesterday's build and a pump's firmware, mend that, roll an update out to boards that come back from a bad one, and lock a chip so that it looks itself.
#
# **What you'll learn**
#
# - hash, sign and verify with openssl, and say what a signature does *not* say
# - verify an update while it streams, because a megabyte does not fit into memory
# - roll out, roll back, and say which check refused what
# - switch Secure Boot on in the right order, and name what it leaves open
#
# **What you'll need.** About 60 minutes for the core path (an estimate). Python, OpenSSL and Mosquitto; esptool came with the course. **No board**: virtual ones stand in. No earlier lesson, though lesson **esp32-flashing** helps. You touch OWASP IoT items I4 (insecure updates), I5 (outdated components) and I10 (lack of physical hardening).

# %% [markdown]
# ## Before you start

# %%
from labkit.course import open_lab
lab = open_lab("firmware-signing")

# %% [markdown]
# This lesson has a house that makes firmware, with an authority, a broker, an update server and two devices in the field. The boards are models, **virtual boards**: they check what the chip checks, and run a twin of the node in Python. openssl, esptool, espsecure and espefuse are the real ones.
#
# Updates are rolled out and fuses burned here, so some cells work once. When you are lost, restart the kernel and run from the top: the boards are then new.

# %%
from labkit.scenarios.firmware_update import updating_fleet
from labkit.scenarios.separate import separate_authority

fleet = lab.enter(updating_fleet(separate_authority(lab.workspace, "foundry"), "sensor-001", "sensor-002"))
fleet.versions()

# %% [markdown]
# ## Sign by hand
#
# The house has built release 1.5.0. esptool made the **image**. First its **hash**: 32 bytes that stand for all the others.

# %%
import hashlib
from labkit.scenarios.signing_desk import SigningDesk

house, desk = fleet.house, SigningDesk(lab.workspace.path("scratch/desk"))
running, newer = house.image("1.4.2"), house.image("1.5.0")
desk.write("image.bin", newer)
hashlib.sha256(newer).hexdigest()

# %%
desk.openssl("dgst", "-sha256", "image.bin")

# %% [markdown]
# Whoever changes one bit gets another hash. But whoever changes the image can compute the hash anew. So the hash is **signed**: only the owner of the private key can do that, and everybody with the public key can look.

# %%
desk.openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "key.pem", "-quiet")
desk.openssl("pkey", "-in", "key.pem", "-pubout", "-out", "public.pem")
desk.openssl("dgst", "-sha256", "-sign", "key.pem", "-out", "image.sig", "image.bin")

# %% [markdown]
# The same in Python, and the same 256 bytes: this kind of signature (RSA with PKCS #1 v1.5) has nothing random in it.

# %%
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

key = serialization.load_pem_private_key(desk.read("key.pem"), None)
signature = key.sign(newer, padding.PKCS1v15(), hashes.SHA256())
len(signature), signature == desk.read("image.sig")

# %%
lab.claim("openssl-yes", desk.verdict("image.bin", "image.sig", "public.pem"))

# %% [markdown]
# Now flip one bit of all these bytes.

# %%
flipped = bytearray(newer)
flipped[40_000] ^= 1
desk.write("flipped.bin", bytes(flipped))
lab.claim("openssl-no", desk.verdict("flipped.bin", "image.sig", "public.pem"))

# %% [markdown]
# ## The printed verifier
#
# Many tutorials print a function for the device: take the last 256 bytes of the download as the signature, hash the rest, verify, and flash if it fits. Ours is written afresh with the same faults. First the control: the update that the device should take.

# %%
from labkit.course.lessons.firmware_signing import museum_of
from labkit.scenarios import printed_verifier as attacks

museum = museum_of(house, running, newer)
printed, ours = museum.verdicts(attacks.honest(museum))
lab.claim("printed-good", printed)

# %% [markdown]
# The house makes pumps as well, and signs both products with one key. Whoever can put a file onto the update server, or sits on the way to it, needs no key: there are enough signed files in the world.

# %%
lab.predict("foreign")

# %%
lab.claim("printed-foreign", museum.verdicts(attacks.foreign_product(museum))[0])
lab.claim("printed-older", museum.verdicts(attacks.older_build(museum))[0])
lab.claim("printed-empty", museum.verdicts(attacks.empty_image(museum))[0])

# %% [markdown]
# Three times *accepted*, and three times a device is lost: a pump's firmware on a sensor; yesterday's build, whose hole everybody can read about; and an image of **no bytes**, because the printed check says `length < 256` where `<= 256` was meant. No cryptography was broken. The signature was asked one question, and it answered that one.

# %% [markdown]
# ## What a signature does not say
#
# It says *who*, and nothing else. For which product? For which hardware? Which version? How long? Whatever a device is to go by has to stand in what is **signed**. So the signature goes over a header, the **signed header**, and the header has the hash of the image in it.

# %%
from labkit.course.lessons.firmware_signing import header_table

update = house.update(newer)
header_table(update)

# %% [markdown]
# The header comes *first*. A device compares 192 bytes with itself and refuses before it has erased anything. The signature is ECDSA on P-256 now: 64 bytes instead of 256. The same attacks again, each with both verifiers:

# %%
from labkit.course.lessons.firmware_signing import attacks_table

lab.claim("ours-good", ours)
attacks_table(museum)

# %%
lab.claim("ours-foreign", museum.verdicts(attacks.foreign_product(museum))[1])
lab.claim("ours-older", museum.verdicts(attacks.older_build(museum))[1])
lab.claim("ours-empty", museum.verdicts(attacks.empty_image(museum))[1])

# %% [markdown]
# Read the column on the right once more: seven attacks, seven reasons. Each is a stable code that the device logs, and that the firmware in C gives for the same bytes. `docs/formats/update.md` has the whole list.

# %% [markdown]
# ### Exercise 1: a megabyte does not fit
#
# *Fill in.* An ESP32 has some 300 KB of free memory, and an image has a megabyte. The printed way (*download, verify, then write*) can't work. Write **take**: chunks of an update come from the network, the image goes into the slot piece by piece, and in the end you return `"ok"`, or the reason why it must not boot: `"image-short"`, `"image-long"` or `"image-digest"`.
#
# `verify(head)` is given the first 192 bytes and returns the header (with `.size` and `.digest`), or raises a refusal of its own: let that pass through. `slot.write(data)` writes the next bytes. An attacker may send without an end. Stuck? `lab.hint("firmware-signing.1")`, up to three times.

# %% exercise="firmware-signing.1" kind="fill-in"
def take(chunks, slot, verify):
    """Put an update's image into a slot as it comes; return `ok`, or why it must not boot."""
    # BEGIN SOLUTION
    head, header, received, digest = b"", None, 0, hashlib.sha256()
    for chunk in chunks:
        image = chunk
        if header is None:
            head += chunk
            if len(head) < 192:
                continue
            header, image = verify(head[:192]), head[192:]
        received += len(image)
        if received > header.size:
            return "image-long"
        slot.write(image)
        digest.update(image)
    if header is None or received < header.size:
        return "image-short"
    return "ok" if digest.digest() == header.digest else "image-digest"
    # END SOLUTION


# %%
from labkit.course.lessons.firmware_signing_exercise import try_take

try_take(lab, take)

# %%
lab.check("firmware-signing.1")

# %% [markdown]
# labkit's twin is **UpdateStream** in `labkit/firmware/update_stream.py`, and `lab_update.c` is the firmware's. One thing should bother you: the bytes are in flash *before* the verdict. That is fine, because it is the slot that does **not** run. What boots next changes in the very last step.

# %% [markdown]
# ## Roll out
#
# The house signs 1.5.0 with a key that lies encrypted on its disk, and publishes it. The server takes no file that a device would refuse. Then a **roll-out** begins, with one device for a start:

# %%
fleet.publish(newer)
view = fleet.roll_out("1.5.0", percent=0, first=["sensor-001"])
house.keys.log()[-1]["action"], view.state, view.first

# %%
found = fleet.update("sensor-001", "sensor-002")
lab.claim("first-device", found["sensor-001"])
lab.claim("not-yet", found["sensor-002"])

# %% [markdown]
# `signed` is the last line of the key's log, and the roll-out is `running`, for `sensor-001` first. Read the lines of `sensor-001` from top to bottom. An operator's command; the image streams into the other slot; *staged*; a restart. The new image runs **on trial**: only when the broker has accepted its session does it call itself valid. Then it told the service:

# %%
fleet.versions(), fleet.release("1.5.0").reported

# %% [markdown]
# Now somebody breaks into the update server and changes a bit of the image. (No key lies there.)

# %%
fleet.roll_out("1.5.0", percent=100)
fleet.tamper(newer)
lab.claim("broken-into", fleet.update("sensor-002")["sensor-002"])
fleet.tamper(newer)
fleet.version("sensor-002")

# %% [markdown]
# 73,728 bytes were flashed, and not one was run. (The second `tamper` flips the bit back.)

# %% [markdown]
# ## An update that bricks
#
# Signatures keep strangers out. They don't keep *your own bugs* out. Release 1.6.0 is built by the house, signed by the house, newer, for this product, and crashes before it has done anything. The fault stands in the image's bytes; no verifier looks for it.

# %%
lab.predict("brick")

# %%
broken = house.image("1.6.0", fault="crash")
fleet.roll_out(fleet.publish(broken), percent=0, first=["sensor-001"])
lab.claim("bricks", fleet.update("sensor-001")["sensor-001"])

# %%
[line for line in fleet.boards["sensor-001"].console.lines if "Guru" in line or "rolled-back" in line]

# %% [markdown]
# The bootloader had noted *on trial* before it started the new image. At the next reset the note was still there, so nobody had called the image valid, and it chose the slot before. And if an operator asks once more?

# %%
lab.claim("not-again", fleet.update("sensor-001")["sensor-001"])
fleet.release("1.6.0").reported

# %% [markdown]
# The device remembers what failed on it, and has reported it. When it fails on too many, the roll-out pauses by itself. Take the release back for good:

# %%
fleet.withdraw("1.6.0").state, fleet.versions()

# %% [markdown]
# ## Secure Boot
#
# So far the *running firmware* guards the door. Whoever can write the flash, with a cable or a soldering iron, needs no update: they write their own firmware, and that verifies nothing. **Secure Boot V2** moves the check into the chip. The ROM verifies the bootloader, the bootloader verifies the application, at every start; whose signature counts stands in **eFuses**, which can be burned once.

# %%
from labkit.scenarios.device_boot import device_bench

bench = lab.enter(device_bench(fleet.site, "sensor-007"))
bench.make_firmware("1.0.0")
bench.make_identity()
bench.espsecure("generate-signing-key", "--version", "2", "--scheme", "rsa3072", "sb.pem")

# %% [markdown]
# ### The wrong order
#
# Before you do it right, see it go wrong, on a board that costs nothing. Unsigned firmware in flash, and the fuses first. `burn-key-digest` burns the SHA-256 of a key, `ABS_DONE_1` is the ESP32's switch for Secure Boot V2.

# %%
lab.predict("order")

# %%
spare = lab.enter(device_bench(fleet.site, "sensor-008"))
spare.make_firmware("1.0.0")
spare.write("sb.pem", bench.read("sb.pem"))
spare.esptool("write-flash", *spare.plan("node-1.0.0.bin", identity=False)).lines("Wrote")

# %% [markdown]
# Without any complaint. And now the fuses:

# %%
spare.espefuse("burn-key-digest", "sb.pem", "burn-efuse", "ABS_DONE_1", "1").lines("BURN", "Successful")

# %%
lab.claim("wrong-order", spare.boot())

# %% [markdown]
# On your desk that would be a brick, unless you can still write a signed bootloader over the cable; and many burn `UART_DOWNLOAD_DIS` in the same line. Here `spare.board.renew()` takes a new board from the shelf. There is no such command for a real one. `labkit board secure-boot plan` tells beforehand what a board would say after each step, and `burn` does not burn what would brick it.

# %% [markdown]
# ### The right order
#
# Sign, write, burn. The signature lies in a sector of its own behind the image, the **signature sector**, and brings the public key along; the chip will keep only the SHA-256 of that key.

# %%
bench.write("unsigned.bin", bench.read("node-1.0.0.bin"))
for name in ("bootloader.bin", "node-1.0.0.bin"):
    bench.espsecure("sign-data", "--version", "2", "--keyfile", "sb.pem", "--output", "signed.bin", name)
    bench.write(name, bench.read("signed.bin"))
bench.espsecure("signature-info-v2", "node-1.0.0.bin")

# %%
bench.esptool("write-flash", *bench.plan("node-1.0.0.bin")).lines("Wrote", "Hash")

# %% [markdown]
# Everything is signed and in its place. (`is valid` above speaks of the block's own checksum, not of the image: espsecure says it of a changed image too.) Only now the step that can't be undone, with JTAG in the same line:

# %%
fuses = ["burn-key-digest", "sb.pem", "burn-efuse", "ABS_DONE_1", "1", "JTAG_DISABLE", "1"]
bench.espefuse(*fuses).lines("BURN", "Successful")

# %%
lab.claim("sb-boots", bench.boot())
print("\n".join(line for line in bench.console().lines if "secure" in line.lower() or "igna" in line))

# %% [markdown]
# Two verifications at each start: the ROM's, of the bootloader, and the bootloader's, of the application. Now the attacker with the soldering iron: `write_flash` writes into the chip as a programmer does, past everything. First the same firmware without its signature. (Zeros come first: the old signature would still lie behind the image otherwise, and would *fit*.)

# %%
bench.board.write_flash(0x20000, bytes(0x20000))
bench.board.write_flash(0x20000, bench.read("unsigned.bin"))
lab.claim("sb-unsigned", bench.boot())

# %%
lab.predict("mended")

# %%
from labkit.firmware.image import repair

signed = bench.read("node-1.0.0.bin")
evil = repair(signed.replace(b'"application"', b'"applicatiOn"', 1))
bench.board.write_flash(0x20000, evil)
lab.claim("sb-mended", bench.boot())

# %% [markdown]
# `repair` made checksum and SHA-256 right again, so nothing but the signature could tell. The attacker's last try is a key of their own:

# %%
bench.espsecure("generate-signing-key", "--version", "2", "--scheme", "rsa3072", "mine.pem")
bench.espsecure("sign-data", "--version", "2", "--keyfile", "mine.pem", "--output", "mine.bin", "unsigned.bin")
bench.board.write_flash(0x20000, bench.read("mine.bin"))
lab.claim("sb-stranger", bench.boot())

# %% [markdown]
# A good signature, by a key whose hash is not in the fuses. Each of the three was refused for another reason, and the right image boots again as soon as it is back: a refusal costs nothing.

# %% [markdown]
# ### Exercise 2: lock the vault
#
# *Defend it.* A new board, `vault`, with its files beside it: `bootloader.bin` and `node-1.0.0.bin`, both unsigned, and your key `sb.pem`. Write **lock**: afterwards the vault boots what you signed, Secure Boot is on, JTAG is off, and an unsigned image is refused.
#
# Everything you need was typed above: `vault.espsecure(…)`, `vault.esptool(…)`, `vault.espefuse(…)`, and `vault.plan("node-1.0.0.bin", identity=False)` for what goes where. If you brick it, `vault.board.renew()` takes a new board, `vault.make_firmware("1.0.0")` makes unsigned files again; then think about the order. Stuck? `lab.hint("firmware-signing.2")`.

# %%
vault = lab.enter(device_bench(fleet.site, "vault"))
vault.make_firmware("1.0.0")
vault.write("sb.pem", bench.read("sb.pem"))
vault

# %% exercise="firmware-signing.2" kind="defend-it"
def lock(vault):
    """Let a board start nothing but what we signed."""
    # BEGIN SOLUTION
    for name in ("bootloader.bin", "node-1.0.0.bin"):
        vault.espsecure("sign-data", "--version", "2", "--keyfile", "sb.pem", "--output", "signed.bin", name)
        vault.write(name, vault.read("signed.bin"))
    vault.esptool("write-flash", *vault.plan("node-1.0.0.bin", identity=False))
    vault.espefuse("burn-key-digest", "sb.pem", "burn-efuse", "ABS_DONE_1", "1", "JTAG_DISABLE", "1")
    # END SOLUTION


# %% [markdown]
# Lock it, and let the check look at its fuses and its flash as the chip does.

# %%
lock(vault)

# %%
lab.check("firmware-signing.2")

# %%
lab.claim("locked", vault.boot())

# %% [markdown]
# ## Go deeper: the power goes
#
# *Ungraded; skipping it breaks nothing later.* A device in the field loses its power when it likes, also in the middle of an update. First once, at a **random** moment:

# %% tags=["go-deeper"]
fleet.cut_power("sensor-002")
print(fleet.update("sensor-002")["sensor-002"])
lab.claim("cut-once", fleet.power_up("sensor-002"))
fleet.version("sensor-002")

# %% tags=["go-deeper"]
lab.claim("cut-then-good", fleet.update("sensor-002")["sensor-002"])

# %% [markdown]
# `power-cut` is what became of the update, and the old image runs. The next try succeeded. One random moment proves little. Flash changes in **operations**: one page of 256 bytes is programmed, or one sector is erased. An update of this image takes some 300 of them, and that is few enough to cut the power at *each*, and look every time. (Here the broker is played; bootloader, slot, notes and Secure Boot are those of above.)

# %% tags=["go-deeper"]
lab.predict("cuts")

# %% tags=["go-deeper"]
from labkit.course.lessons.firmware_signing import cut_lanes
from labkit.scenarios.power_cuts import CutBench

sweep = CutBench.of(house, running, newer).sweep()
lab.claim("cut-everywhere", sweep.outcome)

# %% tags=["go-deeper"]
cut_lanes(sweep)

# %% [markdown]
# Nearly all of the way the old image runs. Then one entry of a few bytes is written, and from there on it is the new one. The two lanes at the bottom are empty, and the check *can* see them filled: a test plants a stranger's bytes and finds them there. If each device is then left to itself:

# %% tags=["go-deeper"]
cut_lanes(sweep, finally_=True)

# %% [markdown]
# A few end with the old image for good. There the power went *during the trial*, and the bootloader can't tell a power cut from a crash: it goes back, and the release counts as failed on that device. That is what going back costs. The maker publishes the same thing once more under the next version.

# %% [markdown]
# ## Go deeper: a share at a time
#
# *Ungraded.* Which device comes first is not left to chance: its **place** follows from a hash of product and id. Who was early for one release is early for the next, and the share only grows.

# %% tags=["go-deeper"]
from labkit.updates import place

{name: round(place("course-node", name), 1) for name in ("sensor-001", "sensor-002", "sensor-003", "sensor-004")}

# %% [markdown]
# Each number is a device's place, from 0 to 100. `labkit firmware rollout start course-node 1.5.0 --percent 10` offers it to those below 10. `pause` offers it to nobody new, `abort` cuts off those who are fetching it. `labkit firmware serve-updates` is the server.

# %% [markdown]
# ## Go deeper: one key follows the other
#
# *Ungraded.* A key for updates is changed with an update. First the next image is made to trust *both* keys, and signed with the old one. When it has arrived, the new key signs. A later image leaves the old one out, or names it as revoked.

# %% tags=["go-deeper"]
from labkit.display import Table

keys, states = house.keys, lambda: [one.state for one in house.keys.all()]
old, new = keys.find(), keys.create(house.passphrase)
steps = [("the new key is made", *states())]
keys.promote(new.key_id)
steps.append(("it signs", *states()))
keys.revoke(old.key_id)
Table("Which key does what", ("", old.key_id, new.key_id), [*steps, ("the old one is revoked", *states())])

# %% [markdown]
# The private halves lie encrypted under `signing/`, and every signature is in a log with product, version and hash: on the day on which a key is lost you want to know what it ever signed. Better than a file is a **hardware module**, which signs and never gives the key away: `labkit firmware key new --hsm ceremony --present Ada --present Grace` makes the key in one, before two witnesses. `labkit hsm --help` begins with SoftHSM2, which stands in for a real one.

# %% [markdown]
# ## Go deeper: a lost key of Secure Boot
#
# *Ungraded.* The ESP32 has room for one digest. Lose that key and you can't ship any more; have it stolen, and you can't lock the thief out. The ESP32-C3 has room for **three**, each with a fuse that revokes it. The bootloader is signed with both keys, the application with the first.

# %% tags=["go-deeper"]
c3 = lab.enter(device_bench(fleet.site, "sensor-009", chip="esp32c3"))
c3.make_firmware("1.0.0")
for name in ("k0.pem", "k1.pem"):
    c3.espsecure("generate-signing-key", "--version", "2", "--scheme", "rsa3072", name)

# %% tags=["go-deeper"]
sign = ["sign-data", "--version", "2"]
c3.espsecure(*sign, "--keyfile", "k0.pem", "--output", "first.bin", "node-1.0.0.bin")
c3.espsecure(*sign, "--keyfile", "k1.pem", "--output", "second.bin", "node-1.0.0.bin")
c3.espsecure(*sign, "--keyfile", "k0.pem", "--keyfile", "k1.pem", "--output", "both.bin", "bootloader.bin")
c3.write("bootloader.bin", c3.read("both.bin"))
c3.espsecure("signature-info-v2", "bootloader.bin").lines("Signature block", "digest")

# %% tags=["go-deeper"]
c3.esptool("write-flash", *c3.plan("first.bin", identity=False)).lines("Wrote")

# %% [markdown]
# Two digests into two places, and the switch, which has another name on this chip:

# %% tags=["go-deeper"]
first = ["burn-key-digest", "BLOCK_KEY0", "k0.pem", "SECURE_BOOT_DIGEST0"]
second = ["burn-key-digest", "BLOCK_KEY1", "k1.pem", "SECURE_BOOT_DIGEST1"]
c3.espefuse(*first, *second, "burn-efuse", "SECURE_BOOT_EN", "1").lines("BURN", "Successful")
lab.claim("lost-first", c3.boot())

# %% [markdown]
# `k0.pem` is stolen. Revoke its digest; from then on everything that it ever signed is refused, today's image among it.

# %% tags=["go-deeper"]
c3.espefuse("burn-efuse", "SECURE_BOOT_KEY_REVOKE0", "1").lines("Successful")
lab.claim("lost-revoked", c3.boot())

# %% tags=["go-deeper"]
c3.board.write_flash(0x20000, c3.read("second.bin"))
lab.claim("lost-second", c3.boot())

# %% [markdown]
# We have revoked first and shipped then, to see the refusal. In the field it is the other way round: first the image that the second key signed, by an update, and only then the fuse. And the third place? It is empty. Whoever has the board at hand could burn a digest of *their own* into it. Revoke what you don't use.

# %% [markdown]
# ## Go deeper: what is left to the soldering iron
#
# *Ungraded.* Secure Boot knows who, and not how old. Somebody writes your release 1.3.0 into the flash, the one with the hole:

# %% tags=["go-deeper"]
lab.predict("soldered")

# %% tags=["go-deeper"]
from labkit.course.lessons.firmware_signing import soldered

hole, fixed = house.image("1.3.0", secure_version=0), house.image("1.9.0", secure_version=1)
before, newest, after = soldered(house, hole, fixed, hole)
lab.claim("soldered-old", before)

# %% [markdown]
# It boots, hole and all. The remedy is a number of its own, the **secure version**: once an image of secure version 1 has called itself valid, a fuse is burned, and lower ones end at the bootloader. On the same chip, after release 1.9.0:

# %% tags=["go-deeper"]
lab.claim("soldered-fused", after)

# %% [markdown]
# The fuses count to 32 on the ESP32 and to 16 on the C3, so it is a number for *holes*, and not for releases. What is still left:
#
# | the attacker | is stopped by | and if not |
# | --- | --- | --- |
# | reads the flash chip | flash encryption, NVS encryption (lesson **esp32-flashing**) | has your firmware and the device's key |
# | goes in by JTAG | `JTAG_DISABLE`, burned in the same line | reads and writes memory while it runs |
# | goes in by the serial loader | `UART_DOWNLOAD_DIS`, or Secure Download Mode | reads and writes flash |
# | disturbs the voltage while the ROM compares | newer silicon, as far as it goes | skips the check; done to ESP32s before v3 in 2019 |
# | takes the key from your house | a hardware module, and a second digest | is you |

# %% [markdown]
# ## Go deeper: three more exercises
#
# *Optional; skipping them breaks nothing later.*
#
# ### Exercise 3: a colleague's policy
#
# *Bug hunt.* The signature is good; now the device asks whether it may take this. A colleague has written it down as below, and the fleet is in trouble.

# %% tags=["go-deeper"]
device = {"product": "course-node", "hardware": 2, "version": "1.9.0", "secure_version": 3}
update_to = {"product": "course-node", "hardware_min": 1, "hardware_max": 3, "version": "1.9.1", "secure_version": 3}


def colleague(header, device):
    """Return `ok`, or why not: with mistakes."""
    if not header["product"].startswith(device["product"]):
        return "product-wrong"
    if device["hardware"] < header["hardware_min"]:
        return "hardware-unsupported"
    if header["version"] < device["version"]:
        return "version-not-newer"
    if header["secure_version"] < device["secure_version"]:
        return "secure-version-older"
    return "ok"


# %% [markdown]
# Write **may_take**: it returns `"ok"`, or the *first* reason of this list that applies.
#
# 1. `"product-wrong"`: it is for another product
# 2. `"hardware-unsupported"`: this board's revision is outside of `hardware_min` to `hardware_max`, both included
# 3. `"secure-version-older"`: its secure version is below the device's
# 4. `"version-not-newer"`: its version is not above the device's
#
# Example: an update to `"1.9.1"` is `"ok"` on the device above. Stuck? `lab.hint("firmware-signing.3")`.

# %% exercise="firmware-signing.3" kind="bug-hunt" tags=["go-deeper"]
def may_take(header, device):
    """Return `ok`, or the first reason to refuse."""
    # BEGIN SOLUTION
    def numbers(version):
        return [int(part) for part in version.split(".")]

    if header["product"] != device["product"]:
        return "product-wrong"
    if not header["hardware_min"] <= device["hardware"] <= header["hardware_max"]:
        return "hardware-unsupported"
    if header["secure_version"] < device["secure_version"]:
        return "secure-version-older"
    if numbers(header["version"]) <= numbers(device["version"]):
        return "version-not-newer"
    return "ok"
    # END SOLUTION


# %% tags=["go-deeper"]
lab.hand_in(may_take)
lab.check("firmware-signing.3")

# %% [markdown]
# labkit's twin is **decide** in `labkit/firmware/update.py`.
#
# ### Exercise 4: what exactly was signed?
#
# *Break it.* Another house has a header, too, and signs it: product, version and size, as text, one behind the other. Their signature of release 1.1.1 is known to everybody; the device runs 1.1.2 and refuses it. Return a header that **nobody signed** and that the device takes, under that same signature.

# %% tags=["go-deeper"]
from labkit.course.lessons.firmware_signing_exercises import RELEASED, printed_header_verdict, signed_text

print(RELEASED, "->", signed_text(RELEASED))
printed_header_verdict(RELEASED)

# %% [markdown]
# Example: `{"product": "course-node", "version": "1.1.3", "size": 124096}` is newer, and its signature is wrong. Stuck? `lab.hint("firmware-signing.4")`.

# %% exercise="firmware-signing.4" kind="break-it" tags=["go-deeper"]
def forged():
    """Return a header that nobody has signed and the device takes."""
    # BEGIN SOLUTION
    return {"product": "course-node", "version": "1.1.11", "size": 24096}
    # END SOLUTION


# %% tags=["go-deeper"]
lab.workspace.write_json("answers/firmware-signing/header.json", forged())
lab.check("firmware-signing.4")

# %% [markdown]
# In our header each field has its place and its width, so there is one meaning to 128 bytes.
#
# ### Exercise 5: how big is the first step?
#
# *Tweak.* A thousand devices. After each step of a roll-out the devices report, and the service pauses it if three or more failed and that is more than a tenth. A colleague's plan is `[50, 100]`: half, then all. Return a plan of at most five growing shares, in whole percents, so that a release that breaks **every fifth** device breaks at most ten, and a good one still reaches all.

# %% tags=["go-deeper"]
from labkit.course.lessons.firmware_signing_exercises import EVERY_FIFTH, rolled_out

reached, broken = rolled_out([50, 100], EVERY_FIFTH)
f"{reached} devices got it, and {broken} of them broke, before it was paused (a simulation)"

# %% [markdown]
# Example: `[50, 100]` is a plan of two steps. Stuck? `lab.hint("firmware-signing.5")`.

# %% exercise="firmware-signing.5" kind="tweak" tags=["go-deeper"]
def plan():
    """Return the shares, in percent."""
    # BEGIN SOLUTION
    return [1, 10, 40, 100]
    # END SOLUTION


# %% tags=["go-deeper"]
lab.workspace.write_json("answers/firmware-signing/plan.json", plan())
lab.check("firmware-signing.5")

# %% [markdown]
# ## What you proved
#
# - You signed by hand, and saw openssl refuse one flipped bit.
# - A verifier with good cryptography took a pump's firmware, yesterday's build and nothing at all; the signed header refused each for a reason of its own.
# - You streamed an update into a slot, and wrote not one byte too many.
# - A release that bricked was rolled back and not taken again; a changed one was flashed and never run.
# - You locked a chip in the right order, and each attack on it was refused at boot, by name.

# %%
lab.summary()

# %% [markdown]
# ## In practice
#
# - The signing key is the fleet. Keep it in a module, let two people sign a release, and keep the log.
# - Build the same image twice on two machines before you sign it: a signature on what a broken build server made is a good signature.
# - Confirm late: an image that has reached the broker can be updated again. One that has only started may not.
# - Never let a device take a *lower* version, not even from you. If you have to go back, publish the old code under a new number.
# - Fuses last in the line, on every product; and on the first board of a batch look at `espefuse summary` before the second one.
# - A virtual board proves your *order and your files*. It does not prove your silicon: nothing here is cut within an operation, and no voltage is disturbed.

# %% [markdown]
# ## Questions

# %%
lab.quiz("questions")

# %% [markdown]
# ## Further reading
#
# - [ESP-IDF: Secure Boot v2](https://docs.espressif.com/projects/esp-idf/en/stable/esp32/security/secure-boot-v2.html): signature blocks, digests, revocation, chip by chip.
# - [ESP-IDF: Over The Air Updates](https://docs.espressif.com/projects/esp-idf/en/stable/esp32/api-reference/system/ota.html): slots, otadata, rollback and anti-rollback.
# - [RFC 9019](https://www.rfc-editor.org/rfc/rfc9019): an architecture for firmware updates; what to read before you invent a format for more than one image.
# - [The Update Framework](https://theupdateframework.io/): what to do when the update server itself, and some of the keys, belong to somebody else.

# %% [markdown]
# ## Tidy up
#
# This stops boards, servers and the broker. Next: lesson **segmentation**. Whatever else goes wrong, a device that somebody takes over should reach as little as possible.

# %%
lab.close()
