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
# # Build a sensor node that proves who it is
#
# **What you'll do.** You put an identity into a board's flash, send readings by it, obey commands that make sense, and show from a broker's log who was let in and who was not.
#
# **What you'll learn**
#
# - lay out a flash so that the identity has a place of its own, and the image has no secret in it
# - read a command that comes from the network as if an enemy had sent it
# - tell from a log what a certificate proves, whatever a client writes into that log
# - show that a refusal is one for the right reason
#
# **What you'll need.** About 100 minutes (an estimate). Lessons **mutual-tls** and **esp32-flashing**; Python, OpenSSL, Mosquitto and esptool. **No board**: a virtual one stands in. 80 points are judged by machine, 20 by a person.

# %% [markdown]
# ## Your device
#
# Everybody gets a device of their own. Say who you are in the cell below, as your instructor knows you: `open_lab("sensor-node", student="…")`. Without it you get the device of somebody who learns alone, which is fine if you do.

# %%
from labkit.course import open_lab
lab = open_lab("sensor-node")

# %%
mine = lab.variant
dict(mine.values)

# %% [markdown]
# | what | what it is for |
# | --- | --- |
# | `device` | your device's id: its name in the certificate, in flash and in all topics |
# | `chip` | what it is built on |
# | `version` | the version that its firmware says it is |
# | `interval` | seconds between two readings, from the first day on |
# | `shortest`, `longest` | the intervals that a command may set, both allowed |
#
# A broker and a board, as in lesson **esp32-flashing**. The board's time runs sixty times faster than yours. Its files are in `bench.folder`, and that is where the judge looks for **flash.bin** and **expired.bin**.

# %%
from labkit.pki import Store
from labkit.scenarios.device_boot import device_bench
from labkit.scenarios.mutual_tls import mutual_tls

store = Store(lab.workspace)
site = lab.enter(mutual_tls(store, folder="sensor-node/broker"))
bench = lab.enter(device_bench(site, mine.device, chip=mine.chip))

# %% [markdown]
# The judge takes your flash to *its own* board and *its own* broker. It changes the broker's address and the root that the device believes; key, chain, interval and image stay yours. Its broker believes your root, and **nothing between** root and device. Whatever your own broker's log says plays no part.

# %% [markdown]
# ## Step 1: an identity in flash
#
# *Fill in; 15 points.* Many tutorials link the key into the firmware. Here it gets the partition `fctry`. Write **values**: it returns what belongs there, as a list of `NvsEntry(namespace, key, kind, value)`.
#
# | namespace | key | kind | what |
# | --- | --- | --- | --- |
# | `identity` | `device_id` | `string` | your device's id |
# | `identity` | `root` | `string` | the root's certificate, PEM: whom the device believes |
# | `identity` | `chain` | `string` | the device's certificate and whatever lies between it and the root, PEM, the device's first |
# | `identity` | `key` | `string` | its private key, PEM |
# | `service` | `broker_host`, `broker_port` | `string`, `u16` | where your broker is |
# | `settings` | `interval` | `u32` | seconds between two readings |
#
# You are given an `identity` (its `certificate` and `key` are paths) and `site` (`site.trust` is the path of the root, `site.host`, `site.port`). Example: the first entry is `NvsEntry("identity", "device_id", "string", mine.device)`. Stuck? `lab.hint("sensor-node.1")`, up to three times.

# %% exercise="sensor-node.1" kind="fill-in"
from labkit.firmware import NvsEntry


def values(identity, site):
    """Return what belongs into the device's own partition."""
    # BEGIN SOLUTION
    texts = {
        "device_id": mine.device,
        "root": site.trust.read_text(),
        "chain": identity.certificate.read_text() + site.store.intermediate.read_text(),
        "key": identity.key.read_text(),
    }
    return [
        *(NvsEntry("identity", name, "string", text) for name, text in texts.items()),
        NvsEntry("service", "broker_host", "string", site.host),
        NvsEntry("service", "broker_port", "u16", site.port),
        NvsEntry("settings", "interval", "u32", mine.interval),
    ]
    # END SOLUTION


# %% [markdown]
# The authority signs for your device where it has not yet, and Espressif's generator makes a partition of your values. The check comes at the end of step 2: it looks into the flash, and there is none yet.

