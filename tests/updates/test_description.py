"""Everything that the update service's description allows, asked by a program that invents requests (schemathesis)."""

from __future__ import annotations

import os
import random
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from labkit.firmware.update import Version, sign_update
from labkit.pki import Operators
from labkit.scenarios.updates import PRODUCT, UpdateSite

if TYPE_CHECKING:
    from labkit.pki import IdentityFiles

CASES = 2_000 if os.environ.get("LABKIT_TEST_FULL") else 400
STRANGERS = {"certificate-missing", "not-an-operator", "not-a-device", "certificate-unknown"}

pytestmark = pytest.mark.slow


@schemathesis.serializer("application/octet-stream")
def octets(_context: Any, value: Any) -> bytes:
    """Send bytes as they are, and anything else as text."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


class World:
    """A fleet and releases with enough of everything that requests can succeed."""

    def __init__(self, office: UpdateSite) -> None:
        self.office = office
        self.chance = random.Random(5)
        self.versions = [f"3.0.{number}" for number in range(40)]
        for number, version in enumerate(self.versions):
            office.release(version, percent=100 if number % 2 else None)
        self.fresh = iter(range(1, 10_000))
        self.device = self.session(office.identity("fuzzed"))
        self.operator = self.session(Operators(office.store.workspace).identity("admin"))

    def session(self, files: IdentityFiles) -> requests.Session:
        """Return a session with an identity."""
        made = requests.Session()
        made.verify = str(self.office.store.trust_anchor)
        made.cert = (str(files.certificate), str(files.key))
        return made

    def enliven(self, case: Any) -> requests.Session:
        """Give a request that was invented, now and then, what it needs to succeed; return who sends it."""
        path = case.operation.path
        lucky = self.chance.random() < 0.6
        parameters = dict(case.path_parameters or {})
        if lucky and "product" in parameters:
            parameters["product"] = PRODUCT
        if lucky and "version" in parameters:
            parameters["version"] = self.chance.choice(self.versions)
        case.path_parameters = parameters
        if path == "/releases" and case.method == "POST" and lucky:
            version = Version(4, 0, next(self.fresh))
            case.body = sign_update(bytes(1024), product=PRODUCT, version=version, signer=self.office.signer)
            case.media_type = "application/octet-stream"
        if path.endswith("/report") and lucky:
            case.body = {"version": self.versions[1], "code": "ok"}
        if path.endswith("/rollout") and lucky:
            case.body = {"percent": 100}
        return self.operator if path.startswith("/releases") else self.device


@pytest.mark.timeout(1800)
def test_nothing_that_is_described_breaks_it(office: UpdateSite) -> None:
    """Many requests after its own description: none is answered with a 5xx, and each operation has worked."""
    context_free = requests.get(
        f"{office.service.url}/openapi.json", verify=str(office.store.trust_anchor), timeout=10
    )
    described = schemathesis.openapi.from_dict(context_free.json())
    operations = [found.ok() for found in described.get_all_operations()]
    assert len(operations) >= 9
    world, seen = World(office), defaultdict[str, Counter[str]](Counter)
    for _ in range(3):  # the order matters: what is aborted stays so
        for operation in operations:
            _ask(operation, world, seen[operation.label], -(-CASES // len(operations) // 3))
    print({label: dict(found) for label, found in seen.items()})
    for label, found in seen.items():
        assert found["inside"] >= 0.2 * found["asked"], (label, found)
        assert found["good"] > 0, (label, found)
    assert "Traceback" not in office.log.read_text()


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
        sender = world.enliven(case)
        answer = case.call(base_url=world.office.service.url, session=sender, verify=sender.verify)
        problem = "problem+json" in answer.headers.get("content-type", "")
        code = answer.json().get("code", "?") if problem else str(answer.status_code)
        good = answer.status_code < 300
        seen.update({"asked": 1, "inside": int(code not in STRANGERS), "good": int(good)})
        assert answer.status_code < 500, (operation.label, answer.text[:300])

    ask()
