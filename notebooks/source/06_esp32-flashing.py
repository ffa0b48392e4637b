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
# # Flash: put an identity on a board, steal it, and lock it away
#
# **What you'll do.** You take an ESP32 from blank flash to a sensor node that talks to a broker with mutual TLS. Then you read its private key out with one command, are the device from elsewhere, and lock the flash.
#
# **What you'll learn**
#
# - say what lies where in a board's flash, and write it with the real esptool
# - read a boot log, and tell which layer refused a device
# - find a private key in an image or in a dump, and show what it is worth
# - encrypt flash and NVS, and know what each of them leaves open
#
# **What you'll need.** About 60 minutes for the core path (an estimate). Python, OpenSSL and Mosquitto; esptool came with the course. **No board**: a virtual one stands in, and the same commands work on a real one. No earlier lesson, though lesson **mutual-tls** helps. You touch OWASP IoT items I1 (weak credentials), I7 (insecure transfer and storage) and I10 (lack of physical hardening).

# %% [markdown]
# ## Before you start

# %%
from labkit.course import open_lab
lab = open_lab("esp32-flashing")

# %% [markdown]
# This lesson has an authority and a broker of its own, made afresh each time you run it. On the bench beside them lies an ESP32: files, board and broker together are a **bench**.
#
# The board remembers what you do to it, and some steps can't be done twice. When you are lost, restart the kernel and run from the top: the board is then blank again.

# %%
from labkit.scenarios.device_boot import device_bench
from labkit.scenarios.revocation import revoking_broker
from labkit.scenarios.separate import separate_authority

site = lab.enter(revoking_broker(separate_authority(lab.workspace, "workbench")))
bench = lab.enter(device_bench(site, "sensor-001"))

# %% [markdown]
# ## A board on the bench
#
# The board is a model, a **virtual board**. It speaks the chip's serial protocol, keeps flash and fuses as the chip does, and checks what the chip checks; it runs no machine code, so the sensor node on it is a twin in Python. The *tools* are Espressif's own, unmodified. Ask the chip who it is:

# %%
bench.esptool("chip-id")

# %% [markdown]
# That was the real esptool. It notes that a TCP socket has no reset line and no USB number, and goes on; nothing else is different from a cable. *Hard resetting* it says out of habit. The chip's flash is blank, so its ROM finds nothing to start:

# %%
bench.restart()
bench.console(until="invalid header")

# %% [markdown]
# ## What lies where
#
# A board's flash is divided by a **partition table**. This is the course's own, for the 4 MB that many modules have. The strip on the left is to scale.

# %%
from labkit.display import flash_map, partition_regions
from labkit.firmware.partitions import COURSE_TABLE

flash_map(partition_regions(COURSE_TABLE, bench.board.chip.bootloader_offset))

# %% [markdown]
# One part is about identity: `fctry` belongs to *this* device alone, with its id, its certificate, its private key. The table, the bootloader and the two applications are the same on every device of the product. `nvs` belongs to the firmware: Wi-Fi keeps its network there. Both are of the kind **NVS**, a store of keys and values.

# %% [markdown]
# ### The files
#
# `make_firmware` writes what all devices share. An **image** holds a header, segments, a checksum and a SHA-256. Ours is made by esptool too. Where a real one has machine code, it has a description of what the node does, for the virtual board to act on.

# %%
bench.make_firmware("1.0.0")
bench.esptool("image-info", "node-1.0.0.bin").lines("Project", "App version", "Chip ID", "Checksum", "Validation hash")

# %% [markdown]
# The identity is made of a table of values by Espressif's NVS generator. Here is the table, without what is in it, and the generator's words.

# %%
from labkit.course.lessons.esp32_flashing import listed
from labkit.display import Table

Table("What the device finds in fctry", ("namespace", "key", "value"), listed(bench.values()))

# %%
bench.make_identity()

# %% [markdown]
# ## Flash, and watch it start
#
# One command writes all five files, each to its place. Two lines a file are shown here: what was written, and that it is really there, because esptool asks the chip for an MD5 of it.

