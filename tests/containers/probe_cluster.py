"""Ask the stack's two RabbitMQ nodes what every broker is asked; run by test_cluster, inside `lab`.

The devices connect to the first node, the observer to the second, so that whatever it hears has gone through the cluster.
Prints one JSON object: what was tried, what was seen. Exit status 1 where something is not as it must be.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from types import SimpleNamespace

from labkit.mqtt import Endpoint
from labkit.pki import Store, flawed
from labkit.scenarios.conformance import Subject
from labkit.scenarios.conformance_questions import questions
from labkit.scenarios.mutual_tls import VICTIM
from labkit.scenarios.provisioning import ProvisioningSite
from labkit.workspace import Workspace

# They put lists of their own into a broker's folder; `lab` does not see the nodes'. test_cluster asks about revocation.
ELSEWHERE = ("revoked", "revocation", "quarantine", "in a session that is open")


def main() -> int:
    """Ask it all and compare."""
    store = Store(Workspace.open())
    authority = store.authority()
    makers = {
        "expired": partial(flawed.expired, authority),
        "not-yet-valid": partial(flawed.not_yet_valid, authority),
        "rogue": partial(flawed.rogue, authority),
        "self-signed": flawed.self_signed,
    }
    intruders = {label: store.save_intruder(label, make(VICTIM)) for label, make in makers.items()}
    office = ProvisioningSite(store, SimpleNamespace(url="https://provisioning.local:8443"))  # type: ignore[arg-type] # only where it is
    one, two = (Endpoint(node, 8883, name="broker.local") for node in ("rabbit1", "rabbit2"))
    subject = Subject(
        "the cluster", one, two, store, office, {**intruders, "server": store.server()},
        put_list=_not_here, reload=lambda: None, check=lambda: None,
    )  # fmt: skip
    found, wrong = {}, {}
    for question in questions():
        if any(word in question.text for word in ELSEWHERE):
            continue
        seen = question.ask(subject)
        found[question.text] = str(seen)
        if not question.held(seen):
            wrong[question.text] = str(seen)
    subject.close()
    print(json.dumps(found, indent=1))
    if wrong:
        print(f"not as it must be: {wrong}", file=sys.stderr)
    return 1 if wrong else 0


def _not_here(_: bytes) -> None:
    text = "this question puts a list into the nodes' folders, which can't be seen from here: add it to ELSEWHERE"
    raise RuntimeError(text)


if __name__ == "__main__":
    sys.exit(main())
