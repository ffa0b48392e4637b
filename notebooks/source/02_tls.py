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
# # See TLS from the wire
#
# **What you'll do.** You put a relay between a device and a broker and read what goes by: a password in the open, two handshakes message by message, one flipped bit, and a recording that a stolen key opens a year later.
#
# **What you'll learn**
#
# - show each of TLS's three promises on bytes that you recorded
# - read a TLS 1.2 and a TLS 1.3 handshake, and count round trips instead of believing in them
# - say what an eavesdropper still sees
# - choose versions and suites for a small device, and prove that the broker refuses the rest
#
# **What you'll need.** About 60 minutes for the core path (an estimate). Python, OpenSSL and Mosquitto; no earlier lesson, though lesson **start-here** helps. You touch OWASP IoT items I2 (insecure services), I5 (outdated components) and I7 (insecure transfer and storage).

# %% [markdown]
# ## Before you start

# %%
from labkit.course import open_lab
lab = open_lab("tls")

# %% [markdown]
# Everything that you record today is yours: brokers on 127.0.0.1, and a device that logs in as `sensor-001`. Recording other people's traffic is an offence in most countries, encrypted or not.

# %% [markdown]
# ## Nothing is secret on a wire
#
# First a broker as brokers were set up for years: user names and passwords, no TLS. Between the device and the broker stands a **relay**. It passes everything on and remembers it, as any switch, router or access point on the way could do.

# %%
from labkit.mqtt import Relay
from labkit.scenarios.eavesdropping import PASSWORD, log_in_openly, overhear, plain_broker

plain = lab.enter(plain_broker(lab.workspace))
with Relay(plain.endpoint) as relay:
    print("the broker answers", log_in_openly(relay.endpoint))
    recording = relay.last()

# %%
print(recording.stream("client"))
lab.claim("plain-overheard", overhear(recording, PASSWORD))

# %% [markdown]
# There it is: the user name, and the password, letter by letter. The broker checked it, answered 0 (*success*) and let the device in, so everything *worked*. And *accepted at tcp* is the eavesdropper's success: he read what he wanted, and nothing on the way stopped him. Now the same log-in through TLS.

# %%
lab.predict("overheard")

# %%
from labkit.mqtt import probe
from labkit.scenarios.eavesdropping import USER, old_broker

plain.broker.stop()
old = lab.enter(old_broker(lab.workspace))
with Relay(old.endpoint) as relay:
    outcome = probe(relay.endpoint, trust=old.trust, tls="1.2", username=USER, password=PASSWORD)
    sealed = relay.last()
print(outcome, len(sealed.stream("client")), "bytes from the client")
lab.claim("tls-overheard", overhear(sealed, PASSWORD))

# %% [markdown]
# Accepted, so the password *was* sent, and it is nowhere in the recording: *refused at tls, encrypted* is what the eavesdropper got. That is the first promise: **confidentiality**. The second and the third follow; before them, look at what the bytes are made of.

# %% [markdown]
# ### Exercise 1: walk through the records
#
# *Fill in.* TLS cuts everything into **records**: one byte for the type (20 to 23), two for the version, two for the length, then that many bytes. Complete **walk**: it returns a list of `(type, length)` for the complete records, stops at one that is cut off, and raises `ValueError` where the type is not 20 to 23 or the length is greater than 18432, the most that any version allows.
#
# Example: `walk(b"\x15\x03\x03\x00\x02\x02\x28")` gives `[(21, 2)]`: an alert of two bytes. Stuck? `lab.hint("tls.1")`, up to three times.

# %% exercise="tls.1" kind="fill-in"
def walk(data):
    """Return type and length of each complete TLS record."""
    # BEGIN SOLUTION
    found = []
    while len(data) >= 5:
        kind, length = data[0], int.from_bytes(data[3:5], "big")
        if not 20 <= kind <= 23 or length > 18432:
            raise ValueError(f"no record: type {kind}, length {length}")
        if len(data) - 5 < length:
            break
        found.append((kind, length))
        data = data[5 + length :]
    return found
    # END SOLUTION


