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
# # Build an authority that a fleet can trust
#
# **What you'll do.** You build a certificate authority twice, with openssl and in Python, judge both with a linter, watch a tutorial's authority lose certificates, issue a thousand identities in seconds, and survive the theft of the intermediate's key.
#
# **What you'll learn**
#
# - make root, intermediate, broker and device certificates by hand, and say what each field is for
# - tell a certificate that works from one that is right
# - issue to a name that *you* chose, whatever the request asks for
# - keep a root offline, and replace a stolen intermediate without touching a device's key
#
# **What you'll need.** About 60 minutes for the core path (an estimate). Python, OpenSSL and Mosquitto; no earlier lesson, though lesson **start-here** helps. You touch OWASP IoT items I1 (weak credentials) and I8 (lack of device management).

# %% [markdown]
# ## Before you start

# %%
from labkit.course import open_lab
lab = open_lab("certificate-authority")

# %% [markdown]
# Everything that is made by hand today goes into a folder of its own, `scratch/by-hand`, with the four subfolders that most guides use. Your lab's own authority stays as it is.

# %%
from labkit.course.lessons.certificate_authority import empty_workshop

workshop = empty_workshop(lab)
sorted(path.name for path in workshop.root.iterdir() if path.is_dir() and not path.name.startswith("."))

# %% [markdown]
# ## The root
#
# A **root** is a key and a certificate that says: this is the key, and it may sign certificates and lists. It signs itself, which proves nothing to a stranger; people believe it because they put it into their devices. Two openssl commands make one. The configuration file says what the certificate may be used for.

# %%
from labkit.pki import by_hand
from labkit.pki.openssl import follow

recipe = by_hand.root("Hand-made Root CA")
print(recipe)

# %% [markdown]
# The passphrase comes from the environment, never from the command line: `ps` shows arguments to everybody on the machine. We make up a random one and keep it in this notebook's memory alone.

# %%
import secrets

from labkit.pki import describe
from labkit.pki.identities import read_certificate

passphrase = {"LABKIT_CA_PASSPHRASE": secrets.token_hex(16)}
follow(recipe, workshop.root, env=passphrase)
handmade_root = read_certificate(workshop.path("root/ca.crt"))

# %% [markdown]
# ### Exercise 1: a root in Python
#
# *Fill in.* Build the same with `cryptography`: P-384 key, ten years, and four extensions. **basicConstraints** (it is a CA) and **keyUsage** (it signs certificates and lists) must be **critical**: a program that does not understand them has to refuse. **subjectKeyIdentifier** and **authorityKeyIdentifier** help to find issuers, and are not critical. **signs_both** below is your keyUsage: `cryptography` wants to hear of all nine bits, so seven are set to no.
#
# Example: `make_root("My Root CA")` returns a certificate with `CA:TRUE, critical`. Stuck? `lab.hint("certificate-authority.1")`, up to three times.

# %%
import datetime as dt

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

no = dict.fromkeys(["digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
                    "key_agreement", "encipher_only", "decipher_only"], False)
signs_both = x509.KeyUsage(key_cert_sign=True, crl_sign=True, **no)

