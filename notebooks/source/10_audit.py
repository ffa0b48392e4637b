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
# # Audit: measure a plant, mend it, measure again
#
# **What you'll do.** You audit a plant that is weak on purpose with 27 rules over live evidence, write down how to mend it, mend it, and audit it again. Then a device turns against the plant, and you take it from the first line in the log to a clean state, against the clock.
#
# **What you'll learn**
#
# - tell evidence from promises, and put a control beside each refusal
# - find the six most common mistakes by rule, in doors, files, flash and eFuses
# - write a remediation that somebody can carry out, and show that it worked
# - turn log lines into alerts, and an alert into a revocation
# - decide between tokens and certificates, and say what the decision costs
#
# **What you'll need.** About 60 minutes for the core path (an estimate). Python, OpenSSL and Mosquitto; no earlier lesson, though each of them explains some of the checklist. You touch every item of the OWASP IoT Top 10, and two of them in exercises: I5 (outdated components) and I6 (insufficient privacy protection).

# %% [markdown]
# ## Before you start

# %%
from labkit.course import open_lab
lab = open_lab("audit")

# %% [markdown]
# The plant of this lesson is made afresh each time: a broker, an authority with a past of more than a year, a registry, a provisioning service, boards, updates, a network plan, papers. Dashboard, database and flow editor are stand-ins: small servers that read settings of the real products' shape. Somebody has worked in this plant for a while, in a hurry. The number chooses what they did; another number is another plant.
#
# The plant is mended, attacked and cleaned here, so some cells work once. When you are lost, restart the kernel and run from the top: it is then as weak as it was.

# %%
from labkit.course.lessons.audit import SEED
from labkit.scenarios.audited_plant import weak_plant

plant = lab.enter(weak_plant(lab.workspace, SEED))
plant

# %% [markdown]
# ## The checklist is code
#
# The course has a checklist of 27 items. A list that one ticks off measures the mood of whoever ticks. So each item here is a **rule**: it is given facts that were found out live, and returns **evidence**. The evidence decides, and nothing else does.

# %%
from collections import Counter
from labkit.audit import ITEMS
from labkit.display import Table

sections = Counter(item.section for item in ITEMS)
Table("27 items", ("section", "items"), list(sections.items()))

# %% [markdown]
# There are four **verdicts**. *Pass* and *fail* follow from the evidence: one fault fails an item, and so does having no evidence at all. *Not applicable* is for targets that don't have what the item speaks of. *Needs a person* means that there is a dated, reviewed record, and that only somebody who reads it can say whether it is any good. Two of the 27 are like that; here is one, with what it asks, the OWASP items that it belongs to, and how it is mended.

# %%
from labkit.audit import BY_ID

item = BY_ID["monitoring-4"]
print(item.asks, "| OWASP:", *item.owasp)
print(*item.steps, sep="\n")

# %%
lab.predict("hardcoded")

# %% [markdown]
# ## Measure
#
# One call. It knocks at every port that the broker's process really listens on, offers weak suites, comes with a stranger's certificate, publishes into other devices' topics and asks an observer what arrived, tries default passwords, calls every path of every interface, searches flash and images for secrets, reads eFuses, predicts what the firewall lets through, and plays an attack to the alert rules.

# %%
from labkit.audit import audit

before = audit(plant.target)
before.summary()

# %%
from labkit.course.lessons.audit import overview

Table("What fails, and what needs a person", ("item", "verdict", "the first piece of evidence"), overview(before))

# %% [markdown]
# Each line is something that was *seen*, with the place where it was seen. That is what you hand to whoever has to mend it. "Your TLS is bad" starts a discussion; "this port answers a CONNECT without TLS" ends one.

# %% [markdown]
# ### The six mistakes
#
# The course counts six common mistakes, each with an item of its own below. In each weak plant there is one of each, in one of its forms. The rules find all six; `refused` means here that the item fails:

# %%
from labkit.course.lessons.audit import FINDERS, found

lab.claim("hardcoded-credentials", found(before, FINDERS["hardcoded-credentials"]))
lab.claim("no-tls", found(before, FINDERS["no-tls"]))
lab.claim("unpatched-firmware", found(before, FINDERS["unpatched-firmware"]))

