"""An authority as many tutorials print it: every command works, and what comes out is wrong in quiet ways."""

from __future__ import annotations

import os
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit import processes
from labkit.pki import IdentityFiles
from labkit.pki.template import random_serial
from labkit.workspace import make_folder, write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.pki import Key, Store

_ORG = "/O=A Tutorial"
_EC = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")


@dataclass(frozen=True, slots=True)
class PrintedAuthority:
    """Where its certificates are.

    Attributes:
        folder: All of it.
        root: Made without any configuration of openssl's.
        intermediate: Its constraints are not critical.
        broker: For servers, with names.
        fullchain: The broker's certificate and the intermediate in one file.
        device: For clients, and nothing else said.
    """

    folder: Path
    root: Path
    intermediate: Path
    broker: Path
    fullchain: Path
    device: Path


@dataclass(frozen=True, slots=True)
class Race:
    """What became of certificates that were signed at the same time.

    Attributes:
        asked: How many were asked for.
        issued: How many came out.
        serials: How many different serial numbers they have.
        consecutive: How many serial numbers are the successor of another one, so that they can be guessed.
        words: What openssl said when it failed, and how often.
    """

    asked: int
    issued: int
    serials: int
    consecutive: int
    words: tuple[tuple[str, int], ...]


def printed_authority(folder: Path) -> PrintedAuthority:
    """Make root, intermediate, broker and device with openssl, as tutorials do.

    Elliptic curves stand in for the RSA keys of the tutorials, which take longer and change nothing here.

    Args:
        folder: Where; it is made. What is there is written over, as the tutorials' scripts do.

    Raises:
        ToolMissingError, ToolFailedError: There is no openssl, or it refused.
    """
    make_folder(folder, private=True)
    # The root takes its basicConstraints from the system's openssl.cnf, or from nowhere: here there is none.
    _openssl(folder, "genpkey", *_EC, "-out", "ca.key", bare=True)
    _openssl(folder, "req", "-new", "-x509", "-key", "ca.key", "-sha256", "-days", "3650",
             "-subj", f"{_ORG}/CN=Tutorial Root CA", "-out", "ca.crt", bare=True)  # fmt: skip
    _sign(folder, "intermediate", name="Tutorial Intermediate CA", issuer="ca", days="1825",
          extensions="basicConstraints=CA:TRUE,pathlen:0\nkeyUsage=keyCertSign,cRLSign\n")  # fmt: skip
    _sign(folder, "broker", name="broker.local", issuer="intermediate", days="365",
          extensions="subjectAltName=DNS:broker.local,DNS:localhost\nextendedKeyUsage=serverAuth\n")  # fmt: skip
    _sign(folder, "device", name="sensor-001", issuer="intermediate", days="365",
          extensions="extendedKeyUsage=clientAuth\n")  # fmt: skip
    chain = (folder / "broker.crt").read_bytes() + (folder / "intermediate.crt").read_bytes()
    write_atomic(folder / "fullchain.crt", chain)
    return PrintedAuthority(
        folder, *(folder / f"{name}.crt" for name in ("ca", "intermediate", "broker", "fullchain", "device"))
    )


def race(printed: PrintedAuthority, *, asked: int = 80, workers: int = 8) -> Race:
    """Sign the same request many times at once, with the file of serial numbers that `-CAcreateserial` keeps.

    Args:
        printed: The authority.
        asked: How many certificates.
        workers: How many openssl processes at a time.

    Raises:
        ToolMissingError: There is no openssl.
    """
    with ThreadPoolExecutor(workers) as pool:
        ended = list(pool.map(lambda number: _sign_once(printed.folder, number), range(asked)))
    serials = [int(each, 16) for each in ended if re.fullmatch(r"[0-9A-F]+", each)]
    said = Counter(each for each in ended if not re.fullmatch(r"[0-9A-F]+", each))
    known = set(serials)
    return Race(
        asked,
        len(serials),
        len(known),
        sum(serial - 1 in known for serial in known),
        tuple(said.most_common(3)),
    )


def sign_as_asked(store: Store, request: bytes, key: Key, *, label: str = "as-asked") -> IdentityFiles:
    """Sign a request as `openssl x509 -req` does: under the name that stands in it.

    Args:
        store: The lab's authority, whose key signs; its ledger learns nothing of it.
        request: The request, in PEM.
        key: The key of whoever asked.
        label: What to call the identity.

    Raises:
        ToolMissingError, ToolFailedError: There is no openssl, or it refused.
    """
    folder = store.workspace.root
    store.workspace.write(f"intruders/{label}.csr", request)
    store.workspace.write(f"intruders/{label}.ext", "extendedKeyUsage=clientAuth\n")
    store.workspace.write(f"intruders/{label}.key", key.pem(), secret=True)
    _openssl(folder, "x509", "-req", "-in", f"intruders/{label}.csr", "-CA", "intermediate/intermediate.crt",
             "-CAkey", "intermediate/intermediate.key", "-set_serial", str(random_serial()), "-sha256", "-days", "1",
             "-extfile", f"intruders/{label}.ext", "-out", f"intruders/{label}.crt")  # fmt: skip
    files = (store.workspace.path("intruders", f"{label}.{suffix}") for suffix in ("crt", "key"))
    return IdentityFiles(label, *files)


def _sign_once(folder: Path, number: int) -> str:
    made = f"race-{number}.crt"
    argv = ["openssl", "x509", "-req", "-in", "device.csr", "-CA", "intermediate.crt", "-CAkey", "intermediate.key",
            "-CAcreateserial", "-days", "1", "-out", made]  # fmt: skip
    ended = processes.run(argv, cwd=folder, check=False)
    if ended.returncode:
        lines = [
            line
            for line in ended.output.splitlines()
            if line and not line.startswith(("Certificate", "subject"))
        ]
        return re.sub(r"^[0-9A-F]+:", "", lines[0]) if lines else "nothing"
    said = processes.run(
        ["openssl", "x509", "-in", made, "-noout", "-serial"], cwd=folder, check=False
    ).stdout
    return said.strip().removeprefix("serial=") or "an empty file"


def _sign(folder: Path, stem: str, *, name: str, issuer: str, days: str, extensions: str) -> None:
    write_atomic(folder / f"{stem}.ext", extensions)
    _openssl(folder, "genpkey", *_EC, "-out", f"{stem}.key")
    _openssl(
        folder, "req", "-new", "-key", f"{stem}.key", "-subj", f"{_ORG}/CN={name}", "-out", f"{stem}.csr"
    )
    _openssl(folder, "x509", "-req", "-in", f"{stem}.csr", "-CA", f"{issuer}.crt", "-CAkey", f"{issuer}.key",
             "-CAcreateserial", "-sha256", "-days", days, "-extfile", f"{stem}.ext", "-out", f"{stem}.crt")  # fmt: skip


def _openssl(folder: Path, *words: str, bare: bool = False) -> None:
    env = {"OPENSSL_CONF": os.devnull} if bare else None
    processes.run(["openssl", *words], cwd=folder, env=env)
