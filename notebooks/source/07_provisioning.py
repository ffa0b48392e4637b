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
# # Provision: give a fleet its identities, and take them back
#
# **What you'll do.** You become admin of a printed provisioning server in two requests, try the same on one that holds, and take a device through its whole life: made, shipped, enrolled, renewed, copied, caught, and out of service.
#
# **What you'll learn**
#
# - break a provisioning server in eight ways, and say what it should have asked
# - spend a token exactly once, however many show it
# - enrol a device so that its key never leaves it, and renew it without a gap
# - find out that an identity was copied, and take a device out of service for good
#
# **What you'll need.** About 60 minutes for the core path (an estimate). Python, OpenSSL and Mosquitto; no earlier lesson, though lessons **mutual-tls** and **revocation** help. You touch OWASP IoT items I1 (weak credentials), I3 (insecure interfaces) and I8 (lack of device management).

# %% [markdown]
# ## Before you start

# %%
from labkit.course import open_lab
lab = open_lab("provisioning")

# %% [markdown]
# A certificate is easy to sign. The hard questions come before: *who* asks, *for which name*, and *how often*? This lesson has a plant of its own, with an authority, a **registry** and a broker, made afresh each time you run it. Its devices are **simulated**: each is a folder, with the two slots of the firmware's layout. Everything that they talk to is real.
#
# Tokens are spent and devices taken out of service here, so some cells work once. When you are lost, restart the kernel and run from the top.

# %%
from labkit.scenarios.revocation import revoking_broker
from labkit.scenarios.separate import separate_authority

plant = separate_authority(lab.workspace, "plant")
site = lab.enter(revoking_broker(plant))

# %% [markdown]
# ## The museum piece
#
# Many tutorials print a small server for first boot: `POST /generate-token` makes a **token** for a device, `POST /provision` takes the token with a certificate request (a **CSR**), runs openssl, and returns a certificate. Ours is written afresh with the same faults. It runs on loopback, on a *copy* of the authority, and its faults can't lead out of its folder. First the control: an honest device.

# %%
from labkit.pki import Key, make_request
from labkit.scenarios.printed_provisioning import printed_service

printed = lab.enter(printed_service(plant))
printed.provision(printed.token("sensor-001"), make_request(Key.generate(), "sensor-001")).subject.rfc4514_string()

# %% [markdown]
# It works, and that is where most readers stop. Now you come from outside. You have no password, no certificate, nothing.

# %%
from labkit.scenarios import printed_provisioning as attacks

outcome, loot = attacks.zero_to_admin(printed)
lab.claim("printed-admin", outcome)

# %% [markdown]
# Two requests. The first asked for a token for a device that does not exist, and nobody asked who you are. The second asked for a certificate in the name `admin`, and nobody compared that with the token. What is it worth? The broker knows an operator of that name.

# %%
from labkit.pki import Issued

admin = plant.save_intruder("loot", Issued(loot.certificate, loot.key, ()))
lab.claim("admin-commands", site.attempt(admin, publish="devices/sensor-001/commands/blink"))

# %% [markdown]
# From nothing to commanding a stranger's device. The broker did everything right: the certificate *is* from the authority that it believes.

# %% [markdown]
# ## A service that holds
#
# labkit's service listens on HTTPS with a certificate of the plant's own authority, so a device can verify it on its first day. Operators show a certificate too, of **another** authority. Everything it knows is in a **registry**. Limits on how often somebody may ask are off here, so that each attack meets its own reason and not the limit.

# %%
from labkit.scenarios.provisioning import provisioning_site

office = lab.enter(provisioning_site(plant, limits={"requests_per_minute": 0, "failures_per_minute": 0}))
ours = attacks.OurService(office)
office

# %%
lab.predict("admin")

# %%
lab.claim("ours-admin", attacks.zero_to_admin(ours)[0])
lab.claim("ours-name", attacks.borrowed_name(ours))

# %% [markdown]
# Two refusals, two reasons. Without a certificate nobody makes a token. And with an honest token for `sensor-103` you may *ask* for `sensor-001`: the request was granted, and the certificate says `sensor-103`. A request contributes **a key and the proof of having it**. Name and extensions come from the registry; what else it asked for is reported as *ignored*.