# %% [markdown]
# The secret in the firmware was found in the *bytes* of the image, by what a private key looks like. It does not matter what the variable was called. The report names its offset and its kind, and never the secret: reports travel.

# %%
lab.claim("open-debug-ports", found(before, FINDERS["open-debug-ports"]))
lab.claim("default-passwords", found(before, FINDERS["default-passwords"]))
lab.claim("no-rotation", found(before, FINDERS["no-rotation"]))

# %% [markdown]
# See one of them with your own eyes. This is what anybody on the same network can do with the door that was left open, without a certificate and without a password:

# %%
from labkit.audit.doors import plain_connect
from labkit.mqtt import Endpoint

doors = [Endpoint(each.host, each.port) for each in plant.config.listeners]
[str(plain_connect(door)) for door in doors]

# %% [markdown]
# The first door does not answer in MQTT (`None`), because it waits for TLS. The second says **accepted** to a stranger. Nothing in the broker's log looks wrong: this is what it was told to do.

# %% [markdown]
# ## Break it: an audit that can be fooled
#
# One thing wrong, everything else the same: somebody who wants to pass stops the broker, so that nobody gets in. Which rule notices, and how do you know? (Should a later cell find nobody listening, `plant.restart_broker(plant.config)` starts it again.)

# %%
lab.predict("stopped")

# %%
plant.broker.stop()
standing_still = audit(plant.target, items=["communication-4", "access-1"])
plant.restart_broker(plant.config)
lab.claim("stands-still", found(standing_still, "communication-4", "access-1"))

# %% [markdown]
# The rule about mutual TLS found no door to knock at, and the rule about topics had no session to try. Both **failed**, because they had nothing that speaks *for* the plant. That is failing closed: if a lack of evidence were a pass, breaking the measuring would be the cheapest way to comply.

# %% [markdown]
# And files? Here are **alert rules**, well-formed, in force, and useless: no attack ever reaches such thresholds. A checklist asks whether alerts are configured. The rule plays a recorded attack to them.

# %%
from labkit.scenarios.plant_papers import write_alerts

write_alerts(plant.folder / "alerts.json", frozenset({"deaf-alerts"}))
deaf = audit(plant.target, items=["monitoring-2"])
write_alerts(plant.folder / "alerts.json", frozenset())
lab.claim("deaf", found(deaf, "monitoring-2"))

# %% [markdown]
# ## Mend, and measure again
#
# A finding is worth something once somebody has acted on it. What to do is written in a **remediation**, a paragraph that somebody can carry out.
#
# ### Exercise 1: write it down, mend it, measure again
#
# *Defend it.* Choose at least three items that fail and that you can mend from here. For each, write a paragraph into `PLANS`: what is wrong *in this plant*, who does what, and how you see that it is done. Then do it in `mend`. The check compares both audits: at least three items must have gone from fail to pass, and nothing may have broken. The checklist says how items are mended in general:

# %%
for step in BY_ID["access-2"].steps:
    print("-", step)

# %% [markdown]
# What you have at hand: `plant.folder` has the tools' settings (`grafana.ini`, `influxdb.conf`, `node-red-settings.json`, `flows.json`), which are read anew at each request. `plant.config` and `plant.broker.acl` are the broker's configuration and rules; `plant.restart_broker(config, acl)` puts others to work. Papers are in `plant.folder / "documents"`. Example: after `mend`, `access-2` passes if the dashboard's password is none that everybody knows. Stuck? `lab.hint("audit.1")`, up to three times.

# %%
from labkit.scenarios.plant_tools import shown

print(shown(plant.folder))

# %% exercise="audit.1" kind="defend-it"
PLANS = {}

