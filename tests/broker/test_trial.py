"""labkit.broker.trial: new rules are in force for sure, or the old ones are."""

from __future__ import annotations

import dataclasses
import os
import signal
from typing import TYPE_CHECKING

import pytest

from labkit.broker import DEVICE_ACL, Acl, Broker, BrokerConfig, Rule, attach, launch
from labkit.errors import (
    AclError,
    BrokerConfigError,
    BrokerGoneError,
    DiskFullError,
    ReloadRefusedError,
)
from labkit.scenarios import mutual_tls
from tests.simulators.processes import plain

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.broker import Mosquitto
    from labkit.pki import Store
    from labkit.scenarios import Site

pytestmark = pytest.mark.broker


def test_reload_takes_new_rules(site: Site) -> None:
    """New rules are in force after a reload, for those who connect and for the observer's eyes."""
    device = site.identity("sensor-007")
    topic = "devices/sensor-007/status"
    assert site.attempt(device, publish=topic).accepted
    site.reload(DEVICE_ACL.denying("sensor-007"))
    assert site.attempt(device, publish=topic).reason == "not-authorised"
    assert site.attempt(site.identity("sensor-008"), publish="devices/sensor-008/status").accepted
    site.reload(DEVICE_ACL)
    assert site.attempt(device, publish=topic).accepted


def test_bad_rules_never_reach_the_broker(site: Site) -> None:
    """Rules that can't be read are refused before the running broker sees them; the old ones stay in force."""
    before = (site.broker.folder / "acl.conf").read_bytes()
    with pytest.raises(AclError):
        site.reload(Acl((Rule("write", "a/#/b", user="x"),)))
    assert before == (site.broker.folder / "acl.conf").read_bytes()
    assert site.attempt(site.identity("admin"), publish="labkit/x").reason == "not-authorised"


