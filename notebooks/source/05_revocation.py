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
# # Revoke: take a stolen device out of service
#
# **What you'll do.** A device is stolen, with its key. You revoke its certificate, make the broker know it, silence the session that the thief has open, and find four ways in which revocation fails in silence.
#
# **What you'll learn**
#
# - make a revocation list, read it, and judge whether it may be believed
# - bring a list into force, and prove that it is
# - end what a list does not end: an open session, and a TLS ticket
# - keep a list from locking out your own fleet
#
# **What you'll need.** About 60 minutes for the core path (an estimate). Python, OpenSSL and Mosquitto; no earlier lesson, though lesson **mutual-tls** helps. You touch OWASP IoT items I3 (insecure interfaces) and I8 (lack of device management).

# %% [markdown]
# ## Before you start

# %%
from labkit.course import open_lab
lab = open_lab("revocation")

# %% [markdown]
# A certificate is a promise for a year. This lesson is about taking promises back. `sensor-001` is healthy and stays so: it is the **positive control** of every experiment. `sensor-007` was screwed off a wall last night. Each run of this lesson gives it a fresh identity.

# %%
from labkit.pki import Store

store = Store(lab.workspace)
stolen = store.issue_device("sensor-007", renew=True)
store.identity("sensor-001"), store.identity("admin"), stolen

# %% [markdown]
# ## The thief gets in
#
# We start a broker as in lesson **mutual-tls**: certificates on both sides, rules by identity, and nothing about revocation. The thief has copied `sensor-007.key` and `sensor-007.crt` from the flash chip.

# %%
from labkit.scenarios import mutual_tls

site = lab.enter(mutual_tls(store, folder="broker/without-list"))
lab.claim("thief-in", site.publish("sensor-007", "devices/sensor-007/telemetry/temperature", "99.9"))

# %% [markdown]
# Accepted, and the observer received it. Nothing is broken: the thief *is* `sensor-007` in every way that a broker can check. Mutual TLS proves possession of a key. It can't know who holds the key today.

# %% [markdown]
# ## Put it on the list
#
# A **CRL**, a certificate revocation list, is a list of serial numbers with dates and reasons, signed by the authority that issued the certificates. The **register** keeps what was revoked; each change makes a new list with the next number.

# %%
from labkit.display import Table

listed = store.revocations.revoke("sensor-007", "key-compromise")
Table("The list", ("field", "value"), listed.rows())

# %% [markdown]
# Look at **next update**. A list is a promise for a week. And look at what is *not* there: names. The list says `serial number so-and-so`; only the ledger knows that it is `sensor-007`. Here is the same list in openssl's own words.

# %%
from labkit.processes import run

print(run(["openssl", "crl", "-in", "intermediate/crl.pem", "-noout", "-text"], cwd=lab.workspace.root).stdout[:1300])

# %% [markdown]
# openssl can make such lists too. It needs a small database for it, which is what `index.txt` is in so many scripts. The recipe below is what `labkit ca revoke` prints beside its own work.

# %%
from labkit.pki import Reason, by_hand

print(by_hand.revoke("devices/sensor-007.crt", Reason.KEY_COMPROMISE).then(by_hand.revocation_list()))

# %% [markdown]
# ### Exercise 1: judge a list
#
# *Fill in.* A list comes by post, by USB stick, from a web server. Before you believe it, three questions: did **our** authority sign it, does it count **now**, and is the serial number **on it**? Complete **judge** so that it answers with one word: `signature`, `stale`, `revoked` or `good`.
#
# Example: `judge(lists["ours"], ca, serial, now.timestamp())` gives `"revoked"`. `ca` is our authority's certificate in PEM, `serial` is the number of `sensor-008`, which is on our list, and the time is in seconds. Stuck? `lab.hint("revocation.1")`, up to three times.

# %%
from labkit.clock import SYSTEM_CLOCK
from labkit.course.lessons.revocation import make_lists

ca, lists = make_lists(lab)
issuer, now = store.certificate("intermediate"), SYSTEM_CLOCK.now()
serial, other = store.certificate("sensor-008").serial_number, store.certificate("broker").serial_number
sorted(lists)

# %% exercise="revocation.1" kind="fill-in"
from cryptography import x509