# %% [markdown]
# Three inputs: what the server really said, the same cut off in the middle, and a hostile one that claims to be 65,535 bytes long. A program that believes a length before it has looked is how Heartbleed happened.

# %%
from labkit.course.lessons.tls import make_inputs

def heard(data):
    try:
        return walk(data)
    except ValueError:
        return "refused"

{name: heard(data) for name, data in make_inputs(lab, sealed).items() if name != "real"}

# %% [markdown]
# **hand_in** keeps the cell that defines your function as text. The check calls it in a process of its own, with these three inputs and with some that you have not seen.

# %%
lab.hand_in(walk)
lab.check("tls.1")

# %% [markdown]
# labkit's twin is **split_records**, which does the same for both sides at once and in the order of arrival. Its tests throw random bytes at it, and the only thing that ever comes out is `FormatError`.

# %% [markdown]
# ## A handshake, message by message
#
# Inside the first records are the messages of the **handshake**: the talk in which both sides agree on keys and show who they are. **read_handshake** takes them out of the bytes; **timeline** draws them. This is the log-in that you have just recorded: TLS 1.2, the broker shows a certificate, the device none.

# %%
from labkit.display import timeline
from labkit.mqtt import read_handshake

timeline(read_handshake(sealed), "TLS 1.2, as an eavesdropper sees it", limit=14)

# %% [markdown]
# Read it in flights; a **flight** is what one side says before it has to wait. *One:* the client says what it can. *Two:* the server chooses, shows its certificate, and signs its half of a throw-away key (**ServerKeyExchange**). *Three:* the client sends its own half; from **ChangeCipherSpec** on it encrypts. *Four:* so does the server. Only then come data: **two round trips**. Diagrams that let both sides send **Finished** at once, or leave ServerKeyExchange out, mix two versions.
#
# Dashed arrows were encrypted. The certificates were *not*: everybody on the way knows which broker this is.

# %% [markdown]
# ### With a certificate on both sides
#
# Our own broker asks the device for a certificate too. Two messages are new: **CertificateRequest** from the server, and the client's **Certificate** with **CertificateVerify**, a signature over everything said so far. Can the eavesdropper tell which device it is?

# %%
lab.predict("names")

# %%
from labkit.mqtt import Identity
from labkit.pki import Store
from labkit.scenarios import mutual_tls

store = Store(lab.workspace)
site = lab.enter(mutual_tls(store))
device = store.identity("sensor-001")
who = Identity(device.certificate, device.key)

# %%
with Relay(site.endpoint) as relay:
    print(probe(relay.endpoint, trust=site.trust, identity=who, tls="1.2"))
    mutual = relay.last()
lab.claim("names-12", overhear(mutual, "sensor-001"))

# %% [markdown]
# Under TLS 1.2 the *name of the device* goes over the wire in the open, in its certificate. Whoever listens can count your devices, and follow one from network to network. Now the same with TLS 1.3.

# %%
from labkit.mqtt import key_log

with Relay(site.endpoint) as relay, key_log(lab.workspace.root) as log:
    print(probe(relay.endpoint, trust=site.trust, identity=who, tls="1.3", keylog=log.path))
    newer, secrets = relay.last(), log.secrets()
lab.claim("names-13", overhear(newer, "sensor-001"))

# %%
timeline(read_handshake(newer), "TLS 1.3, as an eavesdropper sees it", limit=14)

# %% [markdown]
# After **ServerHello** everything is called *Encrypted*: client and server both sent half of a key in their *first* flight, so the server can encrypt from its first answer on. The client's data follow after **one round trip**. The ChangeCipherSpec messages are a costume: old boxes on the way hang up on what they don't know, so TLS 1.3 dresses like 1.2.
#
# Our own client wrote down its secrets while it talked, into a **key log**. With them, and only with them, the same bytes open.

