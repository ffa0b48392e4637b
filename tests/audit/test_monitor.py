"""The monitor: lines become events, events become alerts, and both are counted."""

from __future__ import annotations

import datetime as dt
import http.client
import json
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.audit.monitor import Detectors, Event, Standing, Watch, broker_events, read_rules, service_event
from labkit.audit.monitor.alerts import DETECTORS, READY, AlertRules, Rule
from labkit.audit.monitor.endpoint import MetricsEndpoint
from labkit.audit.monitor.events import KINDS
from labkit.audit.monitor.metrics import Counted, prometheus_rules
from labkit.audit.monitor.rehearsal import NEEDED, played
from labkit.broker.control import LOG
from labkit.clock import Deadline
from labkit.errors import FormatError, PortTakenError
from labkit.processes import find_tool, run
from tests.conftest import missing

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.scenarios import Site

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


def at(seconds: float, kind: str, who: str = "sensor-001", cause: str = "") -> Event:
    """Return an event so many seconds after noon."""
    return Event(NOON + dt.timedelta(seconds=seconds), kind, who, cause)


def alerts(events: list[Event], *rules: Rule, known: frozenset[str] | None = None) -> list[tuple[str, str]]:
    """Return detector and subject of the alerts that events raise."""
    detectors = Detectors(AlertRules(rules))
    detectors.standing = Standing(known)
    return [(alert.detector, alert.subject) for alert in detectors.see(events)]


# --- from lines to events -----------------------------------------------------------------------------------------


@pytest.mark.broker
def test_a_real_broker_tells_of_everything(site: Site) -> None:
    """Refused, denied, connected and taken over: a real broker's lines become these events, with their causes."""
    watch = Watch(broker=site.broker.folder)
    site.attempt(None)
    site.attempt(site.intruders("rogue")["rogue"])
    site.attempt(site.identity("sensor-001"), publish="devices/sensor-002/status")
    with site.session("sensor-003"), site.session("sensor-003"):
        pass
    found: list[Event] = []
    deadline = Deadline(5)
    while not any(event.kind == "takeover" for event in found) and not deadline.passed:
        found += watch.look().events
        deadline.pause()
    # Mosquitto names the address of a handshake that fails at once, and of no other.
    seen = {(event.kind, "" if event.kind == "tls-refused" else event.who, event.cause) for event in found}
    wanted = {
        ("tls-refused", "", "no-certificate"),
        ("tls-refused", "", "certificate-refused"),
        ("denied", "sensor-001", "devices/sensor-002/status"),
        ("connected", "sensor-001", "sensor-001"),
        ("takeover", "sensor-003", ""),
    }
    assert wanted <= seen
    assert all(abs((event.at - found[0].at).total_seconds()) < 60 for event in found)


def test_decisions_become_events() -> None:
    """A refusal of the service is an event under its code, a clone alarm one of its own; what was granted is none."""
    line = {"at": "2026-03-01T12:00:00+00:00", "method": "POST", "path": "/renew", "address": "127.0.0.1"}
    cases = {
        ("clone-alarm", 403): ("clone-alarm", "sensor-001"),
        ("token-spent", 403): ("service-refused", "sensor-001"),
        ("certificate-missing", 401): ("service-refused", "sensor-001"),
    }
    for (code, status), wanted in cases.items():
        text = json.dumps(line | {"code": code, "status": status, "subject": "sensor-001"})
        found = service_event(text, seen_at=NOON)
        assert found is not None
        assert (*wanted, code, NOON) == (found.kind, found.who, found.cause, found.at)
    assert service_event(json.dumps(line | {"code": "ok", "status": 200}), seen_at=NOON) is None


@given(st.text(max_size=200))
def test_no_line_is_too_strange(text: str) -> None:
    """Whatever stands in a log, it becomes events of known kinds or nothing, and never an error."""
    lines = [text, f"1700000000: {text}", f"Received PUBLISH from {text} (d0, q0", f"9999999999999: {text}"]
    assert all(event.kind in KINDS for event in broker_events(lines, seen_at=NOON))
    found = service_event(text, seen_at=NOON)
    assert found is None or found.kind in KINDS


@pytest.mark.parametrize(
    "time", ["9" * 11, "9" * 30, "\u00b2", "9999-12-31T23:59:59", "0001-01-01T00:00:00+14:00"]
)
def test_times_that_cannot_be_are_ours(time: str) -> None:
    """A line from the future, or with no time at all, is taken for one of now; a number without end is no status."""
    lines = [f"{time}: Client sensor-001 already connected, closing old connection."]
    assert all(event.at <= NOON for event in broker_events(lines, seen_at=NOON))
    refused = {"at": time, "status": 401, "code": "token-unknown"}
    found = service_event(json.dumps(refused), seen_at=NOON)
    assert found is not None
    assert NOON == found.at
    assert service_event(json.dumps(refused | {"status": float("inf")}), seen_at=NOON) is None


