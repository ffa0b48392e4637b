"""labkit.pki.names: one strict grammar."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import NameRefusedError
from labkit.pki import names


@pytest.mark.parametrize("name", ["sensor-001", "a", "0", "x" * 63, "a-b-", "pump7"])
def test_good_ids_are_returned(name: str) -> None:
    """A device id within the grammar comes back as it is."""
    assert name == names.device_id(name)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("sensor-001/commands", "separator"),
        ("sensor-001\\commands", "separator"),
        ("+", "wildcard"),
        ("#", "wildcard"),
        ("sensor-001/#", "separator"),
        ("%u", "substitution"),
        ("$SYS", "reserved"),
        ("..", "path"),
        ("../../escaped", "path"),
        ("", "empty"),
        ("admin", "reserved"),
        ("ADMIN", "reserved"),
        ("x" * 300, "too-long"),
        ("x" * 64, "too-long"),
        ("sens\u043er-001", "not-ascii"),  # a Cyrillic o
        ("sensor\u2010001", "not-ascii"),  # another hyphen
        ("admin ", "grammar"),
        ("x\nadmin", "grammar"),
        ("Sensor-001", "grammar"),
        ("-a", "grammar"),
        ("a.b", "grammar"),
        ("a\0", "grammar"),
        ("intermediate", "reserved"),
        ("nul", "reserved"),
        ("COM1", "reserved"),
    ],
)
def test_bad_ids_are_refused_with_their_rule(name: str, rule: str) -> None:
    """Each dangerous name is refused, and the error says which rule it breaks."""
    with pytest.raises(NameRefusedError) as caught:
        names.device_id(name)
    assert (name, rule) == (caught.value.name, caught.value.rule)
    assert len(str(caught.value)) < 200


@given(st.text(max_size=80))
def test_what_passes_is_harmless(text: str) -> None:
    """Whatever passes has only letters, digits and hyphens, and is nobody's reserved name."""
    try:
        name = names.device_id(text)
    except NameRefusedError:
        return
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert name not in names.RESERVED
    assert 1 <= len(name) <= 63


def test_operators_are_a_list_apart() -> None:
    """Operators have their own names, and no device's name is an operator's."""
    assert names.operator_name("admin") == "admin"
    with pytest.raises(NameRefusedError) as caught:
        names.operator_name("sensor-001")
    assert caught.value.rule == "operator"


def test_one_common_name_and_no_more() -> None:
    """A subject with two common names is refused, and so is one without."""
    assert names.common_name(["a"]) == "a"
    for several, rule in ((["sensor-001", "admin"], "several-names"), ([], "empty")):
        with pytest.raises(NameRefusedError) as caught:
            names.common_name(several)
        assert rule == caught.value.rule


@pytest.mark.parametrize("host", ["localhost", "broker.local", "a.b.c", "x1-y"])
def test_good_hosts(host: str) -> None:
    """A DNS host name comes back as it is."""
    assert host == names.host_name(host)


@pytest.mark.parametrize("host", ["", "*.local", "a..b", "-a", "a-", "a b", "x" * 254, "ä.local", "a\n"])
def test_bad_hosts(host: str) -> None:
    """What is not a host name is refused; wildcards too."""
    with pytest.raises(NameRefusedError) as caught:
        names.host_name(host)
    assert caught.value.rule == "host-name"


def test_addresses() -> None:
    """An IP address of either version is taken, a name is not."""
    assert str(names.ip_address("::1")) == "::1"
    with pytest.raises(NameRefusedError) as caught:
        names.ip_address("localhost")
    assert caught.value.rule == "ip-address"
