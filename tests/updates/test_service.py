"""Updates over mutual TLS, as devices and operators meet them; and what strangers try."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from labkit.clock import Deadline
from labkit.devices import State
from labkit.errors import RefusedError, ReleaseRefusedError, ServiceUnreachableError, UpdateRefusedError
from labkit.firmware.update import HEADER_LENGTH, Target, Version, sign_update
from labkit.firmware.update_stream import UpdateStream
from labkit.mqtt.contexts import client_context
from labkit.node.manifest import read_manifest
from labkit.pki import Authority, Reason, Store
from labkit.scenarios.updates import NAME, PASSPHRASE, PRODUCT, UpdateSite, update_site
from labkit.updates import Depot, Operations, UpdateClient, take
from labkit.updates.policy import place
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

MIB = 1024 * 1024
TARGET = Target(PRODUCT, 1, Version(0, 0, 1))


def code_of(action: Callable[[], Any]) -> str:
    """Do something and return the code of its refusal, or `ok`."""
    try:
        action()
    except RefusedError as error:
        return error.code
    except ServiceUnreachableError:
        return "no-answer"
    return "ok"


def ask(
    client: UpdateClient, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, Mapping[str, str], bytes]:
    """Send a request as anybody could write it, and return status, headers and body."""
    context = client_context(client._trust, client._identity, name=NAME)
    port = int(client.url.rpartition(":")[2])
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=context)
    try:
        sent = {name.replace("_", "-"): text for name, text in headers.items()}
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        return answer.status, dict(answer.headers.items()), answer.read()
    finally:
        connection.close()


def last_decision(office: UpdateSite) -> dict[str, Any]:
    """Return the newest line of the log."""
    found: dict[str, Any] = json.loads(office.decisions.read_text().splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def released(office: UpdateSite) -> bytes:
    """Return an update that everybody is offered."""
    return office.release("1.0.0", percent=100, size=200_000)


# --- what it is for -----------------------------------------------------------------------------------------------


def test_a_device_takes_an_update(office: UpdateSite, released: bytes) -> None:
    """A device is offered the update, streams it into its slot, and reports; it never holds more than a chunk."""
    device = office.device("takes")
    told = device.manifest(PRODUCT, hardware=1, version=Version(0, 0, 1))
    assert told is not None
    manifest = read_manifest(told)
    assert f"/updates/{PRODUCT}/1.0.0.bin" == manifest.path
    slot: list[bytes] = []
    stream = UpdateStream(office.keys.trusted(), TARGET, manifest=manifest)
    header = take(device, manifest.path, stream, slot.append)
    assert (Version(1, 0, 0), released[HEADER_LENGTH:]) == (header.version, b"".join(slot))
    assert max(map(len, slot)) <= 4096
    assert "image" == last_decision(office)["code"]
    assert "running" == device.report(PRODUCT, header.version, "ok")
    assert ("reported-ok", "takes", "device:takes") == tuple(
        last_decision(office)[name] for name in ("code", "subject", "actor")
    )
    assert 1 == office.view("1.0.0").reported["ok"]


def test_who_has_the_newest_is_offered_nothing(office: UpdateSite, released: bytes) -> None:
    """A device that runs the newest release gets 204, and the log says why; an older one is the control."""
    device = office.device("newest")
    assert device.manifest(PRODUCT, version=Version(1, 0, 0)) is None
    assert "nothing-newer" == last_decision(office)["code"]
    assert device.manifest(PRODUCT, version=Version(0, 9, 0)) is not None
    assert "offered" == last_decision(office)["code"]


def test_a_download_goes_on_where_it_ended(office: UpdateSite, released: bytes) -> None:
    """However often the connection ends, each byte is fetched once, and the update is whole."""
    device = office.device("resumes")
    asked: list[int] = []
    real = device.stream

    def cut(path: str, *, start: int = 0, tag: str = "") -> Iterator[tuple[str, bytes]]:
        asked.append(start)
        for number, found in enumerate(real(path, start=start, tag=tag)):
            if number == 10:
                raise ServiceUnreachableError("cut", advice="again", url=device.url)
            yield found

    device.stream = cut  # type: ignore[method-assign]
    slot: list[bytes] = []
    take(device, f"/updates/{PRODUCT}/1.0.0.bin", UpdateStream(office.keys.trusted(), TARGET), slot.append)
    assert released[HEADER_LENGTH:] == b"".join(slot)
    assert [number * 10 * 4096 for number in range(5)] == asked


def test_a_connection_that_brings_nothing_ends_it(office: UpdateSite, released: bytes) -> None:
    """A service that is gone is asked five times, and then the device gives up; the slot is not whole."""
    device, pauses = office.device("gives-up"), []
    gone = UpdateClient("https://127.0.0.1:1", trust=office.store.trust_anchor, identity=device._identity)
    stream = UpdateStream(office.keys.trusted(), TARGET)
    with pytest.raises(ServiceUnreachableError):
        take(gone, "/updates/x/1.0.0.bin", stream, bytes, pause=lambda: pauses.append(1))
    assert (4, 0) == (len(pauses), stream.received)


def test_other_bytes_are_not_stitched_on(office: UpdateSite, released: bytes) -> None:
    """With another validator than the bytes have, the whole is sent and the device begins anew instead of mixing."""
    device = office.device("stitches")
    path = f"/updates/{PRODUCT}/1.0.0.bin"
    assert [] == list(device.stream(path, start=100, tag='"other"'))
    status, headers, body = ask(device, "GET", path, Range="bytes=100-", If_Range='"other"')
    assert (200, len(released)) == (status, len(body))
    status, _, body = ask(device, "GET", path, Range="bytes=100-", If_Range=headers["etag"])
    assert (206, released[100:]) == (status, body)


@pytest.mark.parametrize(
    ("text", "status", "part"),
    [
        ("bytes=0-191", 206, slice(192)),
        ("bytes=0-192", 206, slice(193)),
        ("bytes=190-200", 206, slice(190, 201)),
        ("bytes=192-", 206, slice(192, None)),
        ("bytes=-5", 206, slice(-5, None)),
        ("bytes=0-99999999", 200, slice(None)),
        ("bytes=5-1", 200, slice(None)),
        ("bytes=0-1,5-6", 200, slice(None)),
        ("bytes=" + ",".join(f"{n}-{n}" for n in range(1500)), 200, slice(None)),
    ],
)
def test_ranges(office: UpdateSite, released: bytes, text: str, status: int, part: slice) -> None:
    """A range across header and image is those bytes; many ranges at once save and cost nothing."""
    device = office.client(known(office, "ranges"))
    found, headers, body = ask(device, "GET", f"/updates/{PRODUCT}/1.0.0.bin", Range=text)
    assert (status, released[part]) == (found, body)
    assert str(len(body)) == headers["content-length"]


@pytest.mark.parametrize("text", ["bytes=200192-", "bytes=-0", "bytes=999999999999999-"])
def test_ranges_outside(office: UpdateSite, released: bytes, text: str) -> None:
    """What begins behind the end is 416, with the length."""
    device = office.client(known(office, "ranges"))
    status, headers, body = ask(device, "GET", f"/updates/{PRODUCT}/1.0.0.bin", Range=text)
    assert (416, "range-wrong") == (status, json.loads(body)["code"])
    assert f"bytes */{len(released)}" == headers["content-range"]


_KNOWN: dict[str, Any] = {}


def known(office: UpdateSite, name: str) -> Any:
    """Return the identity of a device that several tests share."""
    if name not in _KNOWN:
        _KNOWN[name] = office.identity(name)
    return _KNOWN[name]


# --- the roll-out -------------------------------------------------------------------------------------------------


def test_a_share_at_a_time(tmp_path: Path, database: str) -> None:
    """At 30 % a device whose turn it is gets it and another does not; at 100 % both do; the trail has every step."""
    store = Store(Workspace.open(tmp_path / "w"))
    with update_site(store, registry=database, workers=2) as office:
        names = [f"staged-{number}" for number in range(20)]
        early = next(name for name in names if place(PRODUCT, name) < 30)
        late = next(name for name in names if place(PRODUCT, name) > 60)
        one, two = office.device(early), office.device(late)
        office.release("2.0.0")
        path = f"/updates/{PRODUCT}/2.0.0.bin"
        assert (None, None) == (one.manifest(PRODUCT), two.manifest(PRODUCT))
        assert "not-its-turn" == code_of(lambda: list(one.stream(path)))
        with office.registry as registry:
            operations = Operations(registry, Depot(store.workspace), office.keys)
            operations.roll_out(PRODUCT, "2.0.0", 30, actor="admin")
            assert one.manifest(PRODUCT) is not None
            assert two.manifest(PRODUCT) is None
            assert ("ok", "not-its-turn") == tuple(
                code_of(lambda c=c: list(c.stream(path)))
                for c in (one, two)  # type: ignore[misc]
            )
            operations.roll_out(PRODUCT, "2.0.0", 30, actor="admin", first=[late])
            assert two.manifest(PRODUCT) is not None
            operations.pause(PRODUCT, "2.0.0", actor="admin")
            assert (None, None) == (one.manifest(PRODUCT), two.manifest(PRODUCT))
            assert "ok" == code_of(lambda: list(one.stream(path)))
            with pytest.raises(ReleaseRefusedError) as caught:
                operations.roll_out(PRODUCT, "2.0.0", 10, actor="admin")
            assert "percent" == caught.value.rule
            operations.roll_out(PRODUCT, "2.0.0", 100, actor="admin")
            assert two.manifest(PRODUCT) is not None
            operations.abort(PRODUCT, "2.0.0", actor="admin")
            assert (None, None) == (one.manifest(PRODUCT), two.manifest(PRODUCT))
            assert "rollout-aborted" == code_of(lambda: list(one.stream(path)))
            with pytest.raises(ReleaseRefusedError) as caught:
                operations.roll_out(PRODUCT, "2.0.0", 100, actor="admin")
            assert "move" == caught.value.rule
            with registry.read() as tx:
                found = [event.action for event in tx.trail.events(f"{PRODUCT}/2.0.0")]
        running = "rollout-running"
        assert ["release-published", running, running, "rollout-paused", running, "rollout-aborted"] == found


def test_failures_stop_a_roll_out(office: UpdateSite) -> None:
    """When too many devices fail, the release is offered to nobody new before a person has even looked."""
    office.release("1.1.0", percent=100)
    devices = [office.device(f"fails-{number}") for number in range(3)]
    states = [device.report(PRODUCT, Version(1, 1, 0), "rolled-back") for device in devices[:2]]
    assert "running" == devices[0].report(
        PRODUCT, Version(1, 1, 0), "rolled-back"
    )  # the same one again counts once
    states.append(devices[2].report(PRODUCT, Version(1, 1, 0), "image-digest"))
    assert ["running", "running", "paused"] == states
    assert {"rolled-back": 2, "image-digest": 1} == office.view("1.1.0").reported
    with office.registry as registry, registry.read() as tx:
        event = tx.trail.events(f"{PRODUCT}/1.1.0")[-1]
        assert ("service", "rollout-paused", "failures") == (event.actor, event.action, event.detail["why"])
        Operations(registry, Depot(office.store.workspace), office.keys).abort(
            PRODUCT, "1.1.0", actor="admin"
        )


def test_an_abort_cuts_who_is_fetching(office: UpdateSite) -> None:
    """A release that is taken back while its image is on its way does not arrive; the control before it does."""
    device = office.device("cut-off")
    update = office.release("1.2.0", percent=100, size=6 * MIB)
    path = f"/updates/{PRODUCT}/1.2.0.bin"
    assert update == b"".join(chunk for _, chunk in device.stream(path))
    taken = 0
    with pytest.raises(ServiceUnreachableError, match="too early|connection ended"):
        for _, chunk in device.stream(path):
            if not taken:
                with office.registry as registry:
                    Operations(registry, Depot(office.store.workspace), office.keys).abort(
                        PRODUCT, "1.2.0", actor="admin"
                    )
            taken += len(chunk)
    assert taken < len(update)
    deadline = Deadline(5)
    while last_decision(office)["code"] != "cut-aborted" and not deadline.passed:
        deadline.pause()
    assert "cut-aborted" == last_decision(office)["code"]


# --- operators ----------------------------------------------------------------------------------------------------


def test_an_operator_publishes(office: UpdateSite) -> None:
    """Over the wire: published once, rolled out, paused, taken back; each with its code in the log."""
    operator, device = office.operator(), office.device("served")
    image = b"\xe9" + bytes(2 * MIB)
    update = sign_update(image, product="other-node", version=Version(1, 0, 0), signer=office.signer)
    kind = {"Content_Type": "application/octet-stream"}
    status, _, body = ask(operator, "POST", "/releases", update, **kind)
    assert (201, "held", len(image)) == (status, json.loads(body)["state"], json.loads(body)["size"])
    assert ("published", "other-node/1.0.0", "admin") == tuple(
        last_decision(office)[name] for name in ("code", "subject", "actor")
    )
    assert 409 == ask(operator, "POST", "/releases", update, **kind)[0]
    base = "/releases/other-node/1.0.0"
    assert 409 == ask(operator, "POST", f"{base}/pause")[0]
    told = json.dumps({"percent": 100}).encode()
    status, _, body = ask(operator, "POST", f"{base}/rollout", told, Content_Type="application/json")
    assert (200, 100) == (status, json.loads(body)["percent"])
    assert update == b"".join(chunk for _, chunk in device.stream("/updates/other-node/1.0.0.bin"))
    assert "paused" == json.loads(ask(operator, "POST", f"{base}/pause")[2])["state"]
    assert "aborted" == json.loads(ask(operator, "POST", f"{base}/abort")[2])["state"]
    listed = json.loads(ask(operator, "GET", "/releases")[2])
    assert "other-node" in {each["product"] for each in listed}


def test_hostile_updates_are_not_published(office: UpdateSite) -> None:
    """What devices would refuse is refused for the same reason, and neither the registry nor the depot has it afterwards."""
    good = sign_update(bytes(4096), product=PRODUCT, version=Version(9, 0, 0), signer=office.signer)
    stranger = UpdateSite(
        Store(Workspace.open(office.store.workspace.path("scratch", "other"))), office.service
    )
    cases = {
        "header: header-short": good[:100],
        "header: header-magic": b"X" + good[1:],
        "signature: signature-wrong": good[:64] + b"\1" + good[65:],
        "signature: key-unknown": sign_update(
            bytes(4096), product=PRODUCT, version=Version(9, 0, 0), signer=stranger.signer
        ),
        "image: image-short": good[:-1],
        "image: image-long": good + b"x",
        "image: image-digest": good[:-1] + b"x",
    }
    before = sorted(path.name for path in office.store.workspace.path("updates").iterdir())
    operator, kind = office.operator(), {"Content_Type": "application/octet-stream"}
    for reason, update in cases.items():
        status, _, body = ask(operator, "POST", "/releases", update, **kind)
        assert (400, "update-refused", reason) == (status, *map(json.loads(body).get, ("code", "detail"))), (
            reason
        )
    assert 413 == ask(operator, "POST", "/releases", bytes(8 * MIB + 100_000), **kind)[0]
    assert 415 == ask(operator, "POST", "/releases", good)[0]
    assert before == sorted(path.name for path in office.store.workspace.path("updates").iterdir())
    with office.registry as registry, registry.read() as tx:
        assert "9.0.0" not in {release.version for release in tx.releases.of(PRODUCT)}
    assert 201 == ask(operator, "POST", "/releases", good, **kind)[0]


def test_what_no_device_could_take_is_not_published(office: UpdateSite, tmp_path: Path) -> None:
    """A lower secure version than before, and a revoked key, are refused; the control with the same number is not."""
    with update_site(Store(Workspace.open(tmp_path / "w"))) as other:
        other.release("1.0.0", secure_version=3)
        with pytest.raises(ReleaseRefusedError) as caught:
            other.release("1.1.0", secure_version=2)
        assert "secure-version-older" == caught.value.rule
        other.release("1.1.0", secure_version=3)
        signer = other.signer
        first = other.keys.find()
        other.keys.promote(other.keys.create(b"another passphrase").key_id)
        other.keys.revoke(first.key_id)
        update = sign_update(bytes(4096), product=PRODUCT, version=Version(1, 2, 0), signer=signer)
        with other.registry as registry, pytest.raises(UpdateRefusedError) as refused:
            Operations(registry, Depot(other.store.workspace), other.keys).publish(update, actor="admin")
        assert "key-revoked" == refused.value.rule


def test_what_a_lost_key_signed_is_offered_to_nobody(tmp_path: Path) -> None:
    """A release is offered until its key is revoked; then neither manifest nor image, and the next key's are."""
    with update_site(Store(Workspace.open(tmp_path / "w"))) as office:
        office.release("1.0.0", percent=100)
        device, path = office.device("sensor-001"), f"/updates/{PRODUCT}/1.0.0.bin"
        assert ("ok", "ok") == (
            code_of(lambda: device.manifest(PRODUCT)),
            code_of(lambda: list(device.stream(path))),
        )
        first = office.keys.find()
        office.keys.promote(office.keys.create(PASSPHRASE).key_id)
        assert device.manifest(PRODUCT) is not None
        office.keys.revoke(first.key_id)
        assert device.manifest(PRODUCT) is None
        assert "key-revoked" == last_decision(office)["code"]
        assert "rollout-aborted" == code_of(lambda: list(device.stream(path)))
        office.release("1.0.1", percent=100)
        assert device.manifest(PRODUCT) is not None


