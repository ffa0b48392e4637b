"""Answers to the exercises of lesson mutual-tls."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from labkit.broker import DEVICE_ACL, Acl, Rule
from labkit.broker.acl import parse, render
from labkit.course.lab import Lab, open_lab
from labkit.course.lessons.mutual_tls_exercises import AUDITED, LOOSE, LOOSE_ACL
from labkit.pki import Store
from labkit.scenarios import Site, mutual_tls
from tests.answers.shape import Answers, Right, Wrong, handing, laying

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_sites: dict[str, Site] = {}


@contextmanager
def prepared(folder: Path) -> Iterator[Lab]:
    """Yield the lesson's lab with its three brokers."""
    lab = open_lab("mutual-tls", workspace=folder / "w")
    store = Store(lab.workspace)
    for name, acl in (("broker", DEVICE_ACL), (AUDITED, DEVICE_ACL), (LOOSE, LOOSE_ACL)):
        _sites[name] = lab.enter(mutual_tls(store, folder=name, acl=acl))
    yield lab
    _sites.clear()
    lab.close()


def ruling(*rules: Rule, folder: str = "broker") -> Callable[[Lab], None]:
    """Put rules in force on a running broker."""
    return lambda _: _sites[folder].broker.reload(Acl(rules))


OPERATOR, SPEAKING, HEARING = DEVICE_ACL.rules[:2], DEVICE_ACL.rules[2:4], DEVICE_ACL.rules[4:]
SIMPLE = (Rule("readwrite", "#", user="admin"), Rule("readwrite", "devices/#", pattern=True))


def for_all(access: Any, topic: str) -> Rule:
    """Return a rule for everybody."""
    return Rule(access, topic, pattern=True)


def auditing(*rules: Rule) -> Callable[[Lab], None]:
    """Put the course's rules and some more in force for the auditor."""
    return ruling(*DEVICE_ACL.rules, *rules, folder=AUDITED)


# --- 1: decide like a broker ----------------------------------------------------------------------------------------

_DECIDE = """
def may_write(user, topic, patterns):
    if "+" in user or "#" in user:
        return False
    for pattern in patterns:
        wanted, given = pattern.replace("%u", user).split("/"), topic.split("/")
        for number, level in enumerate(wanted):
            if level == "#":
                return True
            if number >= len(given) or level not in ("+", given[number]):
                break
        else:
            if len(wanted) == len(given):
                return True
    return False
"""

_REGEX = """
import re

def may_write(user, topic, patterns):
    if set(user) & set("+#"):
        return False
    def matches(pattern):
        parts = [re.escape(part) for part in pattern.replace("%u", user).split("/")]
        text = "/".join("[^/]*" if part == re.escape("+") else part for part in parts)
        text = text.replace("/" + re.escape("#"), "(/.*)?").replace(re.escape("#"), ".*")
        return re.fullmatch(text, topic, re.DOTALL) is not None
    return any(map(matches, patterns))
"""

_LIBRARY = """
from labkit.mqtt import matches

def may_write(user, topic, patterns):
    safe = "+" not in user and "#" not in user
    return safe and any(matches(pattern.replace("%u", user), topic) for pattern in patterns)
"""

_RECURSIVE = """
def takes(pattern, topic):
    if not pattern or not topic:
        return pattern == topic or pattern == ["#"]
    return pattern[0] == "#" or (pattern[0] in ("+", topic[0]) and takes(pattern[1:], topic[1:]))

def may_write(user, topic, patterns):
    if any(mark in user for mark in "+#"):
        return False
    filled = [[user if level == "%u" else level for level in pattern.split("/")] for pattern in patterns]
    return any(takes(pattern, topic.split("/")) for pattern in filled)
"""


def deciding(*pairs: tuple[str, str], source: str = _DECIDE) -> Callable[[Any], None]:
    """Hand in a decision that is wrong in one place."""
    for old, new in pairs:
        assert old in source
        source = source.replace(old, new)
    return handing("may_write", source)


_STARTS = """
def may_write(user, topic, patterns):
    if "+" in user or "#" in user:
        return False
    return any(topic.startswith(p.replace("%u", user).rstrip("#").rstrip("/")) for p in patterns)
"""

