"""The judge's part of exercise first-boot that is about the service: its limits, its tokens, and a test of it."""

from __future__ import annotations

import datetime as dt
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from cryptography import x509

from labkit.clock import SYSTEM_CLOCK, Deadline, Stopwatch
from labkit.course.exercises.first_boot_stage import SECONDS, Stage, stage_of
from labkit.course.lesson import NOT_ATTEMPTED, PASSED, CheckResult, RejectedError
from labkit.errors import RefusedError
from labkit.pki import Key, Store, make_request
from labkit.scenarios.provisioning import ProvisioningSite, provisioning_site
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labkit.course.answers import Answer, Reply
    from labkit.course.work import Work

SETTINGS = "answers/first-boot/service.json"
FIELDS = ("requests_per_minute", "failures_per_minute")
MOST = 100_000

FLOOD = 4
"""How many times what a line needs is a flood."""


def attempt(office: ProvisioningSite, token: str, name: str, key: Key | None = None) -> str:
    """Ask for a certificate; return `granted`, or the code of the refusal."""
    try:
        office.anyone.provision(token, make_request(key or Key.generate(), name))
    except RefusedError as error:
        return error.code
    return "granted"


# --- 1: the service -------------------------------------------------------------------------------------------------


def check_service(work: Work) -> CheckResult:
    """Start a service of the judge's with a student's settings, let a line enrol, then guess."""
    told = work.json(SETTINGS)
    if told is None:
        return CheckResult(
            NOT_ATTEMPTED, expected="your settings: complete settings(), and run the cells below it"
        )
    limits = _read(told)
    mine = work.variant
    if not 0 < limits["requests_per_minute"] <= FLOOD * mine.line:
        raise RejectedError(
            "flood",
            f"an address may ask {limits['requests_per_minute']:g} times a minute"
            + (
                ", which the service takes for: as often as it likes"
                if not limits["requests_per_minute"]
                else ""
            ),
            expected=f"{FLOOD * mine.line} times at most",
            advice="Which number counts all requests, and what does 0 mean there?",
        )
    folder = work.scratch.root / f"service-{secrets.token_hex(4)}"
    with provisioning_site(Store(Workspace.open(folder)), limits=limits) as office:
        _line_enrols(office, mine.line)
        _guesses_end(office, mine.guesses)
    return CheckResult(
        PASSED,
        observed=f"{mine.line} devices enrolled, and {mine.guesses} guesses ended in rate-limited",
    )


def _read(told: Any) -> Mapping[str, float]:
    if not isinstance(told, dict) or sorted(told) != sorted(FIELDS):
        raise RejectedError(
            "fields",
            f"the settings have {', '.join(map(str, told))[:80] if isinstance(told, dict) else type(told).__name__}",
            expected=f"{' and '.join(FIELDS)}, and nothing else",
            advice="A setting that the service does not know would do nothing, and you would think that it does.",
        )
    for name, value in told.items():
        if type(value) not in {int, float} or not 0 <= value <= MOST:
            raise RejectedError(
                "number",
                f"{name} is {str(value)[:40]!r}",
                expected=f"a number from 0 to {MOST}",
                advice="How often a minute, as a number.",
            )
    return dict(told)


def _line_enrols(office: ProvisioningSite, line: int) -> None:
    names = [f"line-{number}" for number in range(line)]
    try:
        office.operator.call("POST", "/devices", {"devices": [{"device_id": name} for name in names]})
        tokens = office.operator.call("POST", "/tokens", {"device_ids": names})["tokens"]
        became = [attempt(office, tokens[name], name) for name in names]
    except RefusedError as error:
        became = [error.code]
    if set(became) != {"granted"}:
        raise RejectedError(
            "line-stands",
            f"{became.count('granted')} of {line} honest devices were enrolled within a minute; the others: "
            f"{', '.join(sorted(set(became) - {'granted'}))}",
            expected="all of them: they share an address, and an operator's two requests come from there too",
            advice="How many requests does such a line make in a minute?",
        )


