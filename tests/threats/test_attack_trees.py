"""Attack trees: the ways to a goal, and what it takes to shut them."""

from __future__ import annotations

import pytest

from labkit.threats import MIRAI, TREES, Node
from labkit.threats.attack_trees import text
from labkit.threats.diagram import attack_tree


def leaf(name: str) -> Node:
    """Return a leaf."""
    return Node(name, threat=name)


TREE = Node(
    "goal", "any", (leaf("a"), Node("both", "all", (leaf("b"), Node("one", "any", (leaf("c"), leaf("a"))))))
)


def test_ways() -> None:
    """A way takes every step of an `all` and one of an `any`; a way that contains another is left out."""
    assert [{"a"}, {"b", "c"}] == TREE.ways()


@pytest.mark.parametrize(
    ("closed", "left"), [((), 2), (("a",), 1), (("b",), 1), (("a", "b"), 0), (("a", "c"), 0), (("z",), 2)]
)
def test_a_way_is_shut_by_one_of_its_threats(closed: tuple[str, ...], left: int) -> None:
    """One closed threat shuts a way; the goal is out of reach when every way is shut."""
    assert left == len(TREE.open_ways(closed))


def test_a_node_is_a_leaf_or_a_gate() -> None:
    """A leaf without a threat, or a gate without steps, makes no sense."""
    for bad in ({"gate": "all"}, {}, {"gate": "any", "steps": (leaf("a"),), "threat": "a"}):
        with pytest.raises(ValueError, match="a leaf has a threat"):
            Node("goal", **bad)  # type: ignore[arg-type]


def test_every_tree_has_ways_and_can_be_shut() -> None:
    """Each goal can be reached at first, and not any more when all its threats are closed."""
    for tree in [*TREES.values(), MIRAI]:
        assert tree.open_ways(())
        assert [] == tree.open_ways({leaf.threat for leaf in tree.leaves()})


def test_mirai_has_one_way_and_each_step_ends_it() -> None:
    """Mirai needed four things at once; without any one of them it would have been nothing."""
    (way,) = MIRAI.ways()
    assert 4 == len(way)
    assert all(MIRAI.open_ways({threat}) == [] for threat in way)


def test_zones_and_passwords_shut_the_botnet_tree() -> None:
    """One flow that is not allowed shuts the botnet's tree, because every way passes it; one password does not."""
    assert [] == TREES["botnet"].open_ways({"botnet"})
    assert 2 == len(TREES["botnet"].open_ways({"default-password"}))


def test_a_tree_as_text() -> None:
    """As text a tree shows its gates, its steps, and what is shut."""
    assert [
        "goal (any of these)", "├─ a  [shut]", "└─ both (all of these)", "   ├─ b", "   └─ one (any of these)",
        "      ├─ c", "      └─ a  [shut]",
    ] == text(TREE, {"a"}).splitlines()  # fmt: skip


def test_a_tree_for_mermaid() -> None:
    """The diagram has a title, a description with the numbers, and says in words what is shut."""
    drawn = attack_tree(TREE, {"a"})
    assert "accTitle: Attack tree: goal" in drawn
    assert "accDescr: 2 ways lead to it, of which 1 are open." in drawn
    assert 'n0["a (shut)"]:::shut' in drawn
    assert 6 == drawn.count(" --- ")
