"""Call programming interfaces without credentials, and with those that everybody knows."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from labkit.audit.facts import ClientFacts, ToolFacts, Trial
from labkit.audit.passwords import DEFAULTS
from labkit.mqtt.contexts import client_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from pathlib import Path

    from labkit.audit.target import Tool
    from labkit.mqtt import Endpoint

TIMEOUT = 5.0
LONGEST = 4 * 1024 * 1024
PUBLIC = {"/healthz", "/crl", "/openapi.json", "/.well-known/est/cacerts"}
"""What a provisioning service may tell everybody."""

SECRET_PATHS = ("/provision", "/.well-known/est/simpleenroll")
"""What is asked for with a token in the request; without one it is refused as malformed or unknown."""

ASKS = {401, 403}
CANARY = "audit-canary"
"""The device that is asked about; there should be none of that name."""

_DEEPEST = 8
_METHODS = ("get", "post", "put", "delete", "patch")


def host_of(tool: Tool) -> str:
    """Return the address in a tool's URL."""
    return urlsplit(tool.url).hostname or ""


def knock_at_service(endpoint: Endpoint, *, trust: Path) -> None:
    """Ask a service for the fleet without credentials, to see whether that is written down; what it says is no matter."""
    with contextlib.suppress(OSError):
        _ask(endpoint, client_context(trust, name=endpoint.certified_name), "GET", "/devices")


def call_tool(tool: Tool) -> ToolFacts:
    """Ask a tool for each of its paths, without credentials and then with those of a public list."""
    parts = urlsplit(tool.url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    open_paths, asked, logins = [], 0, []
    try:
        for path in tool.paths:
            status = _get(host, port, path)
            if status < 400:
                open_paths.append(path)
            elif status in ASKS:
                asked += 1
                logins += [
                    pair for pair in DEFAULTS if pair not in logins and _get(host, port, path, pair) < 400
                ]
    except OSError as error:
        return ToolFacts(tool.name, tool.url, problem=f"does not answer: {error.strerror or error}")
    if not asked and not open_paths:
        return ToolFacts(tool.name, tool.url, problem="has none of the paths that were to be tried")
    return ToolFacts(tool.name, tool.url, tuple(open_paths), tuple(logins[:3]), asked)


def _get(host: str, port: int, path: str, login: tuple[str, str] | None = None) -> int:
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    headers = {}
    if login:
        headers["Authorization"] = f"Basic {base64.b64encode(':'.join(login).encode()).decode()}"
    try:
        connection.request("GET", path, headers=headers)
        reply = connection.getresponse()
        reply.read(LONGEST)
        return reply.status
    except http.client.HTTPException as error:
        raise OSError(str(error)) from error
    finally:
        connection.close()


def call_service(endpoint: Endpoint, *, trust: Path) -> list[Trial]:
    """Ask a provisioning service for everything that it describes, without credentials.

    Args:
        endpoint: Where it is, and the name in its certificate.
        trust: The root that its certificate must come from.
    """
    context = client_context(trust, name=endpoint.certified_name)
    try:
        described = json.loads(_ask(endpoint, context, "GET", "/openapi.json")[1])
        operations = list(_operations(described))
        trials = [
            Trial(f"it describes {len(operations)} operations", wanted=True, succeeded=bool(operations))
        ]
        for method, path, body in operations:
            status, _ = _ask(endpoint, context, method, path.replace("{device_id}", CANARY), body)
            trials.append(_trial(method, path, status))
        # What tutorials print, and what must not be there.
        status, _ = _ask(endpoint, context, "POST", "/generate-token", '{"device_id": "audit-canary"}')
        trials.append(
            Trial("a stranger gets a token from /generate-token", wanted=False, succeeded=status < 400)
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        return [
            Trial(
                "it answers over verified TLS, and describes itself",
                wanted=True,
                succeeded=False,
                detail=str(error),
            )
        ]
    return [*_summary(trials)]


def _trial(method: str, path: str, status: int) -> Trial:
    name = f"{method} {path}"
    if path in PUBLIC and method == "GET":
        return Trial(f"{name} is for everybody", wanted=True, succeeded=status < 500, detail=str(status))
    refused = status in ASKS or (path in SECRET_PATHS and 400 <= status < 500)
    return Trial(f"a stranger is served by {name}", wanted=False, succeeded=not refused, detail=str(status))


def _summary(trials: list[Trial]) -> Iterator[Trial]:
    """Say the same thing once: refusals are counted, and what is open is told one by one."""
    shut = [trial for trial in trials if not trial.wanted and not trial.succeeded]
    yield from (trial for trial in trials if trial not in shut)
    if shut:
        yield Trial(f"a stranger is served by one of {len(shut)} operations", wanted=False, succeeded=False)


def _operations(described: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield method, path, and a body of the right shape: one of the wrong shape may be refused for that alone."""
    for path, item in described["paths"].items():
        for method, operation in item.items():
            if method in _METHODS:
                content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
                body = _sample(content.get("schema", {}), described, 0)
                yield method.upper(), str(path), json.dumps(body if body is not None else {})


def _sample(schema: dict[str, Any], described: dict[str, Any], depth: int) -> Any:
    """Return a value of a schema's shape; a schema of somebody else may be anything, so there is an end to it."""
    if depth > _DEEPEST:
        return None
    if reference := schema.get("$ref"):
        name = str(reference).rpartition("/")[2]
        return _sample(described["components"]["schemas"][name], described, depth + 1)
    kind = schema.get("type")
    if kind == "object":
        wanted = {name: schema["properties"][name] for name in schema.get("required", ())}
        return {name: _sample(each, described, depth + 1) for name, each in wanted.items()}
    if kind == "array":
        return [_sample(schema.get("items", {}), described, depth + 1)]
    return {"string": CANARY, "integer": 1, "number": 1, "boolean": False}.get(str(kind))


def _ask(
    endpoint: Endpoint, context: ssl.SSLContext, method: str, path: str, body: str | None = None
) -> tuple[int, bytes]:
    connection = http.client.HTTPSConnection(endpoint.host, endpoint.port, timeout=TIMEOUT, context=context)
    headers = {"Content-Type": "application/json"} if body and method not in {"GET", "DELETE"} else {}
    try:
        connection.request(method, path, body if headers else None, headers)
        reply = connection.getresponse()
        return reply.status, reply.read(LONGEST)
    except http.client.HTTPException as error:
        raise OSError(str(error)) from error
    finally:
        connection.close()


def client_settings(data: bytes, place: str) -> Iterator[ClientFacts]:
    """Read what Node-RED's flow file says of its MQTT connections.

    Args:
        data: The flow file: JSON, a list of nodes.
        place: What to call it.

    Raises:
        ValueError: It is no flow file.
    """
    try:
        nodes = json.loads(data)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(nodes, list) or not all(isinstance(node, dict) for node in nodes):
        text = f"{place} is no list of nodes"
        raise ValueError(text)
    settings = {node.get("id"): node for node in nodes if node.get("type") == "tls-config"}
    for node in nodes:
        if node.get("type") != "mqtt-broker":
            continue
        tls = settings.get(node.get("tls"), {})
        yield ClientFacts(
            f"{place}, {node.get('name') or node.get('id')}",
            str(node.get("broker", "")),
            int(node.get("port", 1883)),
            tls=bool(node.get("usetls")),
            # Node-RED verifies unless it is told not to.
            verifies=bool(tls.get("verifyservercert", True)),
        )
