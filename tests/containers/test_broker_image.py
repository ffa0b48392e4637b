"""docker/broker: what the image's own programs refuse, tried with this machine's Mosquitto instead of the image's."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from labkit.broker import BrokerConfig, Listener
from labkit.broker.config import render, vocabulary
from labkit.broker.guarded import OPENSSL_CONF
from labkit.broker.log_file import LogFile
from labkit.clock import Deadline
from labkit.mqtt import Endpoint, Identity, probe
from labkit.ports import is_listening, reserve_port
from labkit.scenarios.mutual_tls import configuration
from labkit.workspace import write_atomic
from tests.conftest import missing
from tests.simulators.processes import wait_until_gone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.broker import Mosquitto
    from labkit.outcome import Outcome
    from labkit.pki import Store

IMAGE = Path("docker/broker").absolute()
REFUSED = 78  # EX_CONFIG


@pytest.fixture
def config(store: Store, tmp_path: Path) -> Iterator[BrokerConfig]:
    """Return our configuration, for a free port."""
    write_atomic(tmp_path / "acl.conf", "topic read x\n", secret=True)
    user = "root" if os.geteuid() == 0 else None
    with reserve_port() as port:
        made = configuration(store, tmp_path, port=port)
        yield dataclasses.replace(made, user=user)


class Serve:
    """The image's entry point, with a folder of ours."""

    def __init__(self, folder: Path, mosquitto: Mosquitto) -> None:
        self.folder = folder
        self.env = {
            "PATH": f"{mosquitto.path.parent}:/usr/bin:/bin",
            "LABKIT_BROKER_FOLDER": str(folder),
            "LABKIT_BROKER_WORDS": str(IMAGE / "words"),
            **mosquitto.env,
        }
        write_atomic(folder / "openssl.cnf", OPENSSL_CONF)

    def refused(self, text: str | None, **env: str) -> str:
        """Return why a configuration is refused."""
        if text is not None:
            (self.folder / "mosquitto.conf").write_text(text)
        ended = subprocess.run(
            [IMAGE / "serve"],
            env={**self.env, **env},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert ended.returncode == REFUSED, ended
        return ended.stderr

    def start(self, config: BrokerConfig, *words: str, **env: str) -> tuple[subprocess.Popen[bytes], LogFile]:
        """Start it and wait until the broker runs."""
        (self.folder / "mosquitto.conf").write_text(render(config))
        log = self.folder / "log"
        with log.open("ab") as output:
            child = subprocess.Popen(
                [IMAGE / "serve", *words],
                env={**self.env, **env},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
            )
        file = LogFile(log)
        assert file.wait_for(lambda event: event.kind == "running", timeout=10.0), file.tail()
        return child, file


@pytest.fixture
def serve(mosquitto: Mosquitto, tmp_path: Path) -> Serve:
    """Return the entry point."""
    (tmp_path / "broker").mkdir()
    return Serve(tmp_path / "broker", mosquitto)


def test_words_are_the_renderers() -> None:
    """The image knows exactly the words that labkit can write."""
    assert (IMAGE / "words").read_text().split() == vocabulary()


def test_nothing_starts_without_our_configuration(serve: Serve) -> None:
    """Without a configuration the image does not start, and says what to type."""
    said = serve.refused(None)
    assert "there is no configuration" in said
    assert "labkit broker render" in said


@pytest.mark.broker
def test_our_configuration_starts(serve: Serve, config: BrokerConfig) -> None:
    """What the course renders is served; SIGTERM ends it at once."""
    child, _ = serve.start(config)
    with child:
        assert is_listening(config.listeners[0].port)
        child.send_signal(signal.SIGTERM)
        assert child.wait(5) == 0


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"allow_anonymous": True}, "allow_anonymous is not false"),
        ({"require_certificate": None}, "it asks for no certificate"),
        ({"require_certificate": False}, "it asks for no certificate"),
        ({"certfile": None}, "it has no certificate of its own"),
        ({"cafile": None}, "it knows no authority"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_weaker_configuration_is_refused(
    serve: Serve, config: BrokerConfig, change: dict[str, Any], why: str
) -> None:
    """Each thing that would let in who can't prove who they are keeps the broker from starting."""
    if "allow_anonymous" in change:
        weak = dataclasses.replace(config, **change)
    else:
        weak = dataclasses.replace(config, listeners=(dataclasses.replace(config.listeners[0], **change),))
    assert why in serve.refused(render(weak))


@pytest.mark.parametrize(
    "word", ["plugin /tmp/x.so", "include_dir /tmp", "per_listener_settings true", "port 1883"]
)
def test_a_word_that_we_never_write_is_refused(serve: Serve, config: BrokerConfig, word: str) -> None:
    """A configuration with a word of somebody else's is not ours, wherever the word stands."""
    assert f"{word.split(maxsplit=1)[0]} is not a word of this course" in serve.refused(
        f"{word}\n{render(config)}"
    )
    assert f"{word.split(maxsplit=1)[0]} is not a word of this course" in serve.refused(
        f"{render(config)}{word}\n"
    )


def test_one_weak_door_of_two_is_refused(serve: Serve, config: BrokerConfig) -> None:
    """A second listener is judged like the first, in either order."""
    for doors in ((Listener(port=1883), *config.listeners), (*config.listeners, Listener(port=1883))):
        said = serve.refused(render(dataclasses.replace(config, listeners=doors)))
        assert "listener 1883: it has no certificate of its own" in said


@pytest.mark.broker
def test_an_open_door_is_for_loopback(serve: Serve) -> None:
    """A lesson that asks for an open door gets it on loopback, and nowhere else."""
    with reserve_port() as port:
        elsewhere = BrokerConfig(listeners=(Listener(port=port, host="0.0.0.0"),), allow_anonymous=True)  # noqa: S104 - to be refused
        assert "must be on loopback" in serve.refused(render(elsewhere), LABKIT_OPEN_DOORS="1")
        door = BrokerConfig(listeners=(Listener(port=port),), allow_anonymous=True)
        child, _ = serve.start(door, LABKIT_OPEN_DOORS="1")
    with child:
        assert is_listening(port)
        child.terminate()


@pytest.mark.broker
def test_it_goes_with_whoever_started_it(serve: Serve, config: BrokerConfig) -> None:
    """With --while-stdin the end of standard input stops the broker; a reload does not."""
    child, log = serve.start(config, "--while-stdin")
    assert child.stdin
    with child:
        child.send_signal(signal.SIGHUP)
        assert log.wait_for(lambda event: event.kind == "reload")
        assert child.poll() is None
        child.stdin.close()
        assert wait_until_gone(child.pid)
    assert child.returncode == 0


@pytest.mark.broker
@pytest.mark.tool
def test_health_is_proved_by_a_handshake(serve: Serve, config: BrokerConfig, store: Store) -> None:
    """The health check passes with our authority's broker, and fails with another root, and with none there."""
    if shutil.which("mosquitto_sub") is None:
        missing("mosquitto_sub is not on this machine; apt install mosquitto-clients")
    files = store.identity("healthcheck")
    write_atomic(serve.folder / "health.crt", files.certificate.read_bytes())
    write_atomic(serve.folder / "health.key", files.key.read_bytes(), secret=True)

    def healthy(root: bytes) -> int:
        write_atomic(serve.folder / "health-root.crt", root)
        env = {**serve.env, "LABKIT_BROKER_PORT": str(config.listeners[0].port)}
        ended = subprocess.run([IMAGE / "healthy"], env=env, capture_output=True, timeout=20, check=False)
        return ended.returncode

    ours = store.trust_anchor.read_bytes()
    assert healthy(ours) != 0
    child, _ = serve.start(config)
    with child:
        assert healthy(ours) == 0
        other = store.intermediate.read_bytes()  # no root of anybody's chain by itself
        assert healthy(other) != 0
        child.terminate()


@pytest.mark.broker
def test_what_changes_is_judged_and_read_again(serve: Serve, config: BrokerConfig, store: Store) -> None:
    """A new revocation list counts without a word to the broker; a configuration that lets anybody in never does."""
    listed = serve.folder / "revoked.crl"
    write_atomic(listed, store.revocations.ensure().pem)
    listener = dataclasses.replace(config.listeners[0], crlfile=listed)
    config = dataclasses.replace(config, listeners=(listener,))
    child, log = serve.start(config)

    def attempt(name: str | None) -> Outcome:
        files = store.identity(name) if name else None
        who = Identity(files.certificate, files.key) if files else None
        return probe(Endpoint("127.0.0.1", listener.port), trust=store.trust_anchor, identity=who)

    with child:
        assert attempt("sensor-001").accepted
        write_atomic(listed, store.revocations.revoke("sensor-001").pem)
        assert log.wait_for(lambda event: event.kind == "reload", timeout=15.0), log.tail()
        assert attempt("sensor-001").reason == "certificate-revoked"
        assert attempt("sensor-002").accepted
        mark = log.mark()
        weak = dataclasses.replace(listener, require_certificate=False)
        write_atomic(
            serve.folder / "mosquitto.conf",
            render(dataclasses.replace(config, listeners=(weak,), allow_anonymous=True)),
        )
        deadline = Deadline(15)
        while "not read again" not in log.path.read_text():
            assert not deadline.passed, log.tail()
            deadline.pause(0.1)
        assert "it asks for no certificate" in log.path.read_text()
        assert not any(event.kind == "reload" for event in log.since(mark))
        assert attempt(None).reason == "certificate-required"
        assert attempt("sensor-002").accepted
        child.terminate()
    assert child.returncode == 0
