"""Exercise mtls-setup: an authority, a broker, rules, and tests that prove something; the lesson's exercise 1."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

from labkit.course.exercise import Exercise
from labkit.course.exercises import mtls_setup_config as configs
from labkit.course.exercises import mtls_setup_files as files
from labkit.course.exercises.mtls_setup_files import FOLDER
from labkit.course.exercises.mtls_setup_intruders import UNKNOWN, all_refused, hold_refusals, hold_stranger
from labkit.course.exercises.mtls_setup_rules import broken
from labkit.course.exercises.mtls_setup_stage import hold_control, stage_of
from labkit.course.exercises.mtls_setup_tools import try_tools
from labkit.course.exercises.mtls_setup_written import RUBRICS
from labkit.course.lesson import FAILED, NOT_ATTEMPTED, PARTLY, PASSED, Check, CheckResult, RejectedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from labkit.broker import Listener
    from labkit.course.exercise import Draw
    from labkit.course.exercises.mtls_setup_stage import Stage
    from labkit.course.work import Work

_SITES = ("brewery", "dairy", "foundry", "greenhouse", "harbour", "nursery", "quarry", "sawmill")
_KINDS = ("gate", "meter", "oven", "pump", "sensor", "valve")


def vary(draw: Draw) -> Mapping[str, Any]:
    """Draw a plant: its devices, its operator, its topics, its port and its broker's name."""
    site, kind = draw.one("site", _SITES), draw.one("kind", _KINDS)
    first = draw.number("first", 101, 899)
    second = first + draw.number("distance", 1, 90)
    return {
        "site": site,
        "devices": (f"{kind}-{first}", f"{kind}-{second}"),
        "operator": draw.one("operator", ("admin", "auditor", "operator")),
        "prefix": f"{site}/line-{draw.number('line', 1, 9)}",
        "port": draw.number("port", 20000, 29999),
        "host": f"broker.{site}.example",
    }


def _there(work: Work, *names: str) -> bool:
    return any(work.data(f"{FOLDER}/{name}") is not None for name in names)


def _together(parts: list[tuple[float, Callable[[], object]]], done: str) -> CheckResult:
    """Judge several parts that earn their shares each for itself."""
    faults: list[CheckResult] = []
    share = 0.0
    for part, look in parts:
        try:
            look()
            share += part
        except RejectedError as rejected:
            faults.append(rejected.result)
    if not faults:
        return CheckResult(PASSED, observed=done)
    first = faults[0]
    return CheckResult(
        PARTLY if share else FAILED,
        observed="; ".join(dict.fromkeys(each.observed for each in faults)),
        expected=first.expected,
        advice=first.advice,
        fault=first.fault,
        share=round(share, 2) if share else -1.0,
    )


def _check_authority(work: Work) -> CheckResult:
    """Hold the certificates against the linter, and against each other."""
    stems = ("root", "intermediate", "server", *files.names(work))
    if not _there(work, *(f"{stem}.crt" for stem in stems)):
        return CheckResult(NOT_ATTEMPTED, expected=f"certificates and keys in {FOLDER}")
    done = f"{len(stems)} certificates, each for its own purpose, each with a key of its own"
    return _together(files.parts(work), done)


def _check_broker(work: Work) -> CheckResult:
    """Hold the configuration against what was asked, then let everybody in who must get in."""
    if not _there(work, "mosquitto.conf"):
        return CheckResult(NOT_ATTEMPTED, expected=f"{FOLDER}/mosquitto.conf")
    listener = configs.hold_config(work, configs.read_config(work))
    configs.hold_trust(work, listener)
    configs.hold_own_certificate(work, listener)
    stage = stage_of(work)
    accepted = hold_control(stage)
    for name, outcome in accepted.items():
        _hold_name(stage, name, stage.user_of(outcome), "")
    thief, victim = work.variant.devices
    claimed = stage.attempt(thief, username=victim)
    _hold_name(stage, thief, stage.user_of(claimed), f", claiming to be {victim}")
    return CheckResult(PASSED, observed=f"{', '.join(stage.names)} get in, each under its certificate's name")


def _hold_name(stage: Stage, name: str, user: str, how: str) -> None:
    if user != name:
        raise RejectedError(
            "wrong-user-name",
            f"{name}{how} is {user or 'nobody'!r} to the broker",
            expected=f"{name!r}, as its certificate says",
            advice=f"look for u'…' in the broker's log; who decides what it says? ({len(stage.names)} clients tried)",
        )


def _check_tools(work: Work) -> CheckResult:
    """Run mosquitto_pub and mosquitto_sub with the student's arguments."""
    answer = work.answer("command")
    if answer is None:
        return CheckResult(NOT_ATTEMPTED, expected="complete command(), and hand it in")
    return CheckResult(PASSED, observed=try_tools(work, stage_of(work), answer))