def test_reports_come_from_those_who_were_offered_it(office: UpdateSite) -> None:
    """Who has not been offered a release can't report its failure; who has, can, after its end too."""
    office.release("1.7.0", percent=0)
    device = office.device("outsider")
    assert "not-its-turn" == code_of(lambda: device.report(PRODUCT, Version(1, 7, 0), "brick"))
    with office.registry as registry:
        operations = Operations(registry, Depot(office.store.workspace), office.keys)
        operations.roll_out(PRODUCT, "1.7.0", 0, actor="admin", first=["outsider"])
        operations.abort(PRODUCT, "1.7.0", actor="admin")
    assert {} == office.view("1.7.0").reported
    assert "aborted" == device.report(PRODUCT, Version(1, 7, 0), "brick")
    assert {"brick": 1} == office.view("1.7.0").reported


def test_of_two_who_publish_at_once_one_does(office: UpdateSite) -> None:
    """Eight operators publish eight builds under one version: one is on record, and devices get its bytes."""
    updates = [
        sign_update(bytes([n]) * 4096, product="raced", version=Version(1, 0, 0), signer=office.signer)
        for n in range(8)
    ]
    kind = {"Content_Type": "application/octet-stream"}
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda u: ask(office.operator(), "POST", "/releases", u, **kind)[0], updates))
    assert [201] + [409] * 7 == sorted(found)
    with office.registry as registry:
        Operations(registry, Depot(office.store.workspace), office.keys).roll_out(
            "raced", "1.0.0", 100, actor="admin"
        )
    served = b"".join(chunk for _, chunk in office.device("racer").stream("/updates/raced/1.0.0.bin"))
    assert updates[found.index(201)] == served


