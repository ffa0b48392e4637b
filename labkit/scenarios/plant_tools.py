"""Stand-ins for the dashboard, the database and the flow editor of a plant.

They are small: they read a settings file of the real product's shape, and let in or refuse as the product would. What
they serve is made up. Change the file, and the next request goes by it.
"""

from __future__ import annotations

import base64
import configparser
import http.server
import json
import re
import threading
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from labkit.audit import Tool
from labkit.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DASHBOARD, DATABASE, FLOW_EDITOR = "dashboard", "database", "flow editor"
PATHS = {
    DASHBOARD: ("/api/org", "/api/datasources"),
    DATABASE: ("/query?q=SHOW+DATABASES",),
    FLOW_EDITOR: ("/flows", "/settings"),
}
"""Paths of each that nobody should read without credentials (Grafana, InfluxDB 1, Node-RED)."""

SETTINGS = {DASHBOARD: "grafana.ini", DATABASE: "influxdb.conf", FLOW_EDITOR: "node-red-settings.json"}
"""Where each has its settings."""

FLOWS = "flows.json"
"""Node-RED's flows, and the settings of its MQTT connection."""

Login = tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class Passwords:
    """Who may log in where."""

    dashboard: str
    database: str
    flow_editor: str


def write_settings(
    folder: Path,
    passwords: Passwords,
    *,
    broker_port: int,
    open_tools: frozenset[str] = frozenset(),
    flows_tls: bool = True,
    flows_verify: bool = True,
) -> None:
    """Write the settings of all three, and the flows.

    Args:
        folder: Where to.
        passwords: The administrators' passwords.
        broker_port: The broker's TLS port.
        open_tools: Which of them ask nobody for anything.
        flows_tls: Whether the flows' MQTT connection uses TLS.
        flows_verify: Whether it verifies the broker.
    """
    anonymous = str(DASHBOARD in open_tools).lower()
    (folder / SETTINGS[DASHBOARD]).write_text(
        f"[security]\nadmin_user = admin\nadmin_password = {passwords.dashboard}\n\n"
        f"[auth.anonymous]\nenabled = {anonymous}\n",
        encoding="utf-8",
    )
    asks = str(DATABASE not in open_tools).lower()
    (folder / SETTINGS[DATABASE]).write_text(
        f"[http]\nauth-enabled = {asks}\n\n# InfluxDB keeps its users in the database; the stand-in has one here.\n"
        f'[stand-in]\nuser = "admin"\npassword = "{passwords.database}"\n',
        encoding="utf-8",
    )
    users = [{"username": "admin", "password": passwords.flow_editor, "permissions": "*"}]
    admin = None if FLOW_EDITOR in open_tools else {"type": "credentials", "users": users}
    (folder / SETTINGS[FLOW_EDITOR]).write_text(
        json.dumps({"adminAuth": admin}, indent=2) + "\n", encoding="utf-8"
    )
    write_flows(folder, broker_port=broker_port, tls=flows_tls, verify=flows_verify)


def write_flows(folder: Path, *, broker_port: int, tls: bool, verify: bool) -> None:
    """Write the flow editor's flows with their MQTT connection."""
    nodes = [
        {"id": "tls1", "type": "tls-config", "ca": "root/ca.crt", "verifyservercert": verify},
        {
            "id": "broker1", "type": "mqtt-broker", "name": "plant", "broker": LOOPBACK,
            "port": str(broker_port if tls else 1883), "usetls": tls, "tls": "tls1" if tls else "",
        },
        {"id": "in1", "type": "mqtt in", "topic": "devices/+/telemetry/#", "broker": "broker1"},
    ]  # fmt: skip
    (folder / FLOWS).write_text(json.dumps(nodes, indent=2) + "\n", encoding="utf-8")


def shown(folder: Path) -> str:
    """Return the settings of all three to look at; random passwords are not shown."""
    texts = [f"--- {name}\n{(folder / name).read_text(encoding='utf-8')}" for name in SETTINGS.values()]
    return re.sub(r"[A-Za-z0-9_-]{20}", "(a random password)", "\n".join(texts))


def _dashboard(path: Path) -> Login:
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(path, encoding="utf-8")
    if settings.getboolean("auth.anonymous", "enabled", fallback=False):
        return None
    return settings["security"]["admin_user"], settings["security"]["admin_password"]


def _database(path: Path) -> Login:
    settings = tomllib.loads(path.read_text(encoding="utf-8"))
    if not settings["http"].get("auth-enabled", False):
        return None
    return settings["stand-in"]["user"], settings["stand-in"]["password"]


def _flow_editor(path: Path) -> Login:
    admin = json.loads(path.read_text(encoding="utf-8"))["adminAuth"]
    return None if admin is None else (admin["users"][0]["username"], admin["users"][0]["password"])


_LOGINS: dict[str, Callable[[Path], Login]] = {
    DASHBOARD: _dashboard,
    DATABASE: _database,
    FLOW_EDITOR: _flow_editor,
}


@contextmanager
def stand_ins(folder: Path) -> Iterator[tuple[Tool, ...]]:
    """Run the three stand-ins on loopback for the length of the block, and yield where they are.

    Args:
        folder: Where their settings are; they are read anew at each request.
    """
    servers = [_server(folder / SETTINGS[name], name) for name in PATHS]
    threads = [
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        for server in servers
    ]
    try:
        for thread in threads:
            thread.start()
        yield tuple(
            Tool(name, f"http://{LOOPBACK}:{server.server_port}", PATHS[name])
            for name, server in zip(PATHS, servers, strict=True)
        )
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join()


class _Tool(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing: with settings that can't be read a product would not start, and whoever asks hears nothing."""


def _server(settings: Path, name: str) -> http.server.ThreadingHTTPServer:
    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = 5.0
        server_version, sys_version = f"stand-in-{name.replace(' ', '-')}", ""

        def do_GET(self) -> None:  # the name that http.server calls
            wanted = _LOGINS[name](settings)
            if self.path not in PATHS[name]:
                self._answer(HTTPStatus.NOT_FOUND, {"message": "not found"})
            elif wanted is not None and self.headers.get("Authorization") != _basic(wanted):
                self._answer(HTTPStatus.UNAUTHORIZED, {"message": "who are you?"})
            else:
                self._answer(HTTPStatus.OK, {"from": f"a stand-in for a {name}"})

        def _answer(self, status: HTTPStatus, value: object) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = _Tool((LOOPBACK, 0), Handler)
    server.daemon_threads = True
    return server


def _basic(login: tuple[str, str]) -> str:
    return f"Basic {base64.b64encode(':'.join(login).encode()).decode()}"
