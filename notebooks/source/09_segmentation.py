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
# # Segment: keep a stolen sensor away from everything else
#
# **What you'll do.** You take over a sensor in a flat network and look at what it reaches. You put printed firewall rules in force and find the doors that they leave open. Then you write down who needs to talk to whom, derive rules from that, and measure that they hold.
#
# **What you'll learn**
#
# - say what a firewall rule does, and what it does not do, in both families
# - write flows in the right direction, and derive rules from them
# - predict what a rule set does, measure it, and explain a difference
# - tell what segmentation is worth once a device is lost
#
# **What you'll need.** About 60 minutes for the core path (an estimate). Python, OpenSSL and Mosquitto; on Linux also nftables, iptables and iproute2. No root. No earlier lesson. You touch OWASP IoT items I2 (insecure services) and I9 (insecure defaults).

# %% [markdown]
# ## Before you start

# %%
from labkit.course import open_lab
lab = open_lab("segmentation")

# %% [markdown]
# ## Four zones, one router
#
# This lesson's plant has an office (`corporate`), devices (`iot`), servers (`backend`), and there is the rest of the world (`internet`). Each is a **zone**: a group of machines that trust each other alike. In a building a zone is a VLAN or an SSID. Here each is a host in a network **namespace**, a network of its own inside the kernel of this computer, on a wire to a router in another one. The real Mosquitto runs in the backend; on every other port stands something that answers. The office's machine has a second address, for *An address is a claim* below.

# %%
from labkit.course.lessons.segmentation import FORGED
from labkit.scenarios.segmented_plant import ACCOUNTING, segmented_plant
from labkit.scenarios.separate import separate_authority

store = separate_authority(lab.workspace, "plant")
plant = lab.enter(segmented_plant(store, aliases={"corporate": (FORGED,)}))
plant

# %% [markdown]
# Read that line: it says how this lesson knows what it claims. *Measured in the kernel* means real packets and the kernel's own firewall, in namespaces that nobody else sees and that vanish with this notebook. Where namespaces can't be had (macOS, Windows, most containers), it says **a simulation**: then our **evaluator** predicts everything from the rules, and every table below says so. The evaluator itself is held against the kernel in the tests, over rule sets made at random.

# %% [markdown]
# ## A flat network
#
# There are no rules yet; everybody reaches everybody. You are in a sensor: somebody found its debug port, or an old hole in its TLS library. The first thing that anybody does from there is to look around.

# %%
from labkit.course.lessons.segmentation import scan
from labkit.display import Table

Table("What a sensor reaches in a flat network", ("whom", "on which ports"), scan(plant, "iot"), plant.how)

# %%
lab.claim("flat-accounting", plant.attempt("iot", "corporate", port=ACCOUNTING))
lab.claim("flat-internet", plant.attempt("internet", "iot", port=22))

# %% [markdown]
# Port 5432 in the office is the accounting database. A thermometer has no business there, and nothing keeps it away.

# %% [markdown]
# ## The printed rules
#
# Many tutorials have three rules for the broker's machine. They are typed there now, as they stand, with the real `iptables`.

# %%
from labkit.course.lessons.segmentation import PRINTED_RULES

rules = plant.type_commands("backend", PRINTED_RULES)
print(plant.listing("backend", "iptables", "-S"))

# %% [markdown]
# The first three lines are the **policy** of each list (a *chain*: INPUT is for what comes to this machine, FORWARD for what passes through, OUTPUT for what it sends): what becomes of a packet that no rule has decided on. Nobody has set them, so they are ACCEPT. Below, rules are read from the top; the first that matches decides. Does it work?

# %%
lab.claim("printed-sensor", plant.attempt("iot", "backend"))
lab.claim("printed-office", plant.attempt("corporate", "backend"))

# %% [markdown]
# It does what it says: devices in, office out. Most readers stop here. Two questions first.

# %%
lab.predict("ipv6")
lab.predict("ssh")

# %%
lab.claim("printed-ipv6", plant.attempt("corporate", "backend", family=6))
lab.claim("printed-ssh", plant.attempt("iot", "backend", port=22))