def mend(plant):
    """Mend at least three items that fail."""
    # BEGIN SOLUTION
    import secrets
    from dataclasses import replace
    from labkit.broker import DEVICE_ACL

    ini = plant.folder / "grafana.ini"
    ini.write_text(ini.read_text().replace("password = admin", f"password = {secrets.token_urlsafe(15)}"))
    first, *_ = plant.config.listeners
    plant.restart_broker(replace(plant.config, listeners=(first,), allow_anonymous=False), DEVICE_ACL)
    PLANS["access-2"] = """The dashboard kept the password it came with.
    Asha sets a random one from the password manager today; then the list is tried again."""
    PLANS["communication-1"] = """A listener without TLS was left from a test. Ben deletes it
    and restarts the broker tonight; a plain CONNECT must get no answer."""
    PLANS["access-1"] = """A pattern lets every device write below devices/. Ben goes back to
    the rules of the course; an observer must hear nothing in the topics of others."""
    # END SOLUTION


# %% [markdown]
# Now mend, and measure the same plant with the same rules:

# %%
from labkit.audit import compare
from labkit.course.lessons.audit import remediate

after = remediate(lab, plant, before, mend, PLANS)
changed = [each for each in compare(before, after) if each.kind != "same"]
Table("What changed", ("item", "before", "after", ""), [(c.item.id, c.before, c.after, c.kind) for c in changed])

# %%
lab.check("audit.1")

# %% [markdown]
# Before and after, with the evidence of both, is the deliverable of an audit. It can be had as a page, as Markdown and as JSON; here are the pages:

# %%
from labkit.audit.page import comparison_page, page

handed_over = {"before.html": page(before), "after.html": page(after)}
handed_over["comparison.html"] = comparison_page(before, after, compare(before, after))
for name, text in handed_over.items():
    print(lab.workspace.write(f"answers/audit/{name}", text).name, len(text), "bytes")

# %% [markdown]
# ### The rest of the way
#
# Boards, images, network rules and papers have to be mended too. What is left is done for you here, by making those parts of the plant anew. One item can't be mended by changing a file: renewal has to be *carried out*. `sensor-002` renews over HTTPS, with its certificate, and confirms (lesson **provisioning**).

# %%
plant.plant({"never-renewed"})
plant.drill_renewal("sensor-002")
final = audit(plant.target)
lab.claim("mended", found(final))

# %%
Table("What a person still has to read", ("item", "verdict", "the record"), overview(final))

# %% [markdown]
# ## An incident, against the clock
#
# Somebody has `sensor-003`: its board, its flash, its key. Until now it was a device like any other. A **monitor** watches the broker's log and the service's: lines become events, **detectors** count them, and a detector that has seen enough raises an alert.

# %%
lab.predict("incident")

# %%
from labkit.scenarios.incident import Incident

incident = Incident(plant, "sensor-003", victim="sensor-001")
lab.claim("denied", incident.attack())

# %%
lab.claim("noticed", incident.notice())
incident.alerts[-1].action

# %% [markdown]
# The rules did their work, and nothing happened. That is the best moment to act. The alert names the device and says what to do first: quarantine, unless it is a mistake of the firmware. You know that the board is in somebody's hands, so you go further and follow the plan: *decide, cut, look, clean*.

# %%
for done in incident.cut_off("key-compromise"):
    print("-", done)

# %%
lab.claim("thief-out", incident.try_again())
lab.claim("neighbour-in", incident.neighbour())

# %% [markdown]
# Is it clean? Feeling better is no answer: the items that an incident touches are measured again. The device's certificate is taken from the shelf of those in service, and list, registry, rules and sessions must agree.

# %%
lab.claim("clean", found(incident.clean()))
Table("From the first line to a clean state", ("seconds", "what"), incident.timeline())

# %% [markdown]
# The machine's part is the short one. In a real plant the long step comes after the second line: *somebody reads the alert*. That is what the incident response plan is for, and why the checklist wants a person to have read it within a year.

# %% [markdown]
# ## Less is more
#
# An attacker can't steal what was never sent. I6 asks what a plant *needs* to know. This is what a device knows when it sends a reading:

# %%
from labkit.audit.privacy import NEEDS, SAMPLES

SAMPLES[0]

# %% [markdown]
# A network's name and address say where somebody lives. A second's precision says when they came home. And this is what anybody in the plant needs:

# %%
Table("What is needed", ("field", "to a multiple of", "what for"), [(n.field, n.step, n.purpose) for n in NEEDS])

