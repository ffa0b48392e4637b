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
# # Let each device speak for itself, and for nobody else
#
# **What you'll do.** You steal a password, mend a printed configuration that refuses its own devices, put words into another device's mouth with a slash, and write rules that a live broker keeps.
#
# **What you'll learn**
#
# - say what server-side TLS protects, and what a password does not
# - configure mutual TLS so that the right devices get in, and know four ways to do it
# - prove what a device may say and hear, without believing the publisher
# - write access rules by identity, and test them where it counts
#
# **What you'll need.** About 60 minutes for the core path (an estimate). Python, OpenSSL and Mosquitto; no earlier lesson, though lessons **start-here** and **certificate-authority** help. You touch OWASP IoT items I1 (weak credentials), I3 (insecure interfaces) and I9 (insecure defaults).

# %% [markdown]
# ## Before you start

# %%
from labkit.course import open_lab
lab = open_lab("mutual-tls")

# %%
from labkit.pki import Store

store = Store(lab.workspace)
store.identity("sensor-001"), store.identity("sensor-002"), store.identity("admin")

# %% [markdown]
# `sensor-001` is the device that we care about; `sensor-002` is its neighbour, honest today and stolen tomorrow. `admin` is the **observer**, who hears everything and decides what was *delivered*.

# %% [markdown]
# ## Passwords behind TLS
#
# Many plants stop here: the broker has a certificate, the device checks it, and then shows a user name and a password. This broker is set up like that. The control first: the device, with its password.

# %%
from labkit.mqtt import probe
from labkit.scenarios.eavesdropping import PASSWORD, USER, old_broker

old = lab.enter(old_broker(lab.workspace, key_kind="p256"))
lab.claim("password-in", probe(old.endpoint, trust=old.trust, username=USER, password=PASSWORD))

# %% [markdown]
# Nobody on the way could read that password. But it stands in the device's flash, in the installer's notes, and in a log file from the day when something did not work. Somebody reads it in *one* of those places.

# %%
lab.predict("password")

# %%
read_somewhere, wrong = "blue-door-42", "blue-door-43"
topic = "devices/sensor-001/telemetry/temperature"
lab.claim("password-thief", probe(old.endpoint, trust=old.trust, username=USER, password=read_somewhere, publish=topic))
lab.claim("password-control", probe(old.endpoint, trust=old.trust, username=USER, password=wrong))
old.broker.stop()

# %% [markdown]
# From any computer in the world, the thief *is* `sensor-001`: he spoke on its topic (reason code 16 is a yes: allowed, and nobody was subscribed). The broker refuses wrong passwords, so it is doing its job; and TLS did what it promised, which was to prove the *broker*. A password is a secret that you must show to use it, and what is shown can be copied.
#
# | what matters | password | certificate and key |
# | --- | --- | --- |
# | to prove who you are, you | show the secret | sign with it, and keep it |
# | what the broker keeps | a hash of every password | nothing secret about devices |
# | one copied flash chip gives | this device, and every other with the same password | this device |
# | changing it | by hand, on both sides | the authority issues another |
# | taking it away | delete a line | revoke (lesson **revocation**) |
# | costs | nothing | an authority, and a device that can compute |

# %% [markdown]
# ## The printed configuration refuses its own devices
#
# So every device gets a key and a certificate, signed by the intermediate. Many guides then print a broker whose `cafile` is the root, with `require_certificate true`, and a device that shows its certificate. It looks right. Start it.

# %%
lab.predict("printed")

# %%
from labkit.scenarios import mutual_tls

printed = lab.enter(mutual_tls(store, folder="broker/printed", cafile=store.trust_anchor))
lab.claim("printed-refuses", printed.attempt(store.identity("sensor-001")))

# %% [markdown]
# `unknown_ca`, at our own device! The broker knows the root and was shown a leaf. Nobody gave it the intermediate, so it can't get from one to the other. `openssl verify` says OK, because *we* hand it the intermediate; the broker had no such help. There are four ways out that people try:

# %%
from labkit.scenarios.access import hashed_folder, presenting_chain