def judge(pem, ca, serial, now):
    """Return what a list says of a serial number, or why it may not be believed."""
    # BEGIN SOLUTION
    crl = x509.load_pem_x509_crl(pem)
    key = x509.load_pem_x509_certificate(ca).public_key()
    if not crl.is_signature_valid(key):
        return "signature"
    if now > crl.next_update_utc.timestamp():
        return "stale"
    on_it = crl.get_revoked_certificate_by_serial_number(serial)
    return "good" if on_it is None else "revoked"
    # END SOLUTION


# %% [markdown]
# Four cases: our list and the device that is on it, our list and a certificate that is not, a list that ran out yesterday, and a hostile one. The last was signed by an authority with *our names* and another key, the impostor of lesson **start-here**. The check will show your function lists of another authority, which neither of you has seen.

# %%
verdicts = {name: judge(pem, ca, serial, now.timestamp()) for name, pem in lists.items()}
verdicts["not on it"] = judge(lists["ours"], ca, other, now.timestamp())
lab.hand_in(judge)
verdicts

# %%
lab.check("revocation.1")

# %% [markdown]
# labkit's tested twin is **look_up**. It asks one question more, whether the list already counts, and it survives bytes that are no list at all. `get_revoked_certificate_by_serial_number` walks through the whole list; for a fleet, **look_up** keeps a set.

# %%
from labkit.pki import look_up

[look_up(pem, issuer=issuer, serial=serial, now=now) for pem in (*lists.values(), b"no list at all")]

# %% [markdown]
# ## Tell the broker
#
# The list is signed and lies on the disk. The broker that is running does not know it.

# %%
lab.claim("not-told", site.attempt(stolen))

# %% [markdown]
# Still in. Mosquitto looks at a list only if its configuration names one: **crlfile**. We stop this broker and start one that goes by the list.

# %%
from labkit.scenarios.revocation import revoking_broker

site.broker.stop()
site = lab.enter(revoking_broker(store))
print("crlfile", site.crlfile.relative_to(lab.workspace.root))

# %%
lab.claim("revoked-refused", site.attempt(stolen))
lab.claim("honest-in", site.publish("sensor-001", "devices/sensor-001/telemetry/temperature", "21.5"))

# %% [markdown]
# The first thief is out, and three witnesses agree: the alert `certificate_revoked`, the broker's line, and `openssl verify` with error 23. Then a second device is reported stolen: `sensor-009`. It is on the list in a moment. When does that thief notice?

# %%
lab.predict("reload")

# %%
second = store.issue_device("sensor-009", renew=True)
store.revocations.revoke("sensor-009", "key-compromise")
lab.claim("unread-list", site.attempt(second))

# %%
from labkit.scenarios.revocation import enforce

enforce(site)
lab.claim("read-list", site.attempt(second))

# %% [markdown]
# A list counts from the **reload** on, and not a second earlier. **enforce** does more than send a signal. It verifies the list *before* the broker sees it, lets a second Mosquitto try it, reloads, and then knocks twice: with a **canary**, whose certificate exists only to be revoked, and with the operator. A reload that nobody has seen working is a hope.

# %% [markdown]
# ## The session that lives on
#
# Thieves connect early. `sensor-012` is stolen too, and this time the thief is already connected when you find out.

# %%
lab.predict("session")

# %%
third = store.issue_device("sensor-012", renew=True)
thief = lab.enter(site.session("sensor-012"))
observer = lab.enter(site.session("admin"))
observer.subscribe("#")

# %%
from labkit.mqtt import delivered
from labkit.scenarios.mutual_tls import FENCE

store.revocations.revoke("sensor-012", "key-compromise")
site.broker.reload()
topic = "devices/sensor-012/telemetry/temperature"
lab.claim("lives-on", delivered(thief, observer, topic, "I am still here", fence=FENCE))

# %% [markdown]
# Revoked, reloaded, and the observer *received it*. A certificate is looked at once, in the handshake. A device with a good connection can keep its session for months. Mosquitto has no command that ends one, so we take the other way: **rules** are looked at for *each message*.

# %%
site.broker.reload(site.broker.acl.denying("sensor-012"))
lab.claim("silenced", delivered(thief, observer, topic, "and now?", fence=FENCE))
lab.claim("silenced-control", delivered(observer, observer, "devices/sensor-001/commands/blink", "on", fence=FENCE))

# %% [markdown]
# `topic deny #` for one user beats every rule that allows, in both directions: it can neither speak nor hear. Its TCP connection stays open, which costs a few kilobytes, and at its next handshake the list is waiting. Revocation keeps a device from coming *back*; the **kill switch** is for one that is *here*.

