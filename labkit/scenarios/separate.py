"""An authority apart from the lab's own, for experiments that would spoil it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from labkit.pki import Names, Store
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from labkit.clock import Clock


def separate_authority(
    workspace: Workspace, label: str, *, names: Names | None = None, clock: Clock | None = None
) -> Store:
    """Make an authority with a workspace of its own, below the lab's; what an earlier run left there is removed.

    Args:
        workspace: The lab's.
        label: What to call its folder; plain letters, digits and `-`.
        names: What the authorities are called.
        clock: What time it is.

    Returns:
        Its store. The passphrase of its root is kept beside the key (`kept_passphrase`).

    Raises:
        WorkspaceUnwritableError, DiskFullError: There is no place for it.
    """
    if not label.replace("-", "").isalnum():
        text = f"a label is letters, digits and '-': {label!r}"
        raise ValueError(text)
    folder = workspace.path("scratch", label)
    shutil.rmtree(folder, ignore_errors=True)
    own = Workspace.open(folder)
    store = Store(own, names=names, clock=clock) if clock else Store(own, names=names)
    store.ensure_authority()
    return store
