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
# # Build a broker that knows who speaks
#
# **What you'll do.** You build an authority, configure a broker with mutual TLS for two devices and an operator, write its rules, and prove with tests that it refuses whom it must, for the right reason.
#
# **What you'll learn**
#
# - make a root, an intermediate, a server and clients that are right for their purpose and no other
# - configure a broker that asks everybody for a certificate, and goes by the name in it
# - test a refusal so that a broken broker does not pass
# - write rules that keep each device to its own topics
#
# **What you'll need.** About 95 minutes (an estimate). Lessons **certificate-authority** and **mutual-tls**; Python, OpenSSL, and Mosquitto with its two clients. 90 points are judged by machine, 10 by a person.

# %% [markdown]
# ## Your plant
#
# Everybody gets a plant of their own. Say who you are in the cell below, as your instructor knows you: `open_lab("mtls-setup", student="…")`. Without it you get the plant of somebody who learns alone, which is fine if you do.

# %%
from labkit.course import open_lab
lab = open_lab("mtls-setup")

# %%
plant = lab.variant
one, other = plant.devices
dict(plant.values)

# %% [markdown]
# | what | what it is for |
# | --- | --- |
# | `devices` | two devices; each one's common name, user name and client id is its id |
# | `operator` | the person who hears everything below the prefix, and commands devices |
# | `prefix` | all topics begin with it: `prefix/DEVICE/telemetry/…`, `prefix/DEVICE/status`, `prefix/DEVICE/commands/…` |
# | `port` | where your broker listens, on 127.0.0.1 |
# | `host` | what your broker is called; its certificate is good for this name, for `localhost` and for `127.0.0.1` |
#
# All your files lie side by side in **answers/mtls-setup** in your workspace, under these names:
#
# | file | what it holds |
# | --- | --- |
# | `root.crt` | the root, alone: what clients are told to believe |
# | `intermediate.crt` | the intermediate, which signed all the others |
# | `server.crt`, `server.key` | the broker's certificate and key |
# | `DEVICE.crt`, `DEVICE.key` | for each device, and the same for the operator; certificate first, the intermediate may follow |
# | `mosquitto.conf`, `acl.conf` | the broker's configuration and rules; they may name more files beside them |
# | `stranger-ca.crt`, `stranger.crt`, `stranger.key` | an intruder, see step 5 |
#
# Use what you like to make them: **labkit.pki**, or `openssl` through `labkit.processes.run`. Keys are P-256, P-384, or RSA with 2,048 bits or more, without a passphrase for server and clients. Whatever makes them must stand in *this notebook*: when it is graded, it runs from top to bottom in an empty folder, and the keys are made again.

# %%
here = f"answers/{lab.lesson.slug}"
folder = lab.workspace.path(here)

def keep(name, content, *, secret=False):
    """Write a file of the answer; secret ones for your eyes only."""
    return lab.workspace.write(f"{here}/{name}", content, secret=secret).name

# %% [markdown]
# ## Step 1: the authority
#
# *Fill in; 25 points.* Make root, intermediate, the broker's certificate, two devices and the operator. What is checked: constraints and path length, purposes, names, hosts, dates, that each key belongs to its certificate, and that no two have the same. A certificate is valid for 398 days at most; authorities live longer.
#
# Example: `Authority.new_root("My root").certificate` is a certificate. Stuck? `lab.hint("mtls-setup.1")`, up to three times.

# %% exercise="mtls-setup.1" kind="fill-in"
def build_authority():
    """Make and keep all certificates and keys."""
    # BEGIN SOLUTION
    from cryptography.hazmat.primitives.serialization import Encoding

    from labkit.pki import Authority

    root = Authority.new_root(f"{plant.site} root")
    middle = root.new_intermediate(f"{plant.site} devices")
    keep("root.crt", root.certificate.public_bytes(Encoding.PEM))
    keep("intermediate.crt", middle.certificate.public_bytes(Encoding.PEM))
    issued = {"server": middle.issue_server([plant.host, "localhost"], ["127.0.0.1"])}
    issued |= {device: middle.issue_device(device) for device in plant.devices}
    issued[plant.operator] = middle.issue_operator(plant.operator)
    for name, made in issued.items():
        keep(f"{name}.crt", made.certificate_pem)
        keep(f"{name}.key", made.key_pem, secret=True)
    # END SOLUTION


# %%
build_authority()

# %%
lab.check("mtls-setup.1")

# %% [markdown]
# ## Step 2: the broker
#
# *Defend it; 15 points.* Write **mosquitto.conf**: one listener, on your port of 127.0.0.1, with TLS 1.2 or newer, that asks each client for a certificate and takes the user name from it. Name files without a folder, or with their whole path. Clients know `root.crt` and nothing else.
#
# The judge never gives your file to Mosquitto, because a configuration can run programs. It reads your options, and renders its own from them. It knows `listener`, `cafile`, `capath`, `certfile`, `keyfile`, `crlfile`, `tls_version`, `ciphers`, `ciphers_tls1.3`, `require_certificate`, `use_identity_as_username`, `use_username_as_clientid`, `allow_anonymous` and `acl_file`; options of logs and of persistence are passed over, and anything else is refused. An `acl_file` may wait until step 6.
#
# Stuck? `lab.hint("mtls-setup.2")`.

