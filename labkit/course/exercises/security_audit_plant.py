"""The plant of security-audit: staged with a student's faults, laid out as files, and staged again with what was mended.

A plant is never judged by what runs on a student's machine. The judge stages its own, with the same faults planted, puts
the student's files into it, and measures that. What a file may say is limited: a broker's configuration is parsed and
rendered again, with files and ports of the judge's own.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.audit import BY_ID, ITEMS, PARTS, Verdict, audit
from labkit.broker import Acl, Rule
from labkit.broker import acl as rules
from labkit.broker import config as configuration
from labkit.course.lesson import RejectedError
from labkit.course.work import Work, explained
from labkit.errors import AclError, BrokerConfigError, BrokerStartError
from labkit.ports import reserve_port
from labkit.scenarios.audited_plant import audited_plant
from labkit.scenarios.plant_faults import expected_failures
from labkit.scenarios.plant_tools import FLOWS, SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from labkit.broker import BrokerConfig, Listener
    from labkit.course.exercise import Variant
    from labkit.course.lab import Lab
    from labkit.scenarios.audited_plant import Plant

FOLDER = "answers/security-audit/plant"
"""Where the plant's settings lie, for the student to change."""

CONF, ACL, RULES, ALERTS = "mosquitto.conf", "acl.conf", "router.rules", "alerts.json"
TOOLS = (*SETTINGS.values(), FLOWS)
"""Settings of the tools beside the broker."""

FILES = (CONF, ACL, *TOOLS, RULES, ALERTS)
"""Everything that can be changed."""

PORTS = (8883, 1883, 8884)
"""Ports as they stand in the files: with TLS, in the clear, and one more. A plant that is staged has others."""

_NAMES = ("cafile", "certfile", "keyfile", "crlfile")
_RANDOM = re.compile(r"[A-Za-z0-9_-]{20}")

_CONCERNS: Mapping[str, tuple[str, ...]] = {
    CONF: ("communication-1", "communication-2", "communication-3", "communication-4", "access-1", "access-2",
           "monitoring-1", "monitoring-3"),
    ACL: ("access-1", "monitoring-1"),
    RULES: ("network-2", "network-3", "network-4"),
    ALERTS: ("monitoring-2",),
    **dict.fromkeys(TOOLS, ("communication-1", "communication-3", "access-2", "access-3")),
}  # fmt: skip
"""The items that a file can change."""


def before(variant: Variant) -> dict[str, Verdict]:
    """Return the verdicts that are true of the plant as it is found.

    They follow from the faults that were planted; that an audit finds exactly these is what its own tests show.
    """
    failing, parts = expected_failures(variant.faults), frozenset(PARTS) - frozenset(variant.without)
    found = {}
    for item in ITEMS:
        good = Verdict.PERSON if item.person else Verdict.PASS
        verdict = Verdict.FAIL if item.id in failing else good
        found[item.id] = verdict if item.scope & parts else Verdict.NOT_APPLICABLE
    return found


@contextmanager
def as_found(work: Work) -> Iterator[Plant]:
    """Stage the plant as it is found, for the length of the block."""
    with audited_plant(work.scratch, work.variant.faults, without=work.variant.without) as plant:
        yield plant


def laid_out(plant: Plant) -> dict[str, str]:
    """Return the files of a plant that can be changed, by name, in the same words on every machine."""
    found = {
        CONF: configuration.render(_neutral(plant.config)),
        ACL: rules.render(plant.broker.acl),
        RULES: (plant.folder / "network" / RULES).read_text(encoding="utf-8"),
    }
    for name in (*TOOLS, ALERTS):
        if (plant.folder / name).exists():
            text = (plant.folder / name).read_text(encoding="utf-8")
            found[name] = text.replace(f'"{plant.port}"', f'"{PORTS[0]}"')
    return found


def _neutral(config: BrokerConfig) -> BrokerConfig:
    main, *others = config.listeners
    listeners = [replace(_named(main), port=PORTS[0])]
    listeners += [replace(_named(each), port=PORTS[2] if each.certfile else PORTS[1]) for each in others]
    users = Path(config.password_file.name) if config.password_file else None
    return replace(config, listeners=tuple(listeners), acl_file=Path(ACL), password_file=users, user=None)