# %%
opened = read_handshake(newer, secrets=secrets)
timeline(opened, "TLS 1.3, opened with the client's own key log", limit=14)

# %% [markdown]
# The same recording, the same bytes. There are **CertificateRequest**, both **Certificate** messages, both **CertificateVerify**. The key log is as precious as a private key: it is made 0600 and deleted at the end of its block. Wireshark reads the same format.

# %%
from labkit.display import Table

pair = {"1.2": read_handshake(mutual), "1.3": opened}
rows = [
    ("flights before the client's data", *(seen.round_trips * 2 for seen in pair.values())),
    ("round trips before the client's data", *(seen.round_trips for seen in pair.values())),
    ("round trips until the device knows that it is in", *(seen.round_trips_to_verdict for seen in pair.values())),
    ("suite", *(seen.suite for seen in pair.values())),
    ("key exchange", *(seen.group for seen in pair.values())),
    ("bytes from the device", *(seen.bytes_sent["client"] for seen in pair.values())),
    ("bytes from the broker", *(seen.bytes_sent["server"] for seen in pair.values())),
]
Table("Counted from the recordings", ("", *(f"TLS {version}" for version in pair)), rows)

# %% [markdown]
# The third row is the fine print of TLS 1.3. It lets the client *speak* after one round trip; the broker's opinion of the device's certificate comes with the second.

# %% [markdown]
# ### The same by hand: openssl s_client
#
# The `openssl` command can tell the same story while it connects. Here is its account of flight two, without a client certificate; names are those of the diagrams, lengths are hexadecimal, and our tests compare both message by message.

# %%
from labkit.processes import run

said = run(["openssl", "s_client", "-connect", f"127.0.0.1:{site.port}", "-CAfile", "root/ca.crt", "-tls1_2", "-msg"],
           cwd=lab.workspace.root, check=False).stdout
print("\n".join(line for line in said.splitlines() if "Handshake" in line))

# %% [markdown]
# ## The second promise: integrity
#
# The relay may also *change* what passes. **flip_bit** changes one single bit in one record of application data; length and everything else stay as they are. First without, then with it.

# %%
lab.predict("altered")

# %%
from labkit.mqtt import flip_bit

with Relay(site.endpoint) as relay:
    lab.claim("altered-control", probe(relay.endpoint, trust=site.trust, identity=who, tls="1.2"))
with Relay(site.endpoint, alter=flip_bit(number=1)) as relay:
    lab.claim("altered", probe(relay.endpoint, trust=site.trust, identity=who, tls="1.2"))

# %% [markdown]
# `bad_record_mac`, and the connection is gone. Every record carries a tag that only the two ends can compute. With **AEAD** suites, such as AES-GCM, encryption and tag are one operation; the older CBC suites did them one after the other, and fifteen years of padding attacks were the consequence.

# %% [markdown]
# ## Break it: the third promise
#
# You talk to whom you think, says TLS: **authenticity**. Everything the same, one thing wrong: the relay leads to a broker of *somebody else*, whose certificate another authority signed. It also says `localhost`. Which layer refuses, and who?

# %%
impostor = lab.enter(old_broker(lab.workspace, folder="broker/impostor"))
with Relay(impostor.endpoint) as relay:
    outcome = probe(relay.endpoint, trust=old.trust, tls="1.2", username=USER, password=PASSWORD)
    trap = relay.last()
lab.claim("impostor-refused", outcome)
lab.claim("impostor-control", probe(old.endpoint, trust=old.trust, tls="1.2", username=USER, password=PASSWORD))
impostor.broker.stop()

# %% [markdown]
# Refused at **tls**, and this time *the device* refused: reasons that begin with `server-` are ours. It hung up before it sent the password. A device that skips this check, as `setInsecure()` and `--insecure` do, gives its password to whoever answers first.

