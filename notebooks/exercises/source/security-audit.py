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
# # Audit a plant, mend it, and show that it is mended
#
# **What you'll do.** You go through the 27 items of the checklist on a plant that is yours alone, write down how each fault is mended, mend at least three of them, and measure again.
#
# **What you'll learn**
#
# - tell a pass from a fail by evidence, and both from what does not apply
# - write a remediation that somebody can carry out on Monday
# - mend settings, rules and listeners without breaking what was right
# - show an improvement by measuring twice, with the same rules
#
# **What you'll need.** About 115 minutes (an estimate). Lesson **audit**; Python, OpenSSL and Mosquitto. 70 points are judged by machine, 30 by a person.

# %% [markdown]
# ## Your plant
#
# Somebody has run a plant for a year: a broker, a dashboard, a database, a flow editor, devices from a factory line, a router, alert rules and a folder of papers. Everybody gets a plant of their own, with other faults. Say who you are as your instructor knows you: `open_lab("security-audit", student="…")`. Broker, certificates and registry are the real ones; dashboard, database and flow editor are stand-ins that read the real products' settings.

# %%
from labkit.course import open_lab
lab = open_lab("security-audit")

# %%
from labkit.audit import audit
from labkit.course.exercises.security_audit_plant import FOLDER, staged

with staged(lab) as plant:
    first = audit(plant.target)

folder = lab.workspace.path(FOLDER)
sorted(path.name for path in folder.iterdir())

# %% [markdown]
# The plant ran for as long as the block lasted, and was measured. Its settings lie in the folder now, where you can read them, and later change them. In them the broker listens on 8883, wherever it runs.

# %% [markdown]
# ## Step 1: mark all 27 items
#
# *Bug hunt; 25 points.* The measurement says for each item what was tried and what came of it. Read it section by section: there are six, and the cell shows the one that it names. Look into the files where it helps.

# %%
from labkit.audit.checklist import SECTIONS
from labkit.display import Table

section = "Communication"
print(*SECTIONS.values(), sep=", ")
read = [judged for judged in first.judged if judged.item.section == section]
nothing = ("", "this plant has no part that the item speaks of")
rows = [(judged.item.id, *where) for judged in read for where in [(e.source, e.what) for e in judged.evidence] or [nothing]]
Table(section, ("item", "where", "what was seen"), rows)

# %%
Table("What is asked", ("item", ""), [(judged.item.id, judged.item.asks) for judged in read])

# %% [markdown]
# Two items rest on a record that a person has to read: read it as that person, and mark what you think of it.
#
# **mark_before** returns a mark for each of the 27 items: `pass`, `fail` or `n.a.`, then a colon and what you saw. Each `fail` needs its evidence in a few words. Each kind of mark weighs the same: marking everything as `fail` earns nothing.
#
# Example: `{"communication-1": "fail: port 1883 answers a CONNECT without TLS", …}`. Stuck? `lab.hint("security-audit.1")`, up to three times.

# %% exercise="security-audit.1" kind="bug-hunt"
def mark_before(report):
    """Return your mark for each item of the plant as it was found."""
    # BEGIN SOLUTION
    words = {"pass": "pass", "needs a person": "pass", "fail": "fail", "not applicable": "n.a."}
    marks = {}
    for judged in report.judged:
        told = judged.evidence[0] if judged.evidence else None
        marks[judged.item.id] = f"{words[judged.verdict]}: {told.source}: {told.what}" if told else "n.a.: no such part"
    return marks
    # END SOLUTION


# %%
lab.workspace.write_json("answers/security-audit/before.json", mark_before(first)).name

# %%
lab.check("security-audit.1")

# %% [markdown]
# ## Step 2: how each is mended
#
# *Written; 20 points, judged by a person.* For each item that fails write one paragraph: what is wrong *in this plant*, who does what, in which order and by when, and how one sees that it is done. The checklist says how an item is mended in general; that is not yet a plan.

# %%
from labkit.audit import BY_ID

for step in BY_ID["access-1"].steps:
    print("-", step)

# %% [markdown] written="security-audit.2"
# <!-- BEGIN SOLUTION -->
# *access-1.* A pattern in `acl.conf` gives every device more than its own topics. Ben deletes that line tonight, keeps the five rules of the course, and reloads the broker with `labkit broker reload`. Done when one device's message to another's topics no longer reaches the observer, and its own still does.
#
# *monitoring-2.* The alert rules raise no alarm in a recorded attack, or raise one on a quiet day. Asha loads the rules that were tried (`labkit monitor --rules`) tomorrow morning, plays the attack, and sees each alert come. Until then the operator on duty reads the log at each change of shift.
#
# *communication-4, communication-1, access-2.* A second listener was left from a test. Ben removes it from `mosquitto.conf` tonight; the devices come through 8883 and don't notice. In the same go `crlfile` names the list that is renewed. Done when the old door does not answer, an old certificate is refused as revoked, and a device still delivers.
#
# *The tools.* Whichever of them opens to everybody or to a password that everybody knows gets its own random one from the password manager, today, by Asha; then the public list is tried again.
#
# *What is built into an image.* Treated as stolen today: revoked, then the line is changed so that each device gets its own, and the images are built again this week by the firmware team. Done when a search of all images finds nothing.
#
# *Papers and drills.* The plan is written, dated, read by somebody else and played once with a clock before the month ends; a renewal is drilled on one device on Thursday.
# <!-- END SOLUTION -->