# %% [markdown]
# ### The bug that hid a bug
#
# The printed server checks whether a token was used, signs, and then marks it as used. That leaves a gap. Six clients with a key each show the same token at the same moment, and that with eight tokens:

# %%
signed_before = printed.signed
first = attacks.double_spend(printed, rounds=8)
print(first, first.detail["verdicts"])
print("tokens: 8, certificates that openssl signed for them:", printed.signed - signed_before)

# %% [markdown]
# No token brought two certificates. But look at the second line: openssl has signed *more* certificates than there were tokens. (It is a race; if yours shows eight or fewer, run the cell again.) The surplus was lost, because all six requests were written into one file named after the device, and those who came second crashed over it (`status-500`) or read half of it (`torn`). A careful engineer sees the crash and mends it: a file of its own for each request.

# %%
lab.predict("race")

# %%
with printed_service(plant, own_files=True, label="museum-mended") as mended:
    lab.claim("printed-race", attacks.double_spend(mended))
lab.claim("ours-race", attacks.double_spend(ours))

# %% [markdown]
# The bug was the only thing that stood in the way of another one. On ours, one client gets a certificate and five are told `token-spent`.

# %% [markdown]
# ### Exercise 1: spend a token once
#
# *Fill in.* Write **spend**: a client shows a token; return whether it is theirs from now on. Eight clients will call it at the same time, each with a connection of its own. The table is `tokens(token, ends_at, used_by)`; `used_by` is `NULL` until somebody has spent it, `ends_at` is a time in seconds. `db` is a connection of Python's `sqlite3`: `db.execute("… WHERE token = ?", (token,))` runs a statement, and each is in force at once.
#
# Example: `spend(db, "token-07", "client-3", now)` gives `True` to one client, and `False` to all others for ever. Stuck? `lab.hint("provisioning.1")`, up to three times.

# %% exercise="provisioning.1" kind="fill-in"
def spend(db, token, who, now):
    """Give a token to a client, if it is there to be given; return whether it is theirs."""
    # BEGIN SOLUTION
    done = db.execute(
        "UPDATE tokens SET used_by = ? WHERE token = ? AND used_by IS NULL AND ends_at > ?",
        (who, token, now),
    )
    return done.rowcount == 1
    # END SOLUTION


# %% [markdown]
# Thirty good tokens, and four hostile ones: `expired` has run out, `unknown` was never made, and two are pieces of SQL, which hope that you paste them into yours. The race counts how many clients were told that a token is theirs. Thirty tokens, one winner each, and nobody for the hostile ones is what you want to see.

# %%
from labkit.course.lessons.provisioning import HOSTILE, race_for_tokens

told = race_for_tokens(lab, spend)
print("tokens that somebody won:", len(told), " most winners of one:", max(told.values(), default=0))
print("hostile ones among them:", [token for token in HOSTILE if token in told])

# %%
lab.check("provisioning.1")

# %% [markdown]
# labkit's twin is **Tokens.spend** in `labkit/devices/tokens.py`: the same single statement, and the certificate is written in the *same transaction*. Either both are on disk or neither, also when somebody pulls the plug. The tests race a thousand tokens over four processes, on SQLite and on PostgreSQL, and kill the service in the middle.

# %% [markdown]
# ### Five more
#
# Here are all attacks on both, but for the race, which you have seen. `accepted` means that the attack *succeeded*.

# %%
from labkit.display import Table

verdicts = {name: (attack(printed), attack(ours)) for name, attack in attacks.ATTACKS.items() if "times" not in name}
rows = [(name, str(theirs), mine.reason) for name, (theirs, mine) in verdicts.items()]
Table("The same attacks on both", ("attack", "printed", "ours refuses, because"), rows)

# %% [markdown]
# Read three of them once more. *A spent token again*: eight honest devices enrolled at once, each read the list of tokens, and each wrote the whole list back, without what the others had written. *One idle client*: the server did the TLS handshake while it was taking the call. *A name that is a path*: openssl wrote its output into a file named after the device, and then the server tidied up.
#
# Two words on the right need a hint: `subject-ignored` means that a certificate was made, with the token's name in it; `served`, that the others were served while one client idled. *Your certificate, my key* is the shared file once more: two tokens of one device at the same moment, and somebody is handed a certificate for the other's key.

