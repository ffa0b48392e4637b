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
# # Model the threats: what is at stake, and who is after it
#
# **What you'll do.** You attack a plant as many are found: listen on its wire, try a list of passwords, read a firmware file. From what you saw you build its threat model: borders and flows, STRIDE, scores with reasons. The rest of the course closes what you find.
#
# **What you'll learn**
#
# - name assets, actors, entry points, borders and flows of a plant
# - ask STRIDE's questions of each part, and score the answers on scales that mean something
# - read an attack tree, and find the step that shuts it
# - place what you find in the OWASP IoT Top 10, and say which lesson deals with it
#
# **What you'll need.** About 60 minutes for the core path (an estimate). Python, OpenSSL and Mosquitto; no earlier lesson, though lesson **start-here** helps. You touch every item of the OWASP IoT Top 10, above all I1 (weak credentials), I2 (insecure services), I5 (outdated components) and I7 (insecure transfer and storage).

# %% [markdown]
# ## Before you start

# %%
from labkit.course import open_lab
lab = open_lab("threat-model")

# %% [markdown]
# A device in the field has four things against it: it is **always on**, **rarely updated**, **within reach** of anybody who walks by, and **small**. Each of them first as an experiment, on your own computer. Then the model.

# %% [markdown]
# ## Always on: somebody is listening
#
# A plant as it is often found: a broker on port 1883, without TLS, with a password for each device. A **relay** stands where a switch, an access point or a neighbour's laptop could stand. It passes everything on, and remembers it. Here is what the device said, byte by byte.

# %%
from labkit.mqtt import Identity, Relay, probe
from labkit.scenarios.eavesdropping import PASSWORD, log_in_openly, overhear, plain_broker

plain = lab.enter(plain_broker(lab.workspace))
with Relay(plain.endpoint) as relay:
    log_in_openly(relay.endpoint, say=("plant/hall-2/occupied", b"nobody is here"))
    heard = relay.last()
print(heard.stream("client"))

# %%
lab.claim("sniffed", overhear(heard, PASSWORD))
lab.claim("sniffed-reading", overhear(heard, "nobody is here"))

# %% [markdown]
# *Accepted* is the eavesdropper's success here: nothing on the way stopped him, so the verdict fell at **tcp**. The password opens the door tomorrow, too; and the reading tells a burglar when to come. Now the same reading where both sides show a certificate. That is what lessons **tls** and **mutual-tls** build.

# %%
from labkit.pki import Store
from labkit.scenarios import mutual_tls

site = lab.enter(mutual_tls(Store(lab.workspace)))
sensor = site.identity("sensor-001")
topic = "devices/sensor-001/telemetry/occupied"

# %%
with Relay(site.endpoint) as relay:
    who = Identity(sensor.certificate, sensor.key)
    sent = probe(relay.endpoint, trust=site.trust, identity=who, publish=topic, payload=b"nobody is here")
    closed_book = relay.last()
print(sent, "-", len(closed_book.stream("client")), "bytes were recorded")
lab.claim("tls-closed", overhear(closed_book, "nobody is here"))

# %% [markdown]
# *Refused at tls: encrypted.* The relay has every byte, and none of them tells it anything. The broker was told all the same: *accepted (authorised)*.

# %% [markdown]
# ## Always on: somebody is trying
#
# A camera's broker on the day after it was installed. It has four users; one of them has a password that is really good. A program tries a public list of eleven well-known pairs.

# %%
lab.predict("spray")

# %%
from labkit.scenarios.default_passwords import AS_DELIVERED, changed, password_door, spray, spray_on_mutual_tls

door = lab.enter(password_door(lab.workspace, AS_DELIVERED, label="delivered"))
found = spray(door)
print("opened by", ", ".join(user for user, _ in found.opened))
lab.claim("spray-delivered", found.outcome)

# %% [markdown]
# A device that is always on gives an attacker all the time there is. One program on this computer, at the rate that you just saw, could try this many in a day:

# %%
print(f"{found.a_day:,} pairs a day on one door")

# %% [markdown]
# So the list is not the problem; there is time for long ones. What helps are passwords that are on no list, and better still, no passwords. First the same door with random ones:

# %%
secured = lab.enter(password_door(lab.workspace, changed(), label="changed"))
lab.claim("spray-unique", spray(secured).outcome)
lab.claim("spray-mutual", spray_on_mutual_tls(site))

# %% [markdown]
# Compare the two refusals. The first was refused by **mqtt**: the broker looked at each guess and said no, and it will look at the next million. The second was refused by **tls**: without a certificate there is nobody to whom a name could be told.

# %% [markdown]
# ## Within reach: read the firmware
#
# A device hangs on a wall where anybody can take it. But nobody has to: its firmware lies on an update server, in a mail, on a build machine. Here is an image for an ESP32-C3, made by the real `esptool`; the application in it is a look-alike, but text in a program is text in its file.

# %%
lab.predict("image")

# %%
from labkit.scenarios.image_strings import MQTT_PASSWORD, WIFI_PASSWORD, careless_image, clean_image, read_out, strings_in

image = careless_image()
[text.strip("-") for text in strings_in(image) if "password" in text or "BEGIN" in text]

# %%
lab.claim("image-secret", read_out(image, [WIFI_PASSWORD, MQTT_PASSWORD]))
lab.claim("clean-image", read_out(clean_image(), [WIFI_PASSWORD, MQTT_PASSWORD]))

# %% [markdown]
# Wi-Fi, broker and a key, for *every* device that runs this image. The second image reads what it needs from a partition of its own device, as lesson **esp32-flashing** does it; whoever has the file has nothing. (A verdict need not be about a connection: here it fell at the *image*.)

# %% [markdown]
# ## Rarely updated: how long is a device open?
#
# A device lives for years, and in what it is made of holes are found all the time. From the day on which one is known until the device has the version without it, anybody can use it. This is **a simulation**: holes arrive by chance, three a year, over a hundred lives of eight years, and the same ones for every habit.

# %%
lab.predict("life")

# %%
from labkit.course.lessons.threat_model import judged_life, lives
from labkit.display import Bar, Table, bars, flow_diagram

shares = [(habit.name, share, longest) for habit, share, longest in lives()]
rows = [Bar(name, share * 100, "attacker" if share > 0.5 else "server", f"{share:.0%}") for name, share, _ in shares]
bars("The part of its life that a device is open to a hole that everybody knows", "of its life", rows, note="A simulation.")

# %%
lab.claim("never-patched", judged_life(shares[0][1]))
lab.claim("patched", judged_life(shares[-1][1]))

# %% [markdown]
# Look at *once a year* and *each quarter*. An update once a year closes yesterday's holes and leaves this year's. And updates that end while the device hangs on are worth as much as none from that day on: ask for how long, before you buy.

# %% [markdown]
# ## Small: what does security cost?
#
# "Too small for TLS" was true once. Measured here: a connection in which both sides show a certificate, with P-256 keys and with RSA, and one that comes back to a session.

# %%
from labkit.course.lessons.threat_model import judged_price, price

costs = price(lab)
rows = [(c.label, c.sent, c.received, c.round_trips, f"{c.milliseconds:.1f} ms") for c in costs if c.version == "1.3"]
Table("What it costs to connect, both sides known", ("keys", "bytes sent", "bytes received", "round trips", "here"), rows)

# %%
lab.claim("affordable", judged_price(costs))

# %% [markdown]
# A device that stays connected pays that once. The bytes are the same everywhere, and it is the radio that empties a battery; the times are this computer's, and lesson **tls** comes back to them. What is *too* small for TLS is too small to be on a network.

# %% [markdown]
# ## The model
#
# Enough seen. A **threat model** answers four questions: what are we working on, what can go wrong, what do we do about it, did we do a good job? The answer to the first begins with three lists: the **assets** that are worth protecting, the **actors** who are after them, and the **entry points** where they get in.

# %%
from labkit.threats import PLANT

Table("Assets", ("what", "what it means to lose it"), [(asset.name, asset.loss) for asset in PLANT.assets])

# %%
actors = [(actor.id, actor.name, actor.reach, actor.wants) for actor in PLANT.actors]
Table("Actors", ("actor", "who", "reaches", "wants"), actors)