# %%
identity = site.identity(mine.device)
bench.make_partition(values(identity, site))

# %% [markdown]
# ## Step 2: everything at its place
#
# *Tweak; 15 points.* These are the files. The partition table tells where they go; many tutorials write the identity to `0x9000`, whatever the table says.

# %%
firmware = bench.make_firmware(mine.version).name
sorted(path.name for path in bench.folder.glob("*.bin"))

# %%
from labkit.display import flash_map, partition_regions
from labkit.firmware.partitions import COURSE_TABLE

flash_map(partition_regions(COURSE_TABLE, bench.board.chip.bootloader_offset))

# %% [markdown]
# Write **plan**: it returns which file begins at which offset. Example: `{0x8000: "partition-table.bin", …}`, five in all. Stuck? `lab.hint("sensor-node.2")`.

# %% exercise="sensor-node.2" kind="tweak"
def plan():
    """Return offsets and files."""
    # BEGIN SOLUTION
    places = {part.label: part.offset for part in COURSE_TABLE}
    return {
        bench.board.chip.bootloader_offset: "bootloader.bin",
        0x8000: "partition-table.bin",
        places["otadata"]: "ota_data_initial.bin",
        places["fctry"]: "fctry.bin",
        places["ota_0"]: firmware,
    }
    # END SOLUTION


# %% [markdown]
# The real esptool writes them onto your board, and it starts:

# %%
from labkit.course.exercises.sensor_node_bench import merge, told, try_commands, words

bench.esptool("write-flash", *words(plan())).lines("Wrote", "Hash")

# %%
bench.console()

# %% [markdown]
# Does it say `telemetry-sent`? Then an operator can hear it. For the judge, esptool makes one file of all five: what a factory would write onto a board.

# %%
told(bench.hear())

# %%
merge(bench, plan())

# %%
lab.check("sensor-node.1")
lab.check("sensor-node.2")

# %% [markdown]
# ## Step 3: a command
#
# *Defend it; 20 points.* The device listens to `devices/<id>/commands/#`. A message on `…/commands/interval` sets the interval, and its payload may be anything at all. Write **read_interval**: it is given the payload and the two bounds, and returns the seconds. It raises `ValueError`, and nothing else, unless all of this holds:
#
# - the payload has 256 bytes at most, and is JSON: one object
# - the object has the field `seconds`, once, and no other field
# - its value is a whole number, written as one (`30`; not `30.0`, not `"30"`, not `true`)
# - it is not below `shortest` and not above `longest`
#
# Examples: `read_interval(b'{"seconds": 30}', 10, 600)` is `30`; with `b'{"seconds": 601}'` it raises. The judge calls it with cases of its own, in a process of its own, so everything that it needs must stand in its cell. Stuck? `lab.hint("sensor-node.3")`.

# %% exercise="sensor-node.3" kind="defend-it"
import json


def read_interval(payload, shortest, longest):
    """Return the interval that a payload asks for, or raise ValueError."""
    # BEGIN SOLUTION
    def once(pairs):
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a field that stands there twice")
        return dict(pairs)

    if len(payload) > 256:
        raise ValueError("too long")
    asked = json.loads(payload.decode(), object_pairs_hook=once)
    if not isinstance(asked, dict) or list(asked) != ["seconds"]:
        raise ValueError("not one object with one field")
    if type(asked["seconds"]) is not int or not shortest <= asked["seconds"] <= longest:
        raise ValueError("no number of seconds that is allowed")
    return asked["seconds"]
    # END SOLUTION


# %% [markdown]
# Let your board understand commands by it, send it some of your own, and hand it in.

# %%
payloads = [b'{"seconds": 40}', b'{"seconds": 0}', b'{"seconds": true}', b"[40]", b"", b'{"seconds": 40, "seconds": 50}']
try_commands(bench, read_interval, (mine.shortest, mine.longest), payloads)

# %%
lab.hand_in(read_interval)
lab.check("sensor-node.3")

# %% [markdown]
# ## Step 4: who was that?
#
# *Bug hunt; 15 points.* This is how your broker logs that somebody was let in:

# %%
print(bench.admitted()[-1])