# %% [markdown]
# ### Exercise 2: let less leave
#
# *Fill in.* Write **less**: what leaves the device of a reading. Only fields that somebody needs, only numbers, each rounded to a multiple of its step. Example: a `temperature` of `21.4837` leaves as `21.5`. Three readings try it; the third is of a firmware that will be written next year. Stuck? `lab.hint("audit.2")`.

# %% exercise="audit.2" kind="fill-in"
import math

def less(payload):
    """Return what may leave the device."""
    # BEGIN SOLUTION
    out = {}
    for need in NEEDS:
        value = payload.get(need.field)
        if isinstance(value, (int, float)) and math.isfinite(value):
            out[need.field] = round(round(value / need.step) * need.step, 6)
    return out
    # END SOLUTION


# %%
from labkit.course.lessons.audit import shrink

shrink(lab, less)

# %% [markdown]
# The list names what is wrong with a reading that left. An empty one is what you want.

# %%
lab.check("audit.2")

# %% [markdown]
# labkit's twin is **minimise** in `labkit/audit/privacy.py`. Both name what may leave. A list of what may *not* leave is right for the firmware that its author has seen.

# %% [markdown]
# ## Tokens or certificates: a decision
#
# Lesson **provisioning** showed both. Now audit them, on one broker with two doors, by the same rules.

# %%
lab.predict("tokens")

# %%
from labkit.audit.workspaces import address_target
from labkit.mqtt import Identity
from labkit.scenarios.token_platform import token_platform

platform = lab.enter(token_platform(plant.store, ["sensor-010"]))
device = plant.identity("sensor-001")
who = Identity(device.certificate, device.key)

# %%
items = ["communication-1", "communication-3", "communication-4", "access-2"]
both = {"tokens": platform.token_door, "certificates": platform.site.endpoint}
doors = {
    name: audit(address_target(door.host, door.port, trust=plant.store.trust_anchor, device=who), items=items)
    for name, door in both.items()
}
Table("Two doors", ("item", *doors), [(i, *(report[i].verdict for report in doors.values())) for i in items])

# %% [markdown]
# One line differs. The claims name it:

# %%
lab.claim("token-door", found(doors["tokens"], "communication-4"))
lab.claim("certificate-door", found(doors["certificates"], "communication-4"))

# %% [markdown]
# The same encryption, the same verified broker, no default password on either. The difference is one line: who is asked *what* before MQTT begins. So the decision is not "secure or insecure". Write it as one: *context, options, outcome, price, date on which it is looked at again*.
#
# | what matters | tokens will do | certificates, from the first day |
# | --- | --- | --- |
# | how many, for how long | dozens, months | thousands, or years |
# | who holds the devices | we do | anybody |
# | what a copied secret costs | a wrong reading | a command to a machine |
# | who runs the authority | nobody here could | somebody does, and drills it |
# | what must be there too | one token a device, an end date, an alert on strange places | a registry, renewal, a fresh list |
# | the way over | lesson **provisioning** moves a device while both doors are open | none is needed |

# %% [markdown]
# ## The same by hand
#
# Everything above is a command too. `labkit audit run` audits the plant of this workspace, and `labkit monitor` watches it.

# %%
from labkit.processes import run
import sys

print(run([sys.executable, "-m", "labkit", "audit", "--help"]).stdout)

# %% [markdown]
# ## The map of the course
#
# What to take away from each lesson, and your own evidence for it: the claims that held when *you* ran it in this workspace. Where a lesson is missing, you know where to go next.

# %%
from labkit.course.lessons.audit import course_map, pages

columns = ("topic", "take away", "your evidence", "lesson")
Table("What you can show", columns, course_map(lab), links=pages())

# %% [markdown]
# ## Go deeper: what we are made of (I5)
#
# *Ungraded; skipping it breaks nothing later.* This course installs packages from a lock file: exact versions, each with hashes. An audit of it works offline, with a list of known holes. A list has a date, and knows nothing of what came later.

# %% tags=["go-deeper"]
from labkit.audit.dependencies import ADVISORIES, read_lock
from labkit.course.lessons.audit import lock_text

