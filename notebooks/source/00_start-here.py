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
# # Start here: turn five intruders away
#
# **What you'll do.** You make a certificate authority, start a real broker, let one device publish a temperature through it, and turn five intruders away, each for a reason that you can prove.
#
# **What you'll learn**
#
# - make a chain of certificates and read who vouches for whom
# - run Mosquitto so that a certificate is the only way in
# - tell *where* a connection was refused and *why*, from both sides of the wire
# - recognise a refusal that proves nothing
#
# **What you'll need.** About 20 minutes for the core path (an estimate). Python, OpenSSL and Mosquitto (on Debian and Ubuntu the lab fetches it if it is missing). No board, no account, no Docker, no earlier lesson. You touch OWASP IoT items I1 (weak credentials), I2 (insecure services) and I7 (insecure transfer and storage).

# %% [markdown]
# ## Before you start
#
# ### Rules of engagement
#
# You will attack something today. Everything that you attack is yours: it runs on this computer, listens on 127.0.0.1, and was made by you for this purpose. **Use what you learn only on systems that you own or that you were asked, in writing, to test.** Trying an intruder's connection on somebody else's broker is an offence in most countries, also when it fails.

# %% [markdown]
# ### Where this runs
#
# | you are on | in this lesson | later in the course |
# | --- | --- | --- |
# | Linux | everything is real | network zones are real; the ESP32 is a model until you plug one in |
# | Windows with WSL 2 | as on Linux | as on Linux |
# | macOS | everything is real | network zones are a simulation, and say so |
# | Windows without WSL | real, with Mosquitto's own installer | network zones are a simulation, and say so |
# | Binder, JupyterHub | real, on somebody else's machine | as on Linux, without boards |

# %% [markdown]
# ### Open the lab
#
# These two lines open this lesson's lab. Everything that it makes goes into one folder, the **workspace**. The table shows what is there: files, what is running, and the tools with their versions.

# %%
from labkit.course import open_lab
lab = open_lab("start-here")

# %% [markdown]
# ### When a cell fails
#
# Run the cells from the top, one after the other. When one fails, here or in a later lesson, it is nearly always one of these:
#
# | what you see | what to do |
# | --- | --- |
# | `NameError` | a cell above has not run, waits for an exercise of yours, or the kernel was restarted: **Run**, then **Run All Above Selected Cell** |
# | `NotImplementedError` | the exercise above is still yours to write; `lab.hint` helps, and most of what follows goes on without it |
# | `WorkspaceBusyError` | another notebook works in this folder: shut its kernel down, then run the cell again |
# | *no broker is running*, `BrokerGoneError` | the broker stopped with its kernel or lab: run the cells from the top |
# | **DOES NOT HOLD** | something else happened than was claimed: read the rows below it, and try once more from the top |
#
# A cell may be run again: a broker that it starts takes the place of the one before. `lab.status()` shows the table again. `lab.reset()` stops what runs and takes the folder back to how this lesson found it; after it, run the cells from the top.

# %% [markdown]
# ### Are you ready?
#
# Ten questions on what the course takes for granted. Five wrong answers are no reason to stop: each one tells you what to read first.

# %%
lab.quiz("ready")

# %% [markdown]
# ## Make an authority
#
# A device and a broker that have never met need a third party whom both believe. That is a certificate **authority**, or CA. It signs **certificates**: each says whose a key is. Ours has two storeys: a **root** that signs almost nothing, and an **intermediate** that does the daily work.

# %%
from labkit.pki import Store

store = Store(lab.workspace)
store.ensure_authority()

# %% [markdown]
# What you see is the intermediate. The root's private key is on disk too, encrypted; it signed the intermediate and is not needed again today. Now the intermediate makes an **identity** for one device: a private key, and a certificate for it.

# %%
store.identity("sensor-001"), store.identity("admin")

# %% [markdown]
# `admin` is a person, not a device: the **observer** who may read everything, and whose eyes we trust later. Here is everybody, and who vouches for whom.

# %%
from labkit.display import chain_tree

chain_tree(store.tree())