# %%
bench.esptool("write-flash", *bench.plan("node-1.0.0.bin")).lines("Wrote", "Hash")

# %% [markdown]
# esptool let go of the port, and the board started. This is its serial console, from the first word of the ROM to the first reading. The node's lines have a time, a place, and a **code** that stays the same in every version, so that a test or an operator can look for it.

# %%
bench.console()

# %%
lab.claim("boots", bench.boot())

# %% [markdown]
# ROM, bootloader, partition table, image, application: each stage looks at the next one before it hands over. On the other side, the broker wrote whom it let in:

# %%
lab.claim("named", bench.connection())

# %% [markdown]
# `as sensor-001`, `u'sensor-001'`: client id and user name, both taken from the certificate's common name. Nobody typed a password. And this is what an operator receives who asks the device for a reading:

# %%
lab.claim("speaks", bench.hear())

# %% [markdown]
# A reading goes to `devices/sensor-001/telemetry/environment` every 60 seconds. Here the node's time runs sixty times faster than yours.

# %% [markdown]
# ### The client, twice
#
# What you watch here is the node's twin in Python. On a real chip it is the ESP-IDF project in `firmware/`, and for those who like it smaller there is an Arduino sketch beside it (which is not compiled where this course is tested). These lines are cut from both files as they are now; the first three are what makes TLS *mutual*.

# %%
from labkit.course.lessons.esp32_flashing_clients import clients

clients()

# %% [markdown]
# Neither has a key or a password in it: both read them from `fctry`. In the code of many tutorials they stand in the source. Leave out the second and third line, and you have TLS that proves who the broker is, and nothing about the device.

# %% [markdown]
# ## Tell it something
#
# The device listens to `devices/sensor-001/commands/#`. Only operators may write there; that is the broker's rule (lesson **mutual-tls**). An operator wants a reading every ten seconds:

# %%
lab.claim("obeys", bench.command("interval", '{"seconds": 10}'))

# %%
lab.claim("obeys-sense", bench.command("interval", '{"seconds": 0}'))

# %% [markdown]
# Zero seconds would be a flood, and the broker can't know: its rules are about *topics*. What is in a message is for the device to judge. The interval stayed as it was, and one line says why.

# %% [markdown]
# ### Exercise 1: understand a command
#
# *Fill in.* Write **interval**: it is given the payload of such a command and returns the seconds that it asks for, a whole number from 5 to 86,400 (a day). For anything else it raises `ValueError`, and nothing but `ValueError`: another exception would end the program, and the board would start again whenever somebody likes.
#
# Example: `interval(b'{"seconds": 30}')` gives `30`; `interval(b'{"seconds": 0}')` raises `ValueError`. Stuck? `lab.hint("esp32-flashing.1")`, up to three times.

# %% exercise="esp32-flashing.1" kind="fill-in"
import json


def interval(payload):
    """Return the seconds that a payload asks for."""
    # BEGIN SOLUTION
    if len(payload) > 64:
        raise ValueError("too long")
    asked = json.loads(payload)
    seconds = asked.get("seconds") if isinstance(asked, dict) else None
    if type(seconds) is not int or not 5 <= seconds <= 86_400:
        raise ValueError("no whole number of seconds from 5 to 86,400")
    return seconds
    # END SOLUTION


# %% [markdown]
# Now the board understands commands as you do. An operator sends it nineteen over MQTT, three of which make sense. (`NotImplementedError` here means that the line to replace still stands in the cell above.)

# %%
from labkit.course.lessons.esp32_flashing import try_interval

Table("What your device did", ("payload", "what it did"), try_interval(lab, bench, interval))

# %%
lab.check("esp32-flashing.1")

# %% [markdown]
# labkit's twin is **read_interval** in `labkit/node/commands.py`, and `lab_command_interval` in the firmware does the same in C; both read the same list of good and bad payloads in the tests. Do you agree with them? The last one is hostile.

