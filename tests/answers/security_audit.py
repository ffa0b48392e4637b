"""Right and wrong answers to security-audit: marks, mended files, and marks again."""

from __future__ import annotations

import json
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from labkit.audit import BY_ID, Verdict
from labkit.audit.monitor.alerts import READY
from labkit.broker import DEVICE_ACL
from labkit.broker import acl as access
from labkit.course.exercises import find
from labkit.course.exercises.security_audit_plant import FOLDER, as_found, before, laid_out
from labkit.course.work import Work
from tests.answers.shape import Answers, Place, Right, Wrong

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

EXERCISE = find("security-audit")
PLANT = EXERCISE.variant("ada")
SHELF = "answers/security-audit"
TRUTH = before(PLANT)
MENDED = {"access-1", "monitoring-2", "access-3"}
"""What the table's own right answer mends; ada's plant has a fault in each."""

AFTER = {item: Verdict.PASS if item in MENDED else verdict for item, verdict in TRUTH.items()}
WORDS = {
    Verdict.PASS: "pass: seen",
    Verdict.FAIL: "fail: it was tried, and it is so",
    Verdict.NOT_APPLICABLE: "n.a.: no such part",
    Verdict.PERSON: "pass: read it",
}
OTHERS = {
    Verdict.PASS: "PASSED",
    Verdict.FAIL: "Failed : three words here",
    Verdict.NOT_APPLICABLE: "not-applicable",
    Verdict.PERSON: "needs a person",
}


def marks(
    place: Place, name: str, verdicts: Mapping[str, Verdict], words: Mapping[Verdict, str] = WORDS
) -> None:
    """Write a round of marks."""
    text = json.dumps({item: words[verdict] for item, verdict in verdicts.items()})
    place.write(f"{SHELF}/{name}.json", text)


def some(name: str, verdicts: Mapping[str, Verdict], **changes: Verdict) -> Callable[[Place], None]:
    """Return an answer in which some marks are others."""
    return partial(
        marks, name=name, verdicts={**verdicts, **{k.replace("_", "-"): v for k, v in changes.items()}}
    )


def all_the_same(name: str, verdict: Verdict) -> Callable[[Place], None]:
    """Return an answer with one mark for everything."""
    return partial(marks, name=name, verdicts=dict.fromkeys(BY_ID, verdict))


def raw(name: str, value: object) -> Callable[[Place], None]:
    """Return an answer with anything as marks."""
    return lambda place: place.write(f"{SHELF}/{name}.json", json.dumps(value))


def text_of(place: Place, name: str) -> str:
    """Return a file of the plant."""
    return (place.root / FOLDER / name).read_text(encoding="utf-8")


def files(**texts: str | None) -> Callable[[Place], None]:
    """Return an answer with these files of the plant changed, and all others as they were found; None deletes one."""

    def give(place: Place) -> None:
        found_again(place)
        for name, text in texts.items():
            path = f"{FOLDER}/{NAMES[name]}"
            if text is None:
                (place.root / path).unlink()
            else:
                place.write(path, text)

    return give


NAMES = {
    "acl": "acl.conf", "alerts": "alerts.json", "conf": "mosquitto.conf", "flows": "flows.json",
    "rules": "router.rules", "dashboard": "grafana.ini", "database": "influxdb.conf", "editor": "node-red-settings.json",
}  # fmt: skip
_FOUND: dict[str, str] = {}


def found_again(place: Place) -> None:
    """Lay the plant out as it was found."""
    for path in (place.root / FOLDER).glob("*"):
        path.unlink()
    for name, text in _FOUND.items():
        place.write(f"{FOLDER}/{name}", text)


@contextmanager
def prepared(folder: Path) -> Iterator[Place]:
    """Yield a workspace in which everything is right, and three items are mended."""
    place = Place(EXERCISE, folder)
    with Work(EXERCISE, folder, place.student) as work, as_found(work) as plant:
        _FOUND.update(laid_out(plant))
    marks(place, "before", TRUTH)
    marks(place, "after", AFTER)
    mend(place)
    yield place


def mend(place: Place) -> None:
    """Mend three items: rules, alerts, and the tool that asks nobody."""
    assert {TRUTH[item] for item in MENDED} == {Verdict.FAIL}
    found_again(place)
    place.write(f"{FOLDER}/acl.conf", access.render(DEVICE_ACL))
    place.write(f"{FOLDER}/alerts.json", READY.to_json())
    place.write(
        f"{FOLDER}/influxdb.conf",
        _FOUND["influxdb.conf"].replace("auth-enabled = false", "auth-enabled = true"),
    )


def by_the_broker(place: Place) -> None:
    """Mend the broker alone: one door, a list, and rules in other words."""
    found_again(place)
    lines = [line for line in _FOUND["mosquitto.conf"].splitlines() if not line.startswith("listener 1883")]
    text = "\r\n".join(line.replace("allow_anonymous true", "# closed") for line in lines)
    place.write(f"{FOLDER}/mosquitto.conf", text + "\r\ncrlfile crl.pem\r\n")
    place.write(f"{FOLDER}/acl.conf", "# rules\npattern write devices/%u/telemetry/#\npattern write devices/%u/status\n"
                "pattern read devices/%u/commands/#\nuser admin\ntopic read #\ntopic write devices/+/commands/#\n")  # fmt: skip


def changed_conf(old: str, new: str) -> Callable[[Place], None]:
    """Return an answer in which the broker's configuration differs by some words."""

    def give(place: Place) -> None:
        found_again(place)
        assert old in _FOUND["mosquitto.conf"]
        place.write(f"{FOLDER}/mosquitto.conf", _FOUND["mosquitto.conf"].replace(old, new))

    return give