pins = read_lock(lock_text())
print(len(pins), "packages,", sum(pin.hashes for pin in pins), "hashes")
ADVISORIES[1]

# %% [markdown]
# ### Exercise 3: find the holes
#
# *Bug hunt.* Write **holes**: the names of packages whose version is older than the one that mended a hole. It is tried on our lock and on an old one, whose versions were chosen to embarrass whoever compares them as words. A pin has a `name` and a `version`, an advisory a `package` and the version that `fixed` it.
#
# Example: an `h11` of version `0.9.0` has the hole that `0.16.0` mended. Stuck? `lab.hint("audit.3")`.

# %% exercise="audit.3" kind="bug-hunt" tags=["go-deeper"]
def holes(pins, advisories):
    """Return the names of packages with a known hole."""
    # BEGIN SOLUTION
    def numbers(version):
        return tuple(int(word) for word in version.split(".") if word.isdigit())

    return {
        pin.name for pin in pins for known in advisories
        if pin.name == known.package and numbers(pin.version) < numbers(known.fixed)
    }
    # END SOLUTION


# %% tags=["go-deeper"]
from labkit.course.lessons.audit import search_locks

search_locks(lab, holes)

# %% tags=["go-deeper"]
lab.check("audit.3")

# %% [markdown]
# labkit's twin is **audit_lock** in `labkit/audit/dependencies.py`. It also says what is not pinned, what has no hash, and that its own list is old:

# %% tags=["go-deeper"]
from labkit.audit.dependencies import audit_lock
from labkit.clock import SYSTEM_CLOCK

for finding in audit_lock(lock_text(), today=SYSTEM_CLOCK.now().date()):
    print(finding.severity, finding.rule, finding.message)

# %% [markdown]
# ## Go deeper: a view, and numbers for Prometheus
#
# *Ungraded.* The monitor can be looked at. In a notebook with widgets it renews itself; `labkit monitor` shows the same in a terminal. Do you see an alert about `sensor-001`, which has done nothing wrong? The audit spoke under its name where it may not. Tell those who watch before you audit.

# %% tags=["go-deeper"]
from labkit.display import LiveView

view = lab.enter(LiveView(incident.watch))
view.show()

# %% [markdown]
# The same counts, as Prometheus reads them, and an alert rule that goes with them. Clients that the registry does not know share one label: whoever connects chooses the name.

# %% tags=["go-deeper"]
from labkit.audit.monitor.alerts import READY
from labkit.audit.monitor.metrics import prometheus_rules

print(*[line for line in incident.watch.metrics().splitlines() if "denied" in line], sep="\n")
print(prometheus_rules(READY)[:330], "…")

# %% [markdown]
# ## Go deeper: two more exercises
#
# *Optional; skipping them breaks nothing later.*
#
# ### Exercise 4: the patient attacker
#
# *Tweak.* The rule for refused handshakes wants five within 60 seconds. Somebody has read that, and tries a stranger's certificate every 90 seconds. The honest day is not silent either: a gateway whose clock is wrong when it starts is refused four times in a quarter of a minute, and a forgotten device once in two hours.

# %% tags=["go-deeper"]
from labkit.course.lessons.audit_exercises import alerts, attacked_day, honest_day

days = {"the honest day": honest_day(), "the attack": attacked_day()}
{name: [f"{alert.at:%H:%M} {alert.message}" for alert in alerts(5, 60, lines)] for name, lines in days.items()}

# %% [markdown]
# Return a **rule** that is silent on the honest day, and rings before the attacker has tried more than twelve times. Example: `{"at_least": 5, "within": 60}` is the rule above, and it is deaf. Stuck? `lab.hint("audit.4")`.

# %% exercise="audit.4" kind="tweak" tags=["go-deeper"]
def rule():
    """Return from how many on, within how many seconds."""
    # BEGIN SOLUTION
    return {"at_least": 6, "within": 900}
    # END SOLUTION


# %% tags=["go-deeper"]
lab.workspace.write_json("answers/audit/rule.json", rule())
lab.check("audit.4")