# %% [markdown]
# Read it from the leaves: the broker's certificate, `localhost`, is good for *servers*, the device's for *clients*; both are signed by the intermediate, and the intermediate by the root. That is a **chain**. The root is the only one that anybody has to believe in advance: it is the **trust anchor**.

# %% [markdown]
# ## Start the broker
#
# Mosquitto is a small MQTT broker that many plants and most guides use. **mutual_tls** writes a configuration for it and starts it on a free port of this computer. It stops when you close the lab, restart the kernel or shut Jupyter down.

# %%
from labkit.scenarios import mutual_tls

site = lab.enter(mutual_tls(store))
print(site.broker.configuration)

# %% [markdown]
# Three lines carry this lesson; the others can wait. **cafile** names whom the broker believes. **require_certificate** makes it ask every client for a certificate, and hang up on those without. **use_identity_as_username** takes the user name from the certificate, so nobody can simply claim a name. Both sides show a certificate and check the other's: that is **mutual TLS**.

# %% [markdown]
# ## Let the device in
#
# First the attempt that must succeed. Without it, every refusal that follows would prove nothing: a broker that is switched off refuses intruders perfectly. This is called a **positive control**.
#
# A connection has four **stages**, and each can refuse: **tcp** (is anybody there?), **tls** (do we believe each other?), **mqtt** (may you open a session?), **authorised** (may you do that?). **lab.claim** holds a sentence against what happened: the verdict must fall at the right stage and for the right reason.

# %%
welcome = site.publish("sensor-001", "devices/sensor-001/telemetry/temperature", "21.5")
lab.claim("device-delivers", welcome)

# %% [markdown]
# Accepted at **authorised**, the last stage, and not because `sensor-001` says so: the observer received the message. Among the broker's own lines look for `u'sensor-001'`: that is the user name, and the broker read it from the certificate.

# %% [markdown]
# ## Intruder one: nobody
#
# The first intruder has found the port and has no certificate at all. It does trust our root, so *it* will be content with the broker. At which stage will it be stopped?

# %%
lab.predict("nobody")

# %% [markdown]
# Before labkit shows you, try it by hand. At the second stage client and server shake hands: in the **handshake** they agree on keys and show their certificates. A side that is not content says why, in an **alert**, and hangs up. You will knock, and listen for that alert.

# %% [markdown]
# ### Exercise 1: knock by hand
#
# *Fill in.* Complete **knock**: open a TCP connection to `site.host` and `site.port`, wrap it with `context.wrap_socket(…, server_hostname="localhost")`, and try to read one byte. Return `"silence"` if nothing comes within the time limit, `"closed"` if the peer hangs up without a word, else the `reason` of the `ssl.SSLError`.
#
# Example: `knock(tls_context(site.identity("sensor-001")))` gives `"silence"`: an MQTT broker says nothing until it is spoken to. Stuck? `lab.hint("start-here.1")` helps, up to three times.

# %%
import socket
import ssl


def tls_context(identity=None):
    context = ssl.create_default_context(cafile=site.trust)
    if identity:
        context.load_cert_chain(identity.certificate, identity.key)
    return context


# %% exercise="start-here.1" kind="fill-in"
def knock(context, seconds=1.0):
    """Return what a peer says that nobody has spoken to yet."""
    # BEGIN SOLUTION
    try:
        with (
            socket.create_connection((site.host, site.port), timeout=seconds) as tcp,
            context.wrap_socket(tcp, server_hostname="localhost") as tls,
        ):
            tls.recv(1)
    except TimeoutError:
        return "silence"
    except ssl.SSLError as error:
        return error.reason
    return "closed"
    # END SOLUTION


# %% [markdown]
# Now knock three times: as the device, as nobody, and as nobody who insists on TLS 1.2. The third is the hostile one: an old protocol version is a favourite way round a rule.

# %%
old_fashioned = tls_context()
old_fashioned.maximum_version = ssl.TLSVersion.TLSv1_2
heard = {
    "sensor-001": knock(tls_context(site.identity("sensor-001"))),
    "nobody": knock(tls_context()),
    "nobody, TLS 1.2": knock(old_fashioned),
}
heard