# %%
theirs, mine = verdicts["a spent token again"]
lab.claim("printed-replay", theirs)
lab.claim("ours-replay", mine)
print("enrolled honestly:", theirs.detail["enrolled"], " replayed:", theirs.detail["replayed"])

# %%
theirs, mine = verdicts["one idle client"]
lab.claim("printed-idle", theirs)
lab.claim("ours-idle", mine)

# %%
theirs, mine = verdicts["a name that is a path"]
lab.claim("printed-path", theirs)
lab.claim("ours-path", mine)
print("is its authority still there?", theirs.detail["intact"])

# %% [markdown]
# ## First boot, step by step
#
# Now the honest way. An operator takes a device into the registry and makes a token; the factory puts it into the device. It is the only secret of the device that anybody else has ever seen; it counts for 24 hours, and for one certificate.

# %%
board = office.new_board("sensor-001")
print("token:", board.token[:10] + "…", " state:", office.show("sensor-001")["state"])

# %% [markdown]
# The device makes its **key** itself. It stores the key *before* it asks: if the power fails now, the same key will ask again. The certificate request is signed with it, and that is the proof of possession.

# %%
key = board.stage()
request = make_request(key, "sensor-001")
key, request.decode().splitlines()[0]

# %%
granted = office.anyone.provision(board.token, request)
{name: granted[name] for name in ("device_id", "not_after", "renew_after", "ignored", "repeated")}

# %% [markdown]
# The reply may be lost on the way. What if the device asks again?

# %%
again = office.anyone.provision(board.token, request)
again["repeated"], again["certificate"] == granted["certificate"]

# %% [markdown]
# `repeated`, and the same bytes: the same key gets the **identical** certificate, so a lost packet costs nothing. The device looks whether the certificate is for its key, stores the chain, and erases the token.

# %%
token = board.token
board.install(granted["chain"])
slot = board.switch()
board.erase_token()
lab.claim("first-boot", site.attempt(slot.files("sensor-001")))

# %%
lab.claim("token-again", office.ask(token))

# %% [markdown]
# Whoever finds the token later, in a log or in old flash pages, is told that it is spent, and the attempt is in the **trail**. With its certificate the device fetches its **configuration**: where the broker is, which topics are its own, how often to send. By that it has also reported for duty.

# %%
config = office.anyone.as_device(slot).call("GET", "/config")
config["broker"]["host"], config["topics"]["telemetry"], config["settings"]

# %% [markdown]
# ## The factory line
#
# Where devices are made in a house that you trust, they can leave it with their certificates. A **batch** is made in parts: keys and certificates in an archive, and in the registry in the same breath. Killed at any moment it goes on where it was, without a gap and without an id twice.

# %%
from labkit.course.lessons.provisioning import registry_rows
from labkit.devices import Registry
from labkit.provisioning.factory import Batch, Factory

with Registry.open(plant.workspace.path("registry/fleet.db")) as registry:
    report = Factory(plant, registry).run(Batch("spring", "node-", 100, part=50))
report.made, report.archive.name

# %%
Table("The registry begins like this", ("device", "state", "batch", "certificate", "until"), registry_rows(lab, limit=6))

# %% [markdown]
# The worker processes sign with the key of the intermediate (lesson **certificate-authority**), never with the root's, and the archive holds private keys: it is the most valuable file of the house until the last device is flashed. Which way fits whom?
#
# | what matters | factory line | first boot with a token | contract manufacturer that you don't trust | token platform, with a public CA |
# | --- | --- | --- | --- | --- |
# | the key is made | on the line | in the device | in the device | there is none; the token is the secret |
# | who could copy it | everybody at the line | nobody | nobody | everybody who sees it |
# | what a thief of the list gets | every identity | what was not enrolled in 24 hours | the same, and you can count the rest | every identity |
# | the device needs | nothing | network on its first day | network on its first day | network |
# | taking one back | list, reload | list, reload | take back its token | delete a row |
# | fits | chips without good randomness, closed plants | most fleets | most fleets that others make | what never mattered much |

# %% [markdown]
# ## Renewal without a gap
#
# A certificate of a year is renewed in its last month, each device on another day. For this lesson an operator allows it now. The device makes a new key in its *other* slot and asks with the certificate that it has.

# %%
office.act("sensor-001", "renewal")
request = make_request(board.stage(), "sensor-001")

