"""Runs alone, as a process: reads a function and cases as JSON, calls it, writes what came back.

Whatever the function prints goes to stderr; what it returns is all that is looked at. It may as well lie: the judge
knows what is right.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

READY = "ready"
"""What is said first, before anything of the function's is read: whatever fails earlier is not its fault."""


def plain(value: Any) -> Any:
    """Return a value in JSON's terms; what has none there becomes text that no judge expects."""
    if value is None or isinstance(value, bool | int | float | str):  # a StrEnum is one, too
        return value
    if isinstance(value, bytes | bytearray):
        return {"bytes": value.hex()}
    if isinstance(value, list | tuple):  # and a named tuple
        return [plain(item) for item in value]
    if isinstance(value, dict):  # and a Counter
        return {"items": [[plain(key), plain(item)] for key, item in value.items()]}
    return f"<{type(value).__name__}>"


def rich(value: Any) -> Any:
    """Return what `plain` made of it on the other side."""
    if isinstance(value, list):
        return [rich(item) for item in value]
    if isinstance(value, dict):
        if "bytes" in value:
            return bytes.fromhex(value["bytes"])
        return {rich(key): rich(item) for key, item in value["items"]}
    return value


def limit() -> None:
    """Take no more than a function of an exercise can need."""
    try:
        import resource
    except ImportError:
        return
    for what, most in (
        ("RLIMIT_CPU", 15),
        ("RLIMIT_AS", 2 << 30),
        ("RLIMIT_FSIZE", 1 << 20),
        ("RLIMIT_CORE", 0),
    ):
        resource.setrlimit(getattr(resource, what), (most, most))


def reply(function: Any, case: Any) -> dict[str, Any]:
    """Call a function; return what it returned or raised."""
    try:
        return {"value": plain(function(*rich(case))), "error": "", "kinds": []}
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the answer
        return raised(error)


def raised(error: BaseException) -> dict[str, Any]:
    """Return what is told of an exception."""
    kinds = [kind.__name__ for kind in type(error).__mro__]
    return {"value": None, "error": f"{type(error).__name__}: {error}"[:300], "kinds": kinds[:20]}


class There:
    """What the judge lets a function reach: a call goes out as a line, and its answer comes back as one."""

    def __init__(self, case: int, methods: list[str], facts: dict[str, Any], *, out: Any, back: Any) -> None:
        self.__dict__.update(facts)
        for name in methods:
            self.__dict__[name] = self._method(case, name, out, back)

    @staticmethod
    def _method(case: int, name: str, out: Any, back: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            json.dump({"case": case, "call": name, "arguments": plain(arguments), "named": plain(named)}, out)
            out.write("\n")
            out.flush()
            told = json.loads(back.readline())
            if told["error"] is not None:
                raise problem(told["error"])
            return rich(told["value"])

        return call


def problem(told: dict[str, Any]) -> Exception:
    """Return the exception that the judge tells of."""
    if told["kind"] in {"TypeError", "AttributeError"}:
        return (TypeError if told["kind"] == "TypeError" else AttributeError)(told["message"])
    try:
        from labkit import errors

        found: Exception = getattr(errors, told["kind"])(
            told["message"], advice=told["advice"], **told["values"]
        )
    except Exception:  # noqa: BLE001 - another kind, or no labkit here: it is an error all the same
        return ValueError(told["message"])
    return found


def main() -> None:
    """Answer once."""
    back = os.fdopen(os.dup(0), "r", encoding="utf-8")
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    out.write(f"{READY}\n")
    out.flush()
    asked = json.loads(back.readline())
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    limit()
    space: dict[str, Any] = {"__name__": "answer"}
    try:
        exec(compile(asked["source"], "answer", "exec"), space)  # noqa: S102 - that is what this process is for
        function = space[asked["name"]]
    except BaseException as error:  # noqa: BLE001
        replies = [raised(error) for _ in asked["cases"]]
    else:
        if "there" in asked:
            methods, facts = asked["there"]
            asked["cases"] = [
                [There(number, methods, facts, out=out, back=back), *case]
                for number, case in enumerate(asked["cases"])
            ]
        replies = [reply(function, case) for case in asked["cases"]]
    json.dump(replies, out)
    out.write("\n")
    out.flush()


if __name__ == "__main__":
    main()