# %% [markdown]
# ## Step 3: mend at least three
#
# *Defend it; 30 points.* Change files in the folder so that at least three items that failed pass, and nothing else fails. The judge stages a plant of its own with the same faults, puts your files into it, and measures. What you can change:
#
# | file | what it is |
# | --- | --- |
# | `mosquitto.conf`, `acl.conf` | the broker's configuration and rules |
# | `grafana.ini`, `influxdb.conf`, `node-red-settings.json` | the tools' settings |
# | `flows.json` | the flow editor's flows, and its connection to the broker |
# | `router.rules` | the router's rules, as iptables commands |
# | `alerts.json` | what the monitor goes by |
#
# Files that the broker may be told of: `trust-bundle.crt`, `broker-fullchain.crt`, `broker.key`, `passwords`, and the list of revoked certificates, `crl.pem`. A file that is gone shows nothing, so nothing passes by deleting it. Images, certificates, the registry and papers can't be mended from here; for them there is step 2.
#
# Example: after `mend(folder)`, `acl.conf` gives each device its own topics only. Stuck? `lab.hint("security-audit.3")`.

# %%
print((folder / "mosquitto.conf").read_text(), (folder / "acl.conf").read_text(), sep="\n")

# %% [markdown]
# **mend** is given the folder. It may be run again: it changes files, and the plant is staged with whatever is in them.

# %% exercise="security-audit.3" kind="defend-it"
def mend(folder):
    """Mend at least three of the items that fail."""
    # BEGIN SOLUTION
    from dataclasses import replace
    from pathlib import Path

    from labkit.audit.monitor.alerts import READY
    from labkit.broker import DEVICE_ACL
    from labkit.broker import acl as rules
    from labkit.broker import config as configuration

    (folder / "acl.conf").write_text(rules.render(DEVICE_ACL))
    (folder / "alerts.json").write_text(READY.to_json())
    found = configuration.parse((folder / "mosquitto.conf").read_text())
    door = replace(found.listeners[0], ciphers=configuration.AEAD_TLS12, crlfile=Path("crl.pem"))
    better = replace(found, listeners=(door,), allow_anonymous=False, password_file=None, log_type="all")
    (folder / "mosquitto.conf").write_text(configuration.render(better))
    # END SOLUTION


# %%
mend(folder)

# %%
lab.check("security-audit.3")

# %% [markdown]
# ## Step 4: measure again
#
# *Bug hunt; 15 points.* Stage the plant again, with your files in it, and mark all 27 items a second time. Don't remember: look. An item may rest on two faults, and one of them may still be there.

# %%
from labkit.audit import compare

with staged(lab) as plant:
    second = audit(plant.target)
changes = [change for change in compare(first, second) if change.mended or change.new]
rows = [(change.item.id, *(each.what for each in (*change.mended, *change.new))) for change in changes]
Table("What is seen otherwise than before", ("item", "what"), [(row[0], "; ".join(row[1:])) for row in rows])

# %% [markdown]
# **mark_after** returns marks as before, for all 27. What you did not touch is as it was. Stuck? `lab.hint("security-audit.4")`.

# %% exercise="security-audit.4" kind="bug-hunt"
def mark_after(report):
    """Return your mark for each item of the plant as it is now."""
    # BEGIN SOLUTION
    return mark_before(report)
    # END SOLUTION


# %%
lab.workspace.write_json("answers/security-audit/after.json", mark_after(second)).name

# %%
lab.check("security-audit.4")

# %% [markdown]
# ## What improved
#
# *Written; 10 points, judged by a person.* Compare before and after by item: what was mended, what is better and still fails, what is as it was. For each fix give the change and the measurement that shows it, with the control that still works. Then say what comes next and why, and one thing that no item asks for.

# %% [markdown] written="security-audit.D1"
# <!-- BEGIN SOLUTION -->
# *Mended.* `access-1`: `acl.conf` has the five rules of the course again; the device's message to its neighbour's topics no longer reaches the observer, and its own still arrives, which is the control. `monitoring-2`: in the recorded attack each detector raises its alarm, and the quiet day stays quiet. The second listener is gone: nobody answers there, and a device still gets in on 8883.
#
# *Better, and still failing:* an item that rests on two faults, of which one lies outside this folder.
#
# *As it was:* what is built into images, the registry, and the papers. Next comes whatever gives away a secret that many devices share, because it can't be taken back from one thief alone; then the drill that was never done; last the paper without a reader, which costs an hour.
#
# *No item asks* whether the authority's backup can be restored. I would try that first.
# <!-- END SOLUTION -->

# %% [markdown]
# ## What you hand in
#
# | what | where | points |
# | --- | --- | --- |
# | marks of the plant as it was found | `before.json` | 25 |
# | how each item is mended | this notebook | 20 |
# | `mend`: at least three items that pass now | the folder's files | 30 |
# | marks of the plant as it is now | `after.json` | 15 |
# | what improved | this notebook | 10 |
#
# When you are done, restart the kernel, run all cells, save. Then `labkit submit security-audit` packs the notebook and its evidence, and never a private key. When it is graded it runs in an empty folder, and the plant is staged again, with your files in it.

# %% [markdown]
# ## Tidy up

# %%
lab.close()
