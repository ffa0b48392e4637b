"""labkit.pki.by_hand: the openssl commands make what we make."""

from __future__ import annotations

import subprocess
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from labkit.clock import SYSTEM_CLOCK
from labkit.errors import ToolFailedError
from labkit.pki import (
    Authority,
    Reason,
    Store,
    by_hand,
    describe,
    openssl,
    read_list,
    verify_chain,
    verify_list,
)
from labkit.pki.identities import read_certificate
from labkit.pki.profiles import INTERMEDIATE, ROOT, SERVER, choose
from labkit.workspace import make_folder

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography import x509

pytestmark = pytest.mark.tool

PASS = {"LABKIT_CA_PASSPHRASE": "correct horse", "LABKIT_EXPORT_PASSPHRASE": "battery staple"}
OURS_ALONE = {"serial", "not_before", "not_after", "fingerprint"}


def essence(certificate: x509.Certificate) -> dict[str, Any]:
    """Return everything of a certificate that is not random or of its moment."""
    found = {name: value for name, value in asdict(describe(certificate)).items() if name not in OURS_ALONE}
    found["days"] = round(
        (certificate.not_valid_after_utc - certificate.not_valid_before_utc).total_seconds() / 86400
    )
    found["extensions"] = {(e.oid.dotted_string, e.critical) for e in certificate.extensions}
    return found


@pytest.fixture
def folder(openssl: object, tmp_path: Path) -> Path:
    """Return a folder with the course's subfolders, beside which nothing was made by us."""
    for name in ("root", "intermediate", "server", "devices"):
        make_folder(tmp_path / "x" / name)
    return tmp_path / "x"


@pytest.mark.parametrize("rsa", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_every_level_is_the_twin_of_ours(folder: Path, rsa: bool) -> None:  # noqa: FBT001
    """Root, intermediate, broker and device by hand have the same fields, extensions and criticality as ours."""
    kinds = {profile.name: choose(profile, rsa=rsa) for profile in (ROOT, INTERMEDIATE, SERVER)}
    for recipe in (
        by_hand.root("IoT Labs Root CA", profile=kinds["root"]),
        by_hand.intermediate("IoT Labs Device CA", profile=kinds["intermediate"], above=kinds["root"]),
        by_hand.server(("localhost",), ("127.0.0.1",), profile=kinds["server"], above=kinds["intermediate"]),
        by_hand.device("sensor-001", above=kinds["intermediate"]),
    ):
        openssl.follow(recipe, folder, env=PASS)
    root = Authority.new_root("IoT Labs Root CA", profile=kinds["root"])
    middle = root.new_intermediate("IoT Labs Device CA", profile=kinds["intermediate"])
    ours = [
        root.certificate,
        middle.certificate,
        middle.issue_server(["localhost"], ["127.0.0.1"], profile=kinds["server"]).certificate,
        middle.issue_device("sensor-001").certificate,
    ]
    paths = ("root/ca.crt", "intermediate/intermediate.crt", "server/broker.crt", "devices/sensor-001.crt")
    theirs = [read_certificate(folder / path) for path in paths]
    assert [without_aki_of_root(essence(c)) for c in ours] == [
        without_aki_of_root(essence(c)) for c in theirs
    ]
    verify_chain(theirs[3], [theirs[1]], [theirs[0]], purpose="client", now=SYSTEM_CLOCK.now())
    verify_chain(
        theirs[2], [theirs[1]], [theirs[0]], purpose="server", now=SYSTEM_CLOCK.now(), name="127.0.0.1"
    )


@pytest.mark.broker
def test_labkit_takes_over_what_was_made_by_hand(folder: Path, mosquitto: object) -> None:
    """An authority that openssl made is a store to us, and a broker lets its devices in."""
    from labkit.scenarios import mutual_tls
    from labkit.workspace import Workspace

    workspace = Workspace.open(folder.with_name("own"))
    for name in ("root", "intermediate", "server", "devices"):
        make_folder(workspace.path(name))
    for recipe in (
        by_hand.root("Root").then(by_hand.intermediate("Device CA")),
        by_hand.server(("localhost",), ("127.0.0.1",)).then(by_hand.device("sensor-001")),
    ):
        openssl.follow(recipe, workspace.root, env=PASS)
    with mutual_tls(Store(workspace)) as site:
        assert site.publish("sensor-001", "devices/sensor-001/status", "ok").accepted


def without_aki_of_root(found: dict[str, Any]) -> dict[str, Any]:
    """Drop the one difference: some versions of openssl leave the authority key identifier out of a root."""
    if found["role"] == "root":
        found["extensions"] -= {("2.5.29.35", False)}
    return found


def test_a_list_by_hand_is_as_good_as_ours(store: Store, openssl: object) -> None:
    """openssl ca puts a device on a list that we verify, with the reason that we gave."""
    files = store.issue_device("sensor-007")
    ask(store, by_hand.revoke(f"devices/{files.certificate.name}", Reason.KEY_COMPROMISE))
    said = ask(store, commands_of(by_hand.revocation_list()))
    found = read_list(store.workspace.path("by-hand/crl.pem").read_bytes())
    verify_list(found, store.certificate("intermediate"), now=SYSTEM_CLOCK.now())
    serial = store.certificate("sensor-007").serial_number
    assert [(serial, Reason.KEY_COMPROMISE)] == [(number, reason) for number, _, reason in found]
    assert "verify OK" in said


def commands_of(recipe: by_hand.Recipe) -> by_hand.Recipe:
    """Return the commands alone, so that the database of the step before is kept."""
    return by_hand.Recipe(recipe.commands)


def ask(store: Store, recipe: by_hand.Recipe) -> str:
    """Follow a recipe in a store's workspace."""
    return openssl.follow(recipe, store.workspace.root, env=PASS)


def test_an_export_by_hand_opens(store: Store, openssl: object) -> None:
    """The PKCS #12 file opens with its passphrase, and has the key and all three certificates."""
    from cryptography.hazmat.primitives.serialization import pkcs12

    store.issue_device("sensor-007")
    ask(store, by_hand.export("sensor-007", "x.p12"))
    data = store.workspace.path("x.p12").read_bytes()
    key, certificate, others = pkcs12.load_key_and_certificates(data, b"battery staple")
    assert key is not None
    assert certificate == store.certificate("sensor-007")
    assert {store.certificate("intermediate"), store.certificate("root")} == set(others)


def test_a_recipe_can_be_pasted(folder: Path) -> None:
    """The text is what a shell does: root and intermediate are there afterwards, and verify."""
    recipe = by_hand.root("It's the Root").then(by_hand.intermediate("Device CA"))
    subprocess.run(
        ["sh", "-eu", "-c", str(recipe)], cwd=folder, env={"PATH": "/usr/bin:/bin:/usr/local/bin", **PASS},
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    assert openssl.verify(folder / "intermediate/intermediate.crt", trust=folder / "root/ca.crt").ok


def test_a_failing_command_is_told(folder: Path) -> None:
    """Without the root's key nothing is signed, and the error is openssl's own."""
    with pytest.raises(ToolFailedError) as caught:
        openssl.follow(by_hand.intermediate("Device CA"), folder, env=PASS)
    assert "root/ca" in caught.value.output
    assert not (folder / "intermediate/intermediate.crt").exists()


def test_show_reads_what_we_made(store: Store, openssl: object) -> None:
    """The command reads our certificate, with our name in it."""
    assert "IoT Labs Root CA" in ask(store, by_hand.show("root/ca.crt"))