# %%
from labkit.course.lessons.esp32_flashing import agrees

{payload: agrees(interval, payload) for payload in (b'{"seconds": 60}', b"{}", b'{"seconds": 1e400}')}

# %% [markdown]
# ## Break it: a certificate that has run out
#
# The same board, the same firmware, one thing wrong: its certificate ran out yesterday. `fctry` is written alone, everything else stays.

# %%
lab.predict("expired")

# %%
expired = site.intruders("expired")["expired"]
bench.make_identity(expired, name="expired.bin")
bench.esptool("write-flash", "0x10000", "expired.bin").lines("Wrote", "Hash")

# %% [markdown]
# What does the board say, and what does the broker say? It has started as before; these are its last lines. It knows that its certificate has run out (`renew-expired`), and tries.

# %%
print(*bench.console(until="tls-refused").lines[-3:], sep="\n")

# %%
lab.claim("expired", bench.connection(expired))

# %% [markdown]
# *Which layer refused, and how do you know?* The board's line has the **stage**, the broker's log an OpenSSL error, and there is no line of MQTT at all: TLS refused, at the broker. The board will try again, and wait longer each time. With the good partition it is let in at once:

# %%
bench.esptool("write-flash", "0x10000", "fctry.bin").lines("Wrote", "Hash")

# %%
lab.claim("back-again", bench.connection())

# %% [markdown]
# ## Where not to put a key
#
# ### In the image
#
# Many tutorials link certificate and key into the firmware, with `EMBED_TXTFILES`. It is one line, and it works. Here is such an image:

# %%
identity = site.identity("sensor-001")
embedded = identity.certificate.read_bytes() + identity.key.read_bytes()
bench.make_firmware("1.1.0", embedded=embedded).name

# %% [markdown]
# An image is not a secret. It lies on the update server, in the build's archive, in the mail to the manufacturer. Whoever has it does this:

# %%
from labkit.scenarios.board_readout import forge, impostor, pem_in

found = pem_in(bench.read("node-1.1.0.bin"))
{name: text.splitlines()[0].strip("-") for name, text in found.items()}

# %%
thief = impostor(bench, found, "from-image")
lab.claim("image-key", forge(bench, thief))

# %% [markdown]
# Nobody has touched a board. And a second device with the same image would be the *same* device, so each would need an image of its own, and each update would have to be built once for every device. That is why identity gets a partition.

# %% [markdown]
# ### At 0x9000
#
# Some tutorials do that: an NVS image of `0x6000` bytes, and `write_flash 0x9000`. This board has been in use for a while. It knows a Wi-Fi network, and last month's update, version 1.1.0, runs from the second slot.

# %%
from labkit.scenarios.board_in_use import put_into_use, write_identity_at

before = put_into_use(bench)
bench.board.snapshot("in-use")
before

# %%
lab.predict("offset")

# %%
lab.claim("printed-offset", write_identity_at(bench, "0x9000", before))

# %% [markdown]
# `nvs` is `0x4000` long here; the last `0x2000` bytes went into **otadata**, which says which slot boots. Without it the first one does, with whatever firmware lies there: last year's, with last year's holes. esptool did what it was told; it knows offsets and no partitions. A virtual board goes back to a snapshot; then the same bytes in a partition of their own:

# %%
bench.board.restore("in-use")
lab.claim("own-partition", write_identity_at(bench, "0x10000", before))

# %% [markdown]
# ## Read the key
#
# You lend the board to somebody, or it hangs outdoors. A cable and a minute are enough to find out what is in it.

# %%
lab.predict("where")

# %%
from labkit.scenarios.board_readout import dump, loot

dump(bench).lines("Read ")

# %%
outcome, found = loot(bench)
lab.claim("loot", outcome)

# %% [markdown]
# Every value, by its name. `read-flash` asks for no password, because the chip has none. What is the key worth on another computer?

# %%
thief = impostor(bench, found, "from-flash")
lab.claim("impersonated", forge(bench, thief))