# %% [markdown]
# `as …` is the client id, `u'…'` the user name. This broker takes both from the certificate; others take only the user name from it, and then a client chooses its id: another's, or one that *looks like a piece of a log*. Topics are chosen too, and they are logged as well.
#
# Write **who**: it is given a line of a Mosquitto log and returns the name from the certificate of whoever was let in by this line. For every other line, and for somebody who was let in without a name, it returns `None`. A line begins with a time, either as above or in seconds since 1970.
#
# Example: for the line above, `who` returns your device's id. Stuck? `lab.hint("sensor-node.4")`.

# %% exercise="sensor-node.4" kind="bug-hunt"
import re


def who(line):
    """Return whom a certificate let in, by a line of the broker's log; None for any other line."""
    # BEGIN SOLUTION
    found = re.fullmatch(
        r"[\dT:-]+: New client connected from \S+ as .+ \(p\d+, c\d+, k\d+, u'([^']+)'\)\.", line
    )
    return found[1] if found else None
    # END SOLUTION


# %%
lab.hand_in(who)
lab.check("sensor-node.4")

# %% [markdown]
# ## Step 5: a date that has passed
#
# *Break it; 15 points.* You could make a certificate for a day, and wait. You need not. Make one for your device that your authority signed and whose time is *over*, with everything else right, and make a partition **expired.bin** of it (`bench.make_partition(values(…), "expired.bin")`). Any way will do: `labkit.pki.flawed`, or `openssl x509 -req -days -1`.
#
# Stuck? `lab.hint("sensor-node.5")`.

# %% exercise="sensor-node.5" kind="break-it"
# BEGIN SOLUTION
from labkit.pki import flawed

late = store.save_intruder("late", flawed.expired(store.authority(), mine.device))
bench.make_partition(values(late, site), "expired.bin")
# END SOLUTION

# %% [markdown]
# Write it onto your board, over the good one. What does the board say, and what does the broker?

# %%
fctry = hex(COURSE_TABLE.find("fctry").offset)
bench.esptool("write-flash", fctry, "expired.bin").lines("Wrote", "Hash")

# %%
print(bench.console(until="-refused").lines[-1])
told(bench.connection())

# %% [markdown]
# A refusal alone proves little; a broker that refuses everybody would do as well. With the good partition back, the same board is let in:

# %%
bench.esptool("write-flash", fctry, "fctry.bin")
told(bench.connection())

# %%
lab.check("sensor-node.5")

# %% [markdown]
# ## Write it down
#
# *20 points, judged by a person.* Show the lines of the console and of the broker's log that prove a mutual TLS session, and those of the refusal. Say of each line **what it proves**, and to whom. Then say what all of them together do *not* prove. Ten sentences are enough.

# %% [markdown] written="sensor-node.D1"
# <!-- BEGIN SOLUTION -->
# `lab_session: code=mqtt-connected` on the console: the device has verified the broker's certificate against the root in its flash, or it would have said `tls-refused`. `New client connected … u'<device>'` in the broker's log: the broker has verified the device's certificate and took the name from it; what stands before it, the client id, proves nothing where clients choose it. `telemetry-sent seq=0`: the broker took the reading.
#
# With the expired certificate the console says `tls-refused stage=tls reason=certificate-expired`; the log has an OpenSSL error and no client: TLS refused, before any MQTT. The same board with the good partition was let in right afterwards, so the broker does not refuse everybody.
#
# None of it proves that a reading is true, that nobody else has a copy of the key, or that the log was not written by hand.
# <!-- END SOLUTION -->

# %% [markdown]
# ## What you hand in
#
# | what | where | points |
# | --- | --- | --- |
# | an identity in its own partition | `flash.bin` | 15 |
# | a flash that boots and sends | `flash.bin` | 15 |
# | `read_interval` | handed in | 20 |
# | `who` | handed in | 15 |
# | an expired identity | `expired.bin` | 15 |
# | what the lines prove | this notebook | 20 |
#
# When you are done, restart the kernel, run all cells, save. Then `labkit submit sensor-node` packs the notebook and its evidence, and never a private key. When it is graded it runs in an empty folder, and both files are made again: they have a private key in them, so yours stay with you.

# %% [markdown]
# ## Tidy up

# %%
lab.close()