# %%
timeline(read_handshake(trap), "The device hangs up")

# %% [markdown]
# ## Suites: what exactly is agreed on
#
# A TLS 1.2 **suite** names four things. `TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256`: keys are agreed on with ECDHE, the server signs with ECDSA, data are encrypted with AES-128-GCM, and SHA-256 mixes the keys. TLS 1.3 suites name the last two only; the first two are no longer up for choice.
#
# Which suites does a broker *really* take? Don't read its configuration, ask it: **offer_suites** makes one connection for each suite and reads the answer from the wire. The first broker with TLS, **old**, has a certificate, a key, and no line about suites, as most guides print it.

# %%
from labkit.mqtt.negotiation import offer_suites, offer_versions

offers = offer_suites(old.endpoint)
taken = [offer.row() for offer in offers if offer.accepted]
Table("A broker without a line about suites takes", ("version", "suite", "verdict", "what is wrong"), taken)

# %% [markdown]
# An empty last column is what you want. Below it: static RSA, CBC, SHA-1, everything that the same guides tell you to avoid, a few lines further down. Nobody has to *choose* a weak suite; it is enough that an attacker, or an old device, can offer nothing else. Ours:

# %%
ours = offer_suites(site.endpoint)
print("taken:", *(offer.suite.name for offer in ours if offer.accepted), sep="\n  ")
lab.claim("weak-taken", next(offer.outcome for offer in offers if offer.suite.openssl == "AES128-SHA"))
lab.claim("weak-refused", next(offer.outcome for offer in ours if offer.suite.openssl == "AES128-SHA"))

# %%
versions = {offer.version: offer for offer in offer_versions(site.endpoint)}
print({version: offer.verdict for version, offer in versions.items()})
lab.claim("old-version-refused", versions["1.1"].outcome)
lab.claim("version-control", versions["1.2"].outcome)

# %% [markdown]
# ### Which suite for a device with 240 MHz?
#
# | suite | on an ESP32 (240 MHz, AES in hardware) | on a chip without AES hardware |
# | --- | --- | --- |
# | AES-128-GCM | the usual choice: AES in hardware, the tag in software | slow, and hard to do in constant time |
# | CHACHA20-POLY1305 | good, all in software; off by default in ESP-IDF | the usual choice |
# | AES-256-GCM | works, costs a little more, and protects no better against anybody whom you will meet | slower still |
# | anything with CBC, SHA-1, static RSA | no | no |
#
# The handshake costs far more than the data of a sensor: two signatures and a key exchange. P-256 keeps both short, and every library for such devices has it. TLS 1.3 in ESP-IDF 5 is there, and *off* until you switch it on; so a broker for ESP32s speaks 1.2 and 1.3, and nothing older.

# %% [markdown]
# ### Exercise 2: close the door
#
# *Defend it.* Choose **suites** (openssl's names, in a tuple) and **lowest** (`"tlsv1"`, `"tlsv1.1"`, `"tlsv1.2"` or `"tlsv1.3"`) so that the broker takes nothing with a fault, while a TLS 1.2 device still gets in. The broker's key is RSA. The check offers the running broker all suites with a fault, and nothing else.
#
# Example: `suites = ("ECDHE-RSA-AES256-GCM-SHA384",)` is a beginning. Stuck? `lab.hint("tls.2")`.

# %% exercise="tls.2" kind="defend-it"
def choose():
    """Return the TLS 1.2 suites and the lowest version of a broker with an RSA key."""
    # BEGIN SOLUTION
    return ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-CHACHA20-POLY1305"), "tlsv1.2"
    # END SOLUTION


# %%
suites, lowest = choose()
mended = lab.enter(old_broker(lab.workspace, folder="broker/mended", ciphers=suites, lowest=lowest))

# %%
lab.check("tls.2")