# %% [markdown]
# The new chain goes into the device's other slot, beside the identity that it works with. Before that, we keep a copy of the old one under `scratch/old`, as a thief would, to try it again later.

# %%
from labkit.pki import IdentityFiles

old = plant.workspace.path("scratch/old")
for source, suffix in ((slot.chain, ".crt"), (slot.key, ".key")):
    plant.workspace.write(f"scratch/old{suffix}", source.read_bytes(), secret=suffix == ".key")
before = IdentityFiles("sensor-001", old.with_suffix(".crt"), old.with_suffix(".key"))
fresh = board.install(office.anyone.as_device(slot).renew(request)["chain"])

# %%
lab.predict("overlap")

# %%
lab.claim("overlap-old", site.attempt(before))
lab.claim("overlap-new", site.attempt(fresh.files("sensor-001")))

# %% [markdown]
# Both. The old one goes only when the device has *shown* that it has the new one: `POST /renew/confirm`, authenticated by the new certificate. Only then does the device change slots. A crash at any of these steps leaves it with an identity that works; the tests cut the power at each.

# %%
office.anyone.as_device(fresh).call("POST", "/renew/confirm")
slot = board.switch()

# %%
from labkit.scenarios.provisioning import attempt

old_client = office.client(before)
lab.claim("old-superseded", attempt(lambda: old_client.call("GET", "/config")))

# %% [markdown]
# The service knows at once. The broker learns of it with the next list (a **CRL**, lesson **revocation**); superseded certificates wait for that a few minutes, because nobody has an interest in using them. We don't wait.

# %%
from labkit.provisioning import Publication

with Registry.open(plant.workspace.path("registry/fleet.db")) as registry:
    publication = Publication(registry, plant, broker=site.broker.folder)
    publication.publish(), publication.reload()
lab.claim("old-revoked", site.attempt(before))

# %% [markdown]
# ## The alarm
#
# `sensor-042` hangs outdoors. Somebody has copied its flash, key and all, and put it back. (Here they copy its folder. Lesson **esp32-flashing** reads a key out of a board's flash.) Nothing tells the two apart: not TLS, not the broker, not the service. Until one of them renews.

# %%
import shutil
from labkit.provisioning.slots import Slots

victim = office.enrolled("sensor-042")
stolen = plant.workspace.path("scratch/stolen")
shutil.rmtree(stolen, ignore_errors=True)
thief = Slots(shutil.copytree(victim.folder, stolen))

# %%
from labkit.provisioning.client import renew

office.act("sensor-042", "renewal")
renew(office.anyone, thief)

# %% [markdown]
# That is the thief's second slot, with a certificate for a key that only the thief knows: the thief was quicker. Next month the real device wants to renew, with the certificate that it has.

# %%
lab.predict("clone")

# %%
office.act("sensor-042", "renewal")
lab.claim("clone-alarm", attempt(lambda: renew(office.anyone, victim)))

# %% [markdown]
# One certificate was renewed twice, with two keys. That can't happen by accident: a device that lost a reply asks again with the *same* key. So there are two of them. The service can't know which is which, and holds **both** in **quarantine**: their certificates are on the list before the answer is out.

# %%
lab.claim("thief-out", site.attempt(thief.current.files("sensor-042")))
lab.claim("victim-out", site.attempt(victim.current.files("sensor-042")))

# %%
Table("What the trail says", ("who", "what"), [(event.actor, event.action) for event in office.dossier("sensor-042").events])

# %% [markdown]
# ### Exercise 2: bring it back
#
# *Defend it.* Somebody has driven there, found the real device, and wiped it. Write **bring_back**: afterwards `sensor-042` is enrolled again, with a key that nobody has copied. Whatever the thief has stays refused.
#
# Example: after `bring_back(office, "sensor-042")` the registry has it as `enrolled`, with one certificate that counts. Stuck? `lab.hint("provisioning.2")`.

# %% exercise="provisioning.2" kind="defend-it"
from labkit.provisioning.client import enrol


def bring_back(office, name):
    """Take a device out of quarantine and give it a new identity."""
    # BEGIN SOLUTION
    office.act(name, "release")
    board = office.new_board(name)
    return enrol(office.anyone, board, name)
    # END SOLUTION


# %% [markdown]
# Bring it back, see whether the broker takes it again, and let the check look at the registry and at the device's store.