# %% [markdown]
# ### Exercise 2: retire a device
#
# *Defend it.* Another device leaves, `sensor-010`. Write **retire**: after it has run, the device is on the list, the broker goes by that list, and an open session of the device is silenced. `sensor-001` must not notice anything. You have seen each step; **silence**(site, name), imported below, is the kill switch of the last section in one call.
#
# Example: after `retire(site, "sensor-010", "cessation-of-operation")` the broker refuses `sensor-010` with `certificate_revoked`. Stuck? `lab.hint("revocation.2")`.

# %%
from labkit.scenarios.revocation import silence

old = store.issue_device("sensor-010", renew=True)
print(site.attempt(old))

# %% exercise="revocation.2" kind="defend-it"
def retire(site, name, reason):
    """Take a device out of service: on record, in force, and silenced."""
    # BEGIN SOLUTION
    site.store.revocations.revoke(name, reason)
    enforce(site)
    silence(site, name)
    # END SOLUTION


# %% [markdown]
# Retire the device, and let the check look at the register, the rules and the broker. For a second try (`RevocationRefusedError`: it is on the list already) run the cell above your function first: it gives the device a fresh certificate.

# %%
retire(site, "sensor-010", "cessation-of-operation")

# %%
lab.check("revocation.2")

# %% [markdown]
# labkit's twin is **labkit.scenarios.revocation.revoke**; on the command line it is three words: `labkit ca revoke`, `labkit broker reload`, `labkit broker deny`.

# %% [markdown]
# ## The list that locks everybody out
#
# Our list is good for seven days and is renewed every day. Somebody goes on holiday, the disk of the signing machine is full, and nobody looks. The broker of the second hall has a list that was good until yesterday. `sensor-001` is healthy and was never revoked.

# %%
lab.predict("stale")

# %%
stale = lab.workspace.write("broker/hall-2/crl.pem", lists["stale"])
hall = lab.enter(mutual_tls(store, folder="broker/hall-2", crlfile=stale))
lab.claim("stale-locks-out", hall.attempt(store.identity("sensor-001")))
lab.claim("stale-control", site.attempt(store.identity("sensor-001")))

# %% [markdown]
# Read the witnesses again. The **alert** says `certificate_expired`, and the certificate is *not* expired. The broker logs `certificate verify failed`. Only `openssl verify`, which has certificate and list in its hands, names the culprit: *CRL has expired*. People have replaced whole fleets of healthy certificates because of that alert.

# %%
from labkit.pki import Schedule, read_list

schedule = Schedule()
{name: str(schedule.state(read_list(pem), now)) for name, pem in lists.items()}, schedule

# %% [markdown]
# A **Schedule** says when a list is *due*: after one day, six days before it runs out. Six days are the time in which somebody must notice that the renewal fails. `labkit ca crl`, from a timer, renews what is due. And **enforce** refuses to bring a list into force that would lock the fleet out:

# %%
from labkit.errors import RevocationListError
from labkit.pki import verify_list

try:
    verify_list(read_list(lists["stale"]), issuer, now=now)
except RevocationListError as error:
    print(error.rule, "-", error.message)

# %%
hall.broker.stop()

# %% [markdown]
# ## Break it: the list of somebody else
#
# One thing wrong, everything else the same. The third hall got a fresh list, signed by our own **root**. Roots revoke intermediates, so it is a perfectly good list. Which layer refuses, and how do you know whose fault it is?

# %%
from labkit.pki import issue_list
from labkit.scenarios.separate import separate_authority

plant = separate_authority(lab.workspace, "hall-3")
root = plant.root(plant.kept_passphrase())
wrong = plant.workspace.write("root-list.pem", issue_list(root, [], number=1, now=now).pem)

# %%
hall = lab.enter(mutual_tls(plant, crlfile=wrong))
lab.claim("wrong-issuer", hall.attempt(plant.identity("sensor-001")))
hall.broker.stop()

# %% [markdown]
# Refused at **tls** with `unknown_ca`, although the CA is known: the broker looked for the list of the *device's issuer*, found none, and OpenSSL treats that like an unknown issuer. `openssl verify` says *unable to get certificate CRL*. A broker with `crlfile` needs a list of every authority that signs its clients.

# %% [markdown]
# ## The ticket
#
# A TLS handshake costs both sides work, so the server may hand out a **ticket**: come back with it, and we skip the certificates. Mosquitto hands out tickets unless OpenSSL is told otherwise; the brokers of this course tell it. This one does not. Its device has a certificate that runs out in two seconds.