# %% [markdown]
# **The back door.** `iptables` speaks of IPv4. IPv6 has rules of its own (`ip6tables`), and there are none. Nearly every operating system of the last fifteen years gives itself IPv6 addresses, without being asked.
#
# **The rule that does nothing.** "Allow SSH from the office" allows what was allowed anyway. It says nothing about anybody else.

# %%
from labkit.course.lessons.segmentation import LOCALHOST

lab.claim("printed-localhost", plant.attempt("backend", LOCALHOST[4]))
lab.claim("printed-accounting", plant.attempt("iot", "corporate", port=ACCOUNTING))

# %% [markdown]
# **The machine locked itself out.** Its health check connects to 127.0.0.1, which is not in 192.168.20.0/24. And the rules stand on the *broker's* machine: what goes from a sensor to the office passes the router and never comes by.
#
# "Then set the policy to DROP." A **default drop** is right, and it is half of it:

# %%
plant.clear("backend")
_ = plant.type_commands("backend", "iptables -P INPUT DROP")
lab.claim("policy-answers", plant.attempt("backend", "internet", port=443))

# %% [markdown]
# The server asks, and the answer is dropped: it comes in by INPUT like everything else. **Connection tracking** is the way out. The kernel remembers who asked; packets that belong to a connection are in the state `ESTABLISHED`, and one rule lets those in.

# %% [markdown]
# ## The printed list
#
# Such pages also have a list for the router, VLAN by VLAN, above the rules. Here it is as data, a **flow** a line: who opens connections to whom.

# %%
from labkit.display import zone_map
from labkit.network import COURSE_PLAN, NEEDED, PRINTED, ROUTER, compare, derive

printed = COURSE_PLAN.with_flows(PRINTED)
zone_map(printed, "What the printed list allows")

# %%
plant.clear()
plant.apply(ROUTER, derive(printed, ROUTER))
lab.claim("list-provisioning", plant.attempt("iot", "backend", port=5000))
lab.claim("list-updates", plant.attempt("iot", "backend", port=8070))

# %% [markdown]
# "8883 only" sounds strict, and it is: no device enrols, renews its certificate, or gets an update, and the same page asks for all three. Without the time from somewhere it can't even tell whether a certificate is valid. Rules that break the plant don't live long: somebody switches them off, all of them.
#
# And look at the arrow between backend and corporate.

# %%
lab.predict("direction")

# %%
lab.claim("list-direction", plant.attempt("backend", "corporate", port=443))
found = compare(PRINTED, NEEDED)
rows = [("cut off", flow, flow.reason) for flow in found.cut_off]
rows += [("wrong way round", flow, flow.service) for flow in found.turned_round]
Table("The printed list against what the plant needs", ("", "flow", "what for"), rows)

# %% [markdown]
# The note beside that line says "dashboard access". Who looks at a dashboard *opens* the connection, and the dashboard answers. The flow goes from the office to the backend. The other way round it lets whoever has taken over the broker into the office.

# %% [markdown]
# ### Exercise 1: write the flows
#
# *Fill in.* Here is what happens in the plant. Return every **flow** that it needs, and none that it doesn't. Rules are then derived from your list, put in force, and every pair of zones is tried.

# %%
from labkit.course.lessons.segmentation import SERVICES

Table("What happens in the plant", ("who", "zone", "what they do", "where", "by"), SERVICES)

# %% [markdown]
# Example: `Flow("iot", "backend", "tcp", 8883, "MQTT over TLS")` is the first of them. Stuck? `lab.hint("segmentation.1")`, up to three times.

# %% exercise="segmentation.1" kind="fill-in"
from labkit.network import Flow


def needed():
    """Return every flow that the plant needs."""

    # BEGIN SOLUTION
    def flows(source, destination, *ports):
        return [Flow(source, destination, protocol, port, "") for protocol, port in ports]

    return [
        *flows("iot", "backend", ("tcp", 8883), ("tcp", 5000), ("tcp", 8070), ("udp", 53), ("udp", 123)),
        *flows("corporate", "backend", ("tcp", 22), ("tcp", 443), ("tcp", 3000), ("tcp", 8086)),
        *flows("corporate", "router", ("tcp", 22)),
        *flows("corporate", "internet", ("tcp", 443)),
        *flows("backend", "internet", ("tcp", 443), ("udp", 123)),
    ]
    # END SOLUTION