# %% exercise="certificate-authority.1" kind="fill-in"
def make_root(name):
    """Return the certificate of a root that signed itself."""
    # BEGIN SOLUTION
    key, now = ec.generate_private_key(ec.SECP384R1()), dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + dt.timedelta(days=3650))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(signs_both, critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    builder = builder.add_extension(identifier, critical=False)
    return builder.sign(key, hashes.SHA384())
    # END SOLUTION


# %% [markdown]
# Store what you made; the check reads the file.

# %%
from cryptography.hazmat.primitives.serialization import Encoding

mine = make_root("My Root CA")
lab.workspace.write("answers/certificate-authority/root.crt", mine.public_bytes(Encoding.PEM));

# %%
lab.check("certificate-authority.1")

# %% [markdown]
# Three roots side by side: yours, openssl's, and that of labkit, whose **Authority.new_root** is the tested twin of your function. Names, serial numbers and keys differ, as they must. Everything else should not.

# %%
from labkit.display import Table
from labkit.pki import Authority

roots = [dict(describe(each).rows()) for each in (mine, handmade_root, Authority.new_root("Our Root CA").certificate)]
fields = [name for name in roots[0] if name not in {"serial number", "SHA-256 fingerprint"}]
Table("Three roots", ("field", "yours", "openssl", "labkit"), [(f, *(root[f] for root in roots)) for f in fields])

# %% [markdown]
# ## The intermediate, the broker, a device
#
# The root signs an **intermediate** and goes back into its safe. The intermediate signs everything else. **pathlen:0** says that no further authority may stand below it.

# %%
from labkit.pki import Store

follow(by_hand.intermediate("Hand-made Device CA"), workshop.root, env=passphrase)
follow(by_hand.server(["localhost"], ["127.0.0.1"]), workshop.root)
follow(by_hand.device("sensor-001"), workshop.root)
handmade = Store(workshop)

# %%
from labkit.display import chain_tree

chain_tree(handmade.tree())

# %% [markdown]
# In Python each level is one call. Same profile, same fields: where do openssl's certificates and labkit's differ?

# %%
twin = Authority.new_root("Twin Root CA").new_intermediate("Twin Device CA")
levels = {"intermediate": twin.certificate, "broker": twin.issue_server(["localhost"], ["127.0.0.1"]).certificate,
          "sensor-001": twin.issue_device("sensor-001").certificate}
for name, ours in levels.items():
    by_openssl, by_labkit = dict(describe(handmade.certificate(name)).rows()), dict(describe(ours).rows())
    print(f"{name}: {', '.join(field for field in by_openssl if by_openssl[field] != by_labkit[field])}")

# %% [markdown]
# Names, numbers, dates, and the fingerprint that follows from them. labkit sets *not before* five minutes back, for devices whose clocks are slow.
#
# Now read every field that matters off the real certificates, level by level. Compare the columns, not only the rows: what a root *may* do and what a device may *not* is the whole design.

# %%
levels = {name: dict(describe(handmade.certificate(name)).rows()) for name in ("root", "intermediate", "broker", "sensor-001")}
fields = [name for name in levels["root"] if name != "SHA-256 fingerprint"]
Table("What they say", ("field", *levels), [(f, *(level[f] for level in levels.values())) for f in fields])

# %% [markdown]
# | field | what it is for | what goes wrong without it |
# | --- | --- | --- |
# | subject, **CN** | whom it is about; our broker makes the user name of it | a name with a slash becomes a path in topics |
# | issuer | whose signature to look for | names are text; only the key of the issuer counts |
# | serial number | what a revocation list names | numbers in sequence can be guessed, and collide |
# | not before, not after | how long the promise holds | a stolen key is good for ever |
# | basicConstraints | whether it may sign others, and how deep | any device could be an authority |
# | keyUsage | what the *key* may do | a device's key could sign lists |
# | extended key usage, **EKU** | server or client | a device can pass for the broker |
# | **SAN** | which host a server is | clients can't tell one server from another |
#
# A table like this often lists *key encipherment* for servers. That is for the old RSA key exchange, which has no **forward secrecy**; lesson **tls** opens a recording made with it. Ours sign, and do nothing else.

# %% [markdown]
# Does the real broker take it? labkit reads the folder that openssl filled as if it were its own, and a device made by hand delivers a message.

# %%
from labkit.scenarios import mutual_tls

hall = lab.enter(mutual_tls(handmade))
lab.claim("handmade-in", hall.publish("sensor-001", "devices/sensor-001/telemetry/temperature", "21.5"))

# %% [markdown]
# ### When openssl verify seems to lie
#
# The broker presents `broker-fullchain.crt`, its certificate and the intermediate. So that file should verify against the root. Try it, as many guides print it:

# %%
from labkit.processes import run

print(run(["openssl", "verify", "-CAfile", "root/ca.crt", "server/broker-fullchain.crt"], cwd=workshop.root, check=False).output)
print(run(["openssl", "verify", "-CAfile", "root/ca.crt", "-untrusted", "intermediate/intermediate.crt",
           "server/broker.crt"], cwd=workshop.root).output)

# %% [markdown]
# **verify** reads only the *first* certificate of the file, and then has nobody between it and the root: *unable to get local issuer certificate*. Certificates that may help, and are not believed by themselves, go into `-untrusted`. The chain was right; the question was wrong.

# %% [markdown]
# ## The deputy who appoints deputies
#
# `pathlen:0` is text in a certificate. The intermediate's key can sign whatever it is told to, another authority too. Who notices?

# %%
lab.predict("pathlen")

# %%
from labkit.pki import flawed
from labkit.errors import IssuanceRefusedError

store = Store(lab.workspace)
site = lab.enter(mutual_tls(store))
forged = flawed.path_length_exceeded(store.authority(), "sensor-001")
deputy = store.save_intruder("deputy", forged, with_chain=True)
lab.claim("pathlen", site.attempt(deputy))

# %%
try:
    store.authority().new_intermediate("Deputy CA")
except IssuanceRefusedError as error:
    print(error.rule, "-", error.message)

# %% [markdown]
# The alert blames the CA; `openssl verify` names the rule, *path length constraint exceeded*. Two locks. labkit's authority refuses to sign, which protects you from mistakes. The broker refuses to believe, which protects you from *somebody else's* authority software. Only the second one stops a thief.

# %% [markdown]
# ## Whose name is it?
#
# A device makes its key itself and sends a **CSR**, a certificate signing request: the public key, a wished-for name, and a signature that proves that it has the private key. This one comes from `sensor-020`. Look at what it wishes to be called.

# %%
from labkit.pki import Key, make_request, read_request

key = Key.generate("p256")
wish = make_request(key, "admin")
lab.workspace.write("answers/certificate-authority/wish.csr", wish)
print(run(["openssl", "req", "-noout", "-subject", "-verify"], stdin=wish, cwd=lab.workspace.root).output)

# %% [markdown]
# *Verify OK* means that whoever made the request has the key; of the name it says nothing. And `openssl x509 -req` signs the subject that *stands in the request*. That is the heart of many a provisioning script, and this is what it gives to whoever asks:

# %%
lab.predict("wish")

# %%
from labkit.scenarios.printed_authority import sign_as_asked

usurper = sign_as_asked(store, wish, key)
lab.claim("wish-granted", site.attempt(usurper, publish="devices/sensor-001/commands/open-valve"))

# %% [markdown]
# A sensor is `admin` now, and may command every device. (Reason code 16 is a yes: allowed, and nobody was subscribed.) The certificate is perfect; the *question* was put to the wrong side. In labkit a request contributes its **key and its proof**, and nothing else. The name comes from the authority's own list.

# %%
from dataclasses import replace

request = read_request(wish)
issued = replace(store.authority().issue_device("sensor-020", request=request, renew=True), key=key)
honest = store.save_intruder("sensor-020", issued)
print("ignored:", *request.ignored)

# %%
lab.claim("wish-ignored", site.attempt(honest, publish="devices/sensor-001/commands/open-valve"))
lab.claim("wish-control", site.attempt(honest, publish="devices/sensor-020/status"))

# %% [markdown]
# ## Works is not right
#
# An authority as tutorials print it: the root takes its extensions from wherever openssl finds a configuration (here: nowhere), the intermediate's are not critical, serial numbers count upwards. Each command ends without an error. **lint** reads certificates like a reviewer: one rule, one clause, one sentence.

# %%
from labkit.clock import SYSTEM_CLOCK
from labkit.pki.lint import lint
from labkit.scenarios.printed_authority import printed_authority

printed = printed_authority(lab.workspace.path("scratch/printed"))
now, files = SYSTEM_CLOCK.now(), {"root": printed.root, "intermediate": printed.intermediate, "server": printed.broker, "device": printed.device}
found = [(role, f.severity, f.rule, f.message) for role, path in files.items() for f in lint(path.read_bytes(), role=role, now=now)]
Table("A tutorial's authority", ("certificate", "severity", "rule", "what is wrong"), found)

# %% [markdown]
# Does it matter? Some of it waits for a newer program to be noticed: Python 3.13 refuses a CA whose basicConstraints are not critical, Python 3.11 took it. A root without basicConstraints is an authority only because everybody is polite. And here are ours, the hand-made ones included:

# %%
ours = {"root": "root", "intermediate": "intermediate", "server": "broker", "device": "sensor-001"}
store.identity("sensor-001")
[(role, lint(each.certificate(name), role=role, now=now)) for each in (store, handmade) for role, name in ours.items()]

# %% [markdown]
# Empty lists: the linter has nothing to say of these eight, four made by labkit and four by hand.

# %% [markdown]
# ### Exercise 2: write a rule
#
# *Fill in.* The most expensive mistakes are made in one field: the name. Write **name_rule**: it is given the list of common names that stand in a certificate, and returns `"count"` where there is none or more than one, `"grammar"` where the name is not 1 to 63 of `a-z`, `0-9` and `-`, beginning with a letter or digit, `"reserved"` where it is `admin`, and `"ok"` otherwise.
#
# Example: `name_rule(["sensor-001"])` returns `"ok"`. Stuck? `lab.hint("certificate-authority.2")`.

# %%
from labkit.course.lessons.certificate_authority import make_specimens

common_name = x509.NameOID.COMMON_NAME
specimens = {label: [each.value for each in found.subject.get_attributes_for_oid(common_name)]
             for label, found in make_specimens(lab).items()}
specimens

# %% exercise="certificate-authority.2" kind="fill-in"
import re


def name_rule(names):
    """Return what is wrong with the common names of a certificate, or "ok"."""
    # BEGIN SOLUTION
    if len(names) != 1:
        return "count"
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", names[0]):
        return "grammar"
    return "reserved" if names[0] == "admin" else "ok"
    # END SOLUTION


# %% [markdown]
# Five specimens, one of them hostile. **hand_in** keeps the cell of your rule as text; the check calls it in a process of its own, with these names and with others.

# %%
{label: name_rule(names) for label, names in specimens.items()}

# %%
lab.hand_in(name_rule)
lab.check("certificate-authority.2")

# %% [markdown]
# One of the specimens is hostile: `sensor-001\n`, with a line feed at the end. With `re.match` and `$` it passes for `sensor-001`, because `$` matches *before* a last line feed. **fullmatch** is the word. labkit's twin is `labkit.pki.names`, which says in its error which rule a name broke.

# %% [markdown]
# ## Break it: the zoo
#
# Every specimen of the **zoo** is a certificate with *one* thing wrong. Three judges look at each: our linter, `openssl verify`, and the broker. Which of them notices, and which layer refuses?

# %%
from labkit.scenarios.zoo import visit_zoo

Table("The zoo", ("specimen", "lint", "openssl verify", "the broker"), [visit.row() for visit in visit_zoo(lab.workspace)])

# %% [markdown]
# Read the last column from top to bottom, and look for **accepted**. No purpose at all counts as *every* purpose. A slash in a name is fine with TLS, and lesson **mutual-tls** shows what it does to topics. A broker checks what RFC 5280 tells it to check; policy, such as *who may be called what*, is checked when a certificate is **issued** or nowhere.
#
# One line may say *the broker died*. Mosquitto 2.0.11, told to take the client id from the certificate, ends itself when that name is empty; newer versions let it in. Nobody can show such a certificate unless your authority signed it. That is one more reason to be strict about names before signing.

# %%
lab.claim("zoo-control", site.attempt(store.identity("sensor-001")))

# %% [markdown]
# ## A thousand devices
#
# Ten devices by script are ten times four openssl processes. It works, and then somebody runs the script twice at the same time. `-CAcreateserial` keeps the next serial number in a file that nobody locks.

# %%
from labkit.scenarios.printed_authority import race

outcome = race(printed)
print(f"{outcome.asked} asked for, {outcome.issued} made, {outcome.consecutive} with the serial number after another one's")
print(*(f"{times} times: {words}" for words, times in outcome.words), sep="\n")

# %% [markdown]
# Some certificates were never made, and the script that asked for them may not have looked. Those that were made have serial numbers in a row, which anybody can guess. The same script has more in store: it writes over an existing key without a word, `seq -w 1 100` suddenly gives three digits where ten gave two, and an id like `../../x` writes its key somewhere else. Here is the other way:

# %%
from labkit.pki.names import numbered
from labkit.scenarios.separate import separate_authority

factory = separate_authority(lab.workspace, "factory")
first = factory.issue_devices(numbered("sensor-", 10))
more = factory.issue_devices(numbered("pump-", 1000))
entries = factory.ledger.entries()
f"{first} and {more} issued; {len({e.serial for e in entries})} serial numbers for {len(entries)} certificates"

# %% [markdown]
# Names have one width, whatever the count. Serial numbers are 128 random bits. The **ledger** has each certificate on record *before* anybody holds it, and refuses a second one for the same name: run that batch again, and it stops at the first.

# %%
from labkit.errors import AlreadyIssuedError

try:
    factory.issue_devices(numbered("sensor-", 12))
except AlreadyIssuedError as error:
    print(error.message, "|", error.advice)

# %% [markdown]
# `labkit ca batch sensor- --count 1000` does the same with a progress bar, and `--skip-existing` goes on where it was stopped. One thing is still wrong, and we say it plainly: all these private keys were made *here*, and one copy of this folder is a copy of the fleet. Keys that never leave their device are the subject of lesson **provisioning**.

# %% [markdown]
# ## The root goes away
#
# The root's key was used twice: for its own certificate and for the intermediate's. From now on it must be *elsewhere*: a USB stick in a safe, or better a **hardware module** that signs and never tells. We move it to a folder called `safe`, and go on working.

# %%
safe = lab.workspace.path("scratch/safe")
safe.mkdir(mode=0o700, exist_ok=True)
root_key = handmade.workspace.path("root/ca.key")
if root_key.exists():
    root_key.rename(safe / "ca.key")
print(handmade.issue_device("sensor-002", renew=True), hall.attempt(handmade.device("sensor-002")), sep="\n")

# %% [markdown]
# Nothing is missing. A root that you need every day is not a root, it is a liability. What you do need it for is the worst day.

# %% [markdown]
# ## The worst day
#
# Somebody has copied the intermediate's key. With it the thief signs what you would sign: here a `sensor-001` of his own.

# %%
thief = handmade.save_intruder("thief", handmade.authority().issue_device("sensor-001", renew=True))
lab.claim("theft", hall.attempt(thief))

# %% [markdown]
# The root comes out of the safe, with its passphrase. It revokes the intermediate, signs a successor, and goes back. Every device gets a new certificate *over the key that it has*: a certificate is public and can be sent in the open. Then the broker is restarted with the new trust bundle, because a reload does not read `cafile` again.

# %%
from labkit.pki import replace_intermediate

keys = {name: handmade.device(name).key.read_bytes() for name in handmade.devices()}
(safe / "ca.key").rename(root_key)
done = replace_intermediate(handmade, passphrase=passphrase["LABKIT_CA_PASSPHRASE"].encode(), now=SYSTEM_CLOCK.now())
root_key.rename(safe / "ca.key")
print(done.successor, done.reissued, "keys untouched:", keys == {name: handmade.device(name).key.read_bytes() for name in keys})

# %%
hall.broker.stop()
hall = lab.enter(mutual_tls(handmade))
lab.claim("theft-over", hall.attempt(thief))
lab.claim("theft-control", hall.publish("sensor-001", "devices/sensor-001/telemetry/temperature", "21.6"))

# %% [markdown]
# Why not simply put the root's revocation list on the broker? Because Mosquitto looks up *leaves* only: with both lists in its hands it still lets the thief in. `openssl verify` shows the difference between `-crl_check` and `-crl_check_all`; lesson **revocation** shows it on the broker.

# %%
from labkit.pki.openssl import verify

old_ca = done.archive / "intermediate.crt"
above = handmade.workspace.path("root/crl.pem")
print("the old intermediate, looked up in the root's list:", verify(old_ca, trust=handmade.trust_anchor, crls=[above]))

# %% [markdown]
# ## Own authority, or somebody else's?
#
# | what matters | your own, as here | a managed IoT service (AWS IoT, Azure) | a public CA (Let's Encrypt) |
# | --- | --- | --- | --- |
# | for device certificates | yes | yes, and it registers your own CA too | no: they certify host names, for weeks, to servers |
# | for the broker | yes, if you control every client | it is theirs | yes: browsers and phones know it |
# | who can make an identity | who has the intermediate's key | who has the cloud account | who controls the DNS name |
# | without internet | works | does not | renewals do not |
# | names | your grammar | theirs and yours | public, and in a public log |
# | what it costs | your care, on the worst day above all | per device and message; hard to leave | nothing, and a renewal every few weeks |
#
# Many plants do both: a public certificate for what people open in browsers, and an authority of their own for devices and for the broker that devices talk to.

# %% [markdown]
# ## Go deeper: the ceremony
#
# *Ungraded; skipping it breaks nothing later.* A root is made in a **ceremony**, in company, so that nobody has to be believed. Two people are there at least; every step is read out and written down; the last line's hash goes on paper, and everybody takes a copy home. The log of this morning:

# %% tags=["go-deeper"]
from labkit.pki import ceremony

who, log = ("Ada", "Grace"), ""
for action, facts in (
    ("laptop without network started from read-only medium", {}),
    ("root made", {"fingerprint": describe(handmade_root).fingerprint[:16]}),
    ("intermediate signed", {"serial": f"{done.retired.serial_number:x}"[:16]}),
    ("root put into safe 2, passphrase into safe 1", {}),
):
    log = ceremony.record(log, action, present=who, now=SYSTEM_CLOCK.now(), facts=facts)
paper = ceremony.seal(log)
print(len(ceremony.verify_log(log, seal=paper)), "steps, sealed with", paper[:16], "…")

# %% [markdown]
# Somebody adds a word to the second step, and another one leaves the last step out. Each line carries the hash of the line before it; the end is on paper.

# %% tags=["go-deeper"]
from labkit.errors import FormatError

for forged in (log.replace("root made", "root made twice"), "".join(log.splitlines(keepends=True)[:-1])):
    try:
        ceremony.verify_log(forged, seal=paper)
    except FormatError as error:
        print(error.message)

# %% [markdown]
# ## Go deeper: every rule of the linter
#
# *Ungraded.* Each rule is one function, with the clause that it follows. Two programs that we did not write, `openssl verify -x509_strict` and pkilint, judge the same zoo in our tests.

# %% tags=["go-deeper"]
from labkit.pki.lint import RULES

Table("Rules", ("rule", "severity", "clause"), [(rule.id, rule.severity, rule.clause) for rule in RULES])

# %% [markdown]
# ## Go deeper: three more exercises
#
# *Optional; skipping them breaks nothing later.*
#
# ### Exercise 3: welcome, and wrong
#
# *Break it.* Make a client certificate in which the linter finds an *error*, and which our broker lets in all the same. **flawed** has a function for each specimen of the zoo: `flawed.wrong_purpose(store.authority(), "sensor-001")`, and so on. Which of them gets past the door?
#
# Example: `flawed.expired` has an error, and is not let in. Stuck? `lab.hint("certificate-authority.3")`.

# %% exercise="certificate-authority.3" kind="break-it" tags=["go-deeper"]
def smuggle():
    """Return an identity with an error that the broker lets in."""
    # BEGIN SOLUTION
    return flawed.no_purpose(store.authority(), "sensor-001")
    # END SOLUTION


# %% tags=["go-deeper"]
welcome = store.save_intruder("welcome", smuggle())
lab.check("certificate-authority.3")

# %% [markdown]
# ### Exercise 4: judged by its names
#
# *Bug hunt.* A colleague has written a verifier for chains, as data: leaf first, each link with its names, its key, the key that signed it, and what it may do. It says yes to everything that looks good.

# %% tags=["go-deeper"]
import itertools

from labkit.course.lessons.certificate_authority_exercises import LEAF, MIDDLE, TOP


def colleague(chain, roots):
    return all(lower["issuer"] == upper["subject"] for lower, upper in itertools.pairwise(chain)) and bool(roots)


impostor = [LEAF, MIDDLE | {"key": "k-evil"}, TOP | {"key": "k-evil"}]
LEAF, colleague([LEAF, MIDDLE, TOP], ["k-root"]), colleague(impostor, ["k-root"])

# %% [markdown]
# Write **holds**: a chain holds if each link's `issuer` and `signed_with` are the next one's `subject` and `key`; if each link that signed is a `ca`, with no more authorities below it than its `pathlen` (`None` for any number); and if the last link's `key` is in `roots`, the keys that are believed. Dates and the rest are left out here.
#
# Example: `holds([LEAF, MIDDLE, TOP], ["k-root"])` is `True`. Stuck? `lab.hint("certificate-authority.4")`.

# %% exercise="certificate-authority.4" kind="bug-hunt" tags=["go-deeper"]
from itertools import pairwise


def holds(chain, roots):
    """Return whether a chain, leaf first, leads to a key that is believed."""
    # BEGIN SOLUTION
    for below, (lower, upper) in enumerate(pairwise(chain)):
        if lower["issuer"] != upper["subject"] or lower["signed_with"] != upper["key"]:
            return False
        if not upper["ca"]:
            return False
        if upper["pathlen"] is not None and below > upper["pathlen"]:
            return False
    return chain[-1]["key"] in roots
    # END SOLUTION


# %% tags=["go-deeper"]
lab.hand_in(holds)
lab.check("certificate-authority.4")

# %% [markdown]
# ### Exercise 5: lock a key away
#
# *Defend it.* Somebody made a root with a script, and its key lies in a folder in the open. Write **lock_away**: it is given the key as PEM and a passphrase, both `bytes`, and returns the same key as PEM that only the passphrase opens. The check locks keys of its own away, and tries to open them in several ways.
#
# Example: what you return begins with `-----BEGIN ENCRYPTED`. Stuck? `lab.hint("certificate-authority.5")`.

# %% exercise="certificate-authority.5" kind="defend-it" tags=["go-deeper"]
from cryptography.hazmat.primitives import serialization


def lock_away(pem, passphrase):
    """Return a private key in PEM that only the passphrase opens."""
    # BEGIN SOLUTION
    key = serialization.load_pem_private_key(pem, None)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase),
    )
    # END SOLUTION


