"""The threat model of the course's plant: the same sensors, servers and people that the lessons attack and defend."""

from __future__ import annotations

from labkit.threats.model import (
    CLIENT_KNOWN,
    ENCRYPTED,
    SERVER_KNOWN,
    Actor,
    Asset,
    Boundary,
    DataFlow,
    Element,
    EntryPoint,
    Kind,
    Model,
)

_OPEN: frozenset[str] = frozenset()
_TLS = frozenset({ENCRYPTED, SERVER_KNOWN})
_MUTUAL = frozenset({ENCRYPTED, SERVER_KNOWN, CLIENT_KNOWN})

ASSETS = (
    Asset("readings", "readings", "a competitor, or a burglar, knows what happens in the plant and when"),
    Asset("commands", "commands", "a stranger opens valves"),
    Asset("identities", "device keys", "a stranger is a device, until somebody notices"),
    Asset("fleet", "the devices themselves", "they stand still, or work for somebody else"),
    Asset("authority", "the authority's keys", "whoever has them makes devices and operators at will"),
    Asset("signing-keys", "the keys that sign firmware", "whoever has them decides what every device runs"),
    Asset("registry", "the registry", "nobody knows which devices there are, or whose they are"),
    Asset("neighbours", "everything else in the house", "accounting is read, or encrypted for ransom"),
)

ACTORS = (
    Actor("stranger", "somebody in the internet", "every address that answers from outside", "machines to rent out, ransom"),
    Actor("neighbour", "somebody in the same network", "what passes by on the wire or in the air", "readings, passwords"),
    Actor("thief", "somebody with a device in their hand", "its connectors, its flash chip, time", "keys, firmware"),
    Actor("insider", "somebody who works here, or for a supplier", "accounts, archives, the line", "favours, revenge, to be quick"),
    Actor("device", "a device that somebody has taken over", "what the device may do", "to be more than one device"),
)  # fmt: skip

BOUNDARIES = (
    Boundary(
        "field", "the field", "anybody can walk up to a device, and what it says may be somebody else's words"
    ),
    Boundary("backend", "the servers", "few people get in, and every device depends on them"),
    Boundary("office", "the office", "people, mail and browsers, and the books of the company"),
    Boundary("outside", "the internet", "nobody there is ours"),
)

ELEMENTS = (
    Element("sensor", "sensor node", Kind.PROCESS, "field"),
    Element("flash", "a device's flash", Kind.STORE, "field"),
    Element("broker", "MQTT broker", Kind.PROCESS, "backend"),
    Element("provisioning", "provisioning service", Kind.PROCESS, "backend"),
    Element("updates", "update server", Kind.PROCESS, "backend"),
    Element("dashboard", "dashboard", Kind.PROCESS, "backend"),
    Element("readings-store", "database of readings", Kind.STORE, "backend"),
    Element("registry-store", "registry of devices", Kind.STORE, "backend", log=True),
    Element("authority-store", "the authority's keys", Kind.STORE, "backend"),
    Element("build", "build machine", Kind.PROCESS, "office"),
    Element("signing-store", "keys that sign firmware", Kind.STORE, "office"),
    Element("accounting", "accounting", Kind.STORE, "office"),
    Element("operator", "operator", Kind.EXTERNAL, "office"),
    Element("reader", "reader of dashboards", Kind.EXTERNAL, "office"),
    Element("time-source", "time server", Kind.EXTERNAL, "outside"),
)

FLOWS = (
    DataFlow("telemetry", "sensor", "broker", "readings", "MQTT 1883, later 8883", _OPEN, _MUTUAL),
    DataFlow("commands", "broker", "sensor", "commands", "MQTT 1883, later 8883", _OPEN, _MUTUAL),
    DataFlow("enrolment", "sensor", "provisioning", "token, certificate request", "HTTPS 5000", frozenset({ENCRYPTED}), _MUTUAL),
    DataFlow("update", "updates", "sensor", "firmware", "HTTP, later HTTPS 8070", _OPEN, _MUTUAL),
    DataFlow("credentials", "flash", "sensor", "key and certificate", "a bus on the board", _OPEN, _OPEN),
    DataFlow("issuing", "provisioning", "authority-store", "what is to be signed", "a file"),
    DataFlow("recording", "provisioning", "registry-store", "who is who", "SQL"),
    DataFlow("revocation-list", "authority-store", "broker", "who is out", "a file"),
    DataFlow("storing", "broker", "readings-store", "readings", "MQTT, then the database's API"),
    DataFlow("querying", "readings-store", "dashboard", "readings", "the database's API"),
    DataFlow("viewing", "dashboard", "reader", "readings as pictures", "HTTP 3000, later HTTPS", _OPEN, _MUTUAL),
    DataFlow("operating", "operator", "provisioning", "tokens, devices in and out", "HTTPS 5000", frozenset({ENCRYPTED}), _MUTUAL),
    DataFlow("administering", "operator", "broker", "rules, commands", "MQTT 1883, later 8883", _OPEN, _MUTUAL),
    DataFlow("publishing", "build", "updates", "firmware", "a copied file, later signed", _OPEN, _MUTUAL),
    DataFlow("signing", "signing-store", "build", "signatures", "a file"),
    DataFlow("time", "time-source", "provisioning", "the time", "NTP 123", _OPEN, _OPEN),
)  # fmt: skip

ENTRY_POINTS = (
    EntryPoint("port-1883", "MQTT without TLS", "broker", ("stranger", "neighbour", "device")),
    EntryPoint("port-8883", "MQTT over TLS", "broker", ("stranger", "neighbour", "device")),
    EntryPoint("port-5000", "the provisioning service", "provisioning", ("stranger", "neighbour", "device")),
    EntryPoint("port-8070", "the update server", "updates", ("neighbour", "device")),
    EntryPoint(
        "dashboard-page", "the dashboard and its editor", "dashboard", ("stranger", "neighbour", "insider")
    ),
    EntryPoint("debug-port", "JTAG and UART", "sensor", ("thief",)),
    EntryPoint("flash-chip", "the flash chip's legs", "flash", ("thief",)),
    EntryPoint(
        "firmware-file", "a firmware file, wherever a copy lies", "build", ("stranger", "insider", "thief")
    ),
    EntryPoint("factory-line", "the factory line and its archive", "provisioning", ("insider",)),
)

PLANT = Model("the course's plant", ASSETS, ACTORS, BOUNDARIES, ELEMENTS, FLOWS, ENTRY_POINTS)
"""The plant."""