# %% exercise="mtls-setup.2" kind="defend-it"
def configuration():
    """Return the text of mosquitto.conf, and keep the files that it names."""
    # BEGIN SOLUTION
    intermediate = (folder / "intermediate.crt").read_text()
    keep("believed.crt", intermediate + (folder / "root.crt").read_text())
    keep("server-chain.crt", (folder / "server.crt").read_text() + intermediate)
    return f"""\
listener {plant.port} 127.0.0.1
cafile believed.crt
certfile server-chain.crt
keyfile server.key
tls_version tlsv1.2
require_certificate true
use_identity_as_username true
use_username_as_clientid true
acl_file acl.conf
"""
    # END SOLUTION


# %%
keep("mosquitto.conf", configuration())
if not (folder / "acl.conf").exists():
    keep("acl.conf", "# step 6 is about this\n")

# %%
lab.check("mtls-setup.2")

# %% [markdown]
# **rehearsal** starts a broker as the judge does: your options, your files, a free port. `stage.attempt(name)` is one connection with `name.crt` and `name.key`, and its outcome says at which *stage* the verdict fell, and why. The broker's own words are in `stage.broker.log`.

# %%
from labkit.course.exercises.mtls_setup_stage import rehearsal

with rehearsal(lab) as stage:
    for name in stage.names:
        print(f"{name:<12} {stage.attempt(name)}")

# %% [markdown]
# ## Step 3: mosquitto_pub and mosquitto_sub
#
# *Fill in; 15 points.* Write **command**: it returns the words of a command line, the program first, for `mosquitto_pub` and for `mosquitto_sub`. `broker` is a host and a port. The judge calls it for both devices, with a broker of its own, and runs the programs beside your files: name certificates and keys without a folder. A message is only for `mosquitto_pub`; for the other one it is what will be heard, and no argument.
#
# Example: `command("mosquitto_sub", ("localhost", 8883), "pump-1", "a/b", "")` begins with `["mosquitto_sub", "-h", "localhost", …]`. Stuck? `lab.hint("mtls-setup.3")`.

# %% exercise="mtls-setup.3" kind="fill-in"
def command(program, broker, name, topic, message):
    """Return the words of a command line for one of the two programs."""
    # BEGIN SOLUTION
    host, port = broker
    words = [program, "-h", host, "-p", str(port), "-t", topic, "-q", "1", "-i", name]
    words += ["--cafile", "root.crt", "--cert", f"{name}.crt", "--key", f"{name}.key"]
    return [*words, "-m", message] if program == "mosquitto_pub" else words
    # END SOLUTION


# %%
lab.hand_in(command)
lab.check("mtls-setup.3")

# %% [markdown]
# ## Step 4: nobody without a certificate
#
# *Break it; 10 points, one half for your broker and one for your test.* Come without a certificate, as `None`, in both versions of TLS.

# %%
with rehearsal(lab) as stage:
    control = stage.attempt(one)
    refusals = {tls: stage.attempt(None, tls=tls) for tls in ("1.2", "1.3")}
control.to_json(), [(tls, outcome.to_json()) for tls, outcome in refusals.items()]

# %% [markdown]
# A broker with `require_certificate false` and `use_identity_as_username true` refuses this client too: by MQTT, as it refuses *everybody*, your devices included. A test that looks for a refusal alone is content with that. So write the test: **proves** is given two outcomes as dictionaries with `stage`, `accepted` and `reason`: of the *control*, a device with its certificate, and of the *attempt* without one. It returns `True` only if both together prove that the broker requires a certificate.
#
# Example: `proves(control.to_json(), refusals["1.3"].to_json())` is `True` for a broker that is right. Stuck? `lab.hint("mtls-setup.4")`.

# %% exercise="mtls-setup.4" kind="break-it"
def proves(control, attempt):
    """Return whether the two outcomes prove that a certificate is required."""
    # BEGIN SOLUTION
    asked = attempt["reason"] in {"certificate-required", "handshake-failure"}
    return bool(control["accepted"] and not attempt["accepted"] and attempt["stage"] == "tls" and asked)
    # END SOLUTION


# %%
lab.hand_in(proves)
lab.check("mtls-setup.4")

# %% [markdown]
# ## Step 5: an authority that nobody knows
#
# *Break it; 10 points.* Make an intruder who pretends to be your *first* device: `stranger.crt` and `stranger.key`, signed by another authority whose certificate is `stranger-ca.crt`. It has one thing wrong and everything else right, so that a refusal has one reason only. Then come with it, and watch. The judge comes with four more of its own.
#
# Stuck? `lab.hint("mtls-setup.5")`.

