"""The checklist: 27 items in six sections, what each asks, which OWASP rows it serves, and how to mend it.

The rows are those of the OWASP IoT Top 10 (2018), as strings; `labkit.threats` has the catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SECTIONS: Mapping[str, str] = {
    "communication": "Communication",
    "identity": "Device identity",
    "firmware": "Firmware",
    "network": "Network",
    "access": "Access control",
    "monitoring": "Monitoring and response",
}
"""The sections by the first word of their items' ids, in order."""

MISTAKES: Mapping[str, str] = {
    "hardcoded-credentials": "Credentials that are built into firmware",
    "no-tls": "MQTT without TLS",
    "unpatched-firmware": "Firmware that nobody updates",
    "open-debug-ports": "Debug interfaces that are left open",
    "default-passwords": "Passwords that everybody knows",
    "no-rotation": "Certificates that are never renewed",
}
"""The six mistakes that are seen most often."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item of the checklist.

    Attributes:
        id: Its stable id.
        asks: What it asks for, in a sentence.
        owasp: The rows of the OWASP IoT Top 10 that it serves.
        scope: Which parts of a target it speaks of; see `target.PARTS`.
        remedy: How to mend it, in a paragraph.
        steps: The same as steps.
        mistake: Which of the six common mistakes it finds, if any.
        person: Whether a pass needs a person.
    """

    id: str
    asks: str
    owasp: tuple[str, ...]
    scope: frozenset[str]
    remedy: str
    steps: tuple[str, ...]
    mistake: str = ""
    person: bool = False

    @property
    def section(self) -> str:
        """The title of its section."""
        return SECTIONS[self.id.rpartition("-")[0]]


def _item(
    item_id: str, owasp: str, scope: str, asks: str, remedy: str, *steps: str, mistake: str = "", person: bool = False
) -> Item:  # fmt: skip
    return Item(item_id, asks, tuple(owasp.split()), frozenset(scope.split()), remedy, steps, mistake, person)