# %% [markdown]
# Write down what you heard. The check reads this file and knocks for itself, so it is your **knock** that is judged, not a name in this notebook.

# %%
lab.workspace.write_json("answers/start-here/knock.json", heard);

# %%
lab.check("start-here.1")

# %% [markdown]
# You read the intruder's side. labkit's **attempt** is the tested twin of your **knock**: it goes on to MQTT where it is let in, and puts the broker's own log lines beside what the client saw.

# %%
lab.claim("nobody-refused", site.attempt(None))

# %% [markdown]
# Two witnesses, one story. The client read the alert `certificate_required`; the broker wrote `peer did not return a certificate`. The connection got as far as **tls** and no further: not one byte of MQTT was exchanged.

# %% [markdown]
# ## Intruder two: the impostor
#
# The second intruder is cleverer. Names in certificates are only text, so it makes an authority *of its own* with exactly the same names as ours, and lets it sign a certificate for `sensor-001`. Every field that a person would look at is right.

# %%
lab.predict("impostor")

# %% [markdown]
# ### Exercise 2: become the impostor
#
# *Break it.* Make an authority that has the same name as ours and another key, let it issue `sensor-001`, and store the two files. `Authority.new_root(name)` makes a root, `.new_intermediate(name)` an intermediate below it, `.issue_device(id)` a leaf.
#
# Example: afterwards `store.names` and the names in your forged chain are the same, and their keys are not. Stuck? `lab.hint("start-here.2")`.

# %% exercise="start-here.2" kind="break-it"
from labkit.pki import Authority


def forge():
    """Return what a rogue authority with our names issues for sensor-001."""
    # BEGIN SOLUTION
    rogue_root = Authority.new_root(store.names.root)
    rogue = rogue_root.new_intermediate(store.names.intermediate)
    return rogue.issue_device("sensor-001")
    # END SOLUTION


# %%
forged = forge()
impostor = store.save_intruder("impostor", forged)
lab.check("start-here.2")

# %% [markdown]
# Same names, to the letter. Let us see whether the broker is impressed.

# %%
lab.claim("impostor-refused", site.attempt(impostor))

# %% [markdown]
# It is not. A certificate is believed because of a *signature* that leads to the trust anchor's key, and never because of the names in it. The third witness, `openssl verify`, looked at the impostor's file on its own and found no issuer that we trust.

# %% [markdown]
# ## The other three
#
# Three more intruders. **Expired**: a device of ours whose certificate ran out yesterday. **Server**: somebody who stole the broker's own certificate, signed by our own authority, and uses it as a client. **Self-signed**: somebody who vouches for himself. Predict all three, then look.

# %%
lab.predict("expired")
lab.predict("server")
lab.predict("self-signed")

# %%
for name, intruder in site.intruders("expired", "server", "self-signed").items():
    lab.claim(f"{name}-refused", site.attempt(intruder))

# %% [markdown]
# Look at two rows again. The stolen server certificate has a perfect signature from our own authority and was refused all the same, because it is for *servers*: its **purpose** is wrong. And *self-signed* got the same alert as the impostor: **on the wire the two can't be told apart.** Only `openssl verify`, which has the file in its hands, knows the difference.

# %% [markdown]
# Is the door still open for those who belong here? Always ask once more at the end: the broker that refused five intruders must be the broker that lets the device in.

# %%
lab.claim("device-still-in", site.publish("sensor-001", "devices/sensor-001/telemetry/temperature", "21.7"))

# %% [markdown]
# ## Break it: a refusal that proves nothing
#
# One thing wrong, everything else the same: a second broker with `require_certificate false`. It does not ask for certificates any more. Somebody tests it with the first intruder, sees *refused*, and ticks the box. Which layer refused, and how do you know?

# %%
careless = lab.enter(mutual_tls(store, folder="broker/careless", require_certificate=False))
lab.claim("vacuous-nobody", careless.attempt(None))

# %% [markdown]
# Refused, but at stage **mqtt**, not **tls**: the handshake went through without a certificate. The broker then found no user name and hung up. Now the positive control, the one that the tester forgot.

# %%
lab.claim("vacuous-device", careless.attempt(careless.identity("sensor-001")))