# %% [markdown]
# A reading of 85 °C under the device's name, from a computer that is not the device. It could stand on the other side of the world. The broker even ended the real device's session for it: there is one session for each client id. It can't tell the two apart, and it is right: whoever has the key *is* the device. You can revoke the certificate (lesson **revocation**), once you know. Better that there is nothing to read.

# %% [markdown]
# ## Lock the flash
#
# **Flash encryption** sits between flash and processor. Its key lies in fuses that no program can read, and the hardware decrypts while the chip runs. A board makes the key itself at its first start; here you burn one, to see every step. First a snapshot: what is burned stays burned, and on a real board that is for ever.

# %%
bench.board.snapshot("before-encryption")
bench.espsecure("generate-flash-encryption-key", "flash.key")

# %%
fuses = ["burn-key", "flash_encryption", "flash.key", "burn-efuse", "FLASH_CRYPT_CONFIG", "0xf", "FLASH_CRYPT_CNT", "1"]
bench.espefuse(*fuses).lines("BURN", "burn", "Successful", "protected")

# %% [markdown]
# `FLASH_CRYPT_CNT` counts how often encryption was switched: an odd number of bits is on. `FLASH_CRYPT_CONFIG` says which bits of an address shape the key. The key's own block, BLOCK1, tells no program what is in it. And if you run the cell again? espefuse refuses: no bit becomes 0 again. `bench.board.restore("before-encryption")` brings the virtual board back.

# %%
from labkit.display import efuse_map

efuse_map(bench.board.efuses)

# %% [markdown]
# From now on the chip decrypts whatever it reads. What lies in flash is still in the clear, so the board does not even start:

# %%
lab.claim("not-encrypted", bench.boot())

# %% [markdown]
# `--encrypt` sends each file through the chip's own encryption on its way into flash:

# %%
bench.esptool("write-flash", "--encrypt", *bench.plan("node-1.0.0.bin", identity=False)).lines("Wrote", "encrypt")

# %%
print(*bench.console().lines[-3:], sep="\n")

# %% [markdown]
# It boots as before, and sends. (Compare *Cannot verify* with the MD5 above: what esptool sent is not what lies there.) The application in a dump is noise now:

# %%
lab.claim("app-is-noise", loot(bench, "ota_0")[0])

# %% [markdown]
# And the identity?

# %%
lab.predict("nvs")

# %%
lab.claim("nvs-is-open", loot(bench)[0])

# %% [markdown]
# **NVS partitions are not covered.** NVS writes single entries of 32 bytes, and changes bits of them later; that does not go together with an encryption by blocks. It has one of its own, **NVS encryption**, with keys in a **key partition**, `nvs_keys`. And that one *is* covered. ESP-IDF switches NVS encryption on together with flash encryption, unless you say otherwise; a partition that a factory writes and your own code opens, as `fctry`, is yours to encrypt.

# %% [markdown]
# ### Exercise 2: seal the identity
#
# *Defend it.* Write **seal**: it is given the bench and the device's values, and puts them onto the board so that a dump of flash shows neither values nor keys, and the node finds them all the same. `encrypt_nvs(values, key)` makes an encrypted partition with Espressif's generator, `build_key_partition(key)` the partition of the keys; `bench.write(name, data)` writes a file that `bench.esptool(...)` finds.
#
# Example: after `seal(bench, bench.values())`, `loot(bench)` is refused at *parse*, and `bench.hear()` is accepted. The key has 64 bytes from `secrets`; why not from the generator, *Go deeper* tells. Stuck? `lab.hint("esp32-flashing.2")`.

# %% exercise="esp32-flashing.2" kind="defend-it"
import secrets
from labkit.firmware.nvs_encryption import build_key_partition
from labkit.firmware.tools import encrypt_nvs