# %% tags=["go-deeper"]
lab.hand_in(lock_away)
lab.check("certificate-authority.5")

# %% [markdown]
# ## What you proved
#
# - You made an authority by hand and in Python, and a real broker believed it.
# - You saw `pathlen:0` hold against a key that was willing to sign.
# - You turned a sensor into `admin` with a wish in a request, and then issued so that wishes count for nothing.
# - You found what is wrong with certificates that work, with a linter and with a rule of your own.
# - You lost certificates in a race, and issued a thousand without losing one.
# - You survived the theft of the intermediate's key, and no device's key was touched.

# %%
lab.summary()

# %% [markdown]
# ## In practice
#
# - *A passphrase in memory* was enough for an exercise. A real root's passphrase is typed by people who know half of it each, or the key lives in a hardware module.
# - *P-256 against RSA-2048* is not "32 bytes against 256": a public point has 65 bytes, and a signature about 70. The gain on a small device is time and the length of the chain; lesson **tls** measures both.
# - *Dates need clocks.* A device that wakes up in 1970 finds every certificate not yet valid. Lesson **provisioning** deals with that.
# - *Pin the root, not the intermediate.* The worst day above was survivable because devices know the root alone.
# - *Everything below the root is a friend.* A second intermediate for the office would make its staff welcome on this broker. Lesson **mutual-tls** tries it.

# %% [markdown]
# ## Questions

# %%
lab.quiz("questions")

# %% [markdown]
# ## Further reading
#
# - [RFC 5280, section 4](https://www.rfc-editor.org/rfc/rfc5280#section-4): every field and every extension, with what *critical* means.
# - [RFC 9525](https://www.rfc-editor.org/rfc/rfc9525): how a client checks a server's name, and why the CN is no longer asked.
# - [RFC 2986](https://www.rfc-editor.org/rfc/rfc2986): what is in a certificate signing request.
# - [Key ceremonies of the DNS root](https://www.iana.org/dnssec/ceremonies): scripts and recordings of how the grown-ups do it.

# %% [markdown]
# ## Tidy up
#
# This stops the brokers. Next: lesson **mutual-tls**, where these identities meet a broker that lets each of them speak for itself alone. Exercise **mtls-setup** asks for both lessons, from an empty folder.

# %%
lab.close()