# %%
entries = [(entry.name, PLANT.element(entry.element).name, ", ".join(entry.open_to)) for entry in PLANT.entry_points]
Table("Entry points", ("where", "of", "open to"), entries)

# %% [markdown]
# Then a picture: who is there, what flows, and where the borders are.

# %%
drawn = flow_diagram(PLANT, title="The plant as it was found")
drawn

# %%
Table("The arrows", ("no.", "from", "to", "what", "how protected"), drawn.rows())

# %% [markdown]
# A **trust boundary** is a border: inside are those who are believed alike. The field is one because anybody can walk up to a device. Where a **data flow** crosses a border, somebody has to check. *Encrypted* keeps others from reading and changing; *server known* and *client known* say whether each end knows who the other is.

# %% [markdown]
# ### Exercise 1: what crosses a border?
#
# *Fill in.* Write **exposed**: return the ids of all flows that cross a border without all three protections. A model has `flows`; a flow has `id`, `source`, `target` (both are ids of elements) and `before`, a set of words. `model.element(id)` returns an element; it lies in `element.boundary`.
#
# Example: on the plant as it was found, `telemetry` is one of them, and `storing` is not: broker and database are on the same side. Stuck? `lab.hint("threat-model.1")`.

# %% exercise="threat-model.1" kind="fill-in"
from labkit.threats import CLIENT_KNOWN, ENCRYPTED, SERVER_KNOWN


def exposed(model):
    """Return the ids of the flows that cross a border without all three protections."""

    # BEGIN SOLUTION
    def side(element_id):
        return model.element(element_id).boundary

    whole = {ENCRYPTED, SERVER_KNOWN, CLIENT_KNOWN}
    return [flow.id for flow in model.flows if side(flow.source) != side(flow.target) and not whole <= flow.before]
    # END SOLUTION


# %% [markdown]
# It is tried on three models: the plant as it was found, the same plant as the lessons build it, and a riddle in which things are not what they look like to somebody who counts.

# %%
from labkit.course.lessons.threat_model import hand_in_exposed

hand_in_exposed(lab, exposed)

# %%
lab.check("threat-model.1")

# %% [markdown]
# labkit's twin is `Model.exposed` in `labkit/threats/model.py`. On the plant as built one flow is left, the time, which comes from the internet in the open. That is a decision, and it stands in the model, so that somebody may disagree with it. Here is that plant:

# %%
flow_diagram(PLANT, after=True, title="The plant that the lessons build")

# %% [markdown]
# ## What can go wrong: STRIDE
#
# Six questions, asked of each part: can somebody pretend to be it (**s**poofing), change it (**t**ampering), deny what they did (**r**epudiation), read it (**i**nformation disclosure), stop it (**d**enial of service), or do more with it than they may (**e**levation of privilege)? Not every kind of part suffers all six. For this plant that makes:

# %%
from labkit.threats import DISMISSALS, THREATS, answers

asked = answers(PLANT, THREATS, DISMISSALS)
print(len(asked), "questions,", sum(bool(each.threats) for each in asked), "answered by threats,", len(THREATS), "threats in all")

# %%
broker_rows = [(each.kind.value, ", ".join(each.threats) or each.dismissed) for each in asked if each.element == "broker"]
Table("The broker", ("what", "threats"), broker_rows)

# %% [markdown]
# Each question has an answer, if only "no, because …". The short names are threats of the course's catalogue; *Go deeper* has a sentence for each. That is the use of the method: not that it finds the clever attack, but that it forgets no dull one. `labkit threats show stride` prints them all.

# %% [markdown]
# ## How bad is it: a risk register
#
# A **risk** is a threat with two numbers. Numbers without a scale are moods, so here is the scale:

# %%
from labkit.threats import IMPACT, LIKELIHOOD

rows = [(number, LIKELIHOOD[number], IMPACT[number]) for number in LIKELIHOOD]
Table("The scales", ("", "likelihood: how much it takes", "impact: how much is lost"), rows)

# %% [markdown]
# The score is their product: from 20 it is critical, from 12 high, from 6 medium. It is a convention and no measurement; it is there to tell what comes first, and to be argued about.

# %%
from labkit.course.lessons.threat_model import to_score

Table("Twelve of the threats", ("threat", "what happens", "who"), [(t.id, t.title, t.actor) for t in to_score()])