_FNMATCH = """
from fnmatch import fnmatchcase

def may_write(user, topic, patterns):
    if "+" in user or "#" in user:
        return False
    return any(fnmatchcase(topic, p.replace("%u", user).replace("+", "*").replace("#", "*")) for p in patterns)
"""

# --- 5: who was refused ---------------------------------------------------------------------------------------------

_REFUSED = """
import re

def refused_by(lines):
    found = {}
    for line in lines:
        match = re.fullmatch(r"[^ ]+: Denied PUBLISH from ([^ ]+) [(].*", line)
        if match:
            found[match[1]] = found.get(match[1], 0) + 1
    return found
"""

_COUNTER = """
from collections import Counter

def refused_by(lines):
    words = (line.split() for line in lines)
    return Counter(each[4] for each in words if each[1:4] == ["Denied", "PUBLISH", "from"])
"""

_PARSED = """
from collections import Counter

from labkit.broker import parse_line

def refused_by(lines):
    events = [parse_line(line) for line in lines]
    return dict(Counter(e["client"] for e in events if e.kind == "denied" and " from " in e.text[:20]))
"""


_VICTIM = """
def refused_by(lines):
    found = {}
    for line in lines:
        words = line.split()
        if words[1:4] == ["Denied", "PUBLISH", "from"]:
            name = line.split("devices/")[1].split("/")[0] if "devices/" in line else words[4]
            found[name] = found.get(name, 0) + 1
    return found
"""


def reading(*pairs: tuple[str, str]) -> Callable[[Any], None]:
    """Hand in a reader of logs that is wrong in one place."""
    source = _REFUSED
    for old, new in pairs:
        assert old in source
        source = source.replace(old, new)
    return handing("refused_by", source)


def pair(user: str, topic: str) -> Callable[[Any], None]:
    """Lay a hole on the shelf."""
    return laying("hole.json", [user, topic])


