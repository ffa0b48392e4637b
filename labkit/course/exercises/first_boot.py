"""Exercise first-boot: a service that holds, tokens that count once, and a device that makes its own key and survives."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from labkit.course.exercise import Draw, Exercise
from labkit.course.exercises.first_boot_service import (
    check_reuse,
    check_service,
    check_tokens,
)
from labkit.course.exercises.first_boot_stage import Stage, stage_of, switched_on
from labkit.course.exercises.first_boot_written import RUBRICS
from labkit.course.lab import ready_authority
from labkit.course.lesson import NOT_ATTEMPTED, PASSED, Check, CheckResult, RejectedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labkit.course.answers import Answer, Reply
    from labkit.course.exercises.first_boot_device import Device
    from labkit.course.work import Work

DEVICES = 3
_MOST_CUTS = 12


def _vary(draw: Draw) -> Mapping[str, Any]:
    kind = draw.one("kind", ("lamp", "valve", "meter", "pump", "gate", "probe", "relay", "fan"))
    return {
        "devices": [f"{kind}-{number}" for number in draw.several("devices", range(10, 100), DEVICES)],
        "hours": draw.number("hours", 2, 47),
        "line": draw.number("line", 12, 30),
        "guesses": draw.number("guesses", 3, 8),
    }


# --- the program on the device --------------------------------------------------------------------------------------


def _no_boot() -> CheckResult:
    return CheckResult(NOT_ATTEMPTED, expected="complete boot(), and hand it in")


def _enrolled(stage: Stage, boot: Answer) -> Device:
    """Return a device after its first boot by a student's program.

    Raises:
        RejectedError: It did not come through.
    """
    device = stage.new_device()
    _verify_ran(switched_on(boot, device), "on its first boot")
    _verify_enrolled(stage, device)
    return device


def _first(work: Work, stage: Stage, boot: Answer) -> list[Device]:
    """Return three devices after their first boot; the same ones for all checks of a work."""
    return work.once("enrolled", lambda: [_enrolled(stage, boot) for _ in range(DEVICES)])


def _verify_ran(reply: Reply | None, when: str, *, share: float = 0.0) -> None:
    if reply is None or not reply.error:
        return
    if not reply.kinds:
        raise RejectedError(
            "hangs",
            f"{when}: {reply.error}",
            expected="a program that comes to its end",
            advice="Does it wait for something, or try for ever?",
            share=share,
        )
    raise RejectedError(
        "raises",
        f"{when}: {reply.error}"[:300],
        expected="a device that is enrolled and connected",
        advice="Run it on a device of your own, and look at what it calls: run(boot, device).",
        share=share,
    )


def _verify_enrolled(stage: Stage, device: Device, *, share: float = 0.0) -> None:
    """Verify that a device has what it should have, and the registry too."""
    stored, made = device.stored, stage.dossier(device.id).certificates
    for name in ("key", "chain"):
        if name not in stored:
            raise RejectedError(
                f"{name}-not-stored",
                f"stored are: {', '.join(stored) or 'nothing'}; called were: {' > '.join(device.calls)}",
                expected=f"{name}, in the device's store",
                advice="What is not in flash is gone with the power.",
                share=share,
            )
    _verify_pair(stored, device.id)
    if len(made) != 1:
        raise RejectedError(
            "several-certificates",
            f"the registry has {len(made)} certificates for one device",
            expected="one",
            advice="Ask once; and again only with the same key.",
            share=share,
        )
    if "token" in stored:
        raise RejectedError(
            "token-left",
            "the token is still stored",
            expected="no token, once the device has its identity",
            advice="Spent or not, a secret that is not needed is erased. When is it not needed any more?",
            share=share,
        )
    if "connect" not in device.calls:
        raise RejectedError(
            "not-connected",
            f"called were: {' > '.join(device.calls)}",
            expected="a connection to the broker, in the same run",
            advice="device.connect() is the last step of every boot.",
            share=share,
        )


def _verify_pair(stored: Mapping[str, str], name: str) -> None:
    try:
        leaf = x509.load_pem_x509_certificates(stored["chain"].encode())[0]
        key = serialization.load_pem_private_key(stored["key"].encode(), password=None)
    except Exception as error:  # several libraries, one meaning
        raise RejectedError(
            "unreadable",
            f"what is stored is no key and no chain: {type(error).__name__}",
            expected="both in PEM",
            advice="What the service returns is a chain in PEM; Key.pem() returns bytes in PEM.",
        ) from error
    names = [one.value for one in leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    if leaf.public_key() != key.public_key() or names != [name]:
        raise RejectedError(
            "pair-mismatch",
            f"the chain is for {names}, and its key is {'another' if leaf.public_key() != key.public_key() else 'right'}",
            expected=f"a certificate for {name} and for the stored key",
            advice="Which key was the request made with, and which one was stored?",
        )


# --- 3: the first boot ----------------------------------------------------------------------------------------------


def _check_first(work: Work) -> CheckResult:
    """Let three devices boot, then let the power fail behind every step of others."""
    boot = work.answer("boot")
    if boot is None:
        return _no_boot()
    stage = stage_of(work)
    devices = _first(work, stage, boot)
    _verify_unforeseen(stage, boot)
    steps = devices[0].steps
    for number, step in enumerate(steps[:_MOST_CUTS], start=1):
        _survives(stage, boot, number, step)
    return CheckResult(
        PASSED, observed=f"{DEVICES} devices enrolled; the power may fail behind {', '.join(steps)}"
    )


def _verify_unforeseen(stage: Stage, boot: Answer) -> None:
    """Boot a device and a copy of all that the factory knows of it: its key must not be the same."""
    name = f"unit-{secrets.token_hex(6)}"
    token = stage.office.token(name)
    keys = []
    for _ in range(2):
        device = stage.new_device(name, token=token)
        switched_on(boot, device)
        keys.append(device.stored.get("key"))
    if keys[0] is not None and keys[0] == keys[1]:
        raise RejectedError(
            "key-foreseen",
            "two devices with the same id and the same token made the same key",
            expected="a key that nobody can work out, whatever they know of the device",
            advice="What does your program make the key of? The factory knows the id and the token; who else?",
        )


def _survives(stage: Stage, boot: Answer, number: int, step: str) -> None:
    """Let the power fail behind a step, and see that the next boot mends it."""
    device = stage.new_device()
    switched_on(boot, device, cut_after=number)
    reply = switched_on(boot, device)
    when = f"the power failed behind {step} (step {number}); at the next boot"
    if reply is not None and "token-spent" in device.refused:
        raise RejectedError(
            "key-not-kept",
            f"{when} it asked with another key, and was told token-spent",
            expected="the same key, so that the service gives the same certificate again",
            advice="The reply may be lost. What must be in flash before anybody is asked?",
            share=0.5,
        )
    if reply is not None and reply.error and "token" not in device.stored and "chain" not in device.stored:
        raise RejectedError(
            "token-too-early",
            f"{when} there was neither a token nor an identity: {reply.error}"[:300],
            expected="a token that is there until the identity is",
            advice="Which comes first: storing the chain, or erasing the token?",
            share=0.5,
        )
    _verify_ran(reply, when, share=0.5)
    try:
        _verify_enrolled(stage, device, share=0.5)
    except RejectedError as error:
        found = error.result
        raise RejectedError(
            found.fault, f"{when}: {found.observed}", expected=found.expected, advice=found.advice, share=0.5
        ) from error


# --- 4: later boots -------------------------------------------------------------------------------------------------


def _check_later(work: Work) -> CheckResult:
    """Boot an enrolled device twice with the service out of reach, then one that has nothing."""
    boot = work.answer("boot")
    if boot is None:
        return _no_boot()
    stage = stage_of(work)
    device = _first(work, stage, boot)[-1]
    before = device.stored
    stage.reachable = False
    try:
        for _ in range(2):
            reply = switched_on(boot, device)
            if "provision" in device.calls:
                raise RejectedError(
                    "asks-again",
                    f"a device that is enrolled asked the service: {' > '.join(device.calls)}",
                    expected="a boot that needs no service",
                    advice="What in the store tells a first boot from a later one?",
                )
            _verify_ran(reply, "at a later boot, without the service")
            if device.stored != before:
                raise RejectedError(
                    "store-changed",
                    "a later boot changed what is stored",
                    expected="the identity as it was",
                    advice="A key that is made anew has no certificate.",
                )
            if "connect" not in device.calls:
                raise RejectedError(
                    "not-connected",
                    f"a later boot called: {' > '.join(device.calls) or 'nothing'}",
                    expected="a connection to the broker",
                    advice="Skip what is done, and connect.",
                )
    finally:
        stage.reachable = True
    _verify_nothing_to_do(stage, boot)
    return CheckResult(PASSED, observed="later boots connect at once, without the service")


def _verify_nothing_to_do(stage: Stage, boot: Answer) -> None:
    device = stage.new_device()
    device.wipe()
    reply = switched_on(boot, device)
    if reply is not None and reply.error and not reply.kinds:
        _verify_ran(reply, "without token and identity", share=0.5)
    if reply is not None and not reply.error:
        raise RejectedError(
            "no-error",
            "a device without token and identity booted as if all were well",
            expected="an error: it can do nothing",
            advice="What would its console say? Somebody has to come and look.",
            share=0.5,
        )


# --- 6: the broker --------------------------------------------------------------------------------------------------


def _check_connects(work: Work) -> CheckResult:
    """Put what a student's program has stored onto the judge's boards, and let the course's node boot there."""
    boot = work.answer("boot")
    if boot is None:
        return _no_boot()
    stage = stage_of(work)
    devices = _first(work, stage, boot)
    keys = {device.stored["key"] for device in devices}
    if len(keys) != DEVICES:
        raise RejectedError(
            "shared-key",
            f"{DEVICES} devices have {len(keys)} keys",
            expected="a key for each device",
            advice="Where does your program make the key, and when?",
        )
    stranger = stage.site.attempt(None)
    if stranger.accepted:
        text = "the judge's broker lets everybody in"
        raise RuntimeError(text)
    for device in devices:
        heard = stage.node_speaks(device)
        if heard:
            raise RejectedError(
                "node-refused",
                f"the course's node, with what your program stored: {heard}"[:300],
                expected="a session and a reading, by the stored identity",
                advice="The chain is everything that the service returned, and the key is in PEM, without a passphrase.",
            )
    return CheckResult(PASSED, observed=f"{DEVICES} devices, {DEVICES} keys, and a reading from each")