# %% exercise="mtls-setup.5" kind="break-it"
def make_stranger():
    """Make and keep an intruder of another authority."""
    # BEGIN SOLUTION
    from cryptography.hazmat.primitives.serialization import Encoding

    from labkit.pki import Authority

    elsewhere = Authority.new_root(f"{plant.site} root")
    intruder = elsewhere.issue_device(one)
    keep("stranger-ca.crt", elsewhere.certificate.public_bytes(Encoding.PEM))
    keep("stranger.crt", intruder.certificate_pem)
    keep("stranger.key", intruder.key_pem, secret=True)
    # END SOLUTION


# %%
make_stranger()
with rehearsal(lab) as stage:
    print(stage.attempt(one), stage.attempt("stranger"), sep="\n")

# %%
lab.check("mtls-setup.5")

# %% [markdown]
# ## Step 6: rules
#
# *Defend it; 15 points.* Write **acl.conf**, and let `mosquitto.conf` name it.
#
# | who | writes | hears |
# | --- | --- | --- |
# | a device | its own `telemetry/…` and `status` | its own `commands/…` |
# | the operator | `commands/…` of every device | everything below the prefix |
#
# Dots stand for any number of levels. And nothing else: a device does not write below another's name, under whatever client id, and hears nothing that is another's. The judge tries all of it, with your devices and with one that you don't know, and judges by what *arrives*: PUBACK and SUBACK mean nothing.
#
# Stuck? `lab.hint("mtls-setup.6")`.

# %% exercise="mtls-setup.6" kind="defend-it"
def rules():
    """Return the text of acl.conf."""
    # BEGIN SOLUTION
    return f"""\
user {plant.operator}
topic read {plant.prefix}/#
topic write {plant.prefix}/+/commands/#

pattern write {plant.prefix}/%u/telemetry/#
pattern write {plant.prefix}/%u/status
pattern read {plant.prefix}/%u/commands/#
"""
    # END SOLUTION


# %%
keep("acl.conf", rules())

# %%
lab.check("mtls-setup.6")

# %% [markdown]
# ## Your test log
#
# *Written; 10 points, judged by a person.* Run the attempts that belong in a test log: who must get in and does, and who must not and doesn't. The table below is a beginning; add to it what you need.

# %%
from labkit.display import Table

telemetry = f"{plant.prefix}/{{}}/telemetry/temperature"
with rehearsal(lab) as stage:
    rows = [
        (f"{one}, to its own telemetry", stage.attempt(one, publish=telemetry.format(one))),
        (f"{one}, to {other}'s telemetry", stage.attempt(one, publish=telemetry.format(other))),
        ("nobody, without a certificate", stage.attempt(None)),
        ("the stranger", stage.attempt("stranger")),
        ("the broker's certificate, as a client", stage.attempt("server")),
    ]
    log = stage.broker.log.lines()
Table("Test log", ("who, and what", "outcome"), rows)

# %%
said = ("New connection", "New client", "OpenSSL Error", "Denied", "Client ")
print("\n".join(line for line in log if any(word in line for word in said)))

# %% [markdown]
# Explain your log: at least two accepted and three rejected connections. For each rejection say *which layer refused* (TLS, MQTT, the rules), how the log shows it, and why it proves something beside your control. Last, name one thing that this set-up does not stop.

# %% [markdown] written="mtls-setup.D1"
# <!-- BEGIN SOLUTION -->
# *The control.* My first device gets in with its certificate: TLS, then CONNACK 0, and the broker's log gives its common name as `u'…'`. Its message to its own telemetry is answered with success, and the operator hears it. All that follows was tried on the same running broker, so none of it was refused because the broker was broken.
#
# *Without a certificate:* refused in TLS, `certificate-required`. The log says that the peer did not return a certificate; no line says that a client connected, so MQTT never began.
#
# *The stranger:* the right name, the right purpose, dates that hold, and another authority: TLS, `unknown-ca`, "certificate verify failed".
#
# *The broker's own certificate as a client:* TLS, `unsupported-certificate`: the authority is ours, the purpose is not.
#
# *My first device to the other's telemetry:* TLS and CONNACK are fine; refused by the rules, PUBACK `not-authorised`, "Denied PUBLISH", and the operator heard nothing, which is what counts.
#
# *Not stopped:* whoever copies a device's key file is that device, from anywhere, until its certificate is revoked, and this broker reads no list.
# <!-- END SOLUTION -->

# %% [markdown]
# ## What you hand in
#
# | what | where | points |
# | --- | --- | --- |
# | the authority | this notebook makes it | 25 |
# | the broker's configuration | `mosquitto.conf` | 15 |
# | `command` | handed in | 15 |
# | a broker that asks for certificates, and `proves` | handed in | 10 |
# | the stranger | this notebook makes it | 10 |
# | rules | `acl.conf` | 15 |
# | your test log, explained | this notebook | 10 |
#
# When you are done, restart the kernel, run all cells, save. Then `labkit submit mtls-setup` packs the notebook and its evidence, and never a private key. When it is graded it runs in an empty folder, and the keys are made again.
#
# Every check was tried by the same judge that grades you. Is one not passed yet? It says what is there, what is asked, and what to try.

# %% [markdown]
# ## Tidy up

# %%
lab.close()