def _outcome(stage: str, reason: str) -> dict[str, Any]:
    return {"stage": stage, "accepted": reason == "accepted", "reason": reason}


CONTROLS = {
    "got in": _outcome("mqtt", "accepted"),
    "was refused by MQTT": _outcome("mqtt", "not-authorised"),
    "was refused for its authority": _outcome("tls", "unknown-ca"),
    "was refused without a word": _outcome("tls", "closed-without-reason"),
    "found nobody": _outcome("tcp", "connection-refused"),
}
"""What may have become of the device with its certificate."""

ATTEMPTS = {
    "was asked for a certificate (TLS 1.3)": _outcome("tls", "certificate-required"),
    "was asked for a certificate (TLS 1.2)": _outcome("tls", "handshake-failure"),
    "got in": _outcome("mqtt", "accepted"),
    "was refused by MQTT": _outcome("mqtt", "not-authorised"),
    "was refused as a client of an unknown authority": _outcome("tls", "unknown-ca"),
    "was refused without a word": _outcome("tls", "closed-without-reason"),
    "did not believe the broker": _outcome("tls", "server-untrusted"),
    "speaks no version that the broker does": _outcome("tls", "protocol-version"),
    "found nobody": _outcome("tcp", "connection-refused"),
}
"""What may have become of the client without a certificate. The first two are proofs, beside a control that got in."""


def _hold_function(work: Work) -> None:
    answer = work.answer("proves")
    if answer is None:
        raise RejectedError(
            "no-test",
            "proves() is not written yet",
            expected="a function that tells a proof from an accident",
            advice="complete its cell, run it and hand it in",
        )
    cases = list(product(CONTROLS, ATTEMPTS))
    replies = answer.ask([(CONTROLS[control], ATTEMPTS[attempt]) for control, attempt in cases])
    for (control, attempt), reply in zip(cases, replies, strict=True):
        wanted = CONTROLS[control]["accepted"] and attempt in tuple(ATTEMPTS)[:2]
        if reply.value is not wanted:
            raise RejectedError(
                "proof-too-strict" if wanted and not reply.error else "proof-too-easy",
                f"the control {control}, the attempt {attempt}: proves() says {reply.error or repr(reply.value)}",
                expected="True where both together prove that a certificate is required, False everywhere else",
                advice="three questions: did the control get in? at which stage did the attempt fall? for which reason?",
            )


def _listener(work: Work) -> Listener:
    config = configs.read_config(work)
    configs.hold_listener(config)
    return config.listeners[0]


def _hold_nobody(work: Work) -> None:
    stage = stage_of(work)
    versions = (
        {"1.3": "certificate-required"}
        if _listener(work).tls_version == "tlsv1.3"
        else {"1.3": "certificate-required", "1.2": "handshake-failure"}
    )
    name = work.variant.devices[0]
    for version, reason in versions.items():
        hold_control(stage, tls=version)
        for claimed in (None, name):
            outcome = stage.attempt(None, tls=version, username=claimed, client_id=claimed or "")
            hold_refusals("a client without a certificate", outcome, {reason}, "let-in-without-certificate")


def _check_nobody(work: Work) -> CheckResult:
    """Come without a certificate, in both versions of TLS; then ask the student's function what that proves."""
    if not _there(work, "mosquitto.conf") and work.answer("proves") is None:
        return CheckResult(NOT_ATTEMPTED, expected="your broker, and proves()")
    return _together(
        [(0.5, lambda: _hold_nobody(work)), (0.5, lambda: _hold_function(work))],
        "nobody without a certificate gets in, under TLS 1.2 and 1.3; and your test knows what proves it",
    )


def _hold_strangers(work: Work) -> None:
    configs.hold_trust(work, _listener(work))
    stage = stage_of(work)
    hold_control(stage)
    all_refused(work, stage)


def _hold_own_stranger(work: Work) -> None:
    hold_stranger(work)
    outcome = stage_of(work).attempt("stranger", client_id=work.variant.devices[0])
    hold_refusals("your intruder", outcome, UNKNOWN, "other-authority-accepted")


def _check_stranger(work: Work) -> CheckResult:
    """Look at the student's own intruder, and come with it and with others."""
    if not _there(work, "stranger.crt", "stranger.key", "stranger-ca.crt"):
        return CheckResult(NOT_ATTEMPTED, expected="stranger-ca.crt, stranger.crt and stranger.key")
    return _together(
        [(0.5, lambda: _hold_strangers(work)), (0.5, lambda: _hold_own_stranger(work))],
        "yours and four of the judge's: refused during TLS, for their authority or their purpose",
    )


