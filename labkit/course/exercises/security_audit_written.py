"""What a person judges in security-audit."""

from __future__ import annotations

from labkit.course.exercise import Rubric

RUBRICS = (
    Rubric(
        "security-audit.2",
        "a paragraph of remediation for each item that fails, with specific steps",
        20,
        (
            (
                8,
                "Every item that fails has a paragraph, and names what is wrong in this plant, not in general.",
            ),
            (6, "The steps are specific: which file, option, device or certificate, and in which order."),
            (3, "Somebody is to do it, by a day; what can't be done at once has an interim measure."),
            (
                3,
                "Each paragraph says how one sees that it is done: the attempt that must fail, or pass, afterwards.",
            ),
        ),
        good=(
            "communication-1: the broker has a second listener on port 1883, left from a test, that answers a CONNECT without TLS. "
            "Ben deletes the listener line from mosquitto.conf and restarts the broker tonight at ten; nothing connects to it, the "
            "log of the last week says so. Until then port 1883 is dropped at the router. It is done when a plain CONNECT to 1883 "
            "gets no answer and sensor-001 still delivers."
        ),
        weak=(
            "communication-1: Encryption should be used everywhere. We recommend to enable TLS as soon as possible according to "
            "best practices. (Long enough, and about no plant in particular: nobody knows on Monday what to type.)"
        ),
        minutes=30,
    ),
    Rubric(
        "security-audit.D1",
        "what improved: before and after, the evidence of the fixes, and what is left",
        10,
        (
            (
                4,
                "Before and after are compared by item: what was mended, what is better but still fails, what is as it was.",
            ),
            (
                3,
                "For each fix the change and the measurement that shows it, with the control that still works.",
            ),
            (
                3,
                "What is left is ordered by risk, with a reason; and one thing is named that no item asks for.",
            ),
        ),
        good=(
            "Twelve items failed; eight do now. access-1: the pattern devices/# is gone from acl.conf; sensor-001's message to "
            "sensor-002's topics no longer reaches the observer, its own still does. communication-4 is better, not mended: the "
            "plain door is shut, and the list of revoked certificates is still late. Next is identity-3: the key in the image is in "
            "every device, so it comes before the paper about the switch. No item asks whether the backup of the authority can be "
            "restored."
        ),
        weak=(
            "After our work the plant is much more secure, from 12 to 8 failures (-33 %). The remaining items will be handled later. "
            "(Counts items instead of risks, and shows nothing that was measured.)"
        ),
        minutes=10,
    ),
)