lab.claim("chain-in", printed.attempt(presenting_chain(store, "sensor-001")))
printed.broker.stop()

# %%
ways = {"bundle-in": {}, "capath-in": {"capath": hashed_folder(store)}, "intermediate-only": {"cafile": store.intermediate}}
outcomes = {}
for way, options in ways.items():
    with mutual_tls(store, folder="broker/ways", **options) as site:
        outcomes[way] = site.attempt(store.identity("sensor-001"))

# %%
lab.claim("bundle-in", outcomes["bundle-in"])
lab.claim("capath-in", outcomes["capath-in"])
lab.claim("intermediate-only", outcomes["intermediate-only"])

# %% [markdown]
# | way | device in? | what it means |
# | --- | --- | --- |
# | the device sends its chain, `cafile` is the root | yes | standard TLS; the broker never changes when an intermediate does, but a *revoked* intermediate is brought along by the thief himself, and the chain costs the device flash and bytes |
# | `cafile` holds intermediate and root | yes | devices send the least; a new intermediate goes to the broker first. Ours |
# | `capath`, a folder, and `openssl rehash` | yes | the same trust, one file each; whoever forgets rehash gets `unknown_ca` again |
# | `cafile` is the intermediate alone | no | the narrow trust that one would like does not exist here: Mosquitto wants a chain that ends in a root |

# %% [markdown]
# ## Who are you, then?
#
# With **use_identity_as_username** the broker takes the user name from the certificate. A client may still *send* a name of its own, as MQTT has a field for it. `sensor-001` claims to be `admin` and opens a valve.

# %%
site = lab.enter(mutual_tls(store))
device = store.identity("sensor-001")
lab.claim("claim-ignored", site.attempt(device, username="admin", client_id="admin", publish="devices/sensor-002/commands/open-valve"))
lab.claim("claim-control", site.attempt(device, username="admin", client_id="admin", publish="devices/sensor-001/status"))

# %% [markdown]
# Look for `u'sensor-001'` in the broker's lines: the claim was thrown away. Identity comes from the key, and the key was proved in the **handshake**. No `allow_anonymous`, no password file, no list of devices: the broker has never heard of `sensor-001` before.

# %% [markdown]
# ## PUBACK means nothing
#
# Now *rules*. Ours say that a device speaks below its own name only. `sensor-001` publishes to `sensor-002`'s telemetry, in all six ways that MQTT has: two versions, three qualities of service. What is the publisher told?

# %%
lab.predict("puback")

# %%
from labkit.display import Table
from labkit.scenarios.access import told_of

told = told_of(site, "sensor-001", "devices/sensor-002/telemetry/temperature")
Table("Forbidden: what the publisher is told, and what the observer saw", ("protocol", "QoS", "the publisher's library says", "the message"), [each.row() for each in told])

# %%
allowed = told_of(site, "sensor-001", "devices/sensor-001/telemetry/temperature")
Table("Allowed", ("protocol", "QoS", "the publisher's library says", "the message"), [each.row() for each in allowed])

# %% [markdown]
# Nothing arrived, whatever the publisher was told. Its answer is called **PUBACK**, and MQTT 3.1.1 *has no way* to say no in it: a refused message is acknowledged like any other, and ESP-IDF's client speaks 3.1.1 unless you configure it. MQTT 5 says `135`; for QoS 2 the broker says it in the *first* answer, and this library looks at the last. So: **delivery is the proof**, and nothing else is.

# %%
lab.claim("other-undelivered", site.publish("sensor-001", "devices/sensor-002/telemetry/temperature", "99"))
lab.claim("own-delivered", site.publish("sensor-001", "devices/sensor-001/telemetry/temperature", "21"))

# %% [markdown]
# ### Granted, and deaf
#
# The other direction. `sensor-002` subscribes to `#` and to the commands of `sensor-001`. The broker answers each SUBSCRIBE with **SUBACK**: *granted*. Then `admin` sends `sensor-001` a command.

# %%
lab.predict("suback")

# %%
from labkit.scenarios.access import spied_on

