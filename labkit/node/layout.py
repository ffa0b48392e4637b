"""Where the device keeps what it must not lose: partitions, namespaces and keys of NVS.

`fctry` is a partition of its own: Wi-Fi's `nvs` may be erased at any time and the identity stays. The factory writes
`device_id`, and either `token` (first boot enrols) or `key` and `chain` (the line made them). These two are slot a; a
renewal fills slot b, `in_use` is written last, and so on in turn.
"""

from __future__ import annotations

PARTITION = "fctry"

IDENTITY = "identity"
"""The namespace of everything that says who the device is."""

DEVICE_ID, TOKEN, ROOT, HARDWARE = "device_id", "token", "root", "hardware"
"""Its keys: the id; the token, until it is spent; the authority that is trusted, where it is not the image's; the board's
revision (u16)."""

SLOTS = {"a": ("key", "chain"), "b": ("key_b", "chain_b")}
"""The two slots: the keys of NVS for the private key and for the chain of certificates, both PEM."""

IN_USE, NEXT, RENEW_AFTER, SHARE = "in_use", "next", "renew_after", "share"
"""Which slot is in use (`a`, `b`; where it is missing, slot a, if it is whole and not being filled); which slot is being filled; from
when on the service lets the device renew (u64); 32 bits of the device's own for jitter (u32)."""

NETWORK = "network"
SSID, PASSWORD = "ssid", "password"
"""Wi-Fi's credentials: written by labkit, in no image and in no configuration."""

SERVICE = "service"
BROKER_HOST, BROKER_PORT, PROVISION_URL, UPDATE_URL = (
    "broker_host",
    "broker_port",
    "provision_url",
    "update_url",
)
"""Where the services are, if not where the image says; the port is a u16."""

SETTINGS = "settings"
INTERVAL = "interval"
"""Seconds between readings (u32)."""

UPDATE = "update"
TRIED, FAILED = "tried", "failed"
"""The version of the image that is on trial (text), written when it is staged and erased when it has proved itself: where
another version runs, it did not. Its version then moves to `failed`, and it is not taken again."""

TIME_SERVER = "time_server"
"""In `service`: where the time comes from."""

LONGEST = {
    DEVICE_ID: 63, TOKEN: 128, ROOT: 3967, "key": 3967, "chain": 3967, "key_b": 3967, "chain_b": 3967,
    IN_USE: 1, NEXT: 1, SSID: 32, PASSWORD: 64, BROKER_HOST: 253, PROVISION_URL: 300, UPDATE_URL: 300, TRIED: 17, FAILED: 17,
    TIME_SERVER: 253,
}  # fmt: skip
"""The longest text of each key, without its NUL. Whatever is longer was not written by us, and is refused unread."""