# %%
lab.predict("ticket")

# %%
from labkit.scenarios.revocation import ending_soon, returner, wait_until_expired

generous = lab.enter(revoking_broker(store, folder="broker/generous", resumption=True))
brief = ending_soon(store, "sensor-013", seconds=2)
visitor = returner(generous, brief)
print("with its certificate:", visitor.visit())
print("ran out:             ", wait_until_expired(brief) < SYSTEM_CLOCK.now())

# %%
lab.claim("ticket-full", generous.attempt(brief))
lab.claim("ticket-resumed", visitor.visit(publish="devices/sensor-013/status"))

# %% [markdown]
# The same certificate, the same broker, a second apart. Refused with a full handshake, **accepted** with the ticket, and allowed to publish: the broker remembers the user name of the first visit. OpenSSL's tickets are good for two hours, and each visit brings a new one.

# %%
generous.broker.reload()
lab.claim("ticket-worthless", visitor.visit())

# %% [markdown]
# A reload ends it, because Mosquitto makes a new TLS context to read the list, and the key of the tickets goes with the old one. *Only* where it has a list: without **crlfile**, tickets survive the reload, as the cell under *Go deeper* shows. And here is the broker that hands out none:

# %%
generous.broker.stop()
late = ending_soon(store, "sensor-014", seconds=1)
strict = returner(site, late, tls="1.3")
print("with its certificate:", strict.visit())
wait_until_expired(late)
lab.claim("no-ticket", strict.visit())

# %% [markdown]
# ## Revoking an intermediate
#
# The largest thing that can be stolen, short of the root, is the intermediate's key. The root revokes the intermediate: that is what roots are for. The plant of hall 3 plays it through, because our own authority should survive this lesson.

# %%
lab.predict("intermediate")

# %%
above = plant.root_revocations(plant.kept_passphrase())
above.revoke(plant.names.intermediate, "ca-compromise")
plant.revocations.publish()
both = plant.workspace.write("both.pem", above.path.read_bytes() + plant.revocations.path.read_bytes())

# %%
hall = lab.enter(mutual_tls(plant, crlfile=both))
lab.claim("intermediate-unseen", hall.attempt(plant.identity("sensor-001")))

# %% [markdown]
# In. The broker has the root's list in its hands, the intermediate is on it, and everything that the thief signs is welcome. Mosquitto asks OpenSSL to look up the **leaf**, and never the chain. Ask `openssl verify` both ways:

# %%
from labkit.pki.openssl import verify

leaf = plant.device("sensor-001").certificate
for whole in (False, True):
    print("whole chain:" if whole else "leaf only:  ", verify(
        leaf, trust=plant.trust_anchor, untrusted=plant.intermediate, crls=[both], whole_chain=whole))

# %% [markdown]
# So a stolen intermediate has to be taken *out of the broker*: out of `cafile`, and its list out of `crlfile`. Both need a restart. **replace_intermediate** does the rest: it revokes the old one, makes a successor, and issues every certificate again over the *same keys*. Nobody touches a device's key, and nobody touches its trust anchor.

# %%
from labkit.pki import replace_intermediate

forged = plant.save_intruder("forged", plant.authority().issue_device("sensor-001", renew=True))
done = replace_intermediate(plant, passphrase=plant.kept_passphrase(), now=SYSTEM_CLOCK.now())
hall.broker.stop()
done.successor, done.reissued

# %%
hall = lab.enter(revoking_broker(plant))
lab.claim("intermediate-closed", hall.attempt(forged))
print("the device, with its old key and a new certificate:", hall.attempt(plant.device("sensor-001")))
hall.broker.stop()

# %% [markdown]
# The certificate that the thief had made is of an unknown CA now. Lesson **certificate-authority** goes through the same day from the other side: who notices, who holds the root's passphrase, what is written down.

# %% [markdown]
# ## List, question, or short life?
#
# | what matters | a list (CRL) | a question (**OCSP**) | a short life |
# | --- | --- | --- | --- |
# | the broker learns of it | at the next reload | at the next handshake, or with the answer that the client brings (stapling) | never; it waits |
# | a stolen device is welcome for | minutes, if you reload | minutes | what is left of its days |
# | when the authority is down | all is well until *next update*, then nobody gets in | nobody gets in, or everybody does: you choose beforehand | nobody can renew |
# | cost | grows with the list, at every handshake | one answer a client | one renewal a device a day or a week |
# | Mosquitto 2 | `crlfile` | checks the *server's* for its bridges; not its clients' | works |
# | who needs a clock | broker | broker | device and broker |
#
# For a few thousand devices on one broker, a list that is renewed daily and devices that renew monthly are a good pair: expired certificates leave the list, so it stays short.

