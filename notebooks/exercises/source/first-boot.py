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
# # Let devices come by their identity on their own
#
# **What you'll do.** You set up a provisioning service, make tokens, and write what a device does at its first boot: it makes a key, asks for a certificate, stores both, and comes through when the power fails in between.
#
# **What you'll learn**
#
# - limit a service so that guessing is hopeless and an honest line is not in its way
# - make tokens that count for one device, once, and not for ever
# - order the steps of a first boot so that a power cut behind any of them costs nothing
# - write a test of a refusal that a broken service can't pass
#
# **What you'll need.** About 120 minutes (an estimate). Lessons **mutual-tls** and **provisioning**; Python, OpenSSL, Mosquitto and esptool. 85 points are judged by machine, 15 by a person.

# %% [markdown]
# ## Your fleet
#
# Everybody gets a fleet of their own. Say who you are in the cell below, as your instructor knows you: `open_lab("first-boot", student="…")`. Without it you get the fleet of somebody who learns alone, which is fine if you do.

# %%
from labkit.course import open_lab
lab = open_lab("first-boot")

# %%
mine = lab.variant
dict(mine.values)

# %% [markdown]
# | what | what it is for |
# | --- | --- |
# | `devices` | three devices of your fleet |
# | `hours` | how long a token counts |
# | `line` | so many devices are enrolled on one line within a minute, from one address |
# | `guesses` | so many wrong tokens may come from one address in a minute |

# %% [markdown]
# ## Step 1: a service with limits
#
# *Tweak; 10 points.* The printed server answers everybody, without end. labkit's takes two numbers: `requests_per_minute`, all that one address may ask in a minute, and `failures_per_minute`, how many wrong tokens among them. **0 sets no limit.**
#
# Write **settings**: it returns both. A line of `mine.line` devices, all behind one address, is enrolled within a minute, with the operator's two requests before; nobody may ask more than four times as often as there are devices on the line; after `mine.guesses` wrong tokens there is an end. The judge starts *its own* service with your numbers. Stuck? `lab.hint("first-boot.1")`, up to three times.

# %% exercise="first-boot.1" kind="tweak"
def settings():
    """Return how much one address may ask."""
    # BEGIN SOLUTION
    return {"requests_per_minute": 3 * mine.line, "failures_per_minute": mine.guesses}
    # END SOLUTION


# %% [markdown]
# They are kept as a file, and a service starts with them. Somebody guesses:

# %%
import json

from labkit.pki import Store
from labkit.scenarios.provisioning import provisioning_site

lab.workspace.write("answers/first-boot/service.json", json.dumps(settings()))
with provisioning_site(Store(lab.workspace), limits=settings()) as office:
    print(office, [office.ask("labtok_" + "A" * 43).reason for _ in range(mine.guesses + 1)])

# %%
lab.check("first-boot.1")

# %% [markdown]
# ## Step 2: tokens
#
# For the rest of the exercise you get a service without limits and a broker, both made afresh each time; `plant.counter` is where operators ask. `plant.counter.call(method, path, value)` sends a request and returns the reply; a refusal raises `RefusedError` with a `code`.

# %%
from labkit.course.exercises.first_boot_stage import stage

plant = lab.enter(stage(lab.workspace.path("scratch", "first-boot")))

# %% [markdown]
# | request | value | what it does |
# | --- | --- | --- |
# | `POST /devices` | `{"devices": [{"device_id": "lamp-1"}, …]}` | takes devices into the registry |
# | `POST /tokens` | `{"device_ids": ["lamp-1", …], "hours": 24}` | makes one token for each |
#
# *Fill in; 10 points.* Write **make_tokens**: it is given the counter, ids that the registry does not know yet, and how many hours their tokens count (it may be a fraction). It returns the tokens as a dict by id. The judge calls it with a counter, ids and hours of its own.
#
# Example: `make_tokens(plant.counter, ["lamp-1"], 24)` is `{"lamp-1": "labtok_…"}`. Stuck? `lab.hint("first-boot.2")`.

# %% exercise="first-boot.2" kind="fill-in"
def make_tokens(office, devices, hours):
    """Take devices in, and return a token for each."""
    # BEGIN SOLUTION
    office.call("POST", "/devices", {"devices": [{"device_id": name} for name in devices]})
    return office.call("POST", "/tokens", {"device_ids": devices, "hours": hours})["tokens"]
    # END SOLUTION


# %%
tokens = make_tokens(plant.counter, mine.devices, mine.hours)
{name: token[:10] + "…" for name, token in tokens.items()}

# %%
lab.hand_in(make_tokens)
lab.check("first-boot.2")

# %% [markdown]
# ## Step 3: the first boot
#
# *Fill in; 25 points.* This is what a program on the device can do. Its store is an NVS partition in flash, which keeps what was written when the power goes.
#
# | call | what it does |
# | --- | --- |
# | `device.id` | its id |
# | `device.load(name)` | returns what is stored under `"token"`, `"key"` or `"chain"`, or `None` |
# | `device.store(name, text)`, `device.erase(name)` | writes a text; erases one |
# | `device.provision(token, csr)` | asks the service, and returns the chain, PEM; a refusal raises `RefusedError` |
# | `device.connect()` | connects to the broker by mutual TLS, with the key and the chain that are stored |
#
# Write **boot**: it runs each time the device is switched on. At its first boot there is a token. Afterwards the device has a key that *it* made and the chain that belongs to it, it is connected, and the token is gone. The power may fail **behind any call**, also when the service has granted and the reply is lost; the next boot goes on from there. The service gives the same key the same certificate again, and another key nothing.
#
# A new key is `Key.generate()`; `key.pem()` are its bytes, `Key.load(bytes, path=Path("key"))` takes them back, and `make_request(key, device.id)` is the request. Everything that `boot` needs must stand in its cell. Stuck? `lab.hint("first-boot.3")`.