# %%
from labkit.course.lessons.segmentation import hand_in_flows

zone_map(hand_in_flows(lab, needed()), "What your list allows")

# %%
lab.check("segmentation.1")

# %% [markdown]
# ## Rules that follow
#
# From here on the lesson uses the library's own list, which is the solution of the exercise. `derive` turns flows into rules for a node. These are the router's, for packets that it passes on:

# %%
from labkit.network.nftables import render

router_rules = derive(COURSE_PLAN, ROUTER)
text = render(router_rules)
forward = text[text.index("  chain FORWARD") : text.index("  chain OUTPUT")]
print("\n".join(line.strip() for line in forward.splitlines()[:20]))

# %% [markdown]
# Read it from the top.
#
# - The table is of family `inet`: **one list for both families**. What names no family is for both.
# - `policy drop`: what nobody has allowed is forbidden.
# - Each interface drops what claims to come from elsewhere (**anti-spoofing**), and the outside what claims to come from inside.
# - Answers are accepted, and what belongs to no connection is not.
# - Then one rule for each flow and family, bound to the interface in and out and to the one machine that is meant. Each counts.
#
# The broker's machine gets rules too, as a second wall. Both are put in force, and *every* pair is tried:

# %%
from labkit.display import reachability
from labkit.scenarios.segmented_plant import cells_of

plant.clear()
plant.apply(ROUTER, router_rules)
plant.apply("backend", derive(COURSE_PLAN, "backend"))
wanted = {flow.key for flow in NEEDED}
reachability(plant.matrix(cells_of(plant)), needed=wanted, note=f"This is {plant.how}.")

# %% [markdown]
# Every word stands for two attempts, one a family. A pair that ought to be open and is not would say *cut off*; one that ought not to be and is, *too open*. Compare with the same grid for the printed rules, on the broker's machine alone:

# %%
with segmented_plant(simulate=True) as paper:
    paper.type_commands("backend", PRINTED_RULES)
    before = paper.matrix(cells_of(paper))
reachability(before, "The printed rules", needed=wanted, note="This is a prediction; the tests measured the same.")

# %% [markdown]
# A prediction is worth something only if it can be wrong. Does the kernel do, on every pair, what the evaluator says?

# %%
if plant.simulated:
    lab.does_not_apply("ours-agrees", f"without namespaces there is nothing to compare with ({plant.why})")
else:
    lab.claim("ours-agrees", plant.agreement(cells_of(plant)))

# %% [markdown]
# And the reason for all this, the plant at work. A sensor opens a session with the real broker. The same sensor's identity, carried into the office, does not get as far as TLS:

# %%
sensor = store.identity("sensor-001")
if plant.simulated:
    lab.does_not_apply("ours-sensor", "a simulation has no broker; lesson mutual-tls measures that")
    lab.does_not_apply("ours-office", "a simulation has no broker to connect to")
else:
    lab.claim("ours-sensor", plant.connect("iot", sensor))
    lab.claim("ours-office", plant.connect("corporate", sensor, timeout=1.0))
lab.claim("ours-dashboard", plant.attempt("corporate", "backend", port=3000))

# %% [markdown]
# ## The stolen sensor
#
# Back to the sensor that somebody took over. Accounting, over both families; its master in the internet; and, once they have the broker too, the office from there.

# %%
lab.claim("stolen-accounting", plant.attempt("iot", "corporate", port=ACCOUNTING))
lab.claim("stolen-ipv6", plant.attempt("iot", "corporate", port=ACCOUNTING, family=6))
lab.claim("stolen-internet", plant.attempt("iot", "internet", port=443))

# %%
lab.claim("stolen-pivot", plant.attempt("backend", "corporate", port=443))
lab.claim("stolen-broker", plant.attempt("iot", "backend"))
Table("What the sensor reaches now", ("whom", "on which ports"), scan(plant, "iot"), plant.how)