# %%
bring_back(office, "sensor-042")
returned = office.slots("sensor-042").current
lab.claim("back-in", site.attempt(returned.files("sensor-042"), publish="devices/sensor-042/status"))

# %%
lab.check("provisioning.2")

# %% [markdown]
# ## Out of service
#
# `sensor-002` is sold with the machine it hangs on. It is connected and sends while we take it out of service; its neighbour must not notice.

# %%
leaving, staying = office.enrolled("sensor-002").current, office.enrolled("sensor-003").current
lab.claim("leaving-in", site.attempt(leaving.files("sensor-002")))
session = lab.enter(site.session(leaving.files("sensor-002")))

# %%
for done in office.act("sensor-002", "decommission", {"reason": "cessation-of-operation"})["done"]:
    print("-", done)

# %% [markdown]
# The first four you know from lesson **revocation**: a list keeps a device from coming back, and rules take its rights. The last line is new: Mosquitto has no command that ends a session, but MQTT has one connection for each client id, and a second one ends the first. The authority makes a certificate with the device's name for one moment, connects, and puts it on the list too.

# %%
from labkit.errors import NotConnectedError

try:
    session.publish("devices/sensor-002/status", "am I still here?")
except NotConnectedError as error:
    print(error.message)

# %%
lab.claim("leaving-out", site.attempt(leaving.files("sensor-002")))
lab.claim("staying-in", site.attempt(staying.files("sensor-003")))

# %% [markdown]
# Its id is never given out again: `gone` is the end of the way, and the registry refuses every move from there.

# %% [markdown]
# ## Tokens against certificates
#
# Many platforms know a device by an id and a token that it shows at each connection. Here is a broker with two doors, one for tokens and one for certificates. This is what lies in the flash of a device with a token: an image of NVS, as any free program reads it.

# %%
from labkit.scenarios.token_platform import flash_with_certificate, read_flash, token_platform

platform = lab.enter(token_platform(plant, ["sensor-010", "sensor-011"]))
found = read_flash(platform.flash_of("sensor-010"))
found["device_id"], found["token"][:10] + "…"

# %%
lab.predict("flash")

# %%
lab.claim("token-travels", platform.attempt("sensor-010", found["token"], publish="devices/sensor-010/status"))
platform.forget("sensor-010")
lab.claim("token-back", platform.attempt("sensor-010", found["token"]))

# %% [markdown]
# A key in an unprotected flash is copied just as easily; you have just met the copy of `sensor-042`. The difference is what can be done about it. A key is used *in* the device and never shown, so it may lie encrypted, with a key that the chip does not give away. Espressif's own generator encrypts the partition:

# %%
import secrets
from labkit.firmware import build_image
from labkit.firmware.tools import encrypt_nvs

values = flash_with_certificate("sensor-003", staying)
plain, encrypted = build_image(values), encrypt_nvs(values, secrets.token_bytes(64))
secret = staying.key.read_bytes()
{"plain": secret in plain, "encrypted": secret in encrypted}

# %% [markdown]
# A fleet can move over, one device at a time, while the rest goes on working. `sensor-011` enrols, connects through the other door, and only then loses its token. What the platform still knows of tokens is printed last: nothing.

# %%
mover = office.enrolled("sensor-011").current
lab.claim("moved", platform.site.attempt(mover.files("sensor-011"), publish="devices/sensor-011/status"))
platform.forget("sensor-011")
platform.tokens

# %% [markdown]
# | what matters | token | certificate |
# | --- | --- | --- |
# | shown at each connection | yes, to whoever asks for it | never; it is used to sign |
# | out of a dump of the flash | works from anywhere (`token-travels`) | the same, unless the flash is encrypted |
# | who else has it | the platform's database, its backups, its logs | nobody |
# | taking it back | delete a row, reload | list, reload (`leaving-out`) |
# | works when the database is down | no | yes |
# | a copy is noticed | never | at the next renewal (`clone-alarm`) |

# %% [markdown]
# ## Break it: the wrong authority
#
# One thing wrong, everything else the same: two certificates with the name `admin`, from the wrong authority each. One is from the *devices'* authority, one from a stranger's with the same names. Which layer refuses which, and how do you know?

# %%
impostor = office.client(plant.identity("admin"))
lab.claim("wrong-authority", attempt(lambda: impostor.call("GET", "/devices")))