# %% [markdown]
# ## Forward secrecy, or: the thief comes later
#
# Somebody records your traffic today and can't read it. A year later he steals the broker's private key, from a backup. What is his recording worth? First a session with **static RSA**, which the broker **old** takes.

# %%
with Relay(old.endpoint) as relay:
    lab.claim("static-rsa", probe(relay.endpoint, trust=old.trust, tls="1.2", ciphers="AES128-GCM-SHA256",
                                  username=USER, password=PASSWORD))
    years_ago = relay.last()
lab.claim("static-closed", overhear(years_ago, PASSWORD))

# %% [markdown]
# Without the key: nothing. Now a year passes.

# %%
lab.predict("later")

# %%
from labkit.scenarios.eavesdropping import overhear_with_key

key = old.stolen_key()
lab.claim("static-opened", overhear_with_key(years_ago, key, PASSWORD))

# %%
from labkit.mqtt import open_with_server_key

story = open_with_server_key(years_ago, key)
print(next(m.content for m in story.messages if m.name == "Application data"))

# %% [markdown]
# The whole session lies open. With static RSA the client *encrypts* the secret of the session to the broker's key and sends it along. It is in the recording, waiting for the key. With **ECDHE** both sides make a throw-away key, and the broker's key only *signs*. Your first recording through TLS was made with it: the same broker, the same stolen key.

# %%
print(read_handshake(sealed).suite)
lab.claim("ecdhe-closed", overhear_with_key(sealed, key, PASSWORD))

# %% [markdown]
# Nobody opens it any more, the broker included: the keys that could are gone. That is **forward secrecy**. TLS 1.3 has nothing else; for TLS 1.2 it is your list of suites that decides. The certificate forbade it, by the way: it has no *key encipherment* in its key usage. OpenSSL, as you saw, does not ask.

# %% [markdown]
# ## Why TLS 1.3 hides the reason
#
# You may have met this in lesson **start-here**: a device without a certificate knocks at our broker. Under TLS 1.2 the handshake itself fails. Under 1.3 the client has *finished* before the broker has looked, and many a program prints "connected".

# %%
import socket
import ssl

context = ssl.create_default_context(cafile=site.trust)
for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_2, version
    with socket.create_connection((site.host, site.port), timeout=2) as tcp:
        try:
            context.wrap_socket(tcp, server_hostname="localhost").close()
            print(version.name, "connected, it thinks")
        except ssl.SSLError as error:
            print(version.name, "refused:", error.reason)

# %% [markdown]
# The reason does come, in an encrypted alert behind the client's last flight. Whoever *reads* once learns it; whoever writes first may get a reset and "connection lost". labkit's **probe** reads, and says *accepted* only after the broker's CONNACK.

# %%
with Relay(site.endpoint) as relay, key_log(lab.workspace.root) as log:
    lab.claim("hidden-refusal", probe(relay.endpoint, trust=site.trust, tls="1.3", keylog=log.path))
    refusal, its_secrets = relay.last(), log.secrets()
print("an eavesdropper reads:", read_handshake(refusal).alerts, "| we read:", read_handshake(refusal, secrets=its_secrets).alerts)

# %% [markdown]
# ## Words that you will meet
#
# | feature | what it is | what to think of it |
# | --- | --- | --- |
# | 0-RTT | data in the very first flight of a resumed TLS 1.3 session (RFC 8446, 2.3) | can be *replayed*: a recorded "open the valve" works twice. Mosquitto does not offer it, and you don't miss it |
# | certificate compression | RFC 8879, an optional extension of TLS 1.3 | small certificates gain more; OpenSSL 3.0, which many brokers run, does not have it |
# | CBC suites | encrypt, pad, and authenticate in the wrong order | Lucky Thirteen, POODLE, BEAST; gone in TLS 1.3 |
# | renegotiation | a second handshake inside a TLS 1.2 session | gone in TLS 1.3; servers with OpenSSL 3 refuse it when the client asks |
# | SNI | the server's name in the ClientHello | in the open in both versions; empty in your recordings, because they connect to an address |
# | key update | fresh keys within a TLS 1.3 session | for sessions that last months, like those of sensors |