# %% [markdown]
# ## Go deeper: what a long list costs
#
# *Ungraded; skipping it breaks nothing later.* OpenSSL checks the signature over the *whole* list at every handshake. Three brokers, three lists; they take turns, so that a busy computer is equally unfair to all of them.

# %% tags=["go-deeper"]
from labkit.display import Bar, bars
from labkit.scenarios.list_cost import list_cost

costs = list_cost(store, [10, 1_000, 100_000], rounds=12)
bars("One connection, seen from the device", "ms", [Bar(f"{c.entries:,} revoked", c.handshake, "server") for c in costs])

# %% tags=["go-deeper"]
bars("The list itself", "kB", [Bar(f"{c.entries:,} revoked", c.size / 1000, "intermediate") for c in costs],
     note="A device that renews every month leaves the list after a month; one that lives a year stays on it for a year.")

# %% [markdown]
# Shorter lives make shorter lists. A fleet of 100,000 that loses one device in a hundred each year has 1,000 entries with certificates of a year, and about 80 with certificates of a month. [docs/performance.md](../docs/performance.md) has the figures for a million.

# %% [markdown]
# ## Go deeper: the ticket that survives a reload
#
# *Ungraded.* The same generous broker without a list. After the reload the ticket is as good as before: Mosquitto 2.0 makes a new TLS context only where there is a `crlfile`.

# %% tags=["go-deeper"]
for crlfile in (None, store.revocations.path):
    with mutual_tls(store, folder="broker/tickets", resumption=True, crlfile=crlfile) as ticketed:
        guest = returner(ticketed, store.identity("sensor-001"))
        guest.visit()
        ticketed.broker.reload()
        print("with a list:   " if crlfile else "without a list:", "resumed" if guest.visit().detail["resumed"] else "full handshake")

# %% [markdown]
# ## Go deeper: what changed between two lists
#
# *Ungraded.* Lists have numbers that only grow, so that nobody can slip you an old one. An entry leaves when its certificate has run out, after it was on one more list (RFC 5280, section 3.3). A certificate on hold may come back; no other does.

# %% tags=["go-deeper"]
from labkit.pki import changes

before = store.revocations.ensure()
held = store.issue_device("sensor-015", renew=True)
after = store.revocations.revoke("sensor-015", "certificate-hold")
released = store.revocations.release(f"{store.certificate('sensor-015').serial_number:x}")
for earlier, later in ((before, after), (after, released)):
    change = changes(earlier, later)
    print(f"{earlier.number} -> {later.number}: {len(change.added)} came, {len(change.removed)} went")

# %% [markdown]
# ## Go deeper: three more exercises
#
# *Optional; skipping them breaks nothing later.*
#
# ### Exercise 3: the list of yesterday
#
# *Break it.* You are the thief, and `sensor-016` is yours: the newest list has it. The hall fetches its lists over plain HTTP, and you sit on the line, so you decide which list it gets. Its **updater** verifies issuer, signature and both dates. Anybody can collect old lists; here are those that you have.

# %% tags=["go-deeper"]
from labkit.course.lessons.revocation_exercises import make_archive, takes

archive = make_archive(lab)
print("The updater about list 40:", takes(archive[40].pem, issuer, now))
Table("The archive", ("number", "from", "until", "revoked"),
      [(number, f"{each.this_update:%d %b %H:%M}", f"{each.next_update:%d %b %H:%M}", len(each)) for number, each in archive.items()])

# %% [markdown]
# Return the number of a list that the updater takes and that spares you. Example: list 40 is taken, but you are on it. Stuck? `lab.hint("revocation.3")`.

# %% exercise="revocation.3" kind="break-it" tags=["go-deeper"]
def replay():
    """Return the number of the list that lets you back in."""
    # BEGIN SOLUTION
    return 39
    # END SOLUTION


# %% tags=["go-deeper"]
lab.workspace.write_json("answers/revocation/replay.json", replay())
lab.check("revocation.3")

# %% [markdown]
# The remedy is a third question: is its number *greater* than that of the list which we have? Until then the older list's **next update** bounds what you can do with it.