def test_mosquitto_has_the_last_word_on_rules(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules that pass our parser but not Mosquitto's are refused by the trial, and nothing changes."""
    before = (site.broker.folder / "acl.conf").read_bytes()
    monkeypatch.setattr("labkit.broker.acl.render", lambda _: "nonsense a b\n")
    monkeypatch.setattr("labkit.broker.acl.parse", lambda _: None)
    with pytest.raises(ReloadRefusedError):
        site.broker.reload(DEVICE_ACL)
    assert before == (site.broker.folder / "acl.conf").read_bytes()
    assert site.broker.alive


def test_unconfirmed_rules_are_taken_back(site: Site) -> None:
    """If what must be refused is not, the old rules come back."""

    def disappointed() -> None:
        raise ValueError("a forbidden message went through")

    with pytest.raises(ReloadRefusedError, match="went through"):
        site.broker.reload(Acl(()), confirm=disappointed)
    assert site.broker.acl == DEVICE_ACL
    assert site.attempt(site.identity("sensor-001"), publish="devices/sensor-001/status").accepted


def test_reload_by_hand_is_as_careful(site: Site) -> None:
    """A rule file that somebody edited by hand is tried before the running broker is told; 2.0 would fail open."""
    path = site.broker.folder / "acl.conf"
    good = path.read_bytes()
    running = attach(site.broker.folder)
    try:
        path.write_text("user admin\ntopc read #\n")
        with pytest.raises(AclError) as caught:
            running.reload()
        assert caught.value.line == 2
        assert site.attempt(site.identity("admin"), publish="labkit/x").reason == "not-authorised"
    finally:
        path.write_bytes(good)
    running.reload()


def test_2_0_fails_open_if_told_blindly(site: Site, store: Store) -> None:
    """The reason for all that care: told to read a bad rule, 2.0 drops every rule (2.1 quits instead)."""
    with mutual_tls(store) as victim:
        if not victim.broker.version.startswith("2.0"):
            pytest.skip("2.1 and newer quit instead")
        (victim.broker.folder / "acl.conf").write_text("topc nonsense\n")
        mark = victim.broker.log.mark()
        os.kill(victim.broker.pid, signal.SIGHUP)
        assert victim.broker.log.wait_for(lambda event: event.kind == "error", since=mark)
        assert victim.attempt(victim.identity("sensor-001"), publish="devices/sensor-002/status").accepted
    assert (
        site.attempt(site.identity("sensor-001"), publish="devices/sensor-002/status").reason
        == "not-authorised"
    )


def test_a_trial_leaves_nothing(site: Site) -> None:
    """Whether the rules pass or not, nothing of the trial stays in the folder."""
    before = {path.name for path in site.broker.folder.iterdir()}
    site.broker.reload()
    with pytest.raises(ReloadRefusedError):
        site.broker.reload(
            config=dataclasses.replace(_config(site.broker), password_file=site.broker.folder / "no")
        )
    assert before == {path.name for path in site.broker.folder.iterdir()}
    assert site.attempt(site.identity("sensor-001"), publish="devices/sensor-001/status").accepted


def test_a_new_configuration_is_read(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """Options beside the listeners can be changed while it runs, and are taken back if unconfirmed."""
    with Broker(tmp_path, plain, mosquitto=mosquitto) as broker:
        old = _config(broker)
        new = dataclasses.replace(old, allow_anonymous=True)
        broker.reload(config=new)
        assert "allow_anonymous true" in broker.configuration
        assert new == broker.config

        def disappointed() -> None:
            raise ValueError("no")

        with pytest.raises(ReloadRefusedError):
            broker.reload(config=old, confirm=disappointed)
        assert "allow_anonymous true" in broker.configuration
        assert new == broker.config


def test_listeners_stay(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """A configuration with another listener is refused, because Mosquitto would pass over it without a word."""
    with Broker(tmp_path, plain, mosquitto=mosquitto) as broker:
        before = broker.configuration
        with pytest.raises(BrokerConfigError) as caught:
            broker.reload(config=plain(1))
        assert caught.value.key == "listener"
        assert before == broker.configuration
        broker.reload(config=plain(broker.port))


def test_stopped_in_the_middle_the_old_rules_return(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """An interrupt before the new rules are confirmed brings the old ones back."""
    with Broker(tmp_path, plain, mosquitto=mosquitto) as broker:
        before = (tmp_path / "acl.conf").read_bytes()

        def interrupted() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            broker.reload(Acl(()), confirm=interrupted)
        assert before == (tmp_path / "acl.conf").read_bytes()
        assert DEVICE_ACL == broker.acl
        assert broker.alive


def test_rules_that_slip_through_stop_the_broker(
    mosquitto: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If Mosquitto can't read rules that every check let through, it does not go on without any."""
    with Broker(tmp_path, plain, mosquitto=mosquitto) as broker:
        pid = broker.pid
        monkeypatch.setattr(launch, "try_rules", lambda *_: None)
        monkeypatch.setattr("labkit.broker.acl.render", lambda _: "topc nonsense\n")
        monkeypatch.setattr("labkit.broker.acl.parse", lambda _: None)
        with pytest.raises(BrokerGoneError, match="could not read"):
            broker.reload(DEVICE_ACL)
        assert not broker.alive
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_without_space_the_old_rules_stay(
    mosquitto: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the new rules can't be written, both files are what they were."""
    with Broker(tmp_path, plain, mosquitto=mosquitto) as broker:
        before = [(tmp_path / name).read_bytes() for name in ("acl.conf", "mosquitto.conf")]
        real = launch.write_atomic

        def full(path: Path, data: str, **options: bool) -> Path:
            if path.name == "acl.conf":
                raise DiskFullError("No space is left.", advice="-", path=path)
            return real(path, data, **options)

        monkeypatch.setattr(launch, "write_atomic", full)
        with pytest.raises(DiskFullError):
            broker.reload(Acl(()), config=dataclasses.replace(_config(broker), allow_anonymous=True))
        assert before == [(tmp_path / name).read_bytes() for name in ("acl.conf", "mosquitto.conf")]
        monkeypatch.undo()
        broker.reload(Acl(()))


def _config(broker: Broker) -> BrokerConfig:
    assert broker.config is not None
    return broker.config