def test_names_do_not_steer_a_terminal() -> None:
    """A name with an escape sequence in it is shown without: whoever connects must not paint on the operator's screen."""
    name = "sensor\x1b[2J\x1b]0;all is well\x07\u202e"
    line = f"1700000000: New client connected from 127.0.0.1:1 as {name} (p5, c1, k30, u'{name}')."
    (event,) = broker_events([line], seen_at=NOON)
    assert ("connected", True) == (event.kind, event.who.startswith("sensor"))
    assert all(text.isprintable() for text in (event.who, event.cause, event.text))


def test_a_topic_does_not_pass_for_a_line() -> None:
    """A client that publishes to a topic which reads like a refused handshake raises no such event."""
    forged = "OpenSSL Error[0]: error:1:certificate verify failed"
    line = f"1700000000: Received PUBLISH from sensor-001 (d0, q0, r0, m0, '{forged}', ... (1 bytes))"
    assert ["message"] == [event.kind for event in broker_events([line], seen_at=NOON)]


def test_a_rotated_log_is_read_from_its_start(tmp_path: Path) -> None:
    """When the log is shorter than before it was rotated, and the new one is read whole."""
    log = tmp_path / LOG
    line = "1700000000: OpenSSL Error[0]: error:1:peer did not return a certificate\n"
    log.write_text(line * 5)
    watch = Watch(broker=tmp_path, from_start=True)
    assert 5 == len(watch.look().events)
    log.write_text(line * 2)
    assert 2 == len(watch.look().events)
    assert 0 == len(watch.look().events)


# --- from events to alerts ----------------------------------------------------------------------------------------


def test_refusals_are_counted_by_cause() -> None:
    """Five refusals for one cause within a minute raise one alert; spread over causes or time they raise none."""
    rule = Rule("failed-tls", 5, 60)
    one = [at(second, "tls-refused", cause="no-certificate") for second in range(8)]
    assert [("failed-tls", "no-certificate")] == alerts(one, rule)
    mixed = [at(second, "tls-refused", cause=f"cause-{second % 2}") for second in range(8)]
    assert [] == alerts(mixed, rule)
    slow = [at(20 * number, "tls-refused", cause="no-certificate") for number in range(20)]
    assert [] == alerts(slow, rule)


def test_a_clock_that_is_set_back_silences_nothing() -> None:
    """An alarm is raised again when the clock is set back an hour, and not twice within a minute by either clock."""
    rule = Rule("failed-tls", at_least=2, within=60, severity="warning")
    seconds = (0, 1, 2, 30, -3600, -3599, -3590)
    events = [at(second, "tls-refused", cause="not-tls") for second in seconds]
    assert [("failed-tls", "not-tls")] * 2 == alerts(events, rule)
    assert [("failed-tls", "not-tls")] == alerts(events[:4], rule)


def test_unknown_ids_raise_an_alarm() -> None:
    """Whom the registry does not know raises an alarm at once; whom it knows does not, and without one nobody does."""
    rule = Rule("unknown-id", 1, 60, "page")
    events = [at(0, "connected"), at(1, "connected", "backdoor")]
    assert [("unknown-id", "backdoor")] == alerts(events, rule, known=frozenset({"sensor-001"}))
    assert [] == alerts(events, rule)


def test_a_rate_is_compared_with_its_own_pattern() -> None:
    """Ten times the usual raises an alarm; a busy device that always was busy does not."""
    rule = Rule("rate", 5, 60)
    calm = [at(10 * number, "message") for number in range(60)]
    burst = [at(601 + number / 10, "message") for number in range(200)]
    assert [("rate", "sensor-001")] == alerts(calm + burst, rule)
    busy = [at(number / 4, "message") for number in range(4000)]
    assert len(alerts(busy, rule)) <= 1  # its first minute has nothing to be compared with


def test_clones_and_denials() -> None:
    """Two who push each other off the line, a clone alarm, and messages to the topics of others raise alarms."""
    rules = (Rule("clone", 2, 300, "page"), Rule("denied", 3, 60))
    pushed = [at(0, "takeover"), at(30, "takeover")]
    assert [("clone", "sensor-001")] == alerts(pushed, *rules)
    assert [] == alerts(pushed[:1], *rules)
    assert [("clone", "sensor-001")] == alerts([at(0, "clone-alarm")], *rules)
    assert [("denied", "sensor-001")] == alerts(
        [at(second, "denied", cause="x") for second in range(3)], *rules
    )