def _guesses_end(office: ProvisioningSite, most: int) -> None:
    codes: list[str] = []
    watch = Stopwatch()
    while len(codes) <= most + most * watch.milliseconds / 60_000 + 1:
        codes.append(attempt(office, f"labtok_{secrets.token_urlsafe(32)}", "line-0"))
        if codes[-1] == "rate-limited":
            break
    guessed = codes.count("token-unknown")
    if codes[-1] != "rate-limited" or guessed != most:
        raise RejectedError(
            "guesses",
            f"one address could guess {guessed} tokens"
            + ("" if codes[-1] == "rate-limited" else " and go on"),
            expected=f"{most} guesses a minute, and then an end",
            advice="A guess is a failure. Are there as many as were asked for?",
        )


# --- 2: tokens ------------------------------------------------------------------------------------------------------


def check_tokens(work: Work) -> CheckResult:
    """Let the function make tokens for devices that nobody knows yet, and try each of them."""
    answer = work.answer("make_tokens")
    if answer is None:
        return CheckResult(NOT_ATTEMPTED, expected="complete make_tokens(), and hand it in")
    stage = stage_of(work)
    names = [f"{name}-{secrets.token_hex(4)}" for name in work.variant.devices]
    tokens = _made(stage, answer, names, work.variant.hours)
    _verify_life(stage, names, work.variant.hours)
    keys = {name: Key.generate() for name in names}
    for name in names:
        chain = _chain(stage, tokens[name], name, keys[name])
        if chain is None or _name_of(chain) != name:
            raise RejectedError(
                "another-device",
                f"the token that you say is for {name} brings {'nothing' if chain is None else f'a certificate for {_name_of(chain)}'}",
                expected="a token for each device, and for no other",
                advice="The reply says which token is whose.",
            )
    for name in names:
        if (code := attempt(stage.office, tokens[name], name)) != "token-spent":
            text = f"the judge's service says {code} to a spent token"
            raise RuntimeError(text)
    _verify_end(stage, answer)
    return CheckResult(
        PASSED, observed=f"{len(names)} tokens, each for its device, for {work.variant.hours} hours and once"
    )


def _made(stage: Stage, answer: Answer, names: list[str], hours: float) -> dict[str, str]:
    counter = stage.counter
    reply = answer.converse(counter, ("call",), arguments=(names, hours), seconds=SECONDS)
    if reply.error:
        aside = "hours" in reply.error
        raise RejectedError(
            "raises" if reply.kinds else "hangs",
            f"make_tokens(office, {names}, {hours}): {reply.error}"[:300],
            expected="the tokens, by device",
            advice="hours may be a fraction: hand it on as it is."
            if aside
            else "The registry does not know these devices yet. Does your function take them in first?",
        )
    tokens = reply.value
    if (
        not isinstance(tokens, dict)
        or sorted(map(str, tokens)) != sorted(names)
        or not all(type(one) is str for one in tokens.values())
    ):
        shown = (
            f"names {', '.join(sorted(map(str, tokens)))[:80]}"
            if isinstance(tokens, dict)
            else f"a {type(tokens).__name__}"
        )
        raise RejectedError(
            "not-by-device",
            f"it returned {shown}",
            expected="a dict with a token, a text, for each device",
            advice="Which part of the reply has the tokens?",
        )
    if more := sorted(counter.asked_for - set(names)):
        raise RejectedError(
            "other-devices",
            f"it also had a token made for {', '.join(more)[:80]}",
            expected="tokens for the devices that it was given, and for nobody else",
            advice="A token that nobody asked for is an identity for whoever has it.",
        )
    return tokens


def _verify_life(stage: Stage, names: list[str], hours: float) -> None:
    now = SYSTEM_CLOCK.now()
    for name in names:
        rows = stage.dossier(name).tokens
        if len(rows) != 1:
            raise RejectedError(
                "several-tokens",
                f"{name} has {len(rows)} tokens",
                expected="one; another one that nobody looks for is a door that stands open",
                advice="Ask for each device's token once.",
            )
        left = (rows[0].ends_at - now) / dt.timedelta(hours=1)
        if not hours - 0.1 <= left <= hours + 0.01:
            raise RejectedError(
                "another-lifetime",
                f"the token of {name} counts for {left:.1f} hours",
                expected=f"{hours} hours",
                advice="POST /tokens takes hours; without it they are a day.",
            )