# %% [markdown]
# Our own device is refused too, for the same reason. This broker refuses *everybody*, and a test that only looks for "refused" would call it secure. From here on, every refusal in this course comes with its **reason** and with a **positive control**.

# %% [markdown]
# ## Go deeper: the client that believes it is connected
#
# *Ungraded; skipping it breaks nothing later.* Under TLS 1.2 the refusal comes *during* the handshake. Under TLS 1.3 the client has finished its handshake before the broker has even looked at its certificate. Many programs report "connected" at this point, and are wrong.

# %% tags=["go-deeper"]
for version in ("1.2", "1.3"):
    context = tls_context()
    context.maximum_version = context.minimum_version = ssl.TLSVersion[f"TLSv{version.replace('.', '_')}"]
    with socket.create_connection((site.host, site.port), timeout=2) as tcp:
        try:
            context.wrap_socket(tcp, server_hostname="localhost").close()
            print(f"TLS {version}: the handshake came to an end, without any certificate of ours")
        except ssl.SSLError as error:
            print(f"TLS {version}: refused during the handshake, {error.reason}")

# %% [markdown]
# That is why **knock** reads before it judges, and why labkit says *accepted* only after the broker's **CONNACK**. Lesson **tls** opens the handshake and shows what is said when.

# %% [markdown]
# ## Go deeper: the same by hand
#
# *Ungraded.* The third witness is a command that you can type yourself. `-untrusted` hands over the intermediate, `-x509_strict` insists on RFC 5280, `-purpose` asks for client use.

# %% tags=["go-deeper"]
from labkit.processes import run

for name in ("impostor", "expired", "self-signed"):
    ended = run(
        ["openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", "root/ca.crt",
         "-untrusted", "intermediate/intermediate.crt", f"intruders/{name}.crt"],
        cwd=lab.workspace.root, check=False,
    )
    print(" ".join(ended.argv), ended.output, sep="\n", end="\n\n")

# %% [markdown]
# ## Go deeper: three more exercises
#
# *Optional; skipping them breaks nothing later.* Each is judged like those above, and has its three hints.
#
# ### Exercise 3: let a visitor in for a week
#
# *Tweak.* A technician brings a device of his own and leaves on Friday. Complete **short_lived**: an identity of `visitor-001` from our authority that is good for a week at most. Everything else stays as `issue_device` does it.
#
# Example: `DEVICE` is the **profile** that `issue_device` takes if you give it none, and `describe(store.certificate("sensor-001"))` shows how long it lasts. Stuck? `lab.hint("start-here.3")`.

# %% exercise="start-here.3" kind="tweak" tags=["go-deeper"]
from dataclasses import replace

from labkit.pki import DEVICE


def short_lived():
    """Return an identity of visitor-001 that ends within a week."""
    # BEGIN SOLUTION
    return store.authority().issue_device("visitor-001", profile=replace(DEVICE, days=5), renew=True)
    # END SOLUTION


# %% tags=["go-deeper"]
visitor = short_lived()
lab.workspace.write("answers/start-here/visitor.crt", visitor.certificate_pem)
lab.workspace.write("answers/start-here/visitor.key", visitor.key_pem, secret=True)
lab.check("start-here.3")

# %% [markdown]
# ### Exercise 4: the test that can't fail
#
# *Bug hunt.* A colleague's test suite calls this function with two reports, of a device and of an intruder, and has been green for years. "They differ, or the reason is right: what could be wrong with that?"

# %% tags=["go-deeper"]
def colleague(control, intruder, reason):
    return control["accepted"] != intruder["accepted"] or intruder["reason"] == reason


control = {"broker": "hall", "stage": "mqtt", "accepted": True, "reason": "accepted"}
intruder = {"broker": "hall", "stage": "tls", "accepted": False, "reason": "no-certificate"}
colleague(control, intruder, "no-certificate")

# %% [markdown]
# Write **proves**: it returns `True` where the control got in, *at the same broker*, and the intruder was refused *for the reason that was asked for*; otherwise `False`.
#
# Example: for the two reports above and `"no-certificate"` it returns `True`. Stuck? `lab.hint("start-here.4")`.

