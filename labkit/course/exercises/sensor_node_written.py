"""What a person judges in exercise sensor-node."""

from __future__ import annotations

from labkit.course.exercise import Rubric

RUBRICS = (
    Rubric(
        "sensor-node.D1",
        "Show the lines of the console and of the broker's log that prove a mutual TLS session, and say what each proves.",
        20,
        (
            (4, "From the console: the lines of the boot, the session and a reading, with their codes."),
            (
                4,
                "From the broker's log: the line with u'<device>', and that this name comes from the certificate.",
            ),
            (
                4,
                "Which line proves what the broker knows of the device, and which what the device knows of the broker.",
            ),
            (4, "The refusal of the expired certificate on both sides, and which layer refused."),
            (
                4,
                "What these lines do not prove: a log can be forged, a reading can be invented, a key can be copied.",
            ),
        ),
        good=(
            "`lab_session: code=mqtt-connected` on the console: the device has verified the broker's certificate against the "
            "root in its flash, or it would have said `tls-refused`. `New client connected … u'kiln-42'` in the log: the broker "
            "has verified the device's, and took the name from its common name; the client id before it proves nothing, since a "
            "client chooses it. `telemetry-sent seq=0`: the broker took the reading. With the expired certificate the console says "
            "`tls-refused stage=tls reason=certificate-expired`, and the log has an OpenSSL error and no client: TLS refused, "
            "before any MQTT. None of it proves that the reading is true, or that nobody else has the key."
        ),
        weak=(
            "The whole console and the whole log are pasted, under the words *as you can see, mTLS works*. It has the right lines "
            "and says of none what it proves; a broker without require_certificate would log nearly the same."
        ),
        minutes=20,
    ),
)