def _named(listener: Listener) -> Listener:
    paths: dict[str, Any] = {
        name: Path(path.name) for name in _NAMES if (path := getattr(listener, name)) is not None
    }
    return replace(listener, **paths)


def read_files(work: Work) -> dict[str, str]:
    """Return the student's files, by name; those that are not there are missing."""
    found = {name: work.text(f"{FOLDER}/{name}") for name in FILES}
    return {name: text.replace("\r\n", "\n") for name, text in found.items() if text is not None}


def changed(given: Mapping[str, str], original: Mapping[str, str]) -> list[str]:
    """Return the files that differ from what was found, random passwords aside: every plant has its own."""
    return [name for name in FILES if _masked(name, given.get(name)) != _masked(name, original.get(name))]


def _masked(name: str, text: str | None) -> str | None:
    return text and (_RANDOM.sub("*", text) if name in TOOLS else text).strip()


def put_in(plant: Plant, given: Mapping[str, str], names: list[str]) -> None:
    """Put files of a student's into a plant.

    Args:
        plant: The plant, as it was found.
        given: The student's files.
        names: Which of them to put in.

    Raises:
        RejectedError: A file is not there any more, or can't be put to work.
    """
    gone = [name for name in names if name not in given and name != ALERTS]
    if gone:
        raise RejectedError(
            "evidence-removed",
            f"{gone[0]} is not there any more",
            expected="a plant that is mended, with everything in it that it had",
            advice="a file that is gone shows nothing; the plant is laid out again where the folder is empty",
        )
    for name in (each for each in names if each in TOOLS):
        (plant.folder / name).write_text(given[name], encoding="utf-8")
    if FLOWS in names:
        _hold_flows(given[FLOWS])
    if RULES in names:
        (plant.folder / "network" / RULES).write_text(given[RULES], encoding="utf-8")
    if ALERTS in names:
        (plant.folder / ALERTS).unlink(missing_ok=True)
        if ALERTS in given:
            (plant.folder / ALERTS).write_text(given[ALERTS], encoding="utf-8")
    if CONF in names or ACL in names:
        _restart(plant, given)


