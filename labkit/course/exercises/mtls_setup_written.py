"""What a person judges in mtls-setup."""

from __future__ import annotations

from labkit.course.exercise import Rubric

RUBRICS = (
    Rubric(
        "mtls-setup.D1",
        "a test log of accepted and rejected connections, and what each line of it proves",
        10,
        (
            (
                3,
                "At least two accepted and three rejected connections are named, each with who tried and what happened.",
            ),
            (
                3,
                "For each rejection: the layer that refused (TLS, MQTT, or the rules), and how the log shows it.",
            ),
            (2, "The positive control is named: why the rejections would prove nothing without it."),
            (2, "One thing that the set-up does not stop, with the reason."),
        ),
        good=(
            "pump-417 with its certificate: CONNACK 0, and the broker's log says u'pump-417'; that is my control, on the same "
            "broker as all that follows. No certificate: refused in TLS, alert certificate_required, the log says 'peer did not "
            "return a certificate'; MQTT never began. stranger.crt, same name, other authority: TLS again, unknown_ca. pump-417 "
            "to pump-430's telemetry: TLS and CONNACK are fine, PUBACK 135, and the operator's subscription saw nothing, so the "
            "rules refused it. Not stopped: who copies pump-430.key is pump-430 until I revoke it, and this broker reads no list."
        ),
        weak=(
            "All tests passed. The wrong certificates were rejected with connection errors, so the broker is secure. (It looks "
            "complete, but names no layer and no reason, and a broker that is switched off would give the same log.)"
        ),
        minutes=15,
    ),
)
