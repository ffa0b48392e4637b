"""labkit.errors: one tree, each leaf with its values and its advice."""

from __future__ import annotations

import inspect
import re

import pytest

from labkit import errors
from labkit.errors import FormatError, LabError, ToolMissingError

LEAVES = [leaf for _, leaf in inspect.getmembers(errors, inspect.isclass) if issubclass(leaf, LabError)]


def test_values_become_attributes() -> None:
    """An error carries its values as attributes and lists them for machines."""
    error = FormatError("bad length", advice="look at the file", what="header", offset=4)
    assert error.offset == 4
    assert error.values() == {"what": "header", "offset": 4}
    assert str(error) == "bad length"


def test_undeclared_and_missing_values_are_refused() -> None:
    """A leaf takes exactly the values that it declares, inherited ones included."""
    with pytest.raises(TypeError, match=r"exactly the values \['tool'\]"):
        ToolMissingError("gone", advice="install it")
    with pytest.raises(TypeError, match="exactly the values"):
        ToolMissingError("gone", advice="install it", tool="x", extra=1)
    assert ToolMissingError("gone", advice="install it", tool="x").values() == {"tool": "x"}


def test_tree_in_the_docstring_is_the_real_one() -> None:
    """The drawing at the top of the module shows every class with its own values."""
    drawn = dict(re.findall(r"(\w+Error)\b[^\n(]*(?:\(([^)]*)\))?", errors.__doc__ or ""))
    assert {leaf.__name__ for leaf in LEAVES} == set(drawn) - {"ValueError", "RuntimeError"}
    for leaf in LEAVES:
        own = [name for name in inspect.get_annotations(leaf) if name not in {"message", "advice"}]
        assert own == [name.strip() for name in drawn[leaf.__name__].split(",") if name.strip()]


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_names_end_in_error(leaf: type[LabError]) -> None:
    """Every class in the tree is called an Error and documented."""
    assert leaf.__name__.endswith("Error")
    assert leaf.__doc__