# %%
from labkit.mqtt import Endpoint, Identity, probe
from labkit.pki import flawed

rogue = plant.save_intruder("rogue-admin", flawed.rogue(plant.authority(), "sensor-001"))
door = Endpoint("127.0.0.1", office.service.port)
lab.claim("rogue-authority", probe(door, trust=plant.trust_anchor, identity=Identity(rogue.certificate, rogue.key)))

# %% [markdown]
# The first got through **tls**: the service does believe the devices' authority, because devices renew here. It was refused in **http**, by the service, which looks at *who signed* and not at the name. The second was refused in **tls**, with the alert `unknown_ca`, before the service heard a word.

# %% [markdown]
# ## The same by hand
#
# Everything above is a command too. `labkit provision serve` runs the service in one terminal, and the others are typed in a second one:

# %%
from labkit.processes import run
import sys

print(run([sys.executable, "-m", "labkit", "provision", "--help"]).stdout)

# %% [markdown]
# ## Go deeper: what the limits do
#
# *Ungraded; skipping it breaks nothing later.* A token has 256 random bits, so guessing is hopeless; the limit is there so that the log stays readable and the disk does not fill. After ten wrong tokens the address has to wait:

# %% tags=["go-deeper"]
from collections import Counter

shy = separate_authority(lab.workspace, "shy")
with provisioning_site(shy) as limited:
    print(Counter(limited.ask("labtok_" + "A" * 43).reason for _ in range(14)))

# %% [markdown]
# ## Go deeper: EST, the standard
#
# *Ungraded.* RFC 7030 has the same in a language that others speak: `cacerts`, `simpleenroll`, `simplereenroll`. The desk behind it is the same, so the policy is. Replies are PKCS #7 in base64:

# %% tags=["go-deeper"]
reply = office.anyone.send("GET", "/.well-known/est/cacerts")
print(reply.status, reply.media_type, reply.body[:60].decode().strip() + "…")

# %% [markdown]
# ## Go deeper: three more exercises
#
# *Optional; skipping them breaks nothing later.*
#
# ### Exercise 3: two names
#
# *Break it.* Somebody mended the museum piece: it reads the subject of a request into a dict, and signs only if `CN` in it is the token's device. Then it signs the subject *as it was asked for*. You have a token for `sensor-103`. Return the common names of a request that it signs, and that makes a broker take you for `admin`. As Mosquitto does, the broker reads the first one.

# %% tags=["go-deeper"]
from labkit.course.lessons.provisioning_exercises import ask_for, grants, heard_as

for wish in (["sensor-103"], ["admin"]):
    print(wish, "granted:", grants(ask_for(wish)), " the broker says:", heard_as(ask_for(wish)))

# %% [markdown]
# Example: `["sensor-103"]` is an honest wish, and granted; `["admin"]` is refused. Server and broker are a few lines here, and the requests are real. Stuck? `lab.hint("provisioning.3")`.

# %% exercise="provisioning.3" kind="break-it" tags=["go-deeper"]
def names():
    """Return the common names of the request, in their order."""
    # BEGIN SOLUTION
    return ["admin", "sensor-103"]
    # END SOLUTION


# %% tags=["go-deeper"]
lab.workspace.write_json("answers/provisioning/names.json", names())
lab.check("provisioning.3")

# %% [markdown]
# ### Exercise 4: a rule for tokens
#
# *Bug hunt.* This is a colleague's rule. `token` is `None` if nobody made it, otherwise it has `device`, `ends_at` and `used_by`, the key that it was spent on, or `None`; the request has a `name` that it wishes for and its `key`. The rule is wrong in four places.

# %% tags=["go-deeper"]
def colleague(token, request, now):
    if now > token["ends_at"]:
        return "token-expired", None
    if token["used_by"] is not None:
        return "token-spent", None
    return "granted", request["name"]


# %% [markdown]
# Write **decide**: it returns a word and the name that is signed, or `None`. The words are `granted`, `repeated` (a spent token with the *same* key: its reply was lost, whenever that was), `token-unknown`, `token-spent` and `token-expired`. A spent token that has ended as well is spent.
#
# Example: for a fresh token of `sensor-103` and a request that wishes for `admin` it returns `("granted", "sensor-103")`. Stuck? `lab.hint("provisioning.4")`.

