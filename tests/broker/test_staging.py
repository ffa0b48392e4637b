"""labkit.broker.staging: a container is given what its configuration names, and nothing else."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from labkit.broker import BrokerConfig, Listener
from labkit.broker.config import parse, render
from labkit.broker.staging import FOLDER, USER, renew, stage
from labkit.errors import WorkspaceUnwritableError
from labkit.scenarios.mutual_tls import configuration
from labkit.workspace import write_atomic

if TYPE_CHECKING:
    from labkit.pki import Store


def names(folder: Path) -> set[str]:
    """Return what is in a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_only_what_is_named_is_there(store: Store, tmp_path: Path) -> None:
    """The folder holds certificate, key, authorities and rules of the broker, and no key of an authority."""
    home = tmp_path / "home"
    home.mkdir()
    write_atomic(home / "acl.conf", "topic read x\n")
    config = configuration(store, home, port=8883)
    staged = stage(config, tmp_path / "out", openssl_conf="# settings\n", more={"health.key": b"k"})
    assert names(tmp_path / "out") == {
        "mosquitto.conf", "acl.conf", "openssl.cnf", "ca.crt", "server.crt", "server.key", "health.key",
    }  # fmt: skip
    keys = [path for path in (tmp_path / "out").iterdir() if b"PRIVATE KEY" in path.read_bytes()]
    assert [store.server().key.read_bytes()] == [path.read_bytes() for path in keys]
    written = parse((tmp_path / "out" / "mosquitto.conf").read_text())
    assert written == staged
    assert str(written.listeners[0].keyfile) == "/broker/server.key"
    assert str(written.acl_file) == "/broker/acl.conf"


@pytest.mark.skipif(os.name != "posix", reason="modes are a POSIX matter")
def test_files_are_for_one_user(store: Store, tmp_path: Path) -> None:
    """Files and folder are readable by one user alone: us, or the image's user where we are root."""
    stage(configuration(store, tmp_path, port=8883), tmp_path / "out", openssl_conf="")
    owner = USER if os.geteuid() == 0 else os.geteuid()
    for path in (tmp_path / "out", *(tmp_path / "out").iterdir()):
        assert path.stat().st_uid == owner
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_what_was_named_before_goes(tmp_path: Path) -> None:
    """A second configuration leaves nothing of the first, nor of a folder of authorities that has shrunk."""
    hashed = tmp_path / "hashed"
    hashed.mkdir()
    (hashed / "root.crt").write_text("root")
    (hashed / "1a2b3c4d.0").symlink_to("root.crt")
    (tmp_path / "list").write_text("list")
    first = BrokerConfig(listeners=(Listener(port=1, capath=hashed, crlfile=tmp_path / "list"),))
    stage(first, tmp_path / "out", openssl_conf="")
    assert names(tmp_path / "out") == {
        "mosquitto.conf", "openssl.cnf", "revoked.crl", "authorities/root.crt", "authorities/1a2b3c4d.0",
    }  # fmt: skip
    (hashed / "1a2b3c4d.0").unlink()
    stage(BrokerConfig(listeners=(Listener(port=1, capath=hashed),)), tmp_path / "out", openssl_conf="")
    assert names(tmp_path / "out") == {"mosquitto.conf", "openssl.cnf", "authorities/root.crt"}


def test_two_listeners_keep_their_files_apart(tmp_path: Path) -> None:
    """A file that two listeners share is there once; two files of one kind have two names."""
    for name in ("a.crt", "b.crt", "shared"):
        (tmp_path / name).write_text(name)
    doors = [Listener(port=n, cafile=tmp_path / f"{name}.crt", crlfile=tmp_path / "shared")
             for n, name in ((1, "a"), (2, "b"))]  # fmt: skip
    staged = stage(BrokerConfig(listeners=tuple(doors)), tmp_path / "out", openssl_conf="")
    assert names(tmp_path / "out") == {"mosquitto.conf", "openssl.cnf", "ca.crt", "1-ca.crt", "revoked.crl"}
    assert [(tmp_path / "out" / Path(str(one.cafile)).name).read_text() for one in staged.listeners] == [
        "a.crt",
        "b.crt",
    ]


def test_renewal_brings_what_changed(store: Store, tmp_path: Path) -> None:
    """Before a reload the files are copied again; a broker that was never staged is left alone."""
    home = tmp_path / "home"
    home.mkdir()
    renew(home)
    assert not (home / FOLDER).exists()
    config = configuration(store, home, port=8883)
    write_atomic(home / "acl.conf", "topic read one\n")
    write_atomic(home / "mosquitto.conf", render(config))
    stage(config, home / FOLDER, openssl_conf="# ours\n")
    write_atomic(home / "acl.conf", "topic read two\n")
    renew(home)
    assert (home / FOLDER / "acl.conf").read_text() == "topic read two\n"
    assert (home / FOLDER / "openssl.cnf").read_text() == "# ours\n"


def test_no_place_is_one_clear_error(store: Store, tmp_path: Path) -> None:
    """Where a file stands in the folder's way the error names it."""
    (tmp_path / "out").write_text("a file")
    with pytest.raises(WorkspaceUnwritableError) as caught:
        stage(configuration(store, tmp_path, port=8883), tmp_path / "out", openssl_conf="")
    assert tmp_path / "out" == caught.value.path