# --- who asks -----------------------------------------------------------------------------------------------------


def test_who_may_not(office: UpdateSite, released: bytes) -> None:
    """Nobody, an operator, a stranger, and a device of another authority get no update; a device is the control."""
    path = f"/updates/{PRODUCT}/1.0.0.bin"
    unregistered = office.client(office.store.identity("unregistered"))
    cases = {
        "certificate-missing": office.client(None),
        "not-a-device": office.operator(),
        "certificate-unknown": unregistered,
        "ok": office.device("may"),
    }
    for code, client in cases.items():
        found = {
            code_of(lambda c=client: c.manifest(PRODUCT)),  # type: ignore[misc]
            code_of(lambda c=client: list(c.stream(path))),  # type: ignore[misc]
            code_of(lambda c=client: c.report(PRODUCT, Version(1, 0, 0), "ok")),  # type: ignore[misc]
        }
        assert {code} == found, code
    issued = Authority.new_root("Rogue").new_intermediate("Rogue CA").issue_device("may")
    rogue = office.client(office.store.save_intruder("rogue", issued, with_chain=True))
    assert "no-answer" == code_of(lambda: rogue.manifest(PRODUCT))


def test_what_only_operators_do(office: UpdateSite, released: bytes) -> None:
    """A device, even one called admin, publishes nothing and aborts nothing; the release stands as it stood."""
    before = office.view("1.0.0")
    clients = {
        "certificate-missing": office.client(None),
        "not-an-operator": office.client(office.store.identity("admin")),
    }
    calls = [
        ("GET", "/releases"),
        ("POST", "/releases"),
        ("POST", f"/releases/{PRODUCT}/1.0.0/pause"),
        ("POST", f"/releases/{PRODUCT}/1.0.0/abort"),
        ("POST", f"/releases/{PRODUCT}/1.0.0/rollout"),
    ]
    for code, client in clients.items():
        for method, path in calls:
            body = b'{"percent": 0}' if path.endswith("rollout") else None
            kind = {"Content_Type": "application/json"} if body else {}
            _, _, told = ask(client, method, path, body, **kind)
            assert code == json.loads(told)["code"], (code, path)
    assert before == office.view("1.0.0")
    assert 200 == ask(office.operator(), "GET", "/releases")[0]


