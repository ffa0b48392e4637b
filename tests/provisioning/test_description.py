"""Everything that the service's description allows, asked by a program that invents requests (schemathesis)."""

from __future__ import annotations

import base64
import datetime as dt
import os
import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
import schemathesis
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, Phase, given, settings

from labkit.devices import Registry, identify
from labkit.pki import Key, Operators, Store, make_request
from labkit.provisioning.client import renew
from labkit.scenarios.provisioning import ProvisioningSite, provisioning_site
from labkit.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

UNLIMITED = {"requests_per_minute": 0.0, "failures_per_minute": 0.0}
CASES = 10_000 if os.environ.get("LABKIT_TEST_FULL") else 800
STRANGERS = {
    "certificate-missing", "credentials-missing", "not-an-operator", "not-a-device", "not-a-broker", "token-unknown",
    "rate-limited",
}  # fmt: skip
"""Codes that say that a request did not get past the door."""

pytestmark = pytest.mark.slow


@schemathesis.serializer("application/pkcs10")
def pkcs10(_context: Any, value: Any) -> bytes:
    """Send base64 as it is, and anything else as text."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


class World:
    """A fleet with enough of everything that requests can succeed.

    Args:
        office: The service.
        each: How many cases there will be for an operation.
    """

    def __init__(self, office: ProvisioningSite, each: int) -> None:
        self.office = office
        self.chance = random.Random(4)
        self.fleet = [f"fuzz-{number:04d}" for number in range(each)]
        self.boards: dict[str, Iterator[tuple[str, str, str]]] = {}
        with (
            Registry.open(office.store.workspace.path("registry/fleet.db")) as registry,
            registry.begin() as tx,
        ):
            names = [*self.fleet, *(f"new-{number:04d}" for number in range(6 * each))]
            tx.fleet.add([identify(name) for name in names], actor="test")
            made = tx.tokens.issue(names[each:], lifetime=dt.timedelta(hours=1), actor="test")
        self.tokens = iter(made.items())

    def board(self, label: str, *, allowed: bool) -> tuple[str, str, str]:
        """Return id, chain and key of a device that is enrolled, a fresh one each time where it may renew."""
        name = f"{label}-{self.chance.randrange(1_000_000):06d}"
        slots = self.office.enrolled(name)
        if allowed:
            self.office.act(name, "renewal")
        slot = slots.current
        assert slot
        return name, str(slot.chain), str(slot.key)


def csr(name: str, *, der: bool = False) -> Any:
    """Return a good request."""
    pem = make_request(Key.generate(), name)
    if not der:
        return pem.decode()
    return base64.b64encode(x509.load_pem_x509_csr(pem).public_bytes(Encoding.DER))


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProvisioningSite]:
    """Return a service without limits."""
    store = Store(Workspace.open(tmp_path_factory.mktemp("fuzz") / "workspace"))
    with provisioning_site(store, limits=UNLIMITED) as running:
        Operators(store.workspace).broker()
        yield running


def session(
    office: ProvisioningSite, certificate: str | Path | None = None, key: str | Path = ""
) -> requests.Session:
    """Return a session with an identity, or without one."""
    made = requests.Session()
    made.verify = str(office.store.trust_anchor)
    if certificate:
        made.cert = (str(certificate), str(key))
    return made


def enliven(case: Any, world: World) -> requests.Session:
    """Give a request that was invented, now and then, what it needs to succeed; return who sends it."""
    office, chance, path = world.office, world.chance, case.operation.path
    lucky = chance.random() < 0.4
    admin = office.store.workspace.path
    operator = session(office, admin("operators/admin.crt"), admin("operators/admin.key"))
    if path == "/provision" and lucky:
        name, token = next(world.tokens)
        case.body = {"token": token, "csr": csr(name) if chance.random() < 0.7 else case.body.get("csr", "x")}
        return session(office)
    if path.endswith("/simpleenroll") and lucky:
        name, token = next(world.tokens)
        text = base64.b64encode(f"{name}:{token}".encode()).decode()
        case.headers = {**(case.headers or {}), "Authorization": f"Basic {text}"}
        if chance.random() < 0.7:
            case.body, case.media_type = csr("x", der=True), "application/pkcs10"
        return session(office)
    if path.startswith("/broker-auth/"):
        return session(office, admin("operators/broker.crt"), admin("operators/broker.key"))
    if path in {"/renew", "/config", "/renew/confirm"} or path.endswith("/simplereenroll"):
        return enliven_device(case, world, lucky=lucky)
    if "device_id" in (case.path_parameters or {}) and lucky:
        case.path_parameters = {"device_id": chance.choice(world.fleet)}
    if path == "/tokens" and lucky and isinstance(case.body, dict):
        case.body = {**case.body, "device_ids": [chance.choice(world.fleet)], "hours": 1}
    return operator


def enliven_device(case: Any, world: World, *, lucky: bool) -> requests.Session:
    """Do so for what a device asks with its certificate."""
    office, path = world.office, case.operation.path
    if not lucky:
        if not hasattr(world, "plain"):
            world.plain = world.board("plain", allowed=False)  # type: ignore[attr-defined]
        return session(office, *world.plain[1:])  # type: ignore[attr-defined]
    if path != "/renew/confirm" and world.chance.random() < 0.8 and hasattr(world, "plain"):
        return session(office, *world.plain[1:])
    name, chain, key = world.board("lucky", allowed=True)
    if path == "/renew":
        case.body = {"csr": csr(name)}
    elif path.endswith("/simplereenroll"):
        leaf = x509.load_pem_x509_certificate(Path(chain).read_bytes())
        made = Key.generate()
        builder = x509.CertificateSigningRequestBuilder(leaf.subject)
        case.body = base64.b64encode(builder.sign(made.private, hashes.SHA256()).public_bytes(Encoding.DER))
        case.media_type = "application/pkcs10"
    elif path == "/renew/confirm":
        slot = renew(office.anyone, office.slots(name))
        return session(office, slot.chain, slot.key)
    return session(office, chain, key)


@pytest.mark.timeout(1800)  # ten thousand handshakes, on a machine that may have other work
def test_nothing_that_is_described_breaks_it(office: ProvisioningSite) -> None:
    """Requests after its own description, thousands in a full run: none is answered with a 5xx, and each operation has worked."""
    described = schemathesis.openapi.from_dict(office.anyone.call("GET", "/openapi.json"))
    operations = [found.ok() for found in described.get_all_operations()]
    assert len(operations) >= 20
    each = -(-CASES // len(operations))
    world = World(office, each)
    seen: dict[str, Counter[str]] = defaultdict(Counter)

    for operation in operations:
        _ask(operation, world, seen[operation.label], each)
    # Some take no values, so that there is one request for them; it is sent some times, by others each time.
    rich = [operation for operation in operations if seen[operation.label]["asked"] >= each]
    for operation in operations:
        for _ in range(0 if operation in rich else 20):
            _ask(operation, world, seen[operation.label], 1)
    while (left := CASES - sum(found["asked"] for found in seen.values())) > 0:
        for operation in rich:
            _ask(operation, world, seen[operation.label], -(-left // len(rich)))
    print({label: dict(found) for label, found in seen.items()})
    assert sum(found["asked"] for found in seen.values()) >= CASES
    for label, found in seen.items():
        assert found["inside"] >= 0.2 * found["asked"], (label, found)
        assert found["good"] > 0, (label, found)
    assert "Traceback" not in office.store.workspace.path("registry/service.log").read_text()


def _ask(operation: Any, world: World, seen: Counter[str], each: int) -> None:
    @settings(
        max_examples=each,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        with enliven(case, world) as sender:
            answer = case.call(base_url=world.office.service.url, session=sender, verify=sender.verify)
        problem = "problem+json" in answer.headers.get("content-type", "")
        code = answer.json().get("code", "?") if problem else str(answer.status_code)
        good = answer.status_code < 300
        # A request is read before its token is looked up, so that only a success proves that a token was right.
        by_token = operation.path == "/provision" or operation.path.endswith("/simpleenroll")
        inside = good if by_token else code not in STRANGERS
        seen.update({"asked": 1, "inside": int(inside), "good": int(good)})
        assert answer.status_code < 500, (operation.label, answer.text[:300])

    ask()
