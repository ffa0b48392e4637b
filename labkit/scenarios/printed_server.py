"""A museum piece: the provisioning server of many tutorials, written afresh with its faults. Run by `printed_service`.

`python -m labkit.scenarios.printed_server FOLDER [--own-files]` listens on loopback and on nothing else, works on a copy
of an authority in FOLDER, and touches no file outside of it: where its faults would lead out, it says so instead.

Every fault is on purpose, and every one has been seen in print: no login for making tokens, a list of tokens in a file
that everybody reads and writes back, files in a shared folder named after what the client sent, openssl run on them, a
certificate for itself that nobody can verify, and one that waits for each client in turn.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import secrets
import socketserver
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from labkit.clock import SYSTEM_CLOCK

HOST = "127.0.0.1"


class StoppedError(Exception):
    """A fault would have led out of the museum."""


class Server(socketserver.ThreadingTCPServer):
    """Takes connections one after the other, and does the TLS handshake of each before it takes the next."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, folder: Path, *, own_files: bool) -> None:
        self.folder = folder
        self.own_files = own_files
        super().__init__((HOST, 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*_for_itself(folder))
        # FAULT: the handshake happens in accept(), so one client that never begins it stops everybody.
        self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing; tracebacks of a museum piece help nobody."""


class Handler(BaseHTTPRequestHandler):
    """Answers two paths."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer, and call whatever goes wrong an internal error."""
        # FAULT: however long the body is, it is read into memory.
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            told = json.loads(body)
            status, answer = {"/generate-token": self._token, "/provision": self._provision}[self.path](told)
        except StoppedError as stopped:
            status, answer = 403, {"error": f"the museum stops here: {stopped}"}
        except Exception as error:  # noqa: BLE001 - as it is printed
            status, answer = 500, {"error": f"{type(error).__name__}: {error}"}
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""

    def _token(self, told: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        # FAULT: whoever asks gets a token, for any device.
        tokens = self._read()
        token = secrets.token_hex(16)
        tokens[token] = {"device_id": told["device_id"], "used": False}
        self._write(tokens)
        return 200, {"token": token}

    def _provision(self, told: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        tokens = self._read()
        entry = tokens.get(told["token"])
        if entry is None or entry["used"]:
            return 403, {"error": "Invalid or used token"}
        # FAULT: the token's device plays no part in the certificate; the request's own subject does.
        certificate = self._sign(entry["device_id"], told["csr"])
        # FAULT: what others wrote into the list since we read it is gone now.
        tokens[told["token"]]["used"] = True
        self._write(tokens)
        return 200, {"certificate": certificate}

    def _sign(self, device_id: str, csr: str) -> str:
        # FAULT: files in one folder, named after the device. Two requests for one device share them, and an id with
        # dots and slashes in it leads elsewhere.
        stem = f"{device_id}-{secrets.token_hex(4)}" if self.server.own_files else device_id
        request, made = self._inside(f"tmp/{stem}.csr"), self._inside(f"tmp/{stem}.crt")
        request.write_text(csr)
        issuer = self.server.folder / "intermediate"
        argv = ["openssl", "x509", "-req", "-in", str(request), "-CA", str(issuer / "intermediate.crt"),
                "-CAkey", str(issuer / "intermediate.key"), "-set_serial", str(secrets.randbits(120)), "-days", "365",
                "-sha256", "-extfile", str(self.server.folder / "device.ext"), "-out", str(made)]  # fmt: skip
        ended = subprocess.run(argv, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise RuntimeError("Certificate signing failed")
        certificate = made.read_text()
        with (self.server.folder / "signed.log").open("a") as log:
            log.write(f"{device_id}\n")
        request.unlink()
        made.unlink()
        return certificate

    def _inside(self, relative: str) -> Path:
        # The only line that the printed server does not have.
        path = Path(os.path.normpath(self.server.folder / relative))
        if self.server.folder not in path.parents:
            raise StoppedError(relative)
        return path

    def _read(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.server.folder / "tokens.json").read_text())
        return found

    def _write(self, tokens: dict[str, Any]) -> None:
        # FAULT: not even whole; whoever reads in between reads half of it.
        (self.server.folder / "tokens.json").write_text(json.dumps(tokens))


def _for_itself(folder: Path) -> tuple[Path, Path]:
    # FAULT: a new certificate at each start, signed by nobody that anybody knows.
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "*")])
    now = SYSTEM_CLOCK.now()
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + dt.timedelta(days=365)).sign(
        key, hashes.SHA256()
    )
    certificate, secret = folder / "adhoc.crt", folder / "adhoc.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.touch(0o600)
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate, secret


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--own-files", action="store_true")
    words = parser.parse_args()
    server = Server(words.folder.resolve(), own_files=words.own_files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)  # noqa: T201 - to our parent
    sys.stdin.read()


if __name__ == "__main__":
    main()