# %% [markdown]
# It still reaches the broker: that is what it is for. What it may *say* there is a matter of its certificate and of the broker's rules (lessons **mutual-tls** and **revocation**). Segmentation makes a lost device a problem of the devices' zone, and not of the whole house.

# %% [markdown]
# ### An address is a claim
#
# A machine in the office gives itself an address of the sensors' zone. First with rules that look at addresses, as the printed ones do; then with ours.

# %%
lab.predict("forged")

# %%
plant.clear()
plant.type_commands("backend", "iptables -A INPUT -s 192.168.20.0/24 -j ACCEPT\niptables -P INPUT DROP")
lab.claim("forged-addresses", plant.attempt("corporate", "backend", claimed=FORGED))
plant.apply(ROUTER, router_rules)
lab.claim("forged-bound", plant.attempt("corporate", "backend", claimed=FORGED))

# %% [markdown]
# Both were sent over the same wire, `vlan10`. Only the second set of rules asks about it. The counter of the rule that dropped it is the evidence:

# %%
dropped = [row for row in plant.counters(ROUTER) if row[1] == "not an address of corporate" and row[2]]
Table("What the router counted", ("chain", "rule", "packets"), dropped or [("", plant.how, "")])

# %% [markdown]
# ## The second wall
#
# A router can fall too, or be passed by. So the broker's machine has a firewall of its own.
#
# ### Exercise 2: mend the printed rules
#
# *Defend it.* The machine's firewall is written with `iptables` and `ip6tables`. Return a script so that, in **both** families, sensors reach the broker (8883), the office reaches SSH (22), the machine reaches itself and hears answers to its own questions, and nobody reaches anything else.
#
# The sensors are 192.168.20.0/24 and fd00:20::/64, the office 192.168.10.0/24 and fd00:10::/64. Example of a line: `iptables -A INPUT -i lo -j ACCEPT`. Stuck? `lab.hint("segmentation.2")`.

# %% exercise="segmentation.2" kind="defend-it"
def mended():
    """Return the commands, one a line."""
    # BEGIN SOLUTION
    families = (("iptables", "192.168.20.0/24", "192.168.10.0/24"), ("ip6tables", "fd00:20::/64", "fd00:10::/64"))
    lines = ["ip6tables -A INPUT -p icmpv6 -j ACCEPT"]
    for program, sensors, office in families:
        lines += [
            f"{program} -A INPUT -i lo -j ACCEPT",
            f"{program} -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
            f"{program} -A INPUT -p tcp --dport 8883 -s {sensors} -j ACCEPT",
            f"{program} -A INPUT -p tcp --dport 22 -s {office} -j ACCEPT",
            f"{program} -P INPUT DROP",
        ]
    return "\n".join(lines)
    # END SOLUTION


# %% [markdown]
# Your script is typed on the broker's machine; then each sentence is tried. The last one is always predicted from your rules, because a kernel remembers its neighbours for longer than you want to wait.

# %%
from labkit.course.lessons.segmentation import hand_in_script, trials

plant.clear()
_ = plant.type_commands("backend", hand_in_script(lab, mended()))
words = {True: "yes", False: "no"}
rows = [(text, words[want], words[got.accepted]) for text, want, got in trials(plant)]
Table("Your rules", ("sentence", "wanted", "found"), rows, f"{plant.how}; the last one predicted from the rules")

# %%
lab.check("segmentation.2")

# %% [markdown]
# labkit's twin of this script is `derive(COURSE_PLAN, "backend")`; `labkit network apply --node backend --format iptables` prints it. It names the interface in every rule, and the four kinds of ICMPv6 that finding neighbours takes.

# %% [markdown]
# ## Break it: without answers
#
# The same rules, one line less: the one that accepts `established` and `related`. A sensor asks for the broker. Which packet is dropped, by what, and how do you know?

# %%
lab.predict("answers")

# %%
plant.clear()
kept = tuple(rule for rule in router_rules.chains["FORWARD"].rules if rule.comment != "answers")
plant.apply(ROUTER, router_rules.replacing("FORWARD", kept))
lab.claim("break-answers", plant.attempt("iot", "backend"))