def test_no_device_speaks_for_another(office: UpdateSite, released: bytes) -> None:
    """Whatever a header or a query says, the certificate in the connection decides who it was."""
    device = office.device("honest-one")
    headers = {"X_Device_Id": "takes", "X_Client_Cert": "takes", "Authorization": "Bearer takes"}
    body = json.dumps({"version": "1.0.0", "code": "brick"}).encode()
    status, _, told = ask(
        device, "POST", f"/updates/{PRODUCT}/report?device_id=takes", body,
        Content_Type="application/json", **headers,
    )  # fmt: skip
    assert (200, "honest-one") == (status, json.loads(told)["device_id"])
    body = json.dumps({"version": "1.0.0", "code": "brick", "device_id": "takes"}).encode()
    path = f"/updates/{PRODUCT}/report"
    assert 400 == ask(device, "POST", path, body, Content_Type="application/json")[0]
    assert "running" == device.report(PRODUCT, Version(1, 0, 0), "ok")


@pytest.mark.parametrize("way", ["quarantined", "revoked", "superseded", "elsewhere"])
def test_who_was_taken_out_of_service(office: UpdateSite, released: bytes, way: str) -> None:
    """A device that is out of service, or whose certificate is, gets neither manifest nor image; before, it did."""
    device = office.device(f"out-{way}")
    assert device.manifest(PRODUCT) is not None
    with office.registry as registry:
        with registry.begin() as tx:
            found = tx.fleet.get(f"out-{way}", lock=True)
            if way in {"quarantined", "revoked"}:
                tx.fleet.move(found, State(way), actor="test")
            if way == "superseded":
                tx.certificates.end_all(f"out-{way}", Reason.SUPERSEDED)
        if way == "elsewhere":
            with registry.read() as tx:
                entries = [each.entry for each in tx.certificates.of(f"out-{way}")]
            office.store.revocations.revoke_entries(entries)
    expected = {
        "quarantined": "device-quarantined", "revoked": "device-revoked",
        "superseded": "certificate-superseded", "elsewhere": "certificate-revoked",
    }[way]  # fmt: skip
    assert expected == code_of(lambda: device.manifest(PRODUCT))
    assert expected == code_of(lambda: list(device.stream(f"/updates/{PRODUCT}/1.0.0.bin")))