ITEMS: tuple[Item, ...] = (
    _item(
        "communication-1", "I2 I7", "door tools",
        "Every MQTT connection is encrypted: no listener, and no client of ours, speaks MQTT in the clear.",
        "A listener without TLS shows every reading, command and password to whoever is on the way. Close it; there is no "
        "half-way, because clients choose the open door.",
        "Move every client to the TLS port: a root certificate, and port 8883.",
        "Delete the listener without certfile from mosquitto.conf, and restart the broker.",
        "Try it from outside: a plain CONNECT must get no answer.",
        mistake="no-tls",
    ),
    _item(
        "communication-2", "I7", "door",
        "Listeners agree to TLS 1.2 or 1.3 with authenticated encryption and forward secrecy, and to nothing else.",
        "What a listener would agree to is decided by its weakest suite, not by its best one. CBC, SHA-1, static RSA and "
        "TLS below 1.2 have no place on a fleet that you own both ends of.",
        "Set tls_version tlsv1.2 (in Mosquitto 2 it is the lowest version).",
        "Set ciphers and ciphers_tls1.3 to the AEAD suites of labkit.broker.config.",
        "Restart the broker, and offer each weak suite again.",
    ),
    _item(
        "communication-3", "I3 I7", "door tools firmware",
        "Whoever connects verifies the broker's certificate: chain, name and purpose.",
        "A client that does not verify talks to whoever answers. Give each client the root, and never switch verification "
        "off to make an error go away: the error says what to mend.",
        "Put the root certificate into each device's NVS and each tool's TLS settings.",
        "Issue the broker a certificate with every name and address that clients use.",
        "Search configurations for words that switch verification off, and delete them.",
    ),
    _item(
        "communication-4", "I1 I7", "door",
        "The broker asks each client for a certificate of the devices' authority, and goes by a fresh revocation list.",
        "Mutual TLS ends whole families of attacks, but only if the door is shut to everybody else: no certificate, a "
        "stranger's, or one that was revoked.",
        "Set require_certificate true, use_identity_as_username true and use_username_as_clientid true.",
        "Publish a revocation list (labkit ca crl), set crlfile, and renew it long before its nextUpdate.",
        "Try all three intruders, and a device as the control.",
    ),
    _item(
        "communication-5", "I8", "pki",
        "No certificate of a device, an operator or a server is valid for longer than a year.",
        "A certificate is a key that you hand out; its end is the one thing that works without anybody's help. Long lives "
        "are the habit of those who cannot renew, so mend that first.",
        "Find who issues for longer, and set its profile to 365 days at most.",
        "Issue the long-lived certificates again and revoke the old ones.",
        mistake="no-rotation",
    ),
    _item(
        "communication-6", "I8", "registry",
        "Renewal has been carried out within a year, and no certificate in service is about to run out.",
        "A renewal that was never tried fails on the day on which every device needs it. Drill it on one device each "
        "quarter, and let the registry remember it.",
        "Allow one device to renew: labkit provision renew.",
        "See the new certificate confirmed and the old one refused.",
        "Let devices renew by themselves in their last month, each on another day.",
        mistake="no-rotation",
    ),
    _item(
        "identity-1", "I1 I8", "pki firmware",
        "Each device has an identity of its own.",
        "Two devices with one name can't be told apart: what one does, the other is blamed for, and taking one out of "
        "service takes out both.",
        "Find the second device with the name; keep the one that the registry means.",
        "Give the other a new id, a new key and a new certificate.",
        "Revoke every certificate of the old name but one.",
    ),
    _item(
        "identity-2", "I1", "pki firmware",
        "No two devices share a key, a token or a password.",
        "A shared secret turns one stolen device into a stolen fleet, and there is no way to take it back from the thief "
        "alone.",
        "Let each device make its own key (first boot), or make one for each on the line.",
        "Issue new certificates for the new keys, and revoke all that used the shared one.",
        "Look at how the image is made: a secret in a template is in every device.",
    ),
    _item(
        "identity-3", "I1 I10", "firmware",
        "Secrets are in NVS or a secure element, never in a firmware image.",
        "An image is copied to build servers, update servers and to every device, and anybody may read it with one "
        "command. A secret in it is public and the same everywhere.",
        "Remove the secret from the source, and build again.",
        "Provision it for each device into its own NVS partition.",
        "Treat what was in the image as stolen: revoke or change it.",
        mistake="hardcoded-credentials",
    ),
    _item(
        "identity-4", "I8", "pki registry",
        "Every identity in service is in the registry of devices.",
        "What is not on the list can't be patched, renewed or taken out of service. It is also what an intruder's device "
        "looks like.",
        "Find out what each unknown identity belongs to.",
        "Take it into the registry and let it enrol there, or revoke it.",
        "Issue through the provisioning service alone, so that the two can't drift apart.",
    ),
    _item(
        "firmware-1", "I10 I4", "board",
        "Secure Boot V2 is on, and what lies in the flash is signed with a key that the chip knows.",
        "Without it whoever holds the device decides what it runs. It is burnt into eFuses, so plan the keys first: up to "
        "three digests, and a way to revoke one.",
        "Sign bootloader and application with espsecure, and test on one board.",
        "Burn the digest, then SECURE_BOOT_EN, on the line; it can't be undone.",
    ),
    _item(
        "firmware-2", "I7 I10", "board",
        "Flash encryption is on, and a dump of the flash can't be read.",
        "Reading a flash chip takes a clip and a minute. Encryption ties what is in it to one chip; NVS wants its own "
        "encryption beside it.",
        "Turn on flash encryption in release mode, and NVS encryption.",
        "Read the flash back, and look for the words that you know are in it.",
    ),
    _item(
        "firmware-3", "I4 I5", "updates",
        "Every update is signed, and devices run the newest one.",
        "A device that takes whatever it is sent belongs to whoever sends. A device that takes nothing keeps each hole "
        "that is found in its libraries for ten years.",
        "Sign every image that leaves the house; let devices verify before they switch.",
        "Roll out the newest version, and watch the registry for those who stay behind.",
        mistake="unpatched-firmware",
    ),
    _item(
        "firmware-4", "I4", "board",
        "Rollback has been tried: a bad image was given up, and the device went back to a good one.",
        "The one update that fails will fail on every device at once. Only a device that goes back by itself can be "
        "updated without fear.",
        "Build with rollback, and mark an image valid only after it has reached the broker.",
        "Send a test device an image that never reports, and watch it return.",
        "Keep the dump: its otadata shows the aborted slot.",
    ),
    _item(
        "firmware-5", "I9 I10", "board",
        "Debug interfaces are closed: no JTAG, and no way to read the chip over UART.",
        "JTAG stops a running device and reads its memory; the download mode reads and writes its flash. Both are for the "
        "bench.",
        "Burn the eFuses that turn JTAG off.",
        "Set download mode to secure, or off, in release builds.",
        mistake="open-debug-ports",
    ),
    _item(
        "network-1", "I2", "network",
        "Devices are in a network of their own, apart from office and backend.",
        "A sensor in the office network is a way into the office. The switch decides who is where, so somebody has to look "
        "at the switch; we compare the plan with itself.",
        "Give devices a VLAN and an SSID of their own, with their own subnet.",
        "Export the switch's settings, date them, and have somebody else read them.",
        person=True,
    ),
    _item(
        "network-2", "I2", "network",
        "From the devices' network only the broker, and what provisioning and updates need, can be reached.",
        "Derive the rules from the flows that the plant needs, drop everything else, and count what is dropped. Don't "
        "forget IPv6: rules for one family leave the other open.",
        "Write down each flow: from, to, port.",
        "Generate the rules from that, in the inet family: labkit network plan.",
        "Measure what can be reached, and compare.",
    ),
    _item(
        "network-3", "I2 I6", "network",
        "Devices have no way to the internet.",
        "A device that can call anywhere can be called a bot, and whoever has taken it over can send out what it sees. Time "
        "and updates come from the backend.",
        "Drop what goes from the devices' zone to the outside, in both families.",
        "Run NTP and the update server in the backend.",
    ),
    _item(
        "network-4", "I2", "network",
        "The broker's port is open to the zones that need it, and to no others.",
        "The broker is what a stranger would look for first. Certificates keep him out; rules keep him from trying, and "
        "from the bugs before the certificate.",
        "Accept the broker's port from the devices' and the backend's interface alone.",
        "Drop addresses that arrive on the wrong interface.",
    ),
    _item(
        "access-1", "I3 I8", "broker",
        "A device writes and reads its own topics only, whatever it asks for.",
        "Rules by identity keep a stolen device from being more than one device. Judge them by what arrives: a PUBACK and "
        "a SUBACK say yes to everything.",
        "Use pattern rules with %u, and give no device a rule with # above its own level.",
        "Reload the broker safely: labkit broker reload.",
        "Publish as one device into another's topics, and ask an observer.",
    ),
    _item(
        "access-2", "I1 I9", "door tools",
        "No door opens to a password that everybody knows.",
        "Lists of default passwords are short and are tried on every address within minutes. Operators show a certificate; "
        "where a password must be, it is long, random and nobody else's.",
        "Give operators certificates, of an authority that signs no devices.",
        "Change what is left to random passwords of 20 characters, from a password manager.",
        "Try the list again.",
        mistake="default-passwords",
    ),
    _item(
        "access-3", "I3", "service tools",
        "Every programming interface asks who is calling.",
        "An interface without authentication is an open door with a manual beside it. It matters most where certificates "
        "are given out, and where flows can be changed.",
        "Turn authentication on: adminAuth in Node-RED, auth-enabled in InfluxDB, no anonymous access in Grafana.",
        "Let the provisioning service ask operators for a certificate.",
        "Ask each path without credentials, and expect 401 or 403.",
    ),
    _item(
        "access-4", "I1 I3", "service registry",
        "A provisioning token is for one device, counts once, and not for long.",
        "A token is an identity in waiting. What runs out in a day is worth little in a stolen list.",
        "Make tokens for 24 hours: labkit provision token --hours 24.",
        "Take back those that are still out: labkit provision token --revoke NAME.",
        "Look for tokens that were shown twice in the trail: somebody tried.",
    ),
    _item(
        "monitoring-1", "I8 I9", "broker service",
        "Refusals leave a line in a log: failed handshakes, failed logins, denied messages.",
        "What is not written can't be noticed. Mosquitto writes denied messages at debug level only, and TLS failures as "
        "notices, so its default hides what matters.",
        "Set log_type all, and rotate the file.",
        "Be refused once in each way, and find the lines.",
    ),
    _item(
        "monitoring-2", "I8", "monitoring",
        "Somebody is told of unusual patterns: unknown ids, rates, refusals, ends that come near.",
        "A log that nobody reads is a diary for the police. Detectors with thresholds that were tried on a real attack "
        "wake a person up; others are ornaments.",
        "Load the rule file: labkit monitor --rules.",
        "Play an attack against it, and see each alert come.",
        "Decide who is called, and what they type first.",
    ),
    _item(
        "monitoring-3", "I8", "registry broker",
        "Decommissioning has been carried out within a year, and what it took out of service stays out.",
        "Devices are sold, lost and stolen. Taking one out means: state, list, rules, session; each of them alone leaves a "
        "way back.",
        "Take a device out of service: labkit provision decommission.",
        "Publish the list, reload the broker, and try the old certificate.",
        "Erase or destroy the device, and note it.",
    ),
    _item(
        "monitoring-4", "I8", "documents",
        "There is a plan for a compromised device, and somebody has reviewed it within a year.",
        "In an incident nobody thinks well. The plan says who decides, who is called, and what is typed, in order; it has "
        "a date and a reader.",
        "Write it: detect, decide, revoke, cut, clean, learn.",
        "Play it once, with a clock.",
        "Have somebody else review it, and write date and name at its top.",
        person=True,
    ),
)  # fmt: skip
"""The items, in the order of the checklist."""

BY_ID: Mapping[str, Item] = {item.id: item for item in ITEMS}
"""The items by their id."""