@pytest.mark.parametrize(
    ("hours", "wanted"),
    [
        (400, set()),
        (300, {"certificate-ending"}),
        (40, {"certificate-ending", "list-ending"}),
        (-1, {"certificate-ending", "list-ending"}),
    ],
)
def test_ends_that_come_near(hours: float, wanted: set[str]) -> None:
    """A certificate two weeks before its end and a list two days before raise an alarm, and say it once an hour."""
    detectors = Detectors(READY)
    end = NOON + dt.timedelta(hours=hours)
    detectors.standing = Standing(None, {"sensor-001": end}, end)
    assert wanted == {alert.detector for alert in detectors.tick(NOON)}
    assert [] == detectors.tick(NOON + dt.timedelta(minutes=5))
    assert wanted <= {alert.detector for alert in detectors.tick(NOON + dt.timedelta(hours=2))}


def test_the_ready_rules_are_rehearsed() -> None:
    """In the recorded attack every detector that is needed fires; on the quiet day none does."""
    assert set(NEEDED) <= played(READY, attack=True)
    assert set() == played(READY, attack=False)


def test_memory_is_bounded() -> None:
    """A flood of client ids does not fill the memory."""
    detectors = Detectors(READY)
    detectors.see([at(0, "message", f"client-{number}") for number in range(30_000)])
    detectors.see([at(0, "denied", f"client-{number}") for number in range(30_000)])
    assert len(detectors._patterns) <= 10_000
    assert len(detectors._windows) <= 20_001


# --- rules as files ---------------------------------------------------------------------------------------------------


def test_rules_survive_the_file() -> None:
    """What is written is read again."""
    assert READY == read_rules(READY.to_json())
    assert set(DETECTORS) == {rule.detector for rule in READY}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"format": 2, "rules": []}',
        '{"format": 1}',
        '{"format": 1, "rules": [{"detector": "magic", "at_least": 1}]}',
        '{"format": 1, "rules": [{"detector": "rate", "at_least": true}]}',
        '{"format": 1, "rules": [{"detector": "rate", "at_least": -1}]}',
        '{"format": 1, "rules": [{"detector": "rate", "at_least": 1, "colour": "red"}]}',
        '{"format": 1, "rules": [{"detector": "rate", "at_least": 1, "severity": "loud"}]}',
        '{"format": 1, "rules": [{"detector": "rate", "at_least": 1}, {"detector": "rate", "at_least": 2}]}',
        '{"format": 1, "rules": 7}',
        "[" * 100_000,
    ],
)
def test_rules_are_read_strictly(text: str) -> None:
    """What is no rule file is refused as that, and the error says what it is about."""
    with pytest.raises(FormatError) as refused:
        read_rules(text)
    assert "alert rules" == refused.value.what
    assert READY == read_rules(READY.to_json())  # the control


# --- numbers ------------------------------------------------------------------------------------------------------------


def counted() -> str:
    """Return some numbers, with a client id that tries to break out of its label."""
    numbers = Counted()
    events = [
        at(0, "tls-refused", cause="no-certificate"),
        at(1, "message"),
        at(2, "message", 'evil"} 1\nfake_metric 7 {a="'),
        at(3, "connected", "backdoor"),
        at(4, "service-refused", "127.0.0.1", "token-spent"),
    ]
    numbers.add(events, [], known=frozenset({"sensor-001"}))
    return numbers.text(Standing(None, {"sensor-001": NOON + dt.timedelta(days=3)}, NOON), NOON)


def test_numbers_are_counted() -> None:
    """Events are counted by kind and cause, ends in seconds; clients that nobody knows share one label."""
    lines = counted().splitlines()
    for wanted in (
        'labkit_tls_refused_total{cause="no-certificate"} 1',
        'labkit_messages_total{client="sensor-001"} 1',
        'labkit_messages_total{client="unknown"} 1',
        "labkit_unknown_sessions_total 1",
        'labkit_service_refused_total{code="token-spent"} 1',
        'labkit_certificate_seconds_left{device="sensor-001"} 259200',
        "labkit_revocation_list_seconds_left 0",
        'labkit_alerts_total{detector="rate"} 0',
    ):
        assert wanted in lines
    assert not any(line.startswith("fake_metric") for line in lines)


@pytest.mark.tool
def test_prometheus_reads_the_rules_and_the_numbers(tmp_path: Path) -> None:
    """Prometheus' own tool finds nothing wrong with the rule file, nor with the numbers."""
    promtool = find_tool("promtool", variable="LABKIT_PROMTOOL")
    if promtool is None:
        missing("promtool is not on this machine (Debian's package prometheus has it)")
    path = tmp_path / "rules.yml"
    path.write_text(prometheus_rules(READY))
    said = run([str(promtool), "check", "rules", path])
    assert f"{len(READY.rules)} rules found" in said.output
    assert 0 == run([str(promtool), "check", "metrics"], stdin=counted().encode()).returncode
    path.write_text(prometheus_rules(READY).replace(">=", ">=>"))
    assert 0 != run([str(promtool), "check", "rules", path], check=False).returncode  # it can say no