def _hold_flows(text: str) -> None:
    """See that the flow editor still listens to the plant: a connection that was deleted is not a safe one."""
    try:
        nodes = json.loads(text)
        brokers = {each["id"]: each for each in nodes if each["type"] == "mqtt-broker"}
        settings = {each["id"]: each for each in nodes if each["type"] == "tls-config"}
        heard = [brokers[each["broker"]] for each in nodes if each["type"] == "mqtt in"]
        whole = bool(heard) and all(
            each["broker"] in {"127.0.0.1", "localhost"}
            and str(each["port"]) in {str(port) for port in PORTS}
            and (not each["usetls"] or settings[each["tls"]]["ca"])
            for each in heard
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise RejectedError(
            "evidence-removed",
            "the flow editor's connection to the broker is not whole",
            expected="the same flow, which hears telemetry through a connection with TLS settings of its own",
            advice="mend the node, and leave it where it is; with TLS it goes to the port with TLS",
        )


def _restart(plant: Plant, given: Mapping[str, str]) -> None:
    told = _parsed(given[CONF])
    config = _real(plant, told, given[CONF])
    try:
        access = rules.parse(given[ACL])
    except AclError as error:
        raise RejectedError(
            "rules-refused", error.message, advice="a line begins with user, topic or pattern"
        ) from error
    if told.acl_file is None:
        access = Acl((Rule("readwrite", "#", pattern=True),))  # without rules everything is allowed
    try:
        plant.restart_broker(config, access)
    except BrokerStartError as error:
        raise RejectedError(
            "does-not-start",
            error.message,
            expected="a broker that starts",
            advice="which line did you change?",
        ) from error


def _parsed(text: str) -> BrokerConfig:
    try:
        return configuration.parse(text)
    except BrokerConfigError as error:
        raise RejectedError(
            "config-refused",
            f"{CONF}: {error.message}",
            expected="options that were there, or that the course uses",
            advice="a configuration can also run programs, so others are refused; which one did you add?",
        ) from error


def _suites(given: Mapping[str, str]) -> set[tuple[object, ...]]:
    """Return what the doors of a configuration agree to; nothing for one that can't be read."""
    try:
        listeners = configuration.parse(given.get(CONF, "")).listeners
    except BrokerConfigError:
        return set()
    return {(each.ciphers, each.ciphers_tls13, each.tls_version) for each in listeners if each.certfile}


def _real(plant: Plant, config: BrokerConfig, text: str) -> BrokerConfig:
    """Return a configuration with the files and ports of a staged plant."""
    store, home = plant.store, plant.store.workspace.path("broker")
    known = {
        path.name: path
        for path in (
            store.trust_bundle, store.trust_anchor, store.intermediate, store.server_chain, store.server().key,
            store.revocations.path, plant.folder / "late.crl", home / "passwords",
        )
    }  # fmt: skip

    def found(path: Path | None) -> Path | None:
        if path is None:
            return None
        if path.name not in known:
            raise RejectedError(
                "file-unknown",
                f"{CONF} names {path}, and the plant has no such file",
                expected=f"files of the plant: {', '.join(sorted(known))}",
                advice="which of them is meant?",
            )
        return known[path.name]

    main = [each for each in config.listeners if each.port == PORTS[0]]
    if len(main) != 1 or not main[0].certfile:
        raise RejectedError(
            "door-moved",
            f"there is no listener with TLS on port {PORTS[0]}",
            expected="the door through which the devices come, where it was",
            advice="close the doors that nobody needs, and keep the one that everybody does",
        )
    if not store.revocations.path.exists():
        store.revocations.ensure()
    listeners = []
    for each in (*main, *(other for other in config.listeners if other not in main)):
        paths: dict[str, Any] = {name: found(getattr(each, name)) for name in _NAMES}
        port = plant.port if each in main else _free()
        listeners.append(replace(each, port=port, host="127.0.0.1", capath=None, **paths))
    return replace(
        config,
        listeners=tuple(listeners),
        password_file=found(config.password_file),
        user=None,
        persistence=False,
        log_dest="stderr",
        # Mosquitto's own default has no line for what it denies.
        log_type=config.log_type if re.search(r"^log_type ", text, re.MULTILINE) else "information",
        log_timestamp_format=configuration.BrokerConfig(listeners=()).log_timestamp_format,
    )


def _free() -> int:
    with reserve_port() as port:
        return port


def after(work: Work) -> tuple[dict[str, Verdict], list[str]]:
    """Return the verdicts that are true of the plant with the student's files in it, and which files have changed.

    Items that no changed file concerns are as they were: that part of the plant is the judge's own, untouched.

    Raises:
        RejectedError: See `put_in`.
    """
    return work.once("after", lambda: _measured(work))


def _measured(work: Work) -> tuple[dict[str, Verdict], list[str]]:
    given, found = read_files(work), before(work.variant)
    if not given:
        return found, []
    with as_found(work) as plant:
        original = laid_out(plant)
        names = changed(given, original)
        concerned = {item for name in names for item in _CONCERNS[name]}
        concerned -= {item for item, verdict in found.items() if verdict is Verdict.NOT_APPLICABLE}
        if found["communication-2"] is Verdict.PASS and _suites(given) <= _suites(original):
            concerned -= {"communication-2"}  # no door agrees to anything new, and to offer it all takes long
        if concerned:
            put_in(plant, given, names)
            report = audit(plant.target, items=[each for each in BY_ID if each in concerned])
            found |= {judged.item.id: judged.verdict for judged in report.judged}
    return found, names


@contextmanager
def staged(lab: Lab) -> Iterator[Plant]:
    """Stage your plant for the length of the block: as it was found, with your files in it.

    The first time it lays the files out in the workspace. Change them there, and stage it again.

    Raises:
        NotebookError: A file can't be put to work; the advice says what to do.
    """
    with Work.of(lab) as work, as_found(work) as plant:
        original = laid_out(plant)
        if not work.names(FOLDER):
            for name, text in original.items():
                lab.workspace.write(f"{FOLDER}/{name}", text)
        given = read_files(work)
        try:
            put_in(plant, given, changed(given, original))
        except RejectedError as rejected:
            raise explained(rejected, lab.workspace.path(FOLDER)) from rejected
        yield plant
