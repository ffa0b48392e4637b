"""Try everything on the stack's broker, as everybody who should and should not get in; run by test_stack.

Prints one JSON object: what was tried, and how it ended. Exit status 1 where an end is not the expected one.
"""

from __future__ import annotations

import json
import secrets
import sys
from functools import partial

from labkit.mqtt import Endpoint, Identity, delivered, open_session, probe
from labkit.pki import Store, flawed
from labkit.workspace import Workspace


def main(host: str, port: int) -> int:
    """Try it all and compare."""
    store = Store(Workspace.open())
    authority = store.authority()
    place = Endpoint(host, port)
    tag = secrets.token_hex(4)

    def attempt(files: object, **options: str) -> str:
        who = Identity(files.certificate, files.key) if files else None  # type: ignore[attr-defined]
        outcome = probe(place, trust=store.trust_anchor, identity=who, timeout=20, **options)  # type: ignore[arg-type]
        return "accepted" if outcome.accepted else f"{outcome.stage}: {outcome.reason}"

    makers = {
        "expired": partial(flawed.expired, authority),
        "not yet valid": partial(flawed.not_yet_valid, authority),
        "rogue": partial(flawed.rogue, authority),
        "self-signed": flawed.self_signed,
    }
    intruders = {
        label: store.save_intruder(f"{label.replace(' ', '-')}-{tag}", make("sensor-001"))
        for label, make in makers.items()
    }
    one, two = store.identity("sensor-001"), store.identity("sensor-002")
    found = {"sensor-001": attempt(one)}
    found["nobody"] = attempt(None)
    found |= {label: attempt(files) for label, files in intruders.items()}
    found["the broker's own certificate"] = attempt(store.server())
    found["TLS 1.2"] = attempt(one, tls="1.2")
    found["TLS 1.3"] = attempt(one, tls="1.3")
    found["own telemetry"] = attempt(one, publish="devices/sensor-001/telemetry/t")
    found["another's telemetry"] = attempt(one, publish="devices/sensor-002/telemetry/t")
    found["another's commands"] = attempt(one, publish="devices/sensor-002/commands/c")
    found["claims to be admin"] = attempt(one, username="admin", publish="devices/sensor-002/commands/c")
    found["sensor-001 at the end"] = attempt(one)
    with (
        open_session(place, trust=store.trust_anchor, identity=_who(store.identity("admin"))) as watcher,
        open_session(place, trust=store.trust_anchor, identity=_who(two)) as speaker,
    ):
        watcher.subscribe("#")
        fence = "devices/observer/commands/fence"
        for label, topic in (
            ("delivered", "devices/sensor-002/telemetry/x"),
            ("kept back", "devices/sensor-001/telemetry/x"),
        ):
            outcome = delivered(speaker, watcher, topic, tag, fence=fence)
            found[label] = "accepted" if outcome.accepted else f"{outcome.stage}: {outcome.reason}"
    print(json.dumps(found, indent=1))
    wrong = {what: end for what, end in found.items() if end != EXPECTED[what]}
    if wrong:
        print(f"not as expected: {wrong}", file=sys.stderr)
    return 1 if wrong or found.keys() != EXPECTED.keys() else 0


def _who(files: object) -> Identity:
    return Identity(files.certificate, files.key)  # type: ignore[attr-defined]


# In the words of the wire; why is in the broker's log, which its own machine has.
EXPECTED = {
    "sensor-001": "accepted",
    "nobody": "tls: certificate-required",
    "expired": "tls: certificate-expired",
    "not yet valid": "tls: bad-certificate",
    "rogue": "tls: unknown-ca",
    "self-signed": "tls: unknown-ca",
    "the broker's own certificate": "tls: unsupported-certificate",
    "TLS 1.2": "accepted",
    "TLS 1.3": "accepted",
    "own telemetry": "accepted",
    "another's telemetry": "authorised: not-authorised",
    "another's commands": "authorised: not-authorised",
    "claims to be admin": "authorised: not-authorised",
    "sensor-001 at the end": "accepted",
    "delivered": "accepted",
    "kept back": "authorised: not-authorised",
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