lab.claim("spy-deaf", spied_on(site, "sensor-002", "sensor-001"))

# %% [markdown]
# Granted, and not delivered: Mosquitto checks *each message on its way out*. And `sensor-002` is not deaf in general: a **fence**, a message to its own commands that was sent afterwards, did arrive. A security test that reads SUBACK would report a hole here; one that reads PUBACK would have missed one above.

# %% [markdown]
# ### Exercise 1: decide like a broker
#
# *Fill in.* Complete **may_write**: given a user, a topic and a list of patterns, which is an **ACL** in small, return whether one of the patterns allows it. `%u` in a pattern stands for the user name, `+` for exactly one level, `#` for all levels that are left. A user whose name contains `+` or `#` may do nothing.
#
# Example: `may_write("sensor-001", "devices/sensor-001/status", PATTERNS)` is `True`. Stuck? `lab.hint("mutual-tls.1")`, up to three times.

# %%
from labkit.course.lessons.mutual_tls import CASES, PATTERNS

PATTERNS, CASES

# %% exercise="mutual-tls.1" kind="fill-in"
def may_write(user, topic, patterns):
    """Return whether one of the patterns lets the user write to the topic."""
    # BEGIN SOLUTION
    if "+" in user or "#" in user:
        return False
    for pattern in patterns:
        wanted, given = pattern.replace("%u", user).split("/"), topic.split("/")
        for number, level in enumerate(wanted):
            if level == "#":
                return True
            if number >= len(given) or level not in ("+", given[number]):
                break
        else:
            if len(wanted) == len(given):
                return True
    return False
    # END SOLUTION


# %% [markdown]
# Eight cases, the last one hostile. **hand_in** keeps the cell of your function as text; the check calls it in a process of its own, with these cases and with others, and compares your decisions with the broker's.

# %%
{name: may_write(user, topic, PATTERNS) for name, (user, topic) in CASES.items()}

# %%
lab.hand_in(may_write)
lab.check("mutual-tls.1")

# %% [markdown]
# labkit's twin is **decide**; our tests ask a real Mosquitto the same questions, thousands of them. The hostile case is the user called `+`: filled into the pattern it would speak for *every* device. Mosquitto calls such a name *dangerous* and refuses everything.

# %% [markdown]
# ## Break it: a slash in a name
#
# One thing wrong, everything else the same: a certificate whose common name is `sensor-001/commands`, from an authority that signs what it is asked to (lesson **certificate-authority** met one). Filled into `devices/%u/status`, what does that give?

# %%
from labkit.errors import NameRefusedError
from labkit.pki import flawed
from labkit.scenarios.access import heard_by

slash = store.save_intruder("slash", flawed.slash_in_name(store.authority(), "sensor-001"))
topic = "devices/sensor-001/commands/status"
with site.session("sensor-001") as victim, site.session(slash) as intruder:
    victim.subscribe("devices/sensor-001/commands/#")
    injected = heard_by(site, victim, "sensor-001", topic, lambda payload: intruder.publish(topic, payload))

# %%
if site.broker.version.startswith("2.0"):
    lab.claim("slash-injects", injected)
else:
    lab.does_not_apply("slash-injects", f"Mosquitto {site.broker.version} fills no name with a slash into a pattern")

# %% [markdown]
# Under Mosquitto 2.0 `sensor-001` *received a command* from somebody who may not command anybody. Which layer refused? **None.** TLS was content, because the signature is ours. The rules were kept, to the letter. The mistake was made weeks ago, when a name was signed. So that is where it is mended:

# %%
for name in ("sensor-001/commands", "+", "admin", "sensor-001\n"):
    try:
        store.issue_device(name)
    except NameRefusedError as error:
        print(f"{error.rule:<10} {error.message}")

# %%
with site.session("sensor-001") as victim, site.session("sensor-002") as neighbour:
    victim.subscribe("devices/sensor-001/commands/#")
    lab.claim("plain-name-harmless", heard_by(site, victim, "sensor-001", topic, lambda payload: neighbour.publish(topic, payload)))