# %% exercise="first-boot.3" kind="fill-in"
from pathlib import Path

from labkit.pki import Key, make_request


def boot(device):
    """Do what a device does when it is switched on."""
    # BEGIN SOLUTION
    if device.load("chain") is None:
        token = device.load("token")
        if token is None:
            raise RuntimeError("neither an identity nor a token")
        if device.load("key") is None:
            device.store("key", Key.generate().pem().decode())
        key = Key.load(device.load("key").encode(), path=Path("key"))
        device.store("chain", device.provision(token, make_request(key, device.id)))
    device.erase("token")
    device.connect()
    # END SOLUTION


# %% [markdown]
# Switch on your three devices, with the tokens that you have made:

# %%
from labkit.course.exercises.first_boot_device import run

fleet = [plant.new_device(name, token=token) for name, token in tokens.items()]
for device in fleet:
    print(device.id, "|", run(boot, device))

# %% [markdown]
# Another device, whose power fails behind the second call that changes anything; then it is switched on again.

# %%
unlucky = plant.new_device()
print(run(boot, unlucky, cut_after=2), unlucky)
print(run(boot, unlucky), unlucky)

# %%
lab.hand_in(boot)
lab.check("first-boot.3")

# %% [markdown]
# ## Step 4: every boot after that
#
# *Defend it; 15 points.* Nothing new is to be written if your program asks its store first. A device that has an identity connects with it and leaves the service alone, which may be down that day. One that has neither an identity nor a token can do nothing; it raises an error, so that somebody comes and looks. Mend `boot` where it is not so, hand it in again, and check. Stuck? `lab.hint("first-boot.4")`.

# %%
print(run(boot, fleet[0]))

# %%
lab.check("first-boot.4")

# %% [markdown]
# ## Step 5: a token is spent
#
# The same token must be rejected the second time. A quick test asks twice and looks for an error. It would be content with a service that refuses *everybody*.
#
# *Bug hunt; 15 points.* Write **reuse_is_refused**: it is given a service and returns `True` if, and only if, that service refuses a spent token, for that reason, to somebody else. `service.token("probe-1")` returns a fresh token for that device; `service.provision(token, csr)` returns a chain, or raises `RefusedError` with a `code`; the code for a spent token is `token-spent`. The judge shows it a service that holds, and several that are broken, each in its own way. Whatever happens, it returns `True` or `False`. Stuck? `lab.hint("first-boot.5")`.

# %% exercise="first-boot.5" kind="bug-hunt"
from labkit import errors, pki


def reuse_is_refused(service):
    """Return whether a service refuses a token that is spent, and for that reason."""
    # BEGIN SOLUTION
    token = service.token("probe-1")
    try:
        service.provision(token, pki.make_request(pki.Key.generate(), "probe-1"))
    except errors.RefusedError:
        return False
    try:
        service.provision(token, pki.make_request(pki.Key.generate(), "probe-1"))
    except errors.RefusedError as error:
        return error.code == "token-spent"
    return False
    # END SOLUTION


# %% [markdown]
# Your own service, and two that are broken. What should it say to each?

# %%
{fault or "yours": reuse_is_refused(plant.service(fault)) for fault in ("", "accepts", "refuses-all")}

# %%
lab.hand_in(reuse_is_refused)
lab.check("first-boot.5")

# %% [markdown]
# ## Step 6: into the plant
#
# *Defend it; 10 points.* The judge lets your program enrol three devices, puts what it has stored into the flash of three virtual boards, and boots the course's node there, which knows nothing of your program. Its broker believes the root alone. Each node has to be let in under its own name, with its own key, and be heard. Here is your own first device on a board:

# %%
plant.node_speaks(fleet[0]) or "its reading came"

# %%
lab.check("first-boot.6")

# %% [markdown]
# ## Write it down
#
# *15 points, judged by a person.* Describe the flow from the factory to the first session: each step, who knows which secret then, and what a power cut or a lost reply costs there. Say what somebody can do who has read the token, before and after it was spent, and name one thing that this flow does not solve.

# %% [markdown] written="first-boot.D1"
# <!-- BEGIN SOLUTION -->
# An operator takes the device into the registry and makes a token; the factory writes it into flash, so that operator, factory and device know it. At its first boot the device makes a key and stores it *before* it asks: the reply may be lost, and only the same key gets the same certificate again. The request carries the public key and the proof of the private one, which never leaves the device. The service names the certificate after the token, whatever the request says.
#
# The device stores the chain, erases the token, connects. After a cut behind any of these steps the next boot finds in flash what is done, and goes on; at worst it asks once more with the same key.
#
# Who copies the token early can be the device, once. The real device is told *token-spent* then, and the operator finds both attempts in the trail. Later the token is worth nothing. It does not help against somebody who reads the flash after that: the key is there, and keeping it from them is flash encryption's business.
# <!-- END SOLUTION -->

# %% [markdown]
# ## What you hand in
#
# | what | where | points |
# | --- | --- | --- |
# | settings of the service | `service.json` | 10 |
# | `make_tokens` | handed in | 10 |
# | `boot`: the first boot, and power that fails | handed in | 25 |
# | `boot`: later boots | handed in | 15 |
# | `reuse_is_refused` | handed in | 15 |
# | `boot`: three devices at the broker | handed in | 10 |
# | the flow, in words | this notebook | 15 |
#
# When you are done, restart the kernel, run all cells, save. Then `labkit submit first-boot` packs the notebook and its evidence, and never a private key. When it is graded it runs in an empty folder, and enrols its devices again.

# %% [markdown]
# ## Tidy up

# %%
lab.close()
