"""labkit.broker.container: who is asked for a container, and what is said when nobody answers.

The engine itself is tried in tests/containers.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from labkit.broker import BrokerConfig, Listener, container, find_mosquitto
from labkit.broker.config import render
from labkit.errors import ToolMissingError
from labkit.scenarios.mutual_tls import configuration
from labkit.workspace import write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.broker import Mosquitto
    from labkit.pki import Store


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget which engine was found before, and what our own environment asks for."""
    container._found.cache_clear()
    monkeypatch.delenv(container.IMAGE_VARIABLE, raising=False)


def test_the_switch(monkeypatch: pytest.MonkeyPatch, mosquitto: Mosquitto) -> None:
    """`LABKIT_BROKER` names an engine; without it, and with `local`, the broker is this machine's program."""
    for said, expected in (
        ("docker", ("docker", "podman")),
        ("Podman", ("podman",)),
        ("local", ()),
        ("", ()),
    ):
        monkeypatch.setenv("LABKIT_BROKER", said)
        assert tuple(container.wanted()) == expected
    assert find_mosquitto() == mosquitto
    monkeypatch.setenv("LABKIT_BROKER", "dokcer")
    with pytest.raises(ToolMissingError, match="dokcer"):
        find_mosquitto()


@pytest.mark.skipif(sys.platform != "linux", reason="engines are for Linux here")
def test_no_engine_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each engine is named with what it said: that it is not there, or that its daemon does not answer."""
    (tmp_path / "docker").write_text("#!/bin/sh\necho 'Cannot connect to the daemon' >&2\nexit 1\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LABKIT_BROKER", "docker")
    with pytest.raises(ToolMissingError) as caught:
        find_mosquitto()
    assert "docker says: Cannot connect to the daemon; podman is not on this machine" in caught.value.message
    assert "LABKIT_BROKER" in caught.value.advice


def test_a_name_that_is_still_taken_is_waited_for(store: Store, tmp_path: Path) -> None:
    """A container that its engine is still removing, and will not remove twice, delays the next one and no more."""
    engine, calls = tmp_path / "docker", tmp_path / "calls"
    engine.write_text(
        f"""#!/bin/sh
echo "$*" >>'{calls}'
case $1 in
    container) [ "$(grep -c ^container '{calls}')" -le 3 ] ;; # it is there, three times
    rm) echo 'removal of container is already in progress' >&2; exit 1 ;;
esac
"""
    )
    engine.chmod(0o755)
    (home := tmp_path / "broker").mkdir()
    write_atomic(home / "mosquitto.conf", render(BrokerConfig(listeners=(Listener(port=1883),))))
    write_atomic(home / "openssl.cnf", "")
    contained = container.Contained(engine, (2, 0, 22), "docker", {}, 1.0)
    command = contained.command(home / "mosquitto.conf", home / "openssl.cnf")
    said = [line.split() for line in calls.read_text().splitlines()]
    assert [words[0] for words in said] == [
        "container",
        "rm",
        "container",
        "rm",
        "container",
        "rm",
        "container",
    ]
    assert {words[-1] for words in said} == {command[command.index("--name") + 1]}


def test_other_systems_are_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where containers run in a machine of their own, the switch is refused with the reason."""
    monkeypatch.setattr("labkit.broker.container.sys.platform", "darwin")
    with pytest.raises(ToolMissingError, match="another loopback"):
        container.find(("docker",))


def test_open_doors_are_seen(store: Store, tmp_path: Path) -> None:
    """A configuration has an open door if it lets in who can't prove who they are, in any of its listeners."""
    closed = configuration(store, tmp_path, port=1)
    assert not container.open_doors(closed)
    assert container.open_doors(configuration(store, tmp_path, port=1, require_certificate=False))
    assert container.open_doors(BrokerConfig(listeners=(*closed.listeners, Listener(port=2))))
    assert container.open_doors(BrokerConfig(listeners=closed.listeners, allow_anonymous=True))