TABLE = (
    Answers(
        "mutual-tls.1",
        right=(
            Right("level by level", deciding()),
            Right("by regular expressions", deciding(source=_REGEX)),
            Right("calls itself", deciding(source=_RECURSIVE)),
            Right("asks the library", deciding(source=_LIBRARY)),
        ),
        wrong=(
            Wrong("looks at no names", deciding(('"+" in user or "#" in user', "False")), "dangerous-name"),
            Wrong("looks at one of two marks", deciding(('"+" in user or "#" in user', '"+" in user')), "dangerous-name"),
            Wrong("refuses names that are marks alone", deciding(('"+" in user or "#" in user', 'user in ("+", "#")')),
                  "dangerous-name"),
            Wrong("compares beginnings", deciding(source=_STARTS), "too-long"),
            Wrong("stars for wildcards", deciding(source=_FNMATCH), "hash-wants-more"),
            Wrong("# wants a level", deciding(('if level == "#":', 'if level == "#" and number < len(given):')),
                  "hash-wants-more"),
            Wrong("forgets lengths", deciding(("if len(wanted) == len(given)", "if True")), "too-long"),
            Wrong("knows the first pattern alone", deciding(("for pattern in patterns:", "for pattern in patterns[:1]:")), "too-strict"),
            Wrong("+ is a letter", deciding(('("+", given[number])', "(given[number],)")), "plus"),
            Wrong("+ takes what is left", deciding(('if level == "#":', 'if level in ("#", "+"):')), "plus"),
            Wrong("any user", deciding(('replace("%u", user)', 'replace("%u", "+")')), "another-device"),
            Wrong("small letters", deciding(("topic.split", "topic.lower().split")), "looks-alike"),
            Wrong("names are patterns", deciding(('re.escape(part) for part in pattern.replace("%u", user).split("/")',
                  "re.escape(part) if part != '%u' else user for part in pattern.split(\"/\")"), source=_REGEX), "looks-alike"),
            Wrong("cuts slashes off", deciding(("topic.split", 'topic.strip("/").split')), "any-topic"),
            Wrong("yes to all", deciding(source="def may_write(user, topic, patterns):\n    return True\n"), "too-long"),
            Wrong("no to all", deciding(source="def may_write(user, topic, patterns):\n    return False\n"), "too-strict"),
            Wrong("counts", deciding(("return True", "return 1")), "too-strict"),
            Wrong("forgets the end of a topic", deciding(("number >= len(given) or ", "")), "crashed", says="IndexError"),
        ),
    ),
    Answers(
        "mutual-tls.2",
        touches=(),
        right=(
            Right("the course's", ruling(*DEVICE_ACL.rules)),
            Right("more topics of its own", ruling(*DEVICE_ACL.rules, for_all("write", "devices/%u/debug/#"))),
            Right("wider eyes, and topics level by level", ruling(
                Rule("read", "devices/#", user="admin"), Rule("readwrite", "devices/+/commands/#", user="admin"),
                for_all("readwrite", "devices/%c/telemetry/#"), for_all("write", "devices/%c/status"),
                for_all("read", "devices/%c/commands/#"))),
        ),
        wrong=(
            Wrong("nobody hears commands", ruling(*OPERATOR, *SPEAKING), "too-strict", says="hears its own commands"),
            Wrong("nobody speaks", ruling(*OPERATOR, *HEARING), "too-strict", says="delivers its telemetry"),
            Wrong("devices command themselves", ruling(*OPERATOR, *SPEAKING, for_all("readwrite", "devices/%u/commands/#")),
                  "too-wide", says="commands itself"),
            Wrong("everybody hears commands", ruling(*DEVICE_ACL.rules, for_all("read", "devices/+/commands/#")),
                  "too-wide", says="sensor-002 hears"),
            Wrong("everybody measures for everybody", ruling(*DEVICE_ACL.rules, for_all("write", "devices/+/telemetry/#")),
                  "too-wide", says="speaks for"),
            Wrong("everybody has everybody's status", ruling(*DEVICE_ACL.rules, for_all("write", "devices/+/status")),
                  "too-wide", says="and yet"),
            Wrong("everybody reads everybody's telemetry", ruling(*DEVICE_ACL.rules, for_all("read", "devices/+/telemetry/#")),
                  "too-wide", says="and yet"),
            Wrong("everybody speaks elsewhere", ruling(*DEVICE_ACL.rules, for_all("write", "elsewhere/#")), "too-wide", says="elsewhere"),
            Wrong("one device in a corner of another's", ruling(
                *DEVICE_ACL.rules, Rule("write", "devices/sensor-1/config/deep", user="sensor-001")), "too-wide", says="deep"),
            Wrong("one device alone", ruling(
                *OPERATOR, *(Rule(rule.access, rule.topic.replace("%u", name), user=name)
                             for name in ("sensor-001", "sensor-002") for rule in DEVICE_ACL.rules[2:])),
                  "too-strict", says="and yet"),
            Wrong("the operator does not hear telemetry", ruling(
                Rule("read", "devices/+/commands/#", user="admin"), *DEVICE_ACL.rules[1:]), "too-strict"),
            Wrong("telemetry of one level", ruling(*OPERATOR, *SPEAKING[1:], *HEARING,
                                                   for_all("write", "devices/%u/telemetry/+")), "too-strict", says="and yet"),
            Wrong("the simple ones", ruling(*SIMPLE), "", status="not-attempted"),
        ),
    ),
    Answers(
        "mutual-tls.3",
        touches=(),
        right=(
            Right("below devices", auditing(Rule("read", "devices/#", user="auditor"))),
            Right("everything there is", auditing(Rule("read", "#", user="auditor"))),
            Right("written as text", ruling(
                *parse(render(DEVICE_ACL) + "\nuser auditor\ntopic read devices/+/#\n").rules, folder=AUDITED)),
        ),
        wrong=(
            Wrong("nothing new", auditing(), "auditor-deaf"),
            Wrong("the example", auditing(Rule("read", "plant/#", user="auditor")), "auditor-deaf"),
            Wrong("one level", auditing(Rule("read", "devices/+/+", user="auditor")), "auditor-deaf"),
            Wrong("telemetry alone", auditing(Rule("read", "devices/+/telemetry/#", user="auditor")), "auditor-deaf"),
            Wrong("may write too", auditing(Rule("readwrite", "devices/#", user="auditor")), "auditor-speaks"),
            Wrong("may command", auditing(Rule("read", "devices/#", user="auditor"),
                                          Rule("write", "devices/+/commands/#", user="auditor")), "auditor-speaks"),
            Wrong("speaks in a corner", auditing(Rule("read", "devices/#", user="auditor"),
                                                 Rule("write", "devices/sensor-001/debug", user="auditor")), "auditor-speaks", says="debug"),
            Wrong("something for a sensor too", auditing(Rule("read", "devices/#", user="auditor"),
                                                         Rule("read", "other/#", user="sensor-001")), "others-changed", says="other/"),
            Wrong("for everybody", auditing(Rule("read", "devices/#", pattern=True)), "others-changed"),
            Wrong("for clients without a name", auditing(Rule("read", "devices/#")), "auditor-deaf"),
            Wrong("instead of the operator", ruling(
                Rule("read", "#", user="auditor"), *DEVICE_ACL.rules[1:], folder=AUDITED), "others-changed"),
            Wrong("only the auditor", ruling(Rule("read", "#", user="auditor"), folder=AUDITED), "others-changed"),
        ),
    ),
    Answers(
        "mutual-tls.4",
        right=(
            Right("commands itself", pair("sensor-001", "devices/sensor-001/commands/open-valve")),
            Right("raises an alarm", pair("sensor-002", "plant/hall-2/alarm")),
            Right("its own settings", pair("sensor-002", "devices/sensor-002/config")),
        ),
        wrong=(
            Wrong("its own status", pair("sensor-001", "devices/sensor-001/status"), "allowed-anyway"),
            Wrong("its own telemetry", pair("sensor-001", "devices/sensor-001/telemetry/t"), "allowed-anyway"),
            Wrong("another's status", pair("sensor-001", "devices/sensor-002/status"), "not-delivered"),
            Wrong("another's commands", pair("sensor-001", "devices/sensor-002/commands/open-valve"), "not-delivered"),
            Wrong("two levels for one", pair("sensor-001", "plant/hall/2/alarm"), "not-delivered"),
            Wrong("the operator", pair("admin", "devices/sensor-001/commands/open-valve"), "not-a-device"),
            Wrong("a device that is not here", pair("sensor-999", "plant/hall/alarm"), "not-a-device"),
            Wrong("a filter for a topic", pair("sensor-001", "devices/sensor-001/#"), "TopicRefusedError"),
            Wrong("a topic alone", laying("hole.json", "plant/hall/alarm"), "not-a-pair"),
            Wrong("a line feed", laying("hole.json", ["sensor-001\n", "plant/hall/alarm"]), "not-a-device"),
        ),
    ),
    Answers(
        "mutual-tls.5",
        right=(
            Right("matches the whole line", reading()),
            Right("splits it into words", handing("refused_by", _COUNTER)),
            Right("asks the library", handing("refused_by", _PARSED)),
        ),
        wrong=(
            Wrong("the colleague's", reading(("fullmatch", "search"), ("[^ ]+: ", "")), "believes-the-topic"),
            Wrong("looks for the word", reading(("fullmatch", "search"), ("[^ ]+: Denied", ".*Denied")), "believes-the-topic"),
            Wrong("begins somewhere", reading(("[^ ]+: Denied", ".*: Denied")), "believes-the-topic"),
            Wrong("counts all messages", reading(("Denied", "[A-Za-z]+")), "counts-what-was-allowed"),
            Wrong("counts once", reading(("found.get(match[1], 0) + 1", "1")), "misses-some"),
            Wrong("knows sensors alone", reading(("([^ ]+) [(]", "(sensor-[^ ]+) [(]")), "misses-some"),
            Wrong("blames whom the topic names", reading(
                ("Denied PUBLISH from ([^ ]+) [(].*", "Denied PUBLISH from .*'devices/([^/]+)/.*")), "misses-some"),
            Wrong("blames the victim where there is one", handing("refused_by", _VICTIM), "blames-the-victim"),
            Wrong("counts readers too", reading(("from (", "(?:from|to) (")), "counts-readers"),
            Wrong("returns pairs", reading(("return found", "return list(found.items())")), "counts-what-was-allowed"),
            Wrong("crashes", reading(("lines:", "lines.splitlines():")), "crashed", says="AttributeError"),
        ),
    ),
)  # fmt: skip