def _check_rules(work: Work) -> CheckResult:
    """Try every sentence on the running broker."""
    config = configs.read_config(work) if _there(work, "mosquitto.conf") else None
    if config is None or (config.acl_file is None and not _there(work, "acl.conf")):
        return CheckResult(NOT_ATTEMPTED, expected=f"{FOLDER}/acl.conf, and a broker that goes by it")
    if config.acl_file is None:
        raise RejectedError(
            "rules-not-in-force",
            "mosquitto.conf does not name your rules: everybody may do everything",
            expected="a broker that goes by acl.conf",
            advice="which option names the file with the rules?",
        )
    stage = stage_of(work)
    hold_control(stage)
    found = broken(stage, work.variant)
    if not found:
        return CheckResult(
            PASSED, observed="each device speaks for itself alone; all tried on the judge's broker"
        )
    sentence, happened = found[0]
    more = f" ({len(found) - 1} more are not as they should be)" if len(found) > 1 else ""
    speaking = any(each.core for each, _ in found)
    return CheckResult(
        FAILED if speaking else PARTLY,
        observed=f"{happened}{more}",
        expected=sentence.text,
        advice="who may write here, who may read, and which rule of yours says so? hold it level by level",
        fault=sentence.fault,
        share=-1.0 if speaking else 0.6,
    )


CHECKS = (
    Check(
        "mtls-setup.1",
        "a root, an intermediate, a server and three clients, each certificate right for its purpose",
        (
            "The certificate lesson's profiles say what goes into each kind; labkit ca show NAME reads a certificate field by field.",
            "Authority.new_root, .new_intermediate, .issue_server, .issue_device and .issue_operator know the profiles. With openssl, each kind needs an -extfile of its own.",
            "Five things go wrong most: pathlen of the intermediate, hosts of the server, purpose of a client, one key used twice, and a validity that is longer than the issuer's.",
        ),
        _check_authority,
        points=25,
        why="Whatever the broker decides, it decides by what stands in these certificates.",
        minutes=25,
    ),
    Check(
        "mtls-setup.2",
        "a broker that lets in your clients by their certificates, and names each as its certificate does",
        (
            "One listener; three files for TLS; two switches that make it mutual and give names.",
            "Does a client that knows your root alone get from the broker's certificate to the root? Does the broker get from a device's?",
            "certfile holds the broker's certificate and then the intermediate; cafile may hold two certificates. Try it with rehearsal(lab), and read the alert.",
        ),
        _check_broker,
        points=15,
        why="A broker that asks politely, or takes the client's word for a name, authenticates nobody.",
        kind="defend-it",
        minutes=15,
    ),
    Check(
        "mtls-setup.3",
        "mosquitto_pub and mosquitto_sub get through with the arguments that your function returns",
        (
            "Five options say where and what, three say who you are and whom you believe. mosquitto_pub --help lists them.",
            "The files lie beside the broker's: name them without a folder. Everything else comes in as an argument.",
            "Numbers become words with str(). mosquitto_sub takes no message.",
        ),
        _check_tools,
        points=15,
        why="These two programs are what you will have at hand when a real plant is silent.",
        minutes=10,
    ),
    Check(
        "mtls-setup.4",
        "a client without a certificate is refused for that reason, and your test can tell",
        (
            "Attempt it with rehearsal(lab) in both versions of TLS, and look at stage and reason of the outcome.",
            "A broker that refuses everybody refuses this one too. What must you see beside the refusal?",
            "proves() asks three things: the control was accepted; the attempt fell in TLS; its reason is one of two words.",
        ),
        _check_nobody,
        points=10,
        why="A test that a broken broker passes has tested nothing.",
        kind="break-it",
        minutes=10,
    ),
    Check(
        "mtls-setup.5",
        "certificates of other authorities are refused, and your intruder has one thing wrong only",
        (
            "The intruder pretends to be your first device. What has to be right about its certificate, so that only the authority is left?",
            "Make a second authority with its own key, and let it issue the device's name. Save its certificate too.",
            "Same common name, same purpose, dates that hold, a key of its own; signed by stranger-ca.crt, which your broker has never seen.",
        ),
        _check_stranger,
        points=10,
        why="An expired intruder that is refused says nothing about authorities.",
        kind="break-it",
        minutes=10,
    ),
    Check(
        "mtls-setup.6",
        "each device speaks below its own name only, hears its own commands, and the operator hears all",
        (
            "Write down who writes and who reads each of telemetry, status and commands; that is the whole list.",
            "pattern rules fill in the user name with %u; rules below a user line are for that user alone.",
            "Five rules are enough: two for the operator, three patterns. Does mosquitto.conf name the file?",
        ),
        _check_rules,
        points=15,
        why="Mutual TLS says who speaks. Only rules say what they may say.",
        kind="defend-it",
        minutes=15,
    ),
)


EXERCISE = Exercise(
    slug="mtls-setup",
    title="Build a broker that knows who speaks",
    minutes=95,
    claims=(),
    checks=CHECKS,
    rubrics=RUBRICS,
    vary=vary,
)