# %% [markdown]
# ### Exercise 2: score them
#
# *Defend it.* Return a row for each of the twelve: threat, likelihood, impact, treatment (`mitigate`, `accept`, `avoid` or `transfer`) and a reason of a few words. There is no one right answer. The check knows what you did above, and holds your numbers against the scales and against each other.
#
# Example of a row: `("foreign-topic", 4, 4, "mitigate", "any device can do it with its own certificate")`. Stuck? `lab.hint("threat-model.2")`.

# %% exercise="threat-model.2" kind="defend-it"
def my_scores():
    """Return threat, likelihood, impact, treatment and reason of each risk."""
    # BEGIN SOLUTION
    return [
        ("sniffed-password", 5, 4, "mitigate", "it stands on the wire"),
        ("default-password", 5, 4, "mitigate", "programs try it every day"),
        ("secret-in-image", 4, 5, "mitigate", "one command on any copy"),
        ("never-patched", 5, 4, "mitigate", "known holes, tools to download"),
        ("opened-later", 2, 3, "mitigate", "needs recording and stolen key"),
        ("read-flash", 4, 3, "mitigate", "a clip and an afternoon"),
        ("foreign-topic", 4, 4, "mitigate", "any device can do it"),
        ("wished-for-admin", 4, 5, "mitigate", "two requests to the service"),
        ("stolen-authority", 2, 5, "mitigate", "few people get that far"),
        ("pivot", 3, 5, "avoid", "needs a device that was taken over"),
        ("sniffed-readings", 4, 3, "mitigate", "listening is all it takes"),
        ("ran-out-together", 3, 4, "mitigate", "happens without any attacker"),
    ]
    # END SOLUTION


# %%
from labkit.course.lessons.threat_model import hand_in_register, what_closes

register = hand_in_register(lab, my_scores())
print("first:", register.ranked()[0].threat)

# %%
lab.check("threat-model.2")

# %% [markdown]
# Your register is kept in the workspace (`labkit threats show register`). Beside it: the course's opinion, which lessons close each threat, whether *your own* experiments have shown that yet, and what is left then.

# %%
columns = ("threat", "you", "the course", "closed by", "shown closed", "left")
note = "Come back after each lesson: it looks at which claims have held in this workspace."
Table("Your register", columns, what_closes(lab), note)

# %% [markdown]
# ## How they would do it: attack trees
#
# A **threat** is one step. An **attack tree** has a goal at the top and the ways to it below: steps of which *all* are needed, or *any* will do. Attackers want four things of a plant like this: its devices as a **botnet**, a **pivot** into the office, what it knows (**exfiltration**), or a ransom.

# %%
from labkit.threats import MIRAI, TREES
from labkit.threats.attack_trees import text

print(text(TREES["exfiltration"]))

# %% [markdown]
# A way is shut when *one* of its steps is. What do the experiments of this lesson shut, and what is left?

# %%
from labkit.course.lessons.threat_model import closed

done = closed(lab)
rows = [(name, tree.goal, len(tree.ways()), len(tree.open_ways(done))) for name, tree in TREES.items()]
Table("Ways to the goal", ("tree", "goal", "ways", "still open"), rows, note=f"Shut so far: {', '.join(sorted(done))}.")

# %% [markdown]
# `ransomware` and `exfiltration` have many ways; `botnet` has a step that all of its ways need. That is the place where one rule does most: devices that can't reach the internet are worth nothing to somebody who rents out bots. Lesson **segmentation** builds that rule. (*Shut* means that an experiment in this workspace has shown how; your own plant is another matter.)

# %% [markdown]
# ### A worked case: Mirai
#
# In autumn 2016 a few hundred thousand cameras, recorders and home routers attacked a journalist's site with more than 600 Gbit/s, and in October a large provider of names, so that many well-known sites could not be found for a day. At its peak about 600,000 devices were part of it. The program did what you did above: it asked random addresses for telnet, and tried some sixty pairs of factory passwords. In the words of this lesson:

# %%
print(text(MIRAI))

# %%
for threat in sorted(MIRAI.ways()[0]):
    print(f"without {threat}: {len(MIRAI.open_ways({threat}))} ways are left")