# %% [markdown]
# ### Exercise 5: who was it?
#
# *Bug hunt.* A colleague reads the user from Mosquitto's log with the function below, and quarantines whoever it names. A client chooses its own **id**, and somebody chose well:

# %% tags=["go-deeper"]
import re

def colleague(line):
    """Return the user: with mistakes."""
    found = re.search(r"New client connected from \S+ as .+? \(p5, c\d, k\d+, u'(.*?)'\)", line)
    return found[1] if found else None

begin = "1772366400: New client connected from 127.0.0.1:40000 as "
colleague(begin + "x (p5, c1, k30, u'admin'). (p5, c1, k30, u'sensor-003').")

# %% [markdown]
# Write **who**: the user name that *Mosquitto* wrote, or `None` where a line tells of no new session, or of one without a user. Ids and topics are the client's to choose; the user comes from its certificate. Each line begins with its time, in seconds.
#
# Example: the line above is of `"sensor-003"`. Stuck? `lab.hint("audit.5")`.

# %% exercise="audit.5" kind="bug-hunt" tags=["go-deeper"]
import re

def who(line):
    """Return the user whom a line of the log lets in, or None."""
    # BEGIN SOLUTION
    found = re.fullmatch(r"\d+: New client connected from \S+ as .+ \(p\d+, c\d+, k\d+, u'(.*)'\)\.", line)
    return found[1] if found else None
    # END SOLUTION


# %% tags=["go-deeper"]
lab.hand_in(who)
lab.check("audit.5")

# %% [markdown]
# labkit's twin is **parse_line** in `labkit/broker/log.py`. It holds each pattern against the whole line.

# %% [markdown]
# ## What you proved
#
# - You measured a plant by 27 rules, and found the six common mistakes by what they look like, not by what they are called.
# - You saw an audit refuse to be fooled by a broker that stands still, and by alert rules that nothing can reach.
# - You wrote remediations, carried them out, and showed with a second audit that they worked and broke nothing.
# - You went from the first line in a log to a revoked device and a clean plant, and know which part of that takes long.
# - You let a device tell less, and its plant still works.
# - You put two doors under the same rules, and know what a decision between them costs.

# %%
lab.summary()

# %% [markdown]
# ## In practice
#
# - *An audit is a photograph.* It is true for the minute in which it was taken. Run it on a schedule, keep the JSON, and let `labkit audit diff` tell you what changed.
# - *Own what you knock at.* The audit tries intruders and passwords. It refuses every address but this machine, unless you name one as yours. Have that in writing.
# - *A lab's eFuses tell more than a chip's.* On a real board the keys in them can't be read, and an encrypted application can't be verified from outside. Its verdict rests on what the chip admits.
# - *Thresholds are local.* Ours were tried on one attack and one quiet day. Record your own of both.
# - *Logs are written by attackers, too.* Client ids and topics are theirs to choose. Count them, show them as text, and never run or open what they name.
# - *Two items need a person.* Spend the time that the machine has saved you on those.

# %% [markdown]
# ## Questions

# %%
lab.quiz("questions")

# %% [markdown]
# ## Further reading
#
# - [OWASP IoT Top 10](https://owasp.org/www-project-internet-of-things/): the rows that every item is mapped to.
# - [NIST IR 8259A](https://csrc.nist.gov/pubs/ir/8259/a/final): what a device must be able to do before it can pass an audit at all.
# - [ETSI EN 303 645](https://www.etsi.org/technologies/consumer-iot-security): the baseline for consumer devices, with test specifications.
# - [NIST SP 800-61](https://csrc.nist.gov/pubs/sp/800/61/r3/final): incident response, from preparation to lessons learnt.
# - [Prometheus: exposition formats](https://prometheus.io/docs/instrumenting/exposition_formats/): what the monitor's numbers look like, and why.

# %% [markdown]
# ## Tidy up
#
# This stops the plant. Next: exercise **security-audit**, on a plant that is yours alone. All four that are graded, exercises **mtls-setup**, **sensor-node**, **first-boot** and **security-audit**, lie in `notebooks/exercises/`: there nobody shows you the way, and a judge looks at what you built.

# %%
lab.close()
