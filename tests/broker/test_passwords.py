"""labkit.broker.passwords: files that Mosquitto reads."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from labkit.broker.passwords import password_file
from labkit.mqtt import Relay
from labkit.processes import find_tool, run
from labkit.scenarios.eavesdropping import PASSWORD, log_in_openly, overhear, plain_broker

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.broker import Mosquitto
    from labkit.workspace import Workspace


@pytest.mark.broker
def test_mosquitto_takes_the_right_password_only(workspace: Workspace, mosquitto: Mosquitto) -> None:
    """The right password is let in, a wrong one and an unknown user are not (MQTT 5: 0x86, 0x87)."""
    with plain_broker(workspace) as old:
        codes = [
            log_in_openly(old.endpoint),
            log_in_openly(old.endpoint, password=f"{PASSWORD}x"),
            log_in_openly(old.endpoint, username="nobody"),
        ]
        with pytest.raises(ValueError, match="without TLS"):
            old.stolen_key()
    assert codes[0] == 0
    assert set(codes[1:]) <= {0x86, 0x87}


@pytest.mark.broker
def test_the_password_is_on_the_wire(workspace: Workspace, mosquitto: Mosquitto) -> None:
    """Without TLS a relay reads the password; that is what the experiment is about."""
    with plain_broker(workspace) as old, Relay(old.endpoint) as relay:
        assert log_in_openly(relay.endpoint) == 0
        assert overhear(relay.last(), PASSWORD).accepted


def test_a_password_is_not_in_its_file() -> None:
    """Two users with one password have different lines, and the password is in neither."""
    text = password_file({"a": "secret", "b": "secret"})
    hashes = [line.partition(":")[2] for line in text.splitlines()]
    assert len(set(hashes)) == 2
    assert "secret" not in text


@pytest.mark.parametrize("user", ["", "a:b", "a\nb"])
def test_a_user_name_can_not_end_its_line(user: str) -> None:
    """A colon or a line feed in a name would make other users."""
    with pytest.raises(ValueError, match="user name"):
        password_file({user: "x"})


@pytest.mark.tool
def test_it_looks_like_mosquittos_own(tmp_path: Path) -> None:
    """The line has the form that mosquitto_passwd writes, with the same lengths."""
    if find_tool("mosquitto_passwd") is None:
        pytest.skip("mosquitto_passwd is not here")
    theirs = tmp_path / "theirs"
    run(["mosquitto_passwd", "-c", "-b", theirs, "a", "secret"])
    shape = re.compile(r"a:\$7\$101\$.{16}\$.{88}")
    assert shape.fullmatch(theirs.read_text().strip())
    assert shape.fullmatch(password_file({"a": "secret"}).strip())