# --- what people send ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/updates/..%2f..%2fetc%2fpasswd",
        "/updates/../../etc/passwd",
        "/updates/..",
        "/updates/%2e%2e/1.0.0.bin",
        "/updates/course-node/..%2f..%2froot%2fca.key",
        "/updates/course-node/../../root/ca.key",
        "/updates/course-node/1.0.0.bin/../../x",
        "/updates/course-node/99999999.0.0.bin",
        "/updates/course-node/01.0.0.bin",
        "/updates/course-node/1.0.0",
        "/updates/course-node/1.0.0.bin%00",
        "/updates/COURSE-NODE",
        "/updates/" + "a" * 5000,
        "/updates/%ff%fe",
        "//updates/course-node",
    ],
)
def test_paths_lead_nowhere_else(office: UpdateSite, released: bytes, path: str) -> None:
    """A path with tricks in it is not found or malformed, for a device too; the right one is served after it."""
    device = office.client(known(office, "paths"))
    status, _, body = ask(device, "GET", path)
    assert status in {400, 404}, body
    assert b"PRIVATE" not in body
    assert 200 == ask(device, "GET", f"/updates/{PRODUCT}")[0]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("hardware=-1", 400),
        ("hardware=65536", 400),
        ("hardware=1&hardware=2", 200),
        ("version=1.2", 400),
        ("version=99999.0.0", 400),
        ("version=" + "9" * 3000, 400),
        ("hardware=%00", 400),
        ("nonsense=1", 200),
    ],
)
def test_queries(office: UpdateSite, released: bytes, query: str, status: int) -> None:
    """What a device says of itself is checked like everything else that comes in."""
    device = office.client(known(office, "paths"))
    assert status == ask(device, "GET", f"/updates/{PRODUCT}?{query}")[0]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b'{"version": 1, "code": "ok"}', b'{"version": "1.0.0", "code": "A B"}',
             b'{"version": "1.0.0", "code": "\\u0000"}', b"[" * 10_000],
)  # fmt: skip
def test_reports_that_are_none(office: UpdateSite, released: bytes, body: bytes) -> None:
    """A report that is not one is refused, and counts for nothing."""
    device, before = office.client(known(office, "paths")), office.view("1.0.0").reported
    path = f"/updates/{PRODUCT}/report"
    status, _, told = ask(device, "POST", path, body, Content_Type="application/json")
    assert (400, "malformed") == (status, json.loads(told)["code"])
    assert before == office.view("1.0.0").reported


