"""The two clients of lesson esp32-flashing, line by line from their files: what each call is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.display import Call, side_by_side
from labkit.firmware.idf import project_folder

if TYPE_CHECKING:
    from labkit.display import Table

ESP_IDF, ARDUINO = "components/lab_mqtt/src/lab_mqtt_esp.c", "arduino/src/main.cpp"

CALLS = (
    Call("whom we believe: without it anybody could be the broker", (r"broker\.verification\.certificate", r"^\s*tls\.setCACert")),
    Call("who we are", (r"authentication\.certificate", "setCertificate")),
    Call("the proof of it; it never leaves the device", (r"authentication\.key", "setPrivateKey")),
    Call("where to, and over TLS", (r"broker\.address", r"mqtt\.begin")),
    Call("what the broker says for us when we are gone without a word", (r"session\.last_will", "setWill")),
    Call("connect: TCP, TLS with both certificates, MQTT", (r"esp_mqtt_client_start\(", r"mqtt\.connect\(")),
    Call("say something, and have it acknowledged (QoS 1)", (r"esp_mqtt_client_publish\(", r"mqtt\.publish\(topic")),
    Call("listen to our own commands", (r"esp_mqtt_client_subscribe_single\(", r"mqtt\.subscribe\(")),
    Call("wait before the next try, longer each time; in the ESP-IDF project the node does", (r"disable_auto_reconnect", r"delay\(random")),
)  # fmt: skip


def clients() -> Table:
    """Return what both clients do, beside each other.

    Raises:
        ToolMissingError: The folder of the firmware is not here.
        ValueError: A file has changed, and the table has not.
    """
    folder = project_folder()
    programs = [("ESP-IDF (C)", folder / ESP_IDF), ("Arduino (C++)", folder / ARDUINO)]
    return side_by_side("Two clients, the same calls", programs, CALLS)