# %% [markdown]
# ## Rules that hold
#
# Somebody has simplified the rules: *devices may use everything below devices/, it is easier that way*. Seven sentences say what a plant needs. Here is what becomes of them under the simple rules.

# %%
from labkit.broker import Acl, Rule
from labkit.scenarios.access import try_rules

simple = Acl((Rule("readwrite", "#", user="admin"), Rule("readwrite", "devices/#", pattern=True)))
site.broker.reload(simple)
Table("Under the simple rules", ("sentence", "as it should be?", "what happened"), [(text, "yes" if held else "NO", outcome) for text, held, outcome in try_rules(site)])

# %% [markdown]
# ### Exercise 2: mend the rules
#
# *Defend it.* Write **rules** that make all seven sentences come out as they should. `Rule(access, topic)` takes `"read"`, `"write"`, `"readwrite"` or `"deny"`; `user="admin"` is for one user, `pattern=True` is for everybody with `%u` filled in. The check tries all seven on the running broker.
#
# Example: `Rule("write", "devices/%u/status", pattern=True)` is one that you will need. Stuck? `lab.hint("mutual-tls.2")`.

# %% exercise="mutual-tls.2" kind="defend-it"
def rules():
    """Return the access rules of the plant."""
    # BEGIN SOLUTION
    return Acl((
        Rule("read", "#", user="admin"),
        Rule("write", "devices/+/commands/#", user="admin"),
        Rule("write", "devices/%u/telemetry/#", pattern=True),
        Rule("write", "devices/%u/status", pattern=True),
        Rule("read", "devices/%u/commands/#", pattern=True),
    ))
    # END SOLUTION


# %%
site.reload(rules())
print((site.broker.folder / "acl.conf").read_text())

# %%
lab.check("mutual-tls.2")

# %% [markdown]
# **site.reload** is careful for a reason. Mosquitto 2.0 answers a rule that it can't read by dropping *all* rules: everybody may do everything, and the log has one line about it. So labkit parses the rules, tries them on a second broker, swaps them in, and looks for something forbidden that must be refused.

# %% [markdown]
# ## The same by hand: mosquitto_pub
#
# Guides test with `mosquitto_pub` and read its exit status. Here is what the real program says, where it is installed: an allowed message, a forbidden one, a client without a certificate, under MQTT 3.1.1.

# %%
from labkit.processes import find_tool, run

def publish_with_tool(topic, *identity):
    argv = ["mosquitto_pub", "-h", "localhost", "-p", str(site.port), "--cafile", "root/ca.crt", "-t", topic, "-m", "21", "-q", "1", *identity]
    ended = run(argv, cwd=lab.workspace.root, check=False)
    return ended.returncode, ended.output.strip()

ours = ("--cert", "devices/sensor-001.crt", "--key", "devices/sensor-001.key")
if find_tool("mosquitto_pub"):
    print("own topic:      ", publish_with_tool("devices/sensor-001/status", *ours))
    print("another's topic:", publish_with_tool("devices/sensor-002/status", *ours))
    print("no certificate: ", publish_with_tool("devices/sensor-001/status"))
else:
    print("mosquitto_pub is not installed here; labkit doctor says how to get it")

# %% [markdown]
# Status 0 for a message that never arrived; and for the refusal one of several phrases, by chance, none of which gives the reason. Exit codes of a publisher are no test of a broker.

# %%
lab.claim("still-in", site.publish("sensor-001", "devices/sensor-001/telemetry/temperature", "21.7"))

# %% [markdown]
# ## Go deeper: a stolen client id
#
# *Ungraded; skipping it breaks nothing later.* MQTT has a third name: the **client id**. Two clients with the same id can't both be connected; the newer one wins. The broker below does not bind it to the certificate. `sensor-001` is away, a command waits for it, and `sensor-002` connects under its client id.

# %% tags=["go-deeper"]
from labkit.scenarios.access import command_kept

with mutual_tls(store, folder="broker/unbound", bind_client_id=False) as unbound:
    lab.claim("command-waits", command_kept(unbound, "sensor-001"))
    lab.claim("command-lost", command_kept(unbound, "sensor-001", thief="sensor-002"))