# %% [markdown]
# Four steps, all of them needed, each dull. No hole in any program was used at first. Each step alone, shut by the makers or by the owners, would have been enough; nobody who paid for the damage owned the devices.

# %% [markdown]
# ## Where it all belongs: the OWASP IoT Top 10
#
# OWASP's list of 2018 has ten rows. For each: how it looks here, how many of the plant's threats belong to it, the exercises that work on it, and the items of the audit at the end of the course that look for it.

# %%
from labkit.threats import ROWS

rows = [(row.id, row.title, row.seen, len(row.threats), ", ".join(row.lessons), ", ".join(row.audit)) for row in ROWS]
Table("The Top 10 and this course", ("", "row", "here", "threats", "lessons", "audit items"), rows)

# %% [markdown]
# ## Break it: the account that was forgotten
#
# The door with random passwords again, and one thing wrong: somebody made a user for a test and forgot it. Everything else is as good as before. What does the list say now, which layer opened, and how do you know?

# %%
with password_door(lab.workspace, {**changed(), "test": "test"}, label="forgotten") as forgotten:
    result = spray(forgotten)
print(result.opened)
lab.claim("break-forgotten", result.outcome)

# %% [markdown]
# Three good passwords out of four are no security of 75 %. The broker did what it was told: **mqtt** let in who knew a pair. That is why the audit counts doors and not averages, and why later lessons have no passwords to forget.

# %% [markdown]
# ## The same by hand
#
# Everything above is a command too. `labkit threats export` writes the model for tools that you may know: OWASP Threat Dragon, pytm, and every page that draws Mermaid.

# %%
from labkit.processes import run
import sys

print(run([sys.executable, "-m", "labkit", "threats", "export", "--help"]).stdout)

# %% [markdown]
# ## Go deeper: the whole catalogue
#
# *Ungraded; skipping it breaks nothing later.* Every threat of the plant by the course's own scores. Disagree with some.

# %% tags=["go-deeper"]
from labkit.threats import reference

titles = {threat.id: threat.title for threat in THREATS}
ranked = [(r.threat, titles[r.threat], r.likelihood, r.impact, r.score, r.level.value) for r in reference(THREATS).ranked()]
Table("The plant's threats, as the course scores them", ("threat", "what happens", "L", "I", "score", "level"), ranked)

# %% [markdown]
# ## Go deeper: three more exercises
#
# *Optional; skipping them breaks nothing later.*
#
# ### Exercise 3: three locks, and no more
#
# *Tweak.* There is money to close three threats. How many of all ways, in all four trees, are open then? Here is somebody's first attempt, with two:

# %% tags=["go-deeper"]
attempt = {"secret-in-image", "open-dashboard"}
{name: f"{len(tree.open_ways(attempt))} of {len(tree.ways())} open" for name, tree in TREES.items()}

# %% [markdown]
# Complete **shut**: return three threats, or less, that leave at most *eight* ways open. There is more than one answer.
#
# Example: `{"secret-in-image", "open-dashboard"}` leaves fourteen. Stuck? `lab.hint("threat-model.3")`.

# %% exercise="threat-model.3" kind="tweak" tags=["go-deeper"]
def shut():
    """Return at most three threats that leave at most eight ways open."""
    # BEGIN SOLUTION
    return {"pivot", "open-ports", "botnet"}
    # END SOLUTION


# %% tags=["go-deeper"]
lab.workspace.write_json("answers/threat-model/closed.json", sorted(shut()))
lab.check("threat-model.3")

# %% [markdown]
# ### Exercise 4: read the tree
#
# *Bug hunt.* A colleague counts the ways that are left with this function, and says that nothing helps against Mirai but closing all four steps. Is the tree wrong, or the function?

# %% tags=["go-deeper"]
def colleague(ways, closed):
    return [way for way in ways if not set(way) <= set(closed)]


mirai = [sorted(way) for way in MIRAI.ways()]
colleague(mirai, ["default-password"])

# %% [markdown]
# Write **still_open**: it is given ways, each a list of threats, and a list of closed threats. It returns the ways that an attacker can still go, in the order in which they came.
#
# Example: `still_open([["a", "b"], ["c"]], ["b"])` gives `[["c"]]`. Stuck? `lab.hint("threat-model.4")`.