def seal(bench, values):
    """Put a device's values onto its board, encrypted, and their key, protected."""
    # BEGIN SOLUTION
    key = secrets.token_bytes(64)
    bench.write("sealed.bin", encrypt_nvs(values, key))
    bench.write("sealed-keys.bin", build_key_partition(key))
    bench.esptool("write-flash", "0x10000", "sealed.bin")
    bench.esptool("write-flash", "--encrypt", "0x16000", "sealed-keys.bin")
    # END SOLUTION


# %% [markdown]
# Seal it, and let the check look into the board's flash, first as a thief and then as the chip. It went wrong? Run the cell again: flash, unlike fuses, can be written as often as you like.

# %%
seal(bench, bench.values())

# %%
lab.check("esp32-flashing.2")

# %%
lab.claim("sealed", loot(bench)[0])
lab.claim("sealed-speaks", bench.hear())

# %% [markdown]
# The same dump as before, and it is noise. The thief of *Read the key* still has what was read then: encryption comes too late for a key that has been out. Whoever locks a board that was in use gives it a **new** identity.

# %% [markdown]
# ## On a real board
#
# Nothing above knows that the board is virtual. With a board on a cable, write its port between the quotes (`"/dev/ttyUSB0"`, `"COM3"`) and run the cell: the same esptool asks the real chip, and `board.esptool(...)` and `board.espefuse(...)` do everything that you did above. `docs/hardware.md` has boards, cables and drivers.
#
# Two things protect your board. A port counts only where *you* named it; what `ESPTOOL_PORT` says is ignored. And whatever can't be undone, burning eFuses and with it Secure Boot and flash encryption, is refused until you have typed the MAC of this very board: `board.unlock("24:dc:c3:…")`.

# %%
from labkit.scenarios.real_board import real_board

PORT = ""
board = real_board(PORT, bench.folder)
board

# %% [markdown]
# The images of this lesson hold no machine code, so a real chip would not get far with them. Build the firmware in C instead, `labkit firmware build`, and write it, `labkit firmware flash --port PORT`; the identity's partition that you made above is the same for both.

# %% [markdown]
# ## Go deeper: keys from a dice box
#
# *Ungraded; skipping it breaks nothing later.* Espressif's generator can draw the keys of NVS by itself (`--keygen`). It asks Python's `random`, a **Mersenne Twister**: made for simulations, its whole future follows from its state. If that state is known, so are the keys. Here two runs of it start from the same state.

# %% tags=["go-deeper"]
from labkit.scenarios.weak_keys import generated_key, two_runs

lab.claim("generator", two_runs(state=2026))

# %% tags=["go-deeper"]
[generated_key().hex()[:16] for _ in range(2)]

# %% [markdown]
# Left alone it starts from the system's randomness, as the second cell shows, and we know of no product that was broken by this alone. But nobody promises that such keys are hard to guess: 624 words of its output give away all that follow, and a line that makes a batch in one process draws every key from one state. The remedy costs a line: `secrets.token_bytes`, handed over with `--inputkey`.

# %% [markdown]
# ## Go deeper: a key that no program can read
#
# *Ungraded.* The ESP32-C3 has a unit that computes an HMAC with a key in its fuses. NVS encryption can derive its keys from that: no `nvs_keys` partition, and it works without flash encryption. A second board, another chip:

# %% tags=["go-deeper"]
c3 = lab.enter(device_bench(site, "sensor-002", chip="esp32c3"))
c3.write("hmac.key", secrets.token_bytes(32))
c3.make_firmware("1.0.0", nvs="hmac").name

# %% tags=["go-deeper"]
c3.espefuse("burn-key", "BLOCK_KEY0", "hmac.key", "HMAC_UP").lines("BURN", "burn", "Successful")

# %% tags=["go-deeper"]
c3.make_sealed_by_hmac("hmac.key")
c3.esptool("write-flash", *c3.plan("node-1.0.0.bin")).lines("Wrote", "Hash")

# %% [markdown]
# All files have arrived. The generator derived the same keys as the chip will. That NVS must be encrypted stands in the *image*: if the board took plain values too, whoever writes flash could hand it some. What does a dump show, and does the node find its identity?

