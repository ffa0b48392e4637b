"""What every service of the house has: an identity from the devices' authority, and an eye on its revocations."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from labkit.clock import SYSTEM_CLOCK
from labkit.errors import LabError
from labkit.pki import IdentityFiles
from labkit.pki.identities import verify_pair
from labkit.workspace import write_together

if TYPE_CHECKING:
    from collections.abc import Callable

    from labkit.pki import Store

_T = TypeVar("_T")

IP_ADDRESSES = ("127.0.0.1", "::1")


def service_identity(store: Store, name: str) -> IdentityFiles:
    """Return a service's own identity, from the devices' authority, so that devices know it from their first day.

    Args:
        store: The authority.
        name: What the service is called; its certificate has `NAME.local` and `localhost`.
    """
    path = store.workspace.path
    files = IdentityFiles(name, path(f"server/{name}.crt"), path(f"server/{name}.key"))
    with store.workspace.transaction():
        try:
            good = verify_pair(files).not_valid_after_utc > SYSTEM_CLOCK.now()
        except (FileNotFoundError, LabError):
            good = False
        if not good:
            issued = store.authority().issue_server((f"{name}.local", "localhost"), IP_ADDRESSES, renew=True)
            write_together([(files.key, issued.key_pem, True), (files.certificate, issued.chain_pem, False)])
    return files


async def in_thread(work: Callable[[], _T]) -> _T:
    """Do what may take long, such as asking a database, beside the loop that serves everybody."""
    return await asyncio.get_running_loop().run_in_executor(None, work)


class Watched:
    """The serial numbers on the authority's register, read again when the file has changed.

    Args:
        store: The authority.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: object = ()
        self._serials: set[str] = set()

    def __call__(self) -> set[str]:
        """Return them."""
        path = self._store.workspace.path("intermediate/revocations.jsonl")
        try:
            found = path.stat()
        except FileNotFoundError:
            return set()
        now = (found.st_mtime_ns, found.st_size, found.st_ino)
        if now != self._seen:
            self._serials = set(self._store.revocations.revoked())
            self._seen = now
        return self._serials