# %% [markdown]
# ## Go deeper: what a handshake costs
#
# *Ungraded; skipping it breaks nothing later.* Three kinds of key, two versions, full and resumed: twelve ways to connect, which take turns on this computer. Bytes are counted from recordings and are the same everywhere; times are yours.

# %% tags=["go-deeper"]
from labkit.display import Bar, bars
from labkit.scenarios.handshake_cost import handshake_cost

costs = handshake_cost(lab.workspace, rounds=12)
bars("Bytes on the wire for one connection", "bytes", [
    Bar(c.label, c.sent + c.received, "device" if c.resumed else "server") for c in costs])

# %% tags=["go-deeper"]
bars("From the first packet to CONNACK", "ms", [Bar(c.label, c.milliseconds, "device" if c.resumed else "server") for c in costs],
     note="Medians, on this computer, whose processor is many times faster than a sensor's.")

# %% tags=["go-deeper"]
bars("The broker's processor, one connection", "ms", [Bar(c.label, c.broker_cpu, "device" if c.resumed else "server") for c in costs],
     note="Means of a clock with steps of 10 ms: good for the large differences only.")

# %% [markdown]
# RSA signatures and certificates are long, so RSA chains cost bytes; an RSA *signature* costs the broker time, checking it is cheap. A resumed session skips certificates and signatures, and that is exactly the danger: nobody looks at the certificate again. Lesson **revocation** walks in through that door.

# %% [markdown]
# ## Go deeper: what the client told everybody
#
# *Ungraded.* The first message is in the open in both versions. It says which library you use as plainly as an accent; there are collections of such fingerprints.

# %% tags=["go-deeper"]
hello = opened.find("ClientHello").shown
Table("ClientHello", ("field", "value"), [(name, ", ".join(value) if isinstance(value, tuple) else value) for name, value in hello.items()])

# %% [markdown]
# ## Go deeper: three more exercises
#
# *Optional; skipping them breaks nothing later.*
#
# ### Exercise 3: let the device find it
#
# *Tweak.* Above, a bit was flipped on the way, and the *broker* found it. Change the settings of **flip_bit** so that the *device* finds a flipped bit, and hangs up. The device connects with TLS 1.2 and publishes one message.
#
# Example: `{"direction": "client", "number": 1}` is what was done above. Stuck? `lab.hint("tls.3")`.

# %% exercise="tls.3" kind="tweak" tags=["go-deeper"]
def settings():
    """Return the arguments of flip_bit."""
    # BEGIN SOLUTION
    return {"direction": "server", "number": 1}
    # END SOLUTION


# %% tags=["go-deeper"]
lab.workspace.write_json("answers/tls/flip.json", settings())
lab.check("tls.3")

# %% [markdown]
# ### Exercise 4: the client that believes everybody
#
# *Bug hunt.* This is how a device logs in whose author was tired of certificate errors. It works, with every server that there is.

# %% tags=["go-deeper"]
def colleague(port, trust, password):
    context = ssl.create_default_context(cafile=trust)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), timeout=2) as tcp, context.wrap_socket(tcp) as tls:
        tls.sendall(password.encode())
    return "sent"

# %% [markdown]
# Write **log_in**: it connects to a port of 127.0.0.1, believes the root in the file `trust` and nobody else, and expects a server called `localhost`. It sends the password and returns `"sent"`, or it sends nothing and returns `"refused"`. The check puts five servers in its way, and looks what each of them was told.
#
# Example: at a server that another authority vouches for it returns `"refused"`. Stuck? `lab.hint("tls.4")`.

# %% exercise="tls.4" kind="bug-hunt" tags=["go-deeper"]
import socket
import ssl