# %%
counted = [row for row in plant.counters(ROUTER) if row[0] == "FORWARD" and row[2]]
Table("What the router counted", ("chain", "rule", "packets"), counted or [("", plant.how, "")])

# %% [markdown]
# The flow's own rule has counted the sensor's first packet: it *was* let through. The answer from the broker matched nothing and met the policy. For the sensor both look alike: silence. That is why a firewall is debugged with counters and not with guesses.

# %% [markdown]
# ## The same by hand
#
# Everything above is a command too. `apply` only prints: nothing on this computer's own firewall is ever changed by this course.

# %%
from labkit.processes import run
import sys

print(run([sys.executable, "-m", "labkit", "network", "--help"]).stdout)

# %% [markdown]
# ## Go deeper: write the evaluator
#
# *Ungraded; skipping it breaks nothing later.* A chain is a list, and the first rule that matches decides. In a few lines, for rules that look at protocol, source and port:

# %% tags=["go-deeper"]
def first_match(chain, packet):
    """Return what a chain does with a packet of IPv4."""
    for rule in chain.rules:
        wrong_source = rule.source is not None and packet.source not in rule.source
        wrong_port = rule.destination_ports and all(packet.destination_port != low for low, _ in rule.destination_ports)
        if rule.protocol == packet.protocol and not wrong_source and not wrong_port:
            return rule.target
    return chain.policy[4]


# %% [markdown]
# Compared with the library's `decide` on three packets; the last one is hostile: it comes over IPv6, and ours was not written for that.

# %% tags=["go-deeper"]
from ipaddress import ip_address
from labkit.network import Packet, decide

asked = {"protocol": "tcp", "destination_port": 8883, "in_interface": "eth0", "syn": True}
packets = [Packet(family=4, source=ip_address(f"192.168.{n}.10"), destination=ip_address("192.168.30.10"), **asked) for n in (20, 10)]
packets.append(Packet(family=6, source=ip_address("fd00:10::a"), destination=ip_address("fd00:30::a"), **asked))
[(str(p.source), first_match(rules.chains["INPUT"], p), decide(rules, "INPUT", p).target) for p in packets]

# %% [markdown]
# Twice they agree. On the third, ours says DROP and `decide` says ACCEPT, and `decide` is right: the printed rules are IPv4's, and IPv6 has none. Whoever forgets the family would call the back door shut.

# %% [markdown]
# ## Go deeper: three more exercises
#
# *Optional; skipping them breaks nothing later.*
#
# ### Exercise 3: rules that do nothing
#
# *Bug hunt.* Lists of rules grow, and nobody dares to delete a line. Write **idle**: it is given a list of rules, the first one that matches decides, and returns the places (from 0, in the order of the list) of those that never decide anything, because *one* rule before them matches all that they match. A rule looks at the source's zone and at the port; `"any"` matches all.
#
# Example: for `[{"source": "any", "port": 22, "target": "ACCEPT"}, {"source": "iot", "port": 22, "target": "DROP"}]` it returns `[1]`. Stuck? `lab.hint("segmentation.3")`.

# %% exercise="segmentation.3" kind="bug-hunt" tags=["go-deeper"]
def idle(rules):
    """Return the places of rules that never decide anything."""
    # BEGIN SOLUTION
    def covers(one, other):
        return all(one[field] in ("any", other[field]) for field in ("source", "port"))

    return [place for place, rule in enumerate(rules) if any(covers(earlier, rule) for earlier in rules[:place])]
    # END SOLUTION


# %% tags=["go-deeper"]
lab.hand_in(idle)
lab.check("segmentation.3")

# %% [markdown]
# ### Exercise 4: one flow more
#
# *Tweak.* Every morning the dashboard's machine prints the daily report on the printer in the office. The printer listens on TCP port 631. Return the one **flow** that the plan needs for it.
#
# Example: `{"source": "iot", "destination": "backend", "protocol": "tcp", "port": 8883}` is the flow of the sensors. Stuck? `lab.hint("segmentation.4")`.