lab.claim("command-safe", command_kept(site, "sensor-001", thief="sensor-002"))

# %% [markdown]
# The valve stays open, and nobody is told. Mutual TLS was in force the whole time; the client id was simply nobody's. **use_username_as_clientid** takes it from the certificate, and the same theft finds nothing to steal.

# %% [markdown]
# ## Go deeper: everybody under the root is your friend
#
# *Ungraded.* The same root signs a second intermediate, for the office's VPN. Its staff may issue certificates for the VPN, and one of them issues `admin`.

# %% tags=["go-deeper"]
from labkit.scenarios.separate import separate_authority

plant = separate_authority(lab.workspace, "shared-root")
office = plant.save_intruder("office", flawed.sibling_intermediate(plant.root(plant.kept_passphrase()), "admin"), with_chain=True)
command = "devices/sensor-001/commands/open-valve"
with mutual_tls(plant) as shared:
    lab.claim("sibling-admin", shared.attempt(office, publish=command))

# %% [markdown]
# Every signature holds: office, root, broker's trust. Two ways out: a root for devices *alone*, or a revocation list of the intermediate that you mean, because OpenSSL refuses whoever's issuer has no list.

# %% tags=["go-deeper"]
plant.revocations.ensure()
with mutual_tls(plant, crlfile=plant.revocations.path) as narrow:
    lab.claim("sibling-refused", narrow.attempt(office, publish=command))
    lab.claim("sibling-control", narrow.attempt(plant.identity("admin"), publish=command))
lab.claim("other-root-refused", site.attempt(office, publish=command))

# %% [markdown]
# ## Go deeper: three more exercises
#
# *Optional; skipping them breaks nothing later.*
#
# ### Exercise 3: eyes for an auditor
#
# *Tweak.* An auditor comes for a week. She wants to hear everything that is said below `devices/`, and must not be able to speak for a device. Take the course's rules, `DEVICE_ACL`, and add what is missing.
#
# Example: `Acl((*DEVICE_ACL.rules, Rule("read", "plant/#", user="auditor")))` is a list with one more rule. Stuck? `lab.hint("mutual-tls.3")`.

# %% exercise="mutual-tls.3" kind="tweak" tags=["go-deeper"]
from labkit.broker import DEVICE_ACL


def with_auditor():
    """Return the course's rules, with eyes for the auditor."""
    # BEGIN SOLUTION
    return Acl((*DEVICE_ACL.rules, Rule("read", "devices/#", user="auditor")))
    # END SOLUTION


# %% tags=["go-deeper"]
audited = lab.enter(mutual_tls(store, folder="broker/audited", acl=with_auditor()))
lab.check("mutual-tls.3")

# %% [markdown]
# ### Exercise 4: find the hole
#
# *Break it.* Somebody has written rules that pass every test of the installer: each device delivers, each one hears its commands. They are in force on this broker, and are not as tight as they look.

# %% tags=["go-deeper"]
from labkit.broker.acl import render
from labkit.course.lessons.mutual_tls_exercises import LOOSE_ACL

loose = lab.enter(mutual_tls(store, folder="broker/loose", acl=LOOSE_ACL))
print(render(LOOSE_ACL))

# %% [markdown]
# Complete **hole**: a device (`sensor-001` or `sensor-002`) and a topic that it can write to under these rules, and could not under those of *Rules that hold*. The check sends a message, and it counts if it *arrives*.
#
# Example: `("sensor-001", "devices/sensor-002/status")` is refused here too. Stuck? `lab.hint("mutual-tls.4")`.

# %% exercise="mutual-tls.4" kind="break-it" tags=["go-deeper"]
def hole():
    """Return a device and a topic that it should not be able to write to."""
    # BEGIN SOLUTION
    return "sensor-001", "devices/sensor-001/commands/open-valve"
    # END SOLUTION


# %% tags=["go-deeper"]
lab.workspace.write_json("answers/mutual-tls/hole.json", hole())
lab.check("mutual-tls.4")