def test_a_devices_body_is_short(office: UpdateSite, released: bytes) -> None:
    """An operator may send megabytes; whoever is none may not, before anything of it is kept."""
    device = office.client(known(office, "paths"))
    before = memory(office)
    for client in (device, office.client(None)):
        status, _, body = ask(
            client, "POST", "/releases", bytes(500_000), Content_Type="application/octet-stream"
        )
        assert (413, "body-too-large") == (status, json.loads(body)["code"])
    assert memory(office) < before + 10


def memory(office: UpdateSite) -> float:
    """Return the service's memory, in MiB."""
    return sum(psutil.Process(pid).memory_info().rss for pid in office.service.pids) / MIB


def test_huge_headers_are_cut_off(office: UpdateSite, released: bytes) -> None:
    """Headers of 17 KiB in one piece, or in many fields, are a 400; those of 8 KiB are none."""
    device = office.client(known(office, "paths"))
    assert 400 == ask(device, "GET", f"/updates/{PRODUCT}", X_Long="a" * 17_000)[0]
    many = {f"X_{number}": "a" * 190 for number in range(99)}
    assert 400 == ask(device, "GET", f"/updates/{PRODUCT}", **many)[0]
    assert 200 == ask(device, "GET", f"/updates/{PRODUCT}", X_Long="a" * 8_192)[0]