# %% exercise="provisioning.4" kind="bug-hunt" tags=["go-deeper"]
def decide(token, request, now):
    """Return what becomes of a request, and the name that is signed."""
    # BEGIN SOLUTION
    if token is None:
        return "token-unknown", None
    if token["used_by"] is not None:
        return ("repeated", token["device"]) if token["used_by"] == request["key"] else ("token-spent", None)
    if now >= token["ends_at"]:
        return "token-expired", None
    return "granted", token["device"]
    # END SOLUTION


# %% tags=["go-deeper"]
lab.hand_in(decide)
lab.check("provisioning.4")

# %% [markdown]
# labkit's twin is **Desk.provision** in `labkit/provisioning/desk.py`: the same order, inside a transaction.

# %% [markdown]
# ### Exercise 5: a thousand renewals
#
# *Tweak.* 1,000 devices were made on one day, with certificates of 90 days. A device may be away for 20 days, and must still find its renewal open when it comes back. The service should see no more than 150 of them begin on one day. Choose the two numbers of the **policy**, in days: `window`, which every device has before its end, and `jitter`, by how much more at most. However large they are, nobody renews before the last third of a certificate's life.

# %% tags=["go-deeper"]
from labkit.course.lessons.provisioning_exercises import busiest

print("days before the end, and how many begin then:", busiest(window=30, jitter=5))

# %% [markdown]
# Example: `{"window": 30, "jitter": 5}` is the course's own, for certificates of a year; for 90 days it has everybody begin on one day. Stuck? `lab.hint("provisioning.5")`.

# %% exercise="provisioning.5" kind="tweak" tags=["go-deeper"]
def policy():
    """Return window and jitter, in days."""
    # BEGIN SOLUTION
    return {"window": 20, "jitter": 10}
    # END SOLUTION


# %% tags=["go-deeper"]
lab.workspace.write_json("answers/provisioning/policy.json", policy())
lab.check("provisioning.5")

# %% [markdown]
# ## What you proved
#
# - You became admin of a printed server in two requests, and were refused by one that asks who you are.
# - You saw one bug hide another, and spent a token once with one statement.
# - You took a device through its first boot: its key never left it, a lost reply cost nothing, its token was worth nothing afterwards.
# - You renewed it with two certificates that overlap, and saw the old one end when the new one was confirmed.
# - You copied a device, and saw the copy found out at its renewal; you brought the real one back.
# - You took a device out of service and saw its session end, and moved a device from a token to a certificate.

# %%
lab.summary()

# %% [markdown]
# ## In practice
#
# - *The first boot trusts the network for a moment.* A token that is stolen in its 24 hours enrols the thief. Keep the time short, ship tokens apart from devices, and look at the registry: a device that can't enrol because its token is spent is an alarm.
# - *A registry is a target.* It holds no keys and no tokens, but who can write to it decides who is a device. Its trail refuses to be changed; ship the log of decisions to another machine all the same.
# - *An expired device* can't renew: it needs a fresh token. Some services allow a few days of grace; ours does not, because a stolen device would have them too.
# - *A contract manufacturer* gets tokens, one a device, and returns serial numbers. Count both.
# - *The simulated devices of this lesson are folders.* The layout is that of the firmware; lesson **esp32-flashing** puts an identity into a board.

# %% [markdown]
# ## Questions

# %%
lab.quiz("questions")

# %% [markdown]
# ## Further reading
#
# - [RFC 7030](https://www.rfc-editor.org/rfc/rfc7030): Enrolment over Secure Transport; section 4.2 is what this lesson does.
# - [RFC 2986](https://www.rfc-editor.org/rfc/rfc2986): what a certificate request is made of, in ten pages.
# - [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457): problem details, the shape of the service's refusals.
# - [NVS encryption](https://docs.espressif.com/projects/esp-idf/en/stable/esp32/api-reference/storage/nvs_encryption.html): where the keys of an encrypted partition come from.
# - [RFC 8995](https://www.rfc-editor.org/rfc/rfc8995): a way for devices from a shelf to find their owner, with vouchers of their maker.

# %% [markdown]
# ## Tidy up
#
# This stops services and brokers. Next: lesson **firmware-signing**. A device that is known by name still runs whatever it is told to run; there it learns to ask who wrote it. Exercise **first-boot** has you write the device's side of this lesson.

# %%
lab.close()