def log_in(port, trust, password):
    """Send the password to the right server, and to no other."""
    # BEGIN SOLUTION
    context = ssl.create_default_context(cafile=trust)
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=2) as tcp,
            context.wrap_socket(tcp, server_hostname="localhost") as tls,
        ):
            tls.sendall(password.encode())
    except ssl.SSLCertVerificationError:
        return "refused"
    return "sent"
    # END SOLUTION


# %% tags=["go-deeper"]
lab.hand_in(log_in)
lab.check("tls.4")

# %% [markdown]
# ### Exercise 5: what lengths tell
#
# *Break it.* A contact on a door says `open` or `closed`, through TLS, and you listen. **record** lets the device say a word and returns what you see: how long its records of application data were.

# %% tags=["go-deeper"]
from labkit.course.lessons.tls_exercises import record

{word: record(site, word) for word in ("open", "closed")}

# %% [markdown]
# Write **said**: it is given such a list and returns the word. The check records the device anew, several times, and shows your function nothing but lengths.
#
# Example: `said(record(site, "open"))` returns `"open"`. Stuck? `lab.hint("tls.5")`.

# %% exercise="tls.5" kind="break-it" tags=["go-deeper"]
def said(lengths):
    """Return what the device said, judged by the lengths of its records."""
    # BEGIN SOLUTION
    return "open" if lengths[1] < 62 else "closed"
    # END SOLUTION


# %% tags=["go-deeper"]
lab.hand_in(said)
lab.check("tls.5")

# %% [markdown]
# Nothing was decrypted, and you know whether somebody is in. Devices that care send messages of *one* length, at fixed times.

# %% [markdown]
# ## What you proved
#
# - Confidentiality: a password in the open on one recording, nowhere on the other, and the broker took it both times.
# - Integrity: one bit of one record was changed, and the connection ended with `bad_record_mac`.
# - Authenticity: the device hung up on a broker of another authority before it said a word.
# - You counted round trips, opened a TLS 1.3 handshake with your own key log, and saw that TLS 1.2 tells device names to everybody.
# - A stolen key opened a session with static RSA and none with ECDHE; our broker refuses what has no forward secrecy.

# %%
lab.summary()

# %% [markdown]
# ## In practice
#
# - *Sizes and times leak.* An eavesdropper can't read the temperature, but sees that a message comes when the door opens. Padding and regular messages help; TLS alone does not.
# - *Proxies that inspect* TLS are relays whose authority your devices were told to trust. Devices that know one root refuse them.
# - *Nagle's algorithm* holds back half of each TLS 1.3 handshake for 40 ms and makes people believe that 1.3 is slow. `set_tcp_nodelay true` is in our broker's configuration.
# - *A name in a ClientHello* is public. If the name of the broker must not be known, neither can its address be.
# - *Versions age.* Write down who looks at this list every year; a checklist item without a date is a wish.

# %% [markdown]
# ## Questions

# %%
lab.quiz("questions")

# %% [markdown]
# ## Further reading
#
# - [RFC 8446](https://www.rfc-editor.org/rfc/rfc8446): TLS 1.3. Section 2 has the pictures, section 7.1 the key schedule that opened your recording.
# - [RFC 5246, section 7.3](https://www.rfc-editor.org/rfc/rfc5246#section-7.3): the handshake of TLS 1.2 on one page.
# - [RFC 9325](https://www.rfc-editor.org/rfc/rfc9325): recommendations for secure use of TLS, with a list of suites.
# - [RFC 7925](https://www.rfc-editor.org/rfc/rfc7925): TLS profiles for the Internet of Things.
# - [The Illustrated TLS 1.3 Connection](https://tls13.xargs.org/): every byte explained.

# %% [markdown]
# ## Tidy up
#
# This stops the brokers. Next: lesson **certificate-authority**. Today a root to believe in was simply there; in that lesson you make one, and all that hangs below it.

# %%
lab.close()