def test_one_device_does_not_take_every_connection(office: UpdateSite) -> None:
    """The fifth download of a device at the same time is refused; another device's is not."""
    office.release("1.3.0", percent=100, size=7 * MIB)
    path = f"/updates/{PRODUCT}/1.3.0.bin"
    greedy, other = office.device("greedy"), office.device("modest")
    held = [greedy.stream(path) for _ in range(4)]
    for each in held:
        next(each)
    assert "too-many-downloads" == code_of(lambda: next(greedy.stream(path)))
    assert "ok" == code_of(lambda: next(other.stream(path)))
    for each in held:
        each.close()  # type: ignore[attr-defined]
    deadline = Deadline(10)
    while code_of(lambda: next(greedy.stream(path))) != "ok" and not deadline.passed:
        deadline.pause()
    assert "ok" == code_of(lambda: next(greedy.stream(path)))


@pytest.mark.slow
def test_who_does_not_read_is_cut_off(office: UpdateSite) -> None:
    """Many who ask for an image and read nothing cost little memory, and are cut off after a while."""
    office.release("1.4.0", percent=100, size=8 * MIB - 4096)
    files, before, held = known(office, "paths"), memory(office), []
    request = f"GET /updates/{PRODUCT}/1.4.0.bin HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    for number in range(24):
        one = files if number < 4 else office.identity(f"stalls-{number}")
        context = ssl.create_default_context(cafile=str(office.store.trust_anchor))
        context.load_cert_chain(one.certificate, one.key)
        plain = socket.create_connection(("127.0.0.1", office.service.port), timeout=30)
        held.append(context.wrap_socket(plain, server_hostname="localhost"))
        held[-1].sendall(request)
    deadline = Deadline(18)
    while not deadline.passed:
        assert memory(office) < before + 60
        deadline.pause(0.5)
    for each in held:
        found = b"x"
        try:
            taken = 0
            while found := each.recv(65536):
                taken += len(found)
        except OSError:
            pass
        assert taken < 8 * MIB - 4096
        each.close()
    assert "ok" == code_of(lambda: office.client(files).manifest(PRODUCT))


