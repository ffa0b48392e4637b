"""The zoo: what is written about each specimen is what three real judges say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from labkit.pki.zoo import ACCEPTED, BROKER_DIED, ZOO, Keeper, Specimen, findings, make_zoo
from labkit.scenarios.zoo import Visit, visit_zoo
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from labkit.broker import Mosquitto
    from labkit.pki import Store

pytestmark = [pytest.mark.broker, pytest.mark.tool]


@pytest.fixture(scope="module")
def visits(
    mosquitto: Mosquitto, openssl: object, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Visit]:
    """Return what the judges said, by specimen."""
    workspace = Workspace.open(tmp_path_factory.mktemp("zoo") / "w")
    return {visit.specimen.name: visit for visit in visit_zoo(workspace)}


@pytest.mark.parametrize("specimen", ZOO, ids=lambda specimen: specimen.name)
def test_what_is_written_is_what_the_judges_say(visits: dict[str, Visit], specimen: Specimen) -> None:
    """The linter finds its rule, openssl verify has its error, and the peer its reason."""
    visit = visits[specimen.name]
    if specimen.rule:
        assert specimen.rule in visit.rules
    else:
        assert visit.rules == ()
    assert specimen.openssl == visit.openssl, visit.openssl_words
    if specimen.alone:  # other versions of Mosquitto survive it
        assert visit.peer in {BROKER_DIED, ACCEPTED}
    else:
        assert specimen.peer == visit.peer


@pytest.mark.parametrize("specimen", ZOO, ids=lambda specimen: specimen.name)
def test_where_a_judge_does_not_mind_a_note_says_why(specimen: Specimen) -> None:
    """Each specimen is found by the linter or has a note; each one that the peer accepts has a note."""
    assert specimen.rule or specimen.note
    assert specimen.note or specimen.peer != ACCEPTED
    assert specimen.defect.endswith(".")


def test_a_good_one_has_no_finding(store: Store) -> None:
    """The positive control: a certificate with nothing wrong is found with nothing, by the same path."""
    from labkit.clock import SYSTEM_CLOCK
    from labkit.pki.zoo import Exhibit

    root = store.root(b"correct horse")
    keeper = Keeper(root, store.authority(), SYSTEM_CLOCK)
    good = keeper.intermediate.issue_device("sensor-001")
    exhibit = Exhibit(good.certificate_pem, good.key_pem)
    device = next(specimen for specimen in ZOO if specimen.name == "expired")
    assert findings(device, exhibit, keeper) == []


def test_the_zoo_leaves_no_trace(store: Store) -> None:
    """Making every specimen puts nothing on the ledger."""
    from labkit.clock import SYSTEM_CLOCK

    before = store.ledger.entries()
    made = make_zoo(Keeper(store.root(b"correct horse"), store.authority(), SYSTEM_CLOCK))
    assert len(made) == len(ZOO) > 25
    assert before == store.ledger.entries()
    assert "PRIVATE" not in repr(made)