# %% [markdown]
# ### Exercise 5: who was refused?
#
# *Bug hunt.* The broker writes a line for each message that its rules refuse. A colleague counts them with the function below, and reports that *admin* is behind an attack. Here are two lines that `sensor-003` caused.

# %% tags=["go-deeper"]
import re
from collections import Counter


def colleague(lines):
    return Counter(re.findall(r"Denied PUBLISH from (\S+)", "\n".join(lines)))


topic = "devices/sensor-003/telemetry/Denied PUBLISH from admin (d0"
lines = [
    "2026-03-04T05:06:07: Denied PUBLISH from sensor-003 (d0, q1, r0, m1, 'devices/sensor-001/status', ... (5 bytes))",
    f"2026-03-04T05:06:08: Received PUBLISH from sensor-003 (d0, q0, r0, m0, '{topic}', ... (5 bytes))",
]
colleague(lines)

# %% [markdown]
# Write **refused_by**: it is given the lines of a log and returns a dict, how many messages *of* each client were refused. (`Denied PUBLISH to …` is another matter: a reader who may not have a message.)
#
# Example: for the two lines above it returns `{"sensor-003": 1}`. Stuck? `lab.hint("mutual-tls.5")`.

# %% exercise="mutual-tls.5" kind="bug-hunt" tags=["go-deeper"]
def refused_by(lines):
    """Return how many messages of each client were refused."""
    # BEGIN SOLUTION
    found = {}
    for line in lines:
        text = line.partition(": ")[2]
        if text.startswith("Denied PUBLISH from "):
            client = text.split()[3]
            found[client] = found.get(client, 0) + 1
    return found
    # END SOLUTION


# %% tags=["go-deeper"]
lab.hand_in(refused_by)
lab.check("mutual-tls.5")

# %% [markdown]
# ## What you proved
#
# - A copied password is the device, from anywhere; TLS on the server's side could not help.
# - The printed configuration refused its own device; three of four ways to mend it work.
# - The user name comes from the key: claims in MQTT's own fields were ignored.
# - Five of six forbidden messages looked delivered to the publisher, and none was; a granted subscription heard nothing.
# - A slash in a signed name put words into another device's mouth, or would have under Mosquitto 2.0; names are refused at issuance.
# - Your rules keep seven sentences on a live broker.

# %%
lab.summary()

# %% [markdown]
# ## In practice
#
# - *Wills* are messages too: a last will on another device's topic is accepted at CONNECT and dropped when it fires, without a line in the log. Test what is delivered.
# - *Started as root, Mosquitto becomes the user `mosquitto`*, who can't read a key that only root may read: "Unable to load server key file". Give the key to that user's group, 0640, or start it as that user.
# - *`tls_version` is a minimum* in Mosquitto 2; it was exact before.
# - *Expected outputs in guides are often from another version.* What your broker says is in your broker's log, with `log_type all`; refusals by rule are debug lines.
# - *One identity per device* also means: one identity per service that talks to the broker. The dashboard is a client too.

# %% [markdown]
# ## Questions

# %%
lab.quiz("questions")

# %% [markdown]
# ## Further reading
#
# - [mosquitto.conf](https://mosquitto.org/man/mosquitto-conf-5.html): *acl_file*, *use_identity_as_username*, *use_username_as_clientid*.
# - [MQTT 5, section 3.4](https://docs.oasis-open.org/mqtt/mqtt/v5.0/os/mqtt-v5.0-os.html#_Toc3901121): PUBACK and its reason codes.
# - [RFC 8446, section 4.4.2](https://www.rfc-editor.org/rfc/rfc8446#section-4.4.2): what a client has to send in its Certificate message.
# - [RFC 9431](https://www.rfc-editor.org/rfc/rfc9431): another way to authorise MQTT clients, with tokens.

# %% [markdown]
# ## Tidy up
#
# This stops the brokers. Next: lesson **revocation**. A stolen device still passes everything that you built here, because it *is* the device. Exercise **mtls-setup** asks for what you have now, from an empty folder.

# %%
lab.close()
