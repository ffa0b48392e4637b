"""mosquitto_pub and mosquitto_sub, run with the arguments that a student's function returns."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.broker import find_client
from labkit.course.exercises import mtls_setup_files as files
from labkit.course.exercises.mtls_setup_stage import heard, observed
from labkit.course.lesson import RejectedError
from labkit.errors import ToolTimeoutError
from labkit.processes import run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from labkit.course.answers import Answer
    from labkit.course.exercises.mtls_setup_stage import Stage
    from labkit.course.work import Work

PROGRAMS = ("mosquitto_pub", "mosquitto_sub")
"""The two programs."""

SECONDS = 20
"""How long a program may take."""

_LONG = {
    "-c": "--disable-clean-session", "-d": "--debug", "-h": "--host", "-i": "--id", "-k": "--keepalive",
    "-m": "--message", "-p": "--port", "-q": "--qos", "-t": "--topic", "-v": "--verbose",
    "-u": "--username", "-V": "--protocol-version", "-C": "-C", "-W": "-W",
}  # fmt: skip
_FILES = {"--cafile", "--cert", "--key"}
_VALUES = {
    *_FILES, "--host", "--id", "--keepalive", "--message", "--port", "--qos", "--topic", "--username",
    "--protocol-version", "--tls-version", "-C", "-W",
}  # fmt: skip
_FLAGS = {"--debug", "--verbose", "--quiet"}
_MOST_WORDS = 40


def hold_arguments(argv: Any, case: Sequence[Any]) -> dict[str, str]:
    """Return the options of a command that a student's function returned, by their long names.

    Args:
        argv: What it returned.
        case: What it was asked: program, host and port, name, topic, message.

    Raises:
        RejectedError: It is no such command, or has an option that nobody needs here.
    """
    program, (host, port), name, topic, message = case
    if not isinstance(argv, list) or not all(isinstance(word, str) and "\0" not in word for word in argv):
        raise RejectedError(
            "not-a-command",
            f"the function returned {str(argv)[:80]!r}",
            expected="a list of words, the program first",
            advice='like ["mosquitto_pub", "-h", host, …]; a number needs str()',
        )
    if not argv or argv[0] != program or len(argv) > _MOST_WORDS:
        raise RejectedError(
            "not-a-command",
            f"it begins with {argv[0] if argv else 'nothing'!r}",
            expected=f"{program}, which was asked for",
            advice="the first argument of your function says which program",
        )
    found = _options(argv[1:])
    if "--cafile" not in found:
        raise RejectedError(
            "no-tls",
            "there is no --cafile",
            expected="a client that checks whom it speaks to",
            advice="without it the program speaks in the clear, to anybody",
        )
    wanted = {"--host": host, "--port": str(port), "--topic": topic}
    if program == PROGRAMS[0]:
        wanted["--message"] = message
    for option, value in wanted.items():
        if found.get(option) != value:
            raise RejectedError(
                "argument-ignored",
                f"{option} is {found.get(option)!r}",
                expected=f"{value!r}, which was asked for",
                advice="use what your function is given; the judge's broker is not where yours is",
            )
    for option in ("--cert", "--key"):
        if option not in found:
            raise RejectedError(
                "no-identity",
                f"there is no {option}",
                expected=f"{name} proves who it is",
                advice="which two files does a client prove itself with?",
            )
    return found


def _options(words: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        option = _LONG.get(word, word)
        if option == "--insecure":
            raise RejectedError(
                "name-not-checked",
                "it says --insecure",
                expected="a client that checks the broker's name",
                advice="with it, any certificate of your authority is the broker's; what is the name for?",
            )
        if option not in _VALUES | _FLAGS or option in found:
            raise RejectedError(
                "option-refused",
                f"it says {word}" + (" twice" if option in found else ""),
                expected=f"each option once, out of: {', '.join(sorted({*_LONG, *_FILES, '--tls-version'}))}",
                advice="leave it away; what do you need it for?",
            )
        value = next(rest, None) if option in _VALUES else ""
        if value is None:
            raise RejectedError(
                "option-refused",
                f"it ends with {word}",
                expected="a value behind it",
                advice="which of your words is missing?",
            )
        found[option] = value
    return found


def try_tools(work: Work, stage: Stage, answer: Answer) -> str:
    """Run both programs as each device, on the judge's broker; return in words what they did.

    Raises:
        RejectedError: The arguments are not what was asked for, or no message came through.
        ToolMissingError: A program is not on this machine.
    """
    tools = {program: find_client(program) for program in PROGRAMS}
    port = stage.broker.port
    cases = [
        (program, (host, port), name, stage.aside, secrets.token_hex(8))
        for name, host in zip(work.variant.devices, ("localhost", "127.0.0.1"), strict=True)
        for program in PROGRAMS
    ]
    for case, reply in zip(cases, answer.ask(cases), strict=True):
        if reply.error:
            raise RejectedError(
                "function-fails",
                f"{answer.name}{case[:1]}…: {reply.error}",
                expected="a list of words for each program, device, host and port",
                advice="call it yourself with the same kind of arguments",
            )
        options = hold_arguments(reply.value, case)
        path, env = tools[case[0]]
        words = [str(path), *_rendered(work, options)]
        (_published if case[0] == PROGRAMS[0] else _subscribed)(stage, words, env, case)
    return "both programs, as both devices: the messages came through, under the right names"


def _rendered(work: Work, options: dict[str, str]) -> list[str]:
    words = []
    for option, value in options.items():
        if option in {"-C", "-W"}:
            continue
        if option in _FILES:
            name = files.inside(Path(value))
            copy = work.scratch.write(f"copied/{name}", files.content(work, name), secret=option == "--key")
            words += [option, str(copy)]
        else:
            words += [option, value] if option in _VALUES else [option]
    return words


def _published(stage: Stage, words: list[str], env: Mapping[str, str], case: Sequence[Any]) -> None:
    name, message = case[2], case[4]
    mark = stage.broker.log.mark()
    with observed(stage) as observer:
        said = _ran(words, env)
        observer.publish(stage.fence, "fence", timeout=SECONDS)
        known = heard(observer, stage)
    if not known or message.encode() not in known:
        raise _lost("mosquitto_pub", name, said)
    _under_its_name(stage, mark, name)


def _subscribed(stage: Stage, words: list[str], env: Mapping[str, str], case: Sequence[Any]) -> None:
    name, message = case[2], case[4]
    mark = stage.broker.log.mark()
    with observed(stage) as observer, ThreadPoolExecutor(1) as pool:
        running = pool.submit(_ran, [*words, "-C", "1", "-W", str(SECONDS - 5)], env)
        stage.broker.log.wait_for(
            lambda event: event.text.startswith("Sending SUBACK") and stage.observer not in event.text,
            since=mark,
            timeout=SECONDS,
            give_up=running.done,
        )
        observer.publish(stage.aside, message, timeout=SECONDS)
        said = running.result()
    if message not in said:
        raise _lost("mosquitto_sub", name, said)
    _under_its_name(stage, mark, name)


def _ran(words: list[str], env: Mapping[str, str]) -> str:
    try:
        return run(words, env=env, timeout=SECONDS, check=False).output
    except ToolTimeoutError:
        return "it did not come back"


def _lost(program: str, name: str, said: str) -> RejectedError:
    last = (said.strip().splitlines() or ["nothing"])[-1]
    return RejectedError(
        "not-delivered",
        f"{program} as {name}: no message came through; the program said: {last[:160]}",
        expected="the message arrives",
        advice="what does the broker's log say of that connection? are certificate and key of one name?",
    )


def _under_its_name(stage: Stage, mark: int, name: str) -> None:
    users = {e["user"] for e in stage.broker.log.since(mark) if e.kind == "connected"} - {stage.observer}
    if users != {name}:
        raise RejectedError(
            "wrong-identity",
            f"asked to be {name}, it came as {', '.join(sorted(users))}",
            expected="each device with its own certificate",
            advice="which of your function's arguments says who is speaking?",
        )