def without_connection(place: Place) -> None:
    """Delete the flow editor's connection, so that there is none that could be wrong."""
    nodes = [node for node in json.loads(_FOUND["flows.json"]) if node["type"] != "mqtt-broker"]
    files(flows=json.dumps(nodes))(place)


def everything_dropped(place: Place) -> None:
    """Drop everything at the router, whatever the plant needs."""
    drop = "iptables -P FORWARD DROP\niptables -F FORWARD\nip6tables -P FORWARD DROP\nip6tables -F FORWARD\n"
    files(rules=_FOUND["router.rules"] + drop)(place)


def as_it_is(_place: Place) -> None:
    """Change nothing."""


def gone(name: str) -> Callable[[Place], None]:
    """Return an answer in which a round of marks is not there."""
    return lambda place: (place.root / SHELF / f"{name}.json").unlink()


def nothing_mended(place: Place) -> None:
    """Mark a plant that nobody has mended as if somebody had."""
    found_again(place)


_PARTLY = "partly"
PASS, FAIL, ABSENT = Verdict.PASS, Verdict.FAIL, Verdict.NOT_APPLICABLE

TABLE = (
    Answers(
        "security-audit.1",
        right=(
            Right("as an audit says", as_it_is),
            Right("in other words", partial(marks, name="before", verdicts=TRUTH, words=OTHERS)),
        ),
        wrong=(
            Wrong("none", gone("before"), "", "not-attempted"),
            Wrong("everything fails", all_the_same("before", FAIL), "fault-invented"),
            Wrong("everything passes", all_the_same("before", PASS), "fault-missed"),
            Wrong("nothing applies", all_the_same("before", ABSENT), "fault-missed"),
            Wrong("one fault missed", some("before", TRUTH, access_1=PASS), "fault-missed", _PARTLY, says="Access control"),
            Wrong("one fault invented", some("before", TRUTH, identity_4=FAIL), "fault-invented", _PARTLY, says="Device identity"),
            Wrong("boards that are not there pass", some("before", TRUTH, firmware_1=PASS, firmware_2=PASS), "part-not-missed", _PARTLY),
            Wrong("an item left out", raw("before", {item: WORDS[v] for item, v in TRUTH.items() if item != "network-3"}), "item-missing"),
            Wrong("a fail without a word", partial(marks, name="before", verdicts=TRUTH, words={**WORDS, FAIL: "fail"}), "mark-without-evidence"),
            Wrong("a fail with one word, three times", partial(marks, name="before", verdicts=TRUTH, words={**WORDS, FAIL: "fail: so so so"}), "mark-without-evidence"),
            Wrong("a mark of its own", partial(marks, name="before", verdicts=TRUTH, words={**WORDS, PASS: "ok"}), "mark-unknown"),
            Wrong("an item of its own", raw("before", {**{item: WORDS[v] for item, v in TRUTH.items()}, "access-9": "pass"}), "item-unknown"),
            Wrong("no words", raw("before", dict.fromkeys(BY_ID, 1)), "not-a-checklist"),
            Wrong("another student's marks", partial(marks, name="before", verdicts=before(EXERCISE.variant("grace"))), "fault-missed", _PARTLY),
        ),
    ),
    Answers(
        "security-audit.3",
        right=(
            Right("rules, alerts and a tool", as_it_is),
            Right("the broker alone, in other words", by_the_broker),
        ),
        wrong=(
            Wrong("as it was found", found_again, "", "not-attempted"),
            Wrong("one item", files(acl=access.render(DEVICE_ACL)), "too-few-mended", _PARTLY, says="access-1"),
            Wrong("nobody may do anything", files(acl="\n"), "nothing-mended"),
            Wrong("other thresholds, as useless", files(alerts='{"rules": []}'), "nothing-mended"),
            Wrong("a file deleted", files(flows=None), "evidence-removed"),
            Wrong("a connection deleted", without_connection, "evidence-removed"),
            Wrong("all ways closed, the needed ones too", everything_dropped, "something-broken"),
            Wrong("a tool opened while another was shut", files(dashboard="[security]\nadmin_user = admin\nadmin_password = admin\n"), "something-broken", says="access-2"),
            Wrong("a plugin", changed_conf("set_tcp_nodelay true", "plugin /tmp/evil.so"), "config-refused", says="plugin"),
            Wrong("the door moved", changed_conf("listener 8883", "listener 9999"), "door-moved"),
            Wrong("files from elsewhere", changed_conf("cafile trust-bundle.crt", "cafile /etc/ssl/certs/ca-certificates.crt"), "file-unknown"),
            Wrong("a broker that does not start", changed_conf("certfile broker-fullchain.crt", "certfile crl.pem"), "does-not-start"),
            Wrong("rules that can't be read", files(acl="allow all\n"), "rules-refused"),
        ),
    ),
    Answers(
        "security-audit.4",
        right=(
            Right("as an audit says", as_it_is),
            Right("in other words", partial(marks, name="after", verdicts=AFTER, words=OTHERS)),
        ),
        wrong=(
            Wrong("none", gone("after"), "", "not-attempted"),
            Wrong("the first round again", partial(marks, name="after", verdicts=TRUTH), "fault-invented", _PARTLY),
            Wrong("more than was mended", some("after", AFTER, communication_4=PASS), "fault-missed", _PARTLY),
            Wrong("everything passes now", all_the_same("after", PASS), "fault-missed"),
            Wrong("nothing was mended", nothing_mended, "nothing-mended"),
            Wrong("an item left out", raw("after", {item: WORDS[v] for item, v in AFTER.items() if item != "access-2"}), "item-missing"),
        ),
    ),
)  # fmt: skip