# %% exercise="threat-model.4" kind="bug-hunt" tags=["go-deeper"]
def still_open(ways, closed):
    """Return the ways of which no step is closed."""
    # BEGIN SOLUTION
    return [way for way in ways if not set(way) & set(closed)]
    # END SOLUTION


# %% [markdown]
# **hand_in** keeps the cell as text. The check calls your function in a process of its own, with trees that you have not seen. labkit's twin is `Node.open_ways`.

# %% tags=["go-deeper"]
lab.hand_in(still_open)
lab.check("threat-model.4")

# %% [markdown]
# ### Exercise 5: a password with a pattern
#
# *Break it.* An installer is proud of it: "No default passwords! Every user gets his own: the user's name, a dash, and the year in which we fitted it." He has been in business since 2015, and the last year on his site is 2024. The users are `admin`, `camera` and `gate`.
#
# Complete **guesses**: a list of at most thirty pairs that opens the door to all three, whatever the years. The check sets up a door as the installer does, and tries your list.
#
# Example of a pair: `("admin", "admin-2015")`. Stuck? `lab.hint("threat-model.5")`.

# %% exercise="threat-model.5" kind="break-it" tags=["go-deeper"]
def guesses():
    """Return pairs of user and password that the installer may have chosen."""
    # BEGIN SOLUTION
    return [(user, f"{user}-{year}") for user in ("admin", "camera", "gate") for year in range(2015, 2025)]
    # END SOLUTION


# %% tags=["go-deeper"]
lab.hand_in(guesses)
lab.check("threat-model.5")

# %% [markdown]
# No two of his passwords are the same, none is on any list, and thirty guesses are enough. A good password follows no rule at all.

# %% [markdown]
# ## What you proved
#
# - On a wire without TLS a password and a reading stand in plain text; with mutual TLS neither does.
# - A list of eleven pairs opens a door as it was delivered, and one that was forgotten; where a certificate is asked for there is nothing to guess.
# - A secret in a firmware image is read with one command, on a copy, without a device.
# - A device that is never updated is open for most of its life (a simulation).
# - You named assets, actors and entry points, drew borders, found what crosses them unprotected, scored twelve risks, and saw which lesson closes what.

# %%
lab.summary()

# %% [markdown]
# ## In practice
#
# - *A model is never done.* It is read again when something is added: a new service is a new box, and its arrows cross borders.
# - *Do it with those who build it.* The best threats are found by the person who says "but in the factory we do it differently".
# - *Scores are opinions.* Two people score first and talk afterwards; where they differ most, they have understood different things.
# - *Residual risk has an owner.* Somebody signs what is accepted, with a date on which it is looked at again.
# - *The list is of 2018.* OWASP's IoT Top 10 has not been renewed since; ETSI EN 303 645 and NISTIR 8259A ask for much the same in words that laws quote.
# - *Whose passwords?* Everything here was tried on your own computer. On somebody else's device the same ten lines are a crime.

# %% [markdown]
# ## Questions

# %%
lab.quiz("questions")

# %% [markdown]
# ## Further reading
#
# - [Understanding the Mirai Botnet](https://www.usenix.org/conference/usenixsecurity17/technical-sessions/presentation/antonakakis): M. Antonakakis and others, USENIX Security 2017; the numbers above are from there.
# - [Threat Modeling Manifesto](https://www.threatmodelingmanifesto.org/): four questions, and what makes the answers worth something.
# - [OWASP IoT Project](https://owasp.org/www-project-internet-of-things/): the Top 10 of 2018.
# - [ETSI EN 303 645](https://www.etsi.org/technologies/consumer-iot-security): thirteen rules for consumer devices; the first is no default passwords.
# - B. Schneier, *Attack Trees*, Dr. Dobb's Journal, December 1999.
# - A. Shostack, *Threat Modeling: Designing for Security*, 2014; chapter 3 is STRIDE.

# %% [markdown]
# ## Tidy up
#
# This stops the brokers. Next: lesson **tls**. It begins with somebody who listens, as this one did, and ends with recordings that nobody can open any more.

# %%
lab.close()