def _chain(stage: Stage, token: str, name: str, key: Key) -> str | None:
    with suppress(RefusedError):
        return str(stage.office.anyone.provision(token, make_request(key, name))["chain"])
    return None


def _name_of(chain: str) -> str:
    subject = x509.load_pem_x509_certificates(chain.encode())[0].subject
    return str(subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)


def _verify_end(stage: Stage, answer: Answer) -> None:
    """See a token run out: one that counts for a second."""
    name = f"brief-{secrets.token_hex(4)}"
    token = _made(stage, answer, [name], 1 / 3600)[name]
    deadline = Deadline(1.2)
    while not deadline.passed:
        deadline.pause(0.1)
    if (code := attempt(stage.office, token, name)) != "token-expired":
        raise RejectedError(
            "another-lifetime",
            f"a token for a second was answered with {code} later",
            expected="token-expired",
            advice="hours may be a fraction: hand it on as it is.",
        )


# --- 5: a test of the service ---------------------------------------------------------------------------------------


BROKEN = {
    "accepts": ("open-door", "gives a second key a certificate for a spent token"),
    "repeats": ("open-door", "answers a second key with the first one's certificate, and no refusal"),
    "refuses-the-same": ("same-key", "refuses the key that it knows, and grants any other"),
    "refuses-all": ("vacuous", "refuses every token, the fresh ones too"),
    "limits": ("another-reason", "answers nobody any more after the first request (rate-limited)"),
    "forgets": ("another-reason", "says token-unknown to a spent token"),
}
"""Services that a test must tell from one that holds: the fault of a test that does not, and what is broken."""

ADVICE = {
    "open-door": "A test says yes only where it has seen the refusal itself.",
    "same-key": "The same key may ask again, and gets the same certificate. Who comes with a stolen token?",
    "vacuous": "What has to succeed before the refusal means anything?",
    "another-reason": "An error has a code. Which one is the reason that you look for?",
}


def check_reuse(work: Work) -> CheckResult:
    """Show the test a service that holds, and six that are broken."""
    answer = work.answer("reuse_is_refused")
    if answer is None:
        return CheckResult(NOT_ATTEMPTED, expected="complete reuse_is_refused(), and hand it in")
    stage = stage_of(work)
    faults = sorted(["", *BROKEN], key=lambda _: secrets.randbits(32))  # nobody can count on an order
    replies = answer.converse_each(
        [stage.service(fault) for fault in faults], ("token", "provision"), seconds=SECONDS
    )
    said = {fault: _verdict(reply, fault) for fault, reply in zip(faults, replies, strict=True)}
    if said[""] is not True:
        raise RejectedError(
            "refuses-the-good",
            "it says no to the service that holds",
            expected="True: a fresh token is granted, and for another key it is token-spent then",
            advice="Run it on your own service. What does it see there?",
        )
    fooled = [fault for fault in BROKEN if said[fault]]
    if fooled:
        fault, broken = BROKEN[fooled[0]]
        raise RejectedError(
            fault,
            f"it says yes to a service that {broken}"
            + (f", and to {len(fooled) - 1} more that are broken" if fooled[1:] else ""),
            expected="False",
            advice=ADVICE[fault],
            share=0.5 if len({BROKEN[one][0] for one in fooled}) == 1 and fault != "vacuous" else 0.0,
        )
    return CheckResult(PASSED, observed=f"one service that holds, and {len(BROKEN)} broken ones: told apart")


def _verdict(reply: Reply, fault: str) -> bool:
    if reply.error or type(reply.value) is not bool:
        where = f"a service that {BROKEN[fault][1]}" if fault else "the service that holds"
        raise RejectedError(
            "hangs" if reply.error and not reply.kinds else "raises" if reply.error else "no-verdict",
            f"on {where}: {reply.error or f'it returned {reply.value!r}'}"[:300],
            expected="True or False",
            advice="A test has a verdict whatever it meets: expect errors, and return False for what is none of a proof.",
        )
    return bool(reply.value)