# %% tags=["go-deeper"]
lab.claim("hmac-sealed", loot(c3)[0])
lab.claim("hmac-speaks", c3.hear())

# %% [markdown]
# ## Go deeper: Secure Download Mode
#
# *Ungraded.* Flash encryption leaves the serial loader open, for updates by cable. On newer chips a fuse turns on **Secure Download Mode**: a few commands that write, and none that reads back.

# %% tags=["go-deeper"]
c3.espefuse("burn-efuse", "ENABLE_SECURITY_DOWNLOAD", "1").lines("BURN", "Successful")

# %% tags=["go-deeper"]
lab.claim("download", loot(c3)[0])
dump(c3).lines("Chip type", "ERROR")

# %% [markdown]
# ## Go deeper: three more exercises
#
# *Optional; skipping them breaks nothing later.*
#
# ### Exercise 3: keys in a dump
#
# *Break it.* Somebody hands you the dump of a flash. Write **find_keys**: for each *whole* private key in PEM it returns the offset of its first byte and that of the first byte behind its last dash. Certificates are no keys; of a key that was half written over nothing counts.
#
# Example: for two bytes of erased flash and then a key with 120 characters from its first dash to its last it returns `[[2, 122]]`. Stuck? `lab.hint("esp32-flashing.3")`.

# %% exercise="esp32-flashing.3" kind="break-it" tags=["go-deeper"]
import re


def find_keys(dump):
    """Return begin and end of each whole private key in a dump."""
    # BEGIN SOLUTION
    key = rb"-----BEGIN ((?:[A-Z]+ )?PRIVATE\sKEY)-----[A-Za-z0-9+/=\s]+-----END \1-----"
    return [list(found.span()) for found in re.finditer(key, dump)]
    # END SOLUTION


# %% tags=["go-deeper"]
lab.hand_in(find_keys)
lab.check("esp32-flashing.3")

# %% [markdown]
# ### Exercise 4: a table that can't be
#
# *Bug hunt.* A colleague wrote this table for a board with 4 MB. Three lines are wrong, each for a reason of its own. Return it mended: the same seven parts, and none smaller than in the course's own table above.

# %% tags=["go-deeper"]
from labkit.course.lessons.esp32_flashing_exercises import COLLEAGUE
from labkit.errors import PartitionRefusedError
from labkit.firmware.partitions import parse_csv

print(COLLEAGUE)
try:
    parse_csv(COLLEAGUE)
except PartitionRefusedError as error:
    print(error.message)

# %% [markdown]
# Example: `phy_init, data, phy, 0xf000, 0x1000` is a good line: it ends at `0x10000`, where the next one begins. Stuck? `lab.hint("esp32-flashing.4")`.

# %% exercise="esp32-flashing.4" kind="bug-hunt" tags=["go-deeper"]
def table():
    """Return the mended table, as CSV."""
    # BEGIN SOLUTION
    return (
        COLLEAGUE.replace("0x9000,   0x6000", "0x9000,   0x4000").replace("0x18000", "0x20000").replace("0x230000", "0x200000")
    )
    # END SOLUTION


# %% tags=["go-deeper"]
lab.workspace.write_json("answers/esp32-flashing/table.json", table())
lab.check("esp32-flashing.4")

# %% [markdown]
# ### Exercise 5: lock it for good
#
# *Defend it.* A model of an ESP32 has its flash encryption on, as a developer leaves it. Before it is shipped you burn up to four fields: afterwards no program reads the key in BLOCK1, nobody can switch the encryption off by one more bit, no debugger gets in, and the chip still decrypts what it starts.
#
# | field | bits | what it does |
# | --- | --- | --- |
# | `RD_DIS` | 4 | bit 0 hides BLOCK1, bit 1 BLOCK2, bit 2 BLOCK3, bit 3 some fields |
# | `WR_DIS` | 16 | bit 2 holds `FLASH_CRYPT_CNT` as it is, bit 7 BLOCK1 |
# | `FLASH_CRYPT_CNT` | 7 | encryption is on while an odd number of bits is set; now it is 1 |
# | `JTAG_DISABLE` | 1 | keeps debuggers out |
#
# Example: `{"JTAG_DISABLE": 1}` keeps debuggers out and leaves the rest open. All are burned at once, and no bit ever becomes 0 again. Stuck? `lab.hint("esp32-flashing.5")`.

