"""Every word that the device logs: stable, one line each, so that a test or an operator can look for it.

A line is the code and its values, `code=mqtt-connected broker=broker.local`; nothing in it is a secret, and never a
whole payload. `firmware/components/lab_core/include/lab_codes.h` has the same table for C, and a test compares the two.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from labkit.errors import MessageRefusedError

Level = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Code:
    """One word of the log.

    Attributes:
        name: The word.
        level: How much it matters.
        meaning: What happened, in a sentence.
    """

    name: str
    level: Level
    meaning: str


_TABLE: tuple[tuple[str, Level, str], ...] = (
    # Names
    ("id-empty", "error", "The device id is empty."),
    ("id-too-long", "error", "The device id has more than 63 characters."),
    ("id-not-ascii", "error", "The device id has characters outside ASCII."),
    ("id-path", "error", "The device id has two dots in it."),
    ("id-separator", "error", "The device id has a slash in it."),
    ("id-wildcard", "error", "The device id has + or # in it."),
    ("id-substitution", "error", "The device id has % in it."),
    ("id-reserved", "error", "The device id belongs to somebody else."),
    ("id-grammar", "error", "The device id has other characters than a-z, 0-9 and -."),
    # What comes in as JSON
    ("json-too-long", "warning", "A document is longer than the device reads."),
    ("json-syntax", "warning", "A document is no JSON object, or nested too deep."),
    ("json-field-missing", "warning", "A document lacks a field."),
    ("json-field-unknown", "warning", "A command has a field that it does not know."),
    ("json-field-twice", "warning", "A document has a field twice."),
    ("json-field-kind", "warning", "A field is of another kind than it should be."),
    ("json-range", "warning", "A field's value is outside what is allowed."),
    # Commands
    ("command-not-ours", "warning", "A message came on a topic that is no command of this device."),
    ("command-unknown", "warning", "There is no such command."),
    ("command-retained", "warning", "A command lay retained at the broker; it is old, and is not carried out."),
    ("command-done", "info", "A command was carried out."),
    # Readings
    ("reading-failed", "warning", "The sensor gave no reading; nothing was sent."),
    ("reading-range", "warning", "The sensor gave a reading that it can't have; nothing was sent."),
    ("telemetry-sent", "info", "A reading was handed to the broker."),
    # Booting
    ("boot-unprovisioned", "info", "The device has no identity yet."),
    ("boot-provisioned", "info", "The device has an identity."),
    ("boot-renewing", "info", "A renewal had begun before the last restart; it goes on."),
    ("boot-updating", "info", "This image runs for the first time and has to prove itself."),
    ("boot-rolled-back", "warning", "The last image did not prove itself; the one before runs again."),
    ("boot-no-token", "error", "The device has neither an identity nor a token."),
    ("trust-missing", "error", "The image has no certificate of an authority in it; it trusts nobody."),
    # Network and time
    ("network-up", "info", "The network is there."),
    ("network-down", "warning", "The network is gone."),
    ("network-no-credentials", "error", "No Wi-Fi network is stored for this device."),
    ("clock-set", "info", "The clock was set from the network."),
    ("clock-unset", "warning", "The clock is not set, so no certificate can be judged."),
    # The broker
    ("mqtt-connected", "info", "The broker accepted the session."),
    ("mqtt-disconnected", "warning", "The session ended."),
    ("mqtt-refused", "warning", "The broker refused the session."),
    ("mqtt-subscribe-refused", "error", "The broker refused the subscription to commands."),
    ("tls-refused", "warning", "The TLS handshake failed."),
    # Storage
    ("nvs-missing", "warning", "A value is not stored."),
    ("nvs-content", "error", "A stored value is not what it should be."),
    ("nvs-too-long", "error", "A stored value is longer than anything that belongs there."),
    ("nvs-failed", "error", "The flash did not read or write."),
    ("memory-short", "error", "There is no memory for this."),
    # Keys
    ("random-failed", "error", "The random number generator failed; no key was made."),
    ("key-failed", "error", "No key could be made or loaded."),
    ("csr-failed", "error", "No certificate request could be made."),
    ("identity-mismatch", "error", "A certificate does not belong to the key that is stored beside it."),
    # The provisioning service
    ("service-unreachable", "warning", "The service did not answer, or is not the one that we trust."),
    ("service-later", "warning", "The service can't answer now; the device asks again."),
    ("service-refused", "error", "The service said no for good."),
    ("reply-device", "error", "The service answered for another device."),
    ("reply-chain", "error", "The service sent something that is no chain of certificates."),
    ("reply-time", "error", "The service sent something that is no time."),
    ("enrol-done", "info", "The device has its first certificate, and the token is erased."),
    ("config-done", "info", "What the service has set for the device is stored."),
    ("renew-due", "info", "The certificate is to be renewed."),
    ("renew-done", "info", "The device has its next certificate, and it is confirmed."),
    ("renew-expired", "error", "The certificate has run out; the device needs a fresh token."),
    ("renew-not-yet-valid", "warning", "The certificate is not valid yet; the clock or the certificate is wrong."),
    # Updates: the manifest
    ("manifest-format", "warning", "The update server speaks another format."),
    ("manifest-path", "warning", "The manifest leads outside of the update server's own paths."),
    ("manifest-differs", "warning", "The manifest and the signed header don't agree."),
    ("update-none", "info", "There is no newer image."),
    # Updates: the signed header
    ("header-short", "warning", "The update ends before its header does."),
    ("header-magic", "warning", "The update does not begin as one."),
    ("header-length", "warning", "The header says that it has another length."),
    ("header-algorithm", "warning", "The header names a signature that the device does not know."),
    ("header-reserved", "warning", "Bytes of the header that must be zero are not."),
    ("header-product", "warning", "The header's product is no product's name."),
    ("header-hardware", "warning", "The header's hardware range is empty."),
    ("header-size", "warning", "The header promises an image that is too small to be one."),
    ("key-unknown", "warning", "The update is signed with a key that the device does not know."),
    ("key-revoked", "warning", "The update is signed with a key that is trusted no more."),
    ("signature-wrong", "warning", "The header's signature does not verify."),
    # Updates: the policy
    ("product-wrong", "warning", "The update is for another product."),
    ("hardware-unsupported", "warning", "The update is for other hardware revisions."),
    ("secure-version-older", "warning", "The update has a secure version below the device's."),
    ("version-not-newer", "info", "The update is not newer than what runs."),
    ("version-rolled-back", "warning", "The update is the one that did not prove itself on this device."),
    ("size-too-large", "warning", "The image does not fit into a slot."),
    # Updates: the image
    ("image-short", "warning", "The image ends before its size is reached."),
    ("image-long", "warning", "The image goes on beyond its size."),
    ("image-digest", "warning", "The image's SHA-256 is not the signed one."),
    ("image-refused", "error", "The image was received whole and is none that this chip can boot."),
    ("slot-failed", "error", "The slot could not be written."),
    ("update-staged", "info", "The new image is in its slot and boots next."),
    ("update-confirmed", "info", "The new image has proved itself."),
    ("update-rolling-back", "error", "The new image could not prove itself; the device goes back."),
)  # fmt: skip

CODES = {name: Code(name, level, meaning) for name, level, meaning in _TABLE}
"""Every code by its name, in the order of the firmware's table."""

_LINE = re.compile(r"code=(?P<code>[a-z-]+)(?P<values>(?: [a-z_]+=[^\s=]+)*)\s*$")
_SAFE = re.compile(r"[^!-<>-~]")


def refused(code: str, why: str) -> MessageRefusedError:
    """Return the error for a refusal with a code; `why` adds what the code alone does not say."""
    return MessageRefusedError(
        f"{CODES[code].meaning} {why}".strip(),
        advice=f"Look up the code {code} in firmware/README.md.",
        code=code,
    )


def line(code: str, **values: object) -> str:
    """Return the text of a log line, without the time and the place that the logger puts before it.

    Characters that could break the line, or begin another one, become `?`.
    """
    parts = [f"code={CODES[code].name}"]
    parts += [f"{key}={_SAFE.sub('?', str(value)) or '-'}" for key, value in values.items()]
    return " ".join(parts)


def parse_line(text: str) -> tuple[str, dict[str, str]] | None:
    """Return the code and the values of a log line, or None for a line of somebody else."""
    found = _LINE.search(text)
    if found is None or found["code"] not in CODES:
        return None
    pairs = (word.partition("=") for word in found["values"].split())
    return found["code"], {key: value for key, _, value in pairs}
