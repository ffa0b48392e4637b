"""The `openssl` command as an independent judge of our certificates."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from labkit import processes
from labkit.errors import ToolFailedError
from labkit.workspace import make_folder, write_atomic

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    from labkit.pki.by_hand import Recipe

_ERROR = re.compile(r"error (\d+) at (\d+) depth lookup: ?(.+)")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `openssl verify` says of a certificate.

    Attributes:
        ok: Whether it accepts it.
        code: The number of the first error (X509_V_ERR_*, `man openssl-verification-options`); 0 if it accepts.
        text: The error in openssl's words; `OK` if it accepts.
        depth: Where in the chain: 0 is the leaf.
        command: What was run, to be typed by hand.
    """

    ok: bool
    code: int
    text: str
    depth: int
    command: str = ""

    def __str__(self) -> str:
        return "OK" if self.ok else f"error {self.code} at depth {self.depth}: {self.text}"


def verify(
    certificate: Path,
    *,
    trust: Path,
    untrusted: Path | Sequence[Path] = (),
    purpose: str | None = None,
    at: dt.datetime | None = None,
    crls: Sequence[Path] = (),
    whole_chain: bool = False,
    strict: bool = True,
) -> Verdict:
    """Ask `openssl verify -x509_strict`.

    The certificate file is read up to its first certificate only: a chain in the same file plays no part, so
    what lies above the leaf goes into `untrusted`. Everything in `trust` that is self-signed is an anchor.

    Args:
        certificate: The certificate in question.
        trust: The trust anchors (`-CAfile`).
        untrusted: Files of certificates that may help to build the chain (`-untrusted`).
        purpose: `sslclient`, `sslserver` or None for any (`-purpose`).
        at: The time to judge at (`-attime`); the machine's own without it.
        crls: Revocation lists; with any, the leaf is looked up (`-CRLfile`, `-crl_check`).
        whole_chain: Look up the authorities too (`-crl_check_all`); each needs its issuer's list then.
        strict: Refuse what TLS clients and brokers let pass, such as missing key identifiers (`-x509_strict`).

    Raises:
        ToolMissingError: There is no openssl.
        ToolFailedError: It gave no verdict, because a file is missing or does not parse.

    Does not check: revocation without `crls`; that of authorities without `whole_chain`.
    """
    argv: list[str | Path] = ["openssl", "verify", "-CAfile", trust, *_without_system()]
    if strict:
        argv.append("-x509_strict")
    for helper in [untrusted] if isinstance(untrusted, Path) else untrusted:
        argv += ["-untrusted", helper]
    if purpose:
        argv += ["-purpose", purpose]
    if at:
        argv += ["-attime", str(int(at.timestamp()))]
    for crl in crls:
        argv += ["-CRLfile", crl]
    if crls:
        argv.append("-crl_check_all" if whole_chain else "-crl_check")
    ended = processes.run([*argv, certificate], check=False)
    command = " ".join(str(word) for word in ended.argv)
    if ended.returncode == 0:
        return Verdict(ok=True, code=0, text="OK", depth=0, command=command)
    if found := _ERROR.search(ended.output):
        code, depth, text = found.groups()
        return Verdict(ok=False, code=int(code), text=text.strip(), depth=int(depth), command=command)
    raise ToolFailedError(
        f"openssl gave no verdict on {certificate}.",
        advice=f"Run it by hand: {command}",
        tool="openssl",
        argv=ended.argv,
        returncode=ended.returncode,
        output=ended.output,
    )


def follow(recipe: Recipe, folder: Path, *, env: Mapping[str, str] | None = None) -> str:
    """Do what a recipe says, and return what openssl printed.

    Args:
        recipe: What to write and what to run; nothing of it goes through a shell that we did not name.
        folder: Where; folders that the recipe names are made in it, and its files are written over.
        env: Passphrases, by the names that the recipe uses.

    Raises:
        ToolMissingError: There is no openssl.
        ToolFailedError: A command failed; those before it have done their work.
    """
    for relative, text in recipe.files.items():
        make_folder((folder / relative).parent, private=True)
        write_atomic(folder / relative, text)
    ended = [processes.run(list(command), cwd=folder, env=env) for command in recipe.commands]
    return "".join(each.output for each in ended)


@cache
def _without_system() -> tuple[str, ...]:
    # Without these, openssl also believes the system's own store. Older versions have not got the second, and LibreSSL,
    # which macOS calls openssl, neither.
    words = version().split()
    if words[0] != "OpenSSL":
        return ()
    return ("-no-CApath",) if words[1].startswith("1.") else ("-no-CApath", "-no-CAstore")


def version() -> str:
    """Return openssl's version line, such as `OpenSSL 3.0.19 27 Jan 2026`.

    Raises:
        ToolMissingError: There is no openssl.
    """
    return processes.run(["openssl", "version"]).stdout.strip()