# %% [markdown]
# ### Exercise 4: the order of the steps
#
# *Bug hunt.* A thief is connected. A colleague did six steps, all of them needed, and an hour later the thief was still there. Put them into an order in which the thief is silenced, out, and stays out; whoever is thrown out and still let in is back within the second.

# %% tags=["go-deeper"]
from labkit.course.lessons.revocation_exercises import COLLEAGUE, STEPS, play

print(play(COLLEAGUE))
Table("What the colleague did", ("step", "what it does"), [(step, STEPS[step]) for step in COLLEAGUE])

# %% [markdown]
# Example: `play(["revoke", "sign"])` gives `signed: True` and `copied: False`. The table is played by a model of the steps, not by a broker. Stuck? `lab.hint("revocation.4")`.

# %% exercise="revocation.4" kind="bug-hunt" tags=["go-deeper"]
def order():
    """Return the six steps in an order that works."""
    # BEGIN SOLUTION
    return ["revoke", "sign", "copy", "deny", "reload", "end"]
    # END SOLUTION


# %% tags=["go-deeper"]
lab.workspace.write_json("answers/revocation/order.json", order())
lab.check("revocation.4")

# %% [markdown]
# ### Exercise 5: how long a list lives
#
# *Tweak.* The signing key is on a card that somebody puts in, at most once in 24 hours. Over a long weekend nobody signs for 86 hours, and no hall may be locked out by it. A thief who cuts a hall's line to the authority leaves it with the list that it has; that may help the thief for 120 hours at most. Choose the two numbers of the **schedule**, in hours.
#
# Example: `{"valid_for": 168, "renew_after": 24}` is the course's own, and too long for this plant. Stuck? `lab.hint("revocation.5")`.

# %% exercise="revocation.5" kind="tweak" tags=["go-deeper"]
def life():
    """Return how long a list counts, and after how long the next one is made."""
    # BEGIN SOLUTION
    return {"valid_for": 120, "renew_after": 30}
    # END SOLUTION


# %% tags=["go-deeper"]
lab.workspace.write_json("answers/revocation/life.json", life())
lab.check("revocation.5")

# %% [markdown]
# ## What you proved
#
# - You made a list, read it in openssl's words, and judged four lists, one of them forged.
# - You brought it into force, and saw that it counts from the reload on and not before.
# - You saw a revoked session go on, and silenced it; you saw an expired certificate come back on a ticket, and closed that door.
# - You saw a list that nobody renewed lock out a healthy device with an alert that blames the certificate.
# - You saw Mosquitto accept a device below a revoked intermediate, and replaced the intermediate without touching a device's key.

# %%
lab.summary()

# %% [markdown]
# ## In practice
#
# - *Who may revoke?* Whoever can put a device on the list can take your plant down. The register records who was revoked, when and why; lesson **provisioning** records by whom.
# - *TLS 1.2 keeps a cache beside the tickets* that no setting of Mosquitto switches off. A reload with a `crlfile` empties it; without one only a restart does.
# - *Expiry is no revocation, and revocation is no expiry.* Sessions outlive both. A nightly reload and a look at long sessions belong on the calendar.
# - *Several brokers* need the list at the same time. Copy it, verify it where it arrives, and reload there; `labkit ca crl` and a timer are the small version of that.
# - *Test the day on which it fails.* Put a stale list on a test broker once a year and see who gets the alarm.

# %% [markdown]
# ## Questions

# %%
lab.quiz("questions")

# %% [markdown]
# ## Further reading
#
# - [RFC 5280, section 5](https://www.rfc-editor.org/rfc/rfc5280#section-5): what a list is made of, in ten pages; section 5.3.1 has the reasons.
# - [RFC 8446, section 2.2](https://www.rfc-editor.org/rfc/rfc8446#section-2.2): resumption in TLS 1.3, with a picture.
# - [mosquitto.conf](https://mosquitto.org/man/mosquitto-conf-5.html): *crlfile*, and what a reload reads again.
# - [RFC 6960](https://www.rfc-editor.org/rfc/rfc6960): OCSP, the question instead of the list.
# - [RFC 9608](https://www.rfc-editor.org/rfc/rfc9608): how a certificate says that nobody will ever revoke it, because it lives so short.

# %% [markdown]
# ## Tidy up
#
# This stops the brokers. Next: lesson **esp32-flashing**. So far a device was two files; there it is a board, and you are the one who reads the key out of it.

# %%
lab.close()