ATTACK = {
    'labkit_tls_refused_total{cause="no-certificate"}': "0x8 8x20",
    "labkit_unknown_sessions_total": "0x8 3x20",
    'labkit_messages_total{client="sensor-001"}': "0+1x320 320+100x40",
    'labkit_takeovers_total{client="sensor-001"}': "0x8 4x20",
    'labkit_denied_total{client="sensor-001"}': "0x8 9x20",
    'labkit_service_refused_total{code="token-spent"}': "0x8 9x20",
    'labkit_certificate_seconds_left{device="sensor-001"}': "86400x40",
    "labkit_revocation_list_seconds_left": "3600x40",
}
"""Numbers that each rule must raise an alarm for, in steps of 15 seconds."""

QUIET = {
    'labkit_tls_refused_total{cause="no-certificate"}': "0x200 1x200",
    "labkit_unknown_sessions_total": "0x400",
    'labkit_messages_total{client="sensor-001"}': "0+1x400",
    'labkit_takeovers_total{client="sensor-001"}': "1x400",
    'labkit_denied_total{client="sensor-001"}': "1x400",
    'labkit_service_refused_total{code="token-spent"}': "2x400",
    'labkit_certificate_seconds_left{device="sensor-001"}': "9999999x400",
    "labkit_revocation_list_seconds_left": "500000x400",
}
"""Numbers of a quiet day."""


@pytest.mark.tool
def test_prometheus_raises_the_same_alarms(tmp_path: Path) -> None:
    """Evaluated by Prometheus' own engine, each rule fires for its attack, and none does on a quiet day."""
    promtool = find_tool("promtool", variable="LABKIT_PROMTOOL")
    if promtool is None:
        missing("promtool is not on this machine (Debian's package prometheus has it)")
    (tmp_path / "rules.yml").write_text(prometheus_rules(READY))
    firing = {"rate": "83m"}
    cases = []
    for series, values in ATTACK.items():
        detector = dict(zip(ATTACK, DETECTORS, strict=True))[series]
        cases.append((detector, {series: values}, firing.get(detector, "3m"), True))
    cases += [(detector, QUIET, "95m", False) for detector in DETECTORS]
    (tmp_path / "test.yml").write_text(json.dumps(promtool_file(cases)))
    said = run([str(promtool), "test", "rules", tmp_path / "test.yml"], check=False)
    assert 0 == said.returncode, said.output[-3000:]


def promtool_file(cases: list[tuple[str, dict[str, str], str, bool]]) -> dict[str, object]:
    """Return promtool's own test file: numbers, a time, and whether the detector's alert fires then."""
    tests = []
    for detector, series, when, fires in cases:
        name = "Labkit" + "".join(word.capitalize() for word in detector.split("-"))
        labels = {"severity": next(rule.severity for rule in READY if rule.detector == detector)}
        labels |= dict(re.findall(r'(\w+)="([^"]+)"', next(iter(series)))) if fires else {}
        expected = (
            [{"exp_labels": labels, "exp_annotations": {"summary": DETECTORS[detector]}}] if fires else []
        )
        tests.append(
            {
                "interval": "15s",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "alert_rule_test": [{"eval_time": when, "alertname": name, "exp_alerts": expected}],
            }
        )
    return {"rule_files": ["rules.yml"], "evaluation_interval": "15s", "tests": tests}


def test_the_rule_file_has_a_rule_a_detector() -> None:
    """Each detector has an alert with an expression over a number that we serve."""
    text = prometheus_rules(READY)
    assert len(DETECTORS) == text.count("- alert: Labkit")
    served = {line.split()[2] for line in counted().splitlines() if line.startswith("# TYPE")}
    used = {
        word
        for line in text.splitlines()
        if "expr:" in line
        for word in line.replace("(", " ").replace("[", " ").split()
        if word.startswith("labkit_")
    }
    assert used - served <= {"labkit_denied_total", "labkit_takeovers_total"}  # nobody was denied yet


def test_numbers_are_served_on_loopback() -> None:
    """The one path answers, everything else does not, and a port that is taken is named."""
    with MetricsEndpoint(counted) as endpoint:
        port = int(endpoint.url.split(":")[2].split("/")[0])
        status, kind, body = asked(port, "/metrics")
        assert (200, counted()) == (status, body)
        assert kind.startswith("text/plain; version=0.0.4")
        assert 404 == asked(port, "/etc/passwd")[0]
        with pytest.raises(PortTakenError) as taken:
            MetricsEndpoint(counted, port=port)
        assert port == taken.value.port


def asked(port: int, path: str) -> tuple[int, str, str]:
    """Ask for a path, and return status, media type and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.headers["Content-Type"], reply.read().decode()
    finally:
        connection.close()