# %% exercise="start-here.4" kind="bug-hunt" tags=["go-deeper"]
def proves(control, intruder, reason):
    """Return whether two reports prove that the intruder was refused for a reason."""
    # BEGIN SOLUTION
    return (
        control["accepted"]
        and control["broker"] == intruder["broker"]
        and not intruder["accepted"]
        and intruder["reason"] == reason
    )
    # END SOLUTION


# %% [markdown]
# **hand_in** keeps the cell as text. The check calls your function in a process of its own, with reports that you have not seen.

# %% tags=["go-deeper"]
lab.hand_in(proves)
lab.check("start-here.4")

# %% [markdown]
# ### Exercise 5: mend what a colleague opened
#
# *Defend it.* A device did not get in, a colleague "fixed" it, and now it does. So does everybody else. This is what the broker goes by since then:

# %% tags=["go-deeper"]
from labkit.course.lessons.start_here_exercises import helpful

print(helpful(store))

# %% [markdown]
# Write **mend**: it is given that text and returns the mended one. Nobody and the impostor must be turned away during TLS, and `sensor-001` must be let in *under its own name*; and whatever the colleague opened is shut again. *Start the broker* printed how it was. The check starts a broker of its own with what you return.
#
# Example: `"user a\nport 1".replace("port 1", "port 2")` gives `"user a\nport 2"`. Stuck? `lab.hint("start-here.5")`.

# %% exercise="start-here.5" kind="defend-it" tags=["go-deeper"]
def mend(text):
    """Return the configuration with what the colleague changed put right."""
    # BEGIN SOLUTION
    text = text.replace("allow_anonymous true", "allow_anonymous false")
    bound = "use_identity_as_username true\nuse_username_as_clientid true"
    return text.replace("require_certificate false", f"require_certificate true\n{bound}")
    # END SOLUTION


# %% tags=["go-deeper"]
lab.hand_in(mend)
lab.check("start-here.5")

# %% [markdown]
# ## What you proved
#
# - You made a chain of certificates and read who vouches for whom: root, intermediate, leaf.
# - You ran Mosquitto so that a certificate is the only way in: the device delivered, and the observer saw it.
# - You told *where* and *why* five intruders were refused, from the alert, the broker's log and `openssl verify`.
# - You recognised a refusal that proves nothing, because its positive control failed too.

# %%
lab.summary()

# %% [markdown]
# ## In practice
#
# - The root's passphrase lies beside its key in this workspace, so that the lesson runs without asking. A real root is made offline, in company, and kept in a safe or a **hardware module**: lesson **certificate-authority** does that.
# - An expired certificate is refused at a *full* handshake. A *resumed* session skips the check. Our broker hands out no tickets, so TLS 1.3 cannot resume; TLS 1.2 still can, from OpenSSL's own cache, until the broker restarts. Lesson **revocation** walks through the hole.
# - A stolen device certificate still works until somebody revokes it. Nothing that you saw today changes that; lesson **revocation** does.
# - `sensor-001` could not have published as `sensor-002`: rules by identity are in force already, and lesson **mutual-tls** takes them apart.

# %% [markdown]
# ## Questions
#
# Eight questions, no code. A wrong answer tells you why it is wrong.

# %%
lab.quiz("questions")

# %% [markdown]
# ## Further reading
#
# - [RFC 8446, section 6](https://www.rfc-editor.org/rfc/rfc8446#section-6): the alerts of TLS 1.3, each with its meaning, in two pages.
# - [RFC 5280, section 4.2.1.12](https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.12): what *extended key usage* promises and to whom.
# - [mosquitto.conf](https://mosquitto.org/man/mosquitto-conf-5.html): every option of the broker, from its authors.
# - [OWASP Internet of Things](https://owasp.org/www-project-internet-of-things/): the ten risks that the course maps its lessons to.

# %% [markdown]
# ## Tidy up
#
# This stops the brokers. If you forget it, they stop when the kernel does. Next: lesson **threat-model**, which asks what all this is to protect, and from whom. In a hurry to see the bytes? Lesson **tls** needs nothing else.

# %%
lab.close()