# %% exercise="esp32-flashing.5" kind="defend-it" tags=["go-deeper"]
def fuses():
    """Return what to burn before the board is shipped."""
    # BEGIN SOLUTION
    return {"RD_DIS": 1, "FLASH_CRYPT_CNT": 127, "JTAG_DISABLE": 1}
    # END SOLUTION


# %% tags=["go-deeper"]
lab.workspace.write_json("answers/esp32-flashing/fuses.json", fuses())
lab.check("esp32-flashing.5")

# %% [markdown]
# ## What you proved
#
# - You wrote a whole device with esptool, and followed it from the ROM to the broker's log.
# - You saw an expired certificate refused by TLS, with the board's word and the broker's beside each other.
# - You found a private key in an image and in a dump, and were the device from elsewhere.
# - You locked flash and NVS, and saw that the first without the second leaves the key in the open.

# %%
lab.summary()

# %% [markdown]
# ## In practice
#
# - **Let the chip make its flash encryption key.** With `CONFIG_SECURE_FLASH_ENC_ENABLED` it does so at its first start, and nobody else ever has it. Use *release mode*: development mode lets everybody with a cable write in the clear.
# - **Encryption is half.** It hides, and it proves nothing about who wrote what is there. Secure Boot does that (lesson **firmware-signing**); take both, Secure Boot first.
# - **An encrypted dump can be written back.** The device is then as it was, revoked certificates and old firmware included. Expiry, revocation and anti-rollback are for that.
# - **Let the image insist on encrypted values.** If the firmware takes plain ones too, whoever can write flash erases the keys and hands it an identity of theirs. The image is signed, so it is the place for that decision.
# - **One key a device.** A key for a batch opens the batch.
# - **On the ESP32, take revision 3 or newer.** Older ones give their keys away to a glitch on the power supply. A chip with an HMAC unit, or a secure element, is the better place for a key.
# - **The board's clock.** Without the time a device can't judge the broker's certificate. SNTP comes before TLS, and says nothing about who answered.
# - **Make the key on the device** where you can; then no file of it ever exists. Lesson **provisioning** does.

# %% [markdown]
# ## Questions

# %%
lab.quiz("questions")

# %% [markdown]
# ## Further reading
#
# - [ESP-IDF: Flash Encryption](https://docs.espressif.com/projects/esp-idf/en/stable/esp32/security/flash-encryption.html) and [NVS Encryption](https://docs.espressif.com/projects/esp-idf/en/stable/esp32/api-reference/storage/nvs_encryption.html): what is covered, and what is not, in Espressif's words.
# - [ESP-IDF: Partition Tables](https://docs.espressif.com/projects/esp-idf/en/stable/esp32/api-guides/partition-tables.html): every column, and the two-slot table whose first entries this lesson took over.
# - [esptool: Serial Protocol](https://docs.espressif.com/projects/esptool/en/latest/esp32/advanced-topics/serial-protocol.html): what went over the port while you watched.
# - ESP32 Technical Reference Manual, chapters *eFuse Controller* and *External Memory Encryption*: the hardware underneath.
# - [NIST SP 800-90A](https://csrc.nist.gov/pubs/sp/800/90/a/r1/final): what a random number generator for keys has to promise, and `random` does not.

# %% [markdown]
# ## Tidy up
#
# Board and broker stop here. Next: lesson **provisioning**, where a device makes its key itself, so that no file of it ever exists. Exercise **sensor-node** asks for what you have now, from an empty folder.

# %%
lab.close()
