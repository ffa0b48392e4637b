"""A platform as many clouds had it, id and token, beside mutual TLS on the same broker; and the way from one to the other."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from labkit.broker import Broker, BrokerConfig, Listener
from labkit.broker.passwords import password_file
from labkit.devices import new_token
from labkit.firmware import NvsEntry, build_image, read_image
from labkit.mqtt import Endpoint, probe
from labkit.ports import reserve_port
from labkit.scenarios.mutual_tls import Site, configuration
from labkit.workspace import make_folder, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from labkit.outcome import Outcome
    from labkit.pki import Store
    from labkit.provisioning.slots import Slot


class TokenPlatform:
    """A broker with two doors: one for ids and tokens, one for certificates. Get one from `token_platform`.

    Attributes:
        site: The broker, seen through the door for certificates.
        tokens: The tokens by device; what the platform's database has.
    """

    def __init__(self, site: Site, users: Path, tokens: dict[str, str]) -> None:
        self.site = site
        self.tokens = tokens
        self._users = users

    @property
    def token_door(self) -> Endpoint:
        """Where devices show id and token."""
        config = self.site.broker.config
        if config is None:
            text = "the broker is not running"
            raise RuntimeError(text)
        return Endpoint(self.site.host, config.listeners[1].port)

    def attempt(self, device_id: str, token: str, *, publish: str | None = None) -> Outcome:
        """Try the door for tokens, with a token that somebody has."""
        return probe(
            self.token_door, trust=self.site.trust, username=device_id, password=token, publish=publish
        )

    def forget(self, device_id: str) -> None:
        """Take a token back: its line goes, and the broker reads its file again."""
        del self.tokens[device_id]
        self._write()
        self.site.broker.reload()

    def flash_of(self, device_id: str) -> bytes:
        """Return what lies in the flash of a device with a token."""
        return build_image(
            [
                NvsEntry("platform", "device_id", "string", device_id),
                NvsEntry("platform", "token", "string", self.tokens[device_id]),
            ]
        )

    def _write(self) -> None:
        write_atomic(self._users, password_file(self.tokens), secret=True)


def flash_with_certificate(device_id: str, slot: Slot) -> list[NvsEntry]:
    """Return the values in the flash of a device with a certificate."""
    return [
        NvsEntry("identity", "device_id", "string", device_id),
        NvsEntry("identity", "chain", "string", slot.chain.read_text()),
        NvsEntry("identity", "key", "string", slot.key.read_text()),
    ]


def read_flash(dump: bytes) -> dict[str, str]:
    """Return the texts that whoever holds a dump can read in it.

    Raises:
        FormatError: It is encrypted, or no NVS partition.
    """
    return {entry.key: str(entry.value) for entry in read_image(dump)}


@contextmanager
def token_platform(
    store: Store, device_ids: Iterable[str], *, folder: str = "broker/platform"
) -> Iterator[TokenPlatform]:
    """Stage a broker with both doors for the length of the block.

    Args:
        store: The devices' authority.
        device_ids: Who has a token at first.
        folder: The broker's folder in the workspace.

    Raises:
        ToolMissingError, BrokerStartError: See `Broker.start`.
    """
    home = make_folder(store.workspace.path(folder), private=True)
    users = home / "passwords"
    tokens = {name: new_token() for name in device_ids}
    write_atomic(users, password_file(tokens), secret=True)
    store.revocations.ensure()

    def make_config(port: int) -> BrokerConfig:
        complete = configuration(store, home, port=port, crlfile=store.revocations.path)
        with reserve_port() as second:
            door = Listener(
                port=second,
                certfile=store.server_chain,
                keyfile=store.server().key,
                tls_version="tlsv1.2",
            )
        return replace(complete, listeners=(*complete.listeners, door), password_file=users)

    with Broker(home, make_config) as broker:
        site = Site(store, broker)
        try:
            yield TokenPlatform(site, users, tokens)
        finally:
            site.close()