# %% exercise="segmentation.4" kind="tweak" tags=["go-deeper"]
def one_more():
    """Return the flow that gets the report printed."""
    # BEGIN SOLUTION
    return {"source": "backend", "destination": "corporate", "protocol": "tcp", "port": 631}
    # END SOLUTION


# %% tags=["go-deeper"]
lab.workspace.write_json("answers/segmentation/flow.json", one_more())
lab.check("segmentation.4")

# %% [markdown]
# ### Exercise 5: the answer that nobody asked for
#
# *Break it.* The author of these rules had no connection tracking, and let answers in by the port that they come from. You sit in the internet, at 203.0.113.66. Return a packet that opens a connection to SSH on this machine.

# %% tags=["go-deeper"]
from labkit.course.lessons.segmentation_exercises import LEAKY, asks

print(LEAKY)
asks("tcp", source_port=50000, destination_port=22)

# %% [markdown]
# Example: `{"protocol": "tcp", "source_port": 50000, "destination_port": 22}` is the packet above, and it is dropped. Stuck? `lab.hint("segmentation.5")`.

# %% exercise="segmentation.5" kind="break-it" tags=["go-deeper"]
def packet():
    """Return the first packet of a connection that gets in."""
    # BEGIN SOLUTION
    return {"protocol": "tcp", "source_port": 53, "destination_port": 22}
    # END SOLUTION


# %% tags=["go-deeper"]
lab.workspace.write_json("answers/segmentation/packet.json", packet())
lab.check("segmentation.5")

# %% [markdown]
# One rule with `--ctstate ESTABLISHED` takes the place of three, and asks the only one who knows who asked: the kernel.

# %% [markdown]
# ## What you proved
#
# - In a flat network a thermometer reaches accounting.
# - Three printed rules left IPv6 open, locked their own machine out, and had a line that did nothing.
# - A printed list cut devices off from what they need, and had a flow the wrong way round.
# - Rules derived from flows open what is needed in both families and nothing else, and the kernel did on every pair what was predicted.
# - A stolen sensor reaches the broker and nobody else; a forged address does not help.
# - Without a rule for answers, the first packet passes and the second is dropped.

# %%
lab.summary()

# %% [markdown]
# ## In practice
#
# - *VLANs and SSIDs.* [docs/segmentation.md](../docs/segmentation.md) tells how zones become VLANs on a switch, SSIDs on an access point and interfaces on a router, how rules outlive a restart, and how not to lock yourself out.
# - *Neighbours.* Traffic inside a zone does not pass the router. Client isolation on the access point keeps sensors from each other.
# - *Rules in two places.* `iptables` and `nft` both write into the kernel; a packet has to please both. Use one.
# - *Containers.* A port that Docker publishes is forwarded before INPUT is asked. Publish it on one address.
# - *The other way out.* A device with a modem, or a laptop with two networks, is a router that nobody planned.
# - *Run the script twice* and `iptables -A` has doubled every rule. `nft -f` and `iptables-restore` swap the whole set in one step.
# - *What this is not.* The zones here are namespaces on wires of their own, without VLAN tags. One host stands for each zone.

# %% [markdown]
# ## Questions

# %%
lab.quiz("questions")

# %% [markdown]
# ## Further reading
#
# - [nftables wiki](https://wiki.nftables.org/): families, sets, counters, and what became of iptables.
# - [RFC 4890](https://www.rfc-editor.org/rfc/rfc4890): which ICMPv6 a firewall must let through, and why.
# - [RFC 2827](https://www.rfc-editor.org/rfc/rfc2827) (BCP 38): drop what can't come from there.
# - [NIST SP 800-82 Rev. 3](https://csrc.nist.gov/pubs/sp/800/82/r3/final): zones and conduits in plants, chapter 5.
# - IEC 62443-3-2: the standard in which zones and conduits are words of the trade.

# %% [markdown]
# ## Tidy up
#
# This takes zones, router and broker away. Next: lesson **audit**, which looks at everything at once: doors, files, flash, network, papers.

# %%
lab.close()
