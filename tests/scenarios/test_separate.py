"""labkit.scenarios.separate: what is done there leaves the lab's own authority alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from labkit.errors import PassphraseError
from labkit.pki import Names
from labkit.scenarios.separate import separate_authority

if TYPE_CHECKING:
    from labkit.pki import Store


def test_it_has_another_root_and_is_made_anew(store: Store) -> None:
    """Two calls give two authorities with their own roots, and the lab's ledger knows nothing of them."""
    before = store.ledger.entries()
    first = separate_authority(store.workspace, "plant-b", names=Names(root="B", intermediate="B CA"))
    first.issue_device("sensor-001")
    root = first.certificate("root")
    second = separate_authority(store.workspace, "plant-b")
    assert ("B", []) == (
        root.subject.rfc4514_string().partition("CN=")[2].partition(",")[0],
        second.devices(),
    )
    assert len({root, second.certificate("root"), store.certificate("root")}) == 3
    assert before == store.ledger.entries()


def test_the_lab_resets_it_away(store: Store) -> None:
    """A reset removes it with everything else that a lab made."""
    made = separate_authority(store.workspace, "plant-b")
    store.workspace.reset()
    assert not made.workspace.root.exists()


def test_a_label_is_no_path(store: Store) -> None:
    """A label that would lead out of the folder is refused, and nothing is removed."""
    with pytest.raises(ValueError, match="label"):
        separate_authority(store.workspace, "../devices")
    assert store.exists


def test_the_passphrase_is_kept_here_and_nowhere_else(store: Store) -> None:
    """The separate root opens with the passphrase beside it; the lab's was made with one that nobody wrote down."""
    made = separate_authority(store.workspace, "plant-b")
    assert made.root(made.kept_passphrase()).is_root
    with pytest.raises(PassphraseError) as caught:
        store.kept_passphrase()
    assert caught.value.path == store.workspace.path("root/ca.key")
