"""The threats of the course's plant, and the questions of STRIDE that need none."""

from __future__ import annotations

from typing import Any

from labkit.threats.model import Stride
from labkit.threats.stride import Dismissal, Threat

_KINDS = {
    "S": Stride.SPOOFING, "T": Stride.TAMPERING, "R": Stride.REPUDIATION, "I": Stride.DISCLOSURE,
    "D": Stride.DENIAL, "E": Stride.ELEVATION,
}  # fmt: skip


def _t(
    threat_id: str, kinds: str, title: str, mitigation: str, scores: tuple[int, int, int], **words: str
) -> Threat:
    """Return a threat; lists are words with blanks between, scores are likelihood, impact and what is left."""
    values: dict[str, Any] = dict(words)
    for name in ("elements", "assets", "owasp", "audit", "evidence"):
        values[name] = tuple(words.get(name, "").split())
    return Threat(
        id=threat_id, title=title, kinds=tuple(_KINDS[each] for each in kinds), mitigation=mitigation,
        likelihood=scores[0], impact=scores[1], residual=scores[2], **values,
    )  # fmt: skip


THREATS = (
    # --- on the wire ---
    _t("sniffed-password", "I", "Somebody on the way reads a device's password.", "TLS on every connection", (5, 4, 1),
       elements="telemetry administering", assets="identities commands", actor="neighbour", entry="port-1883",
       owasp="I7 I2", audit="communication-1", evidence="threat-model:tls-closed tls:tls-overheard"),
    _t("sniffed-readings", "I", "Somebody on the way reads what the plant does.", "TLS on every connection", (4, 3, 1),
       elements="telemetry commands viewing", assets="readings", actor="neighbour", entry="port-1883",
       owasp="I6 I7", audit="communication-1 communication-2", evidence="tls:tls-overheard tls:weak-refused"),
    _t("opened-later", "I", "A recording of today is opened with a key that is stolen in five years.",
       "suites with forward secrecy", (2, 3, 1),
       elements="telemetry enrolment operating", assets="readings identities", actor="neighbour", entry="port-8883",
       owasp="I7", audit="communication-2", evidence="tls:ecdhe-closed"),
    _t("altered-message", "T", "Somebody on the way changes a reading or a command.", "TLS, which notices one changed bit",
       (3, 4, 1), elements="telemetry commands viewing administering operating", assets="commands readings", actor="neighbour",
       entry="port-1883", owasp="I7", audit="communication-1 communication-2", evidence="tls:altered"),
    _t("false-broker", "S", "A device talks to somebody who pretends to be the broker.",
       "devices verify the broker's certificate", (3, 4, 1), elements="broker", assets="commands identities",
       actor="neighbour", entry="port-8883", owasp="I3 I7", audit="communication-3", evidence="tls:impostor-refused"),
    _t("false-time", "T", "A wrong time makes an expired certificate good, or a good one expired.",
       "time from our own server; services look at dates themselves", (2, 3, 1), elements="time", assets="fleet",
       actor="neighbour", owasp="I2", audit="network-2 network-3"),
    # --- who is who ---
    _t("default-password", "S", "A password that everybody knows opens the door.",
       "certificates in place of passwords", (5, 4, 1), elements="sensor operator dashboard", assets="commands fleet",
       actor="stranger", entry="port-1883", owasp="I1 I9", audit="access-2 communication-4",
       evidence="threat-model:spray-unique threat-model:spray-mutual start-here:nobody-refused"),
    _t("shared-secret", "S", "What one stolen device knows opens the door for a whole fleet.",
       "a key for each device, made in the device", (4, 4, 1), elements="sensor", assets="identities fleet", actor="thief",
       entry="flash-chip", owasp="I1", audit="identity-1 identity-2", evidence="provisioning:first-boot"),
    _t("forged-certificate", "S", "A stranger shows a certificate that they made themselves.",
       "mutual TLS with one authority", (3, 4, 1), elements="sensor operator", assets="commands", actor="stranger",
       entry="port-8883", owasp="I1 I3", audit="communication-4",
       evidence="start-here:self-signed-refused mutual-tls:other-root-refused provisioning:rogue-authority"),
    _t("device-as-operator", "E", "What the devices' authority has signed passes for an operator.",
       "operators have an authority of their own", (3, 5, 1), elements="provisioning broker", assets="registry commands",
       actor="device", entry="port-5000", owasp="I3", audit="access-2 access-3",
       evidence="provisioning:wrong-authority mutual-tls:sibling-refused"),
    _t("cloned-device", "S", "A copied device works beside the original.",
       "renewal that notices two keys for one certificate", (3, 4, 2), elements="sensor", assets="identities readings",
       actor="thief", entry="flash-chip", owasp="I8 I10", audit="identity-1 identity-2 identity-4",
       evidence="provisioning:clone-alarm provisioning:thief-out"),
    _t("lost-and-welcome", "S", "A device that was lost, sold or thrown away gets in for years.",
       "revocation, short lives, a way out of service", (4, 3, 1), elements="sensor", assets="readings identities",
       actor="thief", entry="port-8883", owasp="I8", audit="monitoring-3 communication-5",
       evidence="revocation:revoked-refused provisioning:leaving-out"),
    # --- more than one device ---
    _t("foreign-topic", "TE", "A device speaks for another device.", "rules by identity", (4, 4, 1),
       elements="broker telemetry", assets="readings commands", actor="device", entry="port-8883", owasp="I3",
       audit="access-1", evidence="mutual-tls:other-undelivered"),
    _t("spying-device", "I", "A device listens to other devices.", "rules by identity, judged by what arrives", (3, 3, 1),
       elements="broker commands", assets="commands readings", actor="device", entry="port-8883", owasp="I3 I6",
       audit="access-1", evidence="mutual-tls:spy-deaf"),
    _t("stolen-session", "SD", "A device takes over another's session, and its command is lost.",
       "the client id comes from the certificate", (3, 3, 1), elements="broker commands", assets="commands",
       actor="device", entry="port-8883", owasp="I3", audit="access-1 communication-4", evidence="mutual-tls:command-safe"),
    _t("strange-name", "TE", "A name with a slash or two dots is a path, or another's topic.",
       "names are checked before anything is made of them", (2, 5, 1),
       elements="broker provisioning issuing authority-store", assets="authority commands", actor="stranger",
       entry="port-5000", owasp="I3", audit="access-3 identity-1",
       evidence="mutual-tls:plain-name-harmless provisioning:ours-path"),
    # --- the desk ---
    _t("wished-for-admin", "TE", "Somebody asks for a certificate in the name of admin, and gets it.",
       "the name comes from the registry, never from the request", (4, 5, 1),
       elements="provisioning enrolment authority-store", assets="authority commands", actor="stranger", entry="port-5000",
       owasp="I3", audit="access-3", evidence="certificate-authority:wish-ignored provisioning:ours-name"),
    _t("open-desk", "SE", "Anybody makes tokens for devices that don't exist.", "operators show a certificate", (4, 5, 1),
       elements="provisioning operator", assets="registry identities", actor="stranger", entry="port-5000", owasp="I3 I9",
       audit="access-3 access-4", evidence="provisioning:ours-admin"),
    _t("token-twice", "ST", "One token brings two certificates, or a spent one brings another.",
       "one statement spends a token", (3, 4, 1), elements="provisioning recording registry-store", assets="identities",
       actor="stranger", entry="port-5000", owasp="I1 I3", audit="access-4",
       evidence="provisioning:ours-race provisioning:ours-replay provisioning:token-again"),
    _t("stolen-token", "I", "A token is read on the way or from a list, and used first.", "TLS, a day to live, one device",
       (3, 4, 1), elements="enrolment operating", assets="identities", actor="neighbour", entry="port-5000", owasp="I1 I7",
       audit="access-4 communication-3", evidence="provisioning:token-again"),
    _t("starved-desk", "D", "One client that says nothing keeps everybody else waiting.",
       "handshakes with a deadline, limits", (3, 3, 1), elements="provisioning enrolment operating updates", assets="fleet",
       actor="stranger", entry="port-5000", owasp="I2", audit="monitoring-2 network-4", evidence="provisioning:ours-idle"),
    # --- in the hand ---
    _t("read-flash", "I", "Somebody reads the key out of a device's flash.", "flash and NVS encryption; revocation after",
       (4, 4, 2), elements="flash credentials sensor", assets="identities", actor="thief", entry="flash-chip",
       owasp="I10 I7", audit="firmware-2 identity-3",
       evidence="esp32-flashing:app-is-noise esp32-flashing:sealed revocation:revoked-refused"),
    _t("secret-in-image", "I", "A secret that is built into the firmware is read from a copy of the file.",
       "secrets are provisioned, images are public", (4, 5, 1), elements="build publishing update updates",
       assets="identities fleet", actor="stranger", entry="firmware-file", owasp="I1", audit="identity-3 identity-2",
       evidence="threat-model:clean-image"),
    _t("open-debug", "TE", "JTAG stops the device and changes what it does.", "debug interfaces burnt off", (3, 4, 1),
       elements="sensor flash credentials", assets="fleet identities", actor="thief", entry="debug-port", owasp="I9 I10",
       audit="firmware-5 firmware-1", evidence="esp32-flashing:download"),
    _t("opened-case", "TD", "Somebody changes or breaks a device, and nobody sees that it was opened.",
       "seals, and a device that is missed when it is silent", (3, 3, 2), elements="flash sensor credentials",
       assets="fleet readings", actor="thief", entry="flash-chip", owasp="I10", audit="monitoring-2 firmware-1"),
    # --- firmware ---
    _t("foreign-firmware", "TE", "A device takes firmware that we did not make.", "signed images, verified before they run",
       (3, 5, 1), elements="sensor update updates", assets="fleet commands", actor="neighbour", entry="port-8070",
       owasp="I4", audit="firmware-1 firmware-3",
       evidence="firmware-signing:ours-foreign firmware-signing:broken-into firmware-signing:sb-stranger"),
    _t("old-firmware", "T", "A device takes an old image of ours that has a known hole.",
       "versions that only go up, in what is signed", (3, 4, 1), elements="sensor update publishing", assets="fleet",
       actor="neighbour", entry="port-8070", owasp="I4 I5", audit="firmware-3 firmware-4",
       evidence="firmware-signing:ours-older firmware-signing:soldered-fused"),
    _t("never-patched", "E", "A hole that is known stays open for the rest of a device's life.",
       "updates that are easy, and a list of what is inside", (5, 4, 2), elements="sensor broker dashboard updates",
       assets="fleet neighbours", actor="stranger", entry="port-8883", owasp="I5 I4", audit="firmware-3",
       evidence="threat-model:patched"),
    _t("bricked-fleet", "D", "One bad update stops every device on the same day.", "rollback, and a roll-out in stages",
       (2, 5, 1), elements="sensor updates update publishing", assets="fleet", actor="insider", owasp="I4",
       audit="firmware-4 firmware-3",
       evidence="firmware-signing:bricks firmware-signing:not-yet firmware-signing:not-again"),
    _t("stolen-signing-key", "TIE", "Whoever has the key that signs decides what devices run.",
       "keys in hardware, and a way to retire one", (2, 5, 1), elements="signing-store build signing", assets="signing-keys",
       actor="insider", entry="firmware-file", owasp="I4", audit="firmware-1 monitoring-4",
       evidence="firmware-signing:lost-revoked firmware-signing:lost-second"),
    # --- the network ---
    _t("botnet", "E", "A device attacks strangers, for whoever rents it.", "no way to the internet for devices", (4, 4, 1),
       elements="sensor", assets="fleet", actor="stranger", entry="port-1883", owasp="I1 I2", audit="network-3 access-2",
       evidence="segmentation:stolen-internet threat-model:spray-mutual"),
    _t("pivot", "TI", "From a device somebody reaches accounting.", "zones, and rules from flows", (3, 5, 1),
       elements="accounting sensor", assets="neighbours", actor="device", owasp="I2", audit="network-1 network-2",
       evidence="segmentation:stolen-accounting segmentation:stolen-ipv6 segmentation:stolen-pivot"),
    _t("open-ports", "SIE", "Services that only we need answer to everybody.",
       "default drop in both families", (4, 4, 1),
       elements="broker dashboard readings-store querying storing updates", assets="readings", actor="stranger",
       entry="dashboard-page", owasp="I2 I9", audit="network-2 network-4",
       evidence="segmentation:ours-agrees segmentation:ours-office"),
    _t("forged-address", "S", "An address alone opens a door.", "rules bound to interfaces", (2, 3, 1),
       elements="broker operator", assets="commands", actor="insider", owasp="I2", audit="network-4",
       evidence="segmentation:forged-bound"),
    _t("flood", "D", "One device sends so much that nobody else is heard.", "limits, and somebody who is told", (3, 3, 2),
       elements="broker telemetry commands dashboard readings-store storing querying viewing", assets="fleet readings",
       actor="device", entry="port-8883", owasp="I2", audit="monitoring-2 network-4"),
    # --- the house ---
    _t("stolen-authority", "TIE", "Whoever has the intermediate's key makes devices of their own.",
       "root offline, intermediates that can be replaced", (2, 5, 1), elements="authority-store provisioning issuing",
       assets="authority", actor="insider", owasp="I8", audit="identity-4 monitoring-4",
       evidence="certificate-authority:theft-over revocation:intermediate-closed"),
    _t("list-ran-out", "TD", "A revocation list that ran out, or was swapped, locks everybody out or lets thieves in.",
       "renewal long before its end, and a canary", (3, 4, 1), elements="revocation-list broker authority-store",
       assets="fleet", actor="insider", owasp="I8", audit="communication-4 monitoring-2",
       evidence="revocation:stale-control"),
    _t("ran-out-together", "D", "Certificates run out, and a fleet goes dark in one night.",
       "renewal with an overlap, each device on another day", (3, 4, 1), elements="sensor telemetry credentials",
       assets="fleet", actor="insider", owasp="I8", audit="communication-6 communication-5",
       evidence="provisioning:overlap-new provisioning:overlap-old"),
    _t("changed-registry", "TI", "Whoever writes to the registry decides who is a device.",
       "a trail that can't be changed; few who may write", (2, 5, 1), elements="registry-store recording",
       assets="registry", actor="insider", owasp="I8", audit="identity-4 access-3"),
    _t("denied-deed", "R", "Nobody can tell who made a device, took one out, or sent a command.",
       "a trail by certificate, logs with names", (3, 3, 1),
       elements="operator provisioning sensor broker registry-store build updates", assets="registry commands", actor="insider",
       owasp="I8", audit="monitoring-1", evidence="provisioning:clone-alarm"),
    _t("unseen-attempts", "R", "Attempts leave no trace, or one that nobody reads.", "logs at a level that shows refusals",
       (4, 3, 1), elements="broker provisioning dashboard updates", assets="fleet", actor="stranger", entry="port-8883",
       owasp="I8 I9", audit="monitoring-1 monitoring-2", evidence="audit:noticed"),
    _t("open-dashboard", "SIE", "The dashboard, or its editor, asks for no password.", "authentication on every interface",
       (4, 4, 1), elements="dashboard reader viewing", assets="readings commands", actor="neighbour",
       entry="dashboard-page", owasp="I3", audit="access-3 access-2", evidence="audit:mended"),
    _t("hoarded-readings", "I", "More is measured, sent and kept than anybody needs.", "minimise, and forget in time",
       (4, 3, 2), elements="readings-store storing querying dashboard", assets="readings", actor="insider", owasp="I6",
       audit="access-3 network-3"),
    _t("falsified-readings", "T", "Somebody changes what was measured, after the fact.", "few who may write, kept copies",
       (2, 3, 1), elements="readings-store storing querying dashboard", assets="readings", actor="insider",
       entry="dashboard-page", owasp="I3", audit="access-3"),
    _t("ransom", "TD", "Servers are encrypted, or devices locked, until somebody pays.",
       "copies elsewhere, a plan that was played, keys that can be replaced", (2, 5, 1),
       elements="readings-store registry-store authority-store signing-store accounting build recording issuing signing",
       assets="fleet registry neighbours", actor="stranger", owasp="I8 I5", audit="monitoring-4 network-1"),
    _t("slow-supplier", "ST", "Something else than our source is built: a library, or a compiler, was changed.",
       "versions that are pinned with hashes, builds that can be repeated", (2, 5, 1), elements="build publishing signing",
       assets="signing-keys fleet", actor="insider", entry="firmware-file", owasp="I5 I4", audit="firmware-3"),
    _t("false-update-server", "S", "A device asks somebody who pretends to be the update server.",
       "mutual TLS there, too; the signature decides", (3, 4, 1), elements="updates", assets="fleet", actor="neighbour",
       entry="port-8070", owasp="I4 I3", audit="communication-3 firmware-3",
       evidence="firmware-signing:broken-into"),
    _t("weak-handshake", "D", "Security that costs too much is switched off.",
       "keys and suites that small devices can afford", (3, 3, 1), elements="sensor telemetry enrolment", assets="fleet",
       actor="insider", owasp="I7 I9", audit="communication-2", evidence="threat-model:affordable"),
)  # fmt: skip
"""What may happen."""

_THEIRS = "it is not ours to know; what we do about it is on our side of the flow"


def _d(kind: str, elements: str, reason: str) -> Dismissal:
    return Dismissal(_KINDS[kind], tuple(elements.split()), reason)


DISMISSALS = (
    _d("I", "revocation-list", "who is out is no secret: the list is published"),
    _d("I", "time", "the time is no secret"),
    _d("D", "time", "without it clocks drift for weeks before anything depends on it"),
    _d("D", "administering", "an operator who can't get through walks to the machine"),
    _d("S", "time-source", _THEIRS),
    _d("R", "time-source reader", _THEIRS),
)
"""Questions that need no threat of their own."""