# --- the exercise ---------------------------------------------------------------------------------------------------

CHECKS = (
    Check(
        "first-boot.1",
        "with your settings the service lets a line enrol, and stops who guesses tokens or floods it",
        (
            "Two numbers: how many requests, and how many failures, an address has in a minute.",
            "0 is no number of requests: it switches a limit off.",
            "A failure is a request too. Everything that the line may do in a minute fits into requests_per_minute.",
        ),
        check_service,
        points=10,
        why="A token has 256 random bits, but a service that answers without end can be kept from answering anybody else.",
        kind="tweak",
        minutes=10,
    ),
    Check(
        "first-boot.2",
        "each device gets one token, for itself, that counts as long as was asked",
        (
            "Two requests: take the devices in, then make the tokens.",
            "POST /tokens takes device_ids and hours; what it takes for hours when nobody says is not what was asked.",
            "The reply of POST /tokens has the tokens by device under the name tokens.",
        ),
        check_tokens,
        points=10,
        why="A token that fits every device, or counts for ever, is a password that was printed on the box.",
        minutes=15,
    ),
    Check(
        "first-boot.3",
        "a device makes its own key, is enrolled, and comes through when the power fails behind any step",
        (
            "Every step asks the store first: is it done already? Then it does not matter where the power went.",
            "The service gives the same key the same certificate again. So which must be stored before it is asked?",
            "Key, request, chain, and only then the token goes. A boot that finds a chain and a token erases the token.",
        ),
        _check_first,
        points=25,
        why="Power fails at the worst moment. A device that is bricked by it costs more than the device.",
        minutes=35,
    ),
    Check(
        "first-boot.4",
        "later boots leave the service alone and connect; a device that has nothing says so",
        (
            "What is in the store after the first boot, and only then?",
            "Look for the chain before the token: the token may be gone, or still there.",
            "Without chain and without token there is nothing to ask with: raise an error.",
        ),
        _check_later,
        points=15,
        why="A fleet that needs its provisioning service at every boot stands still when that service does.",
        minutes=15,
    ),
    Check(
        "first-boot.5",
        "your test says yes to a service that refuses spent tokens for that reason, and no to any other",
        (
            "A service that refuses everybody refuses a spent token too. What must succeed before a refusal proves anything?",
            "The same key may ask again: its reply may have been lost. Who else could show a spent token?",
            "RefusedError has a code. Only token-spent, for another key, after the first key was granted, proves it.",
        ),
        check_reuse,
        points=15,
        why="A test that can't fail proves nothing, and a refusal for another reason proves something else.",
        kind="bug-hunt",
        minutes=20,
    ),
    Check(
        "first-boot.6",
        "the course's node boots from what your program stored, and three devices speak to the broker, each with its own key",
        (
            "The node reads key and chain from its store, as your program left them.",
            "The judge's broker believes the root alone: what lies between has to be in the chain.",
            "Store the chain as the service returned it.",
        ),
        _check_connects,
        points=10,
        why="An identity is worth what others can verify of it.",
        kind="defend-it",
        minutes=5,
    ),
)

EXERCISE = Exercise(
    slug="first-boot",
    title="Let devices come by their identity on their own",
    minutes=120,
    claims=(),
    checks=CHECKS,
    prepare=ready_authority,
    rubrics=RUBRICS,
    vary=_vary,
)
