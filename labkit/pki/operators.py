"""The authority of the people who run a fleet: another root than the devices', so that no device can ever be one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from labkit.clock import SYSTEM_CLOCK, Clock
from labkit.errors import AuthorityMissingError, NotIssuedError
from labkit.pki.authority import Authority, Issued
from labkit.pki.identities import IdentityFiles, read_certificate, verify_pair
from labkit.pki.keys import Key
from labkit.pki.names import BROKER, operator_name
from labkit.pki.profiles import ROOT
from labkit.workspace import make_folder, os_errors, write_together

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from labkit.workspace import Workspace

FOLDER = "operators"
PROFILE = replace(ROOT, path_length=0, key_kind="p256")
"""One level is enough for a handful of people; it may sign nothing but them."""


class Operators:
    """The operators' authority in a workspace, and their identities.

    Args:
        workspace: The folder.
        clock: What time it is.
    """

    def __init__(self, workspace: Workspace, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._workspace = workspace
        self._clock = clock

    @property
    def trust_anchor(self) -> Path:
        """The authority's certificate: whom a service believes that somebody is an operator."""
        return self._workspace.path(FOLDER, "ca.crt")

    def authority(self) -> Authority:
        """Return the authority; it is made where there is none."""
        with self._workspace.transaction():
            if not self.trust_anchor.exists():
                made = Authority.new_root("IoT Labs Operator CA", profile=PROFILE, clock=self._clock)
                self._save("ca", Issued(made.certificate, made.key, ()))
            files = self._files("ca")
            with os_errors(files.key):
                try:
                    pem = files.key.read_bytes()
                except FileNotFoundError as error:
                    raise AuthorityMissingError(
                        f"The key of the operators' authority is not at {files.key}.",
                        advice="Put it back from where you keep it, or start over: labkit reset",
                        path=files.key,
                    ) from error
            key = Key.load(pem, path=files.key)
            return Authority(read_certificate(files.certificate), key, clock=self._clock)

    def identity(self, name: str = "admin") -> IdentityFiles:
        """Return an operator's identity; issued where there is none or where it has run out.

        Raises:
            NameRefusedError: It is no operator's name.
        """
        return self._ensured(operator_name(name), lambda: self.authority().issue_operator(name))

    def broker(self) -> IdentityFiles:
        """Return the identity with which a broker asks other services; `Caller` takes it for no operator's."""
        return self._ensured(BROKER, lambda: self.authority().issue_broker())

    def existing(self, name: str) -> IdentityFiles:
        """Return an operator's identity that is there.

        Raises:
            NotIssuedError: There is none.
        """
        files = self._files(operator_name(name))
        if not (files.certificate.exists() and files.key.exists()):
            raise NotIssuedError(
                f"The operator {name} has no identity in {self._workspace.root}.",
                advice="It is made by: labkit provision serve",
                name=name,
            )
        return files

    def _ensured(self, name: str, issue: Callable[[], Issued]) -> IdentityFiles:
        files = self._files(name)
        with self._workspace.transaction():
            there = files.certificate.exists() and files.key.exists()
            if there and verify_pair(files).not_valid_after_utc > self._clock.now():
                return files
            return self._save(name, issue())

    def _files(self, name: str) -> IdentityFiles:
        path = self._workspace.path
        return IdentityFiles(name, path(FOLDER, f"{name}.crt"), path(FOLDER, f"{name}.key"))

    def _save(self, name: str, issued: Issued) -> IdentityFiles:
        make_folder(self._workspace.path(FOLDER), private=True)
        files = self._files(name)
        write_together(
            [(files.key, issued.key_pem, True), (files.certificate, issued.certificate_pem, False)]
        )
        return files