def test_strangers_learn_nothing_of_failures(office: UpdateSite, released: bytes) -> None:
    """An image that is gone from its place is a 503 without a path in it; put back, it is served."""
    device = office.client(known(office, "paths"))
    update = office.release("1.5.0", percent=100)
    path = office.store.workspace.path("updates", f"{update[72:104].hex()}.bin")
    content = path.read_bytes()
    path.unlink()
    status, _, body = ask(device, "GET", f"/updates/{PRODUCT}/1.5.0.bin")
    assert (503, "image-missing") == (status, json.loads(body)["code"])
    assert str(path.parent).encode() not in body
    path.write_bytes(content)
    assert 200 == ask(device, "GET", f"/updates/{PRODUCT}/1.5.0.bin")[0]


def test_reports_race(office: UpdateSite) -> None:
    """Twelve devices report at once: each counts once, and a roll-out is paused once."""
    office.release("1.6.0", percent=100)
    devices = [office.device(f"rush-{number}") for number in range(12)]
    barrier = threading.Barrier(12)

    def report(device: UpdateClient) -> str:
        barrier.wait()
        return device.report(PRODUCT, Version(1, 6, 0), "rolled-back")

    with ThreadPoolExecutor(12) as pool:
        states = sorted(pool.map(report, devices))
    assert ["paused"] * 10 + ["running"] * 2 == states
    assert {"rolled-back": 12} == office.view("1.6.0").reported
    with office.registry as registry, registry.read() as tx:
        actions = [event.action for event in tx.trail.events(f"{PRODUCT}/1.6.0")]
    assert 1 == actions.count("rollout-paused")


def test_its_description_is_kept(office: UpdateSite) -> None:
    """Each path of the description is asked for by a stranger, and none of them answers with a 5xx or lets one in."""
    _, _, body = ask(office.client(None), "GET", "/openapi.json")
    for path, methods in json.loads(body)["paths"].items():
        for method in methods:
            where = path.replace("{product}", PRODUCT).replace("{version}", "1.0.0")
            status, _, _ = ask(office.client(None), method.upper(), where)
            assert status < 500, where
            assert (status == 200) == (where == "/healthz"), where
