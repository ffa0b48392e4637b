"""What a person judges in exercise first-boot."""

from __future__ import annotations

from labkit.course.exercise import Rubric

RUBRICS = (
    Rubric(
        "first-boot.D1",
        "Describe the flow from the factory to the first session: each step, who knows which secret, and what a loss costs.",
        15,
        (
            (3, "Each step in order: token, key, request, certificate, store, erase, connect."),
            (3, "Who knows the token and who knows the key, at each step; the key never leaves the device."),
            (
                3,
                "The power cut and the lost reply: what is in flash then, and why the next boot comes through.",
            ),
            (
                3,
                "A token that was read by somebody else: what they can do before, and after it was spent; who notices.",
            ),
            (
                3,
                "Something that this flow does not solve, such as a stolen device or a service that is down on the first day.",
            ),
        ),
        good=(
            "An operator takes the device into the registry and makes a token, which the factory writes into its flash: three "
            "parties know it. At its first boot the device makes a key and stores it, before it asks anybody, because the reply may "
            "be lost: the same key gets the same certificate again. The request carries the key's public half and the proof of the "
            "private one, which never leaves the device. The certificate is named by the token, not by the request. The device stores "
            "the chain, then erases the token, then connects; after a cut behind any of these, the next boot finds what is done and "
            "goes on. Who copies the token earlier can be the device, once: the real one is then told token-spent, and the operator "
            "sees both attempts in the trail. Afterwards the token is worth nothing. It does not help against somebody who reads the "
            "flash later: the key is there."
        ),
        weak=(
            "The device sends a CSR with its token and gets a certificate, so it is secure. All words are right, and none says who "
            "could have done the same, or what happens when something fails."
        ),
        minutes=20,
    ),
)
