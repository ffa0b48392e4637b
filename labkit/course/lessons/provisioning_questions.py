"""The questions of lesson provisioning."""

from labkit.course.lesson import Question

QUESTIONS = (
    Question(
        "A device's request asks for the subject CN=admin, and its token is for sensor-103. What is the certificate's subject?",
        (
            ("admin", False, "Then everybody with one honest token would be admin."),
            ("sensor-103", True, "Yes: the token decides on the name, the request only on the key."),
            (
                "Nothing is issued",
                False,
                "At the first enrolment the wish is ignored and reported. At a renewal it is refused.",
            ),
        ),
    ),
    Question(
        "What does the signature in a certificate request prove?",
        (
            ("That the sender is the device", False, "Anybody can make a key and sign with it."),
            (
                "That the sender has the private key",
                True,
                "Yes, and nothing more. Who they are, the token says.",
            ),
            ("That the request was not read on the way", False, "TLS is for that."),
        ),
    ),
    Question(
        "Why is a token's SHA-256 in the registry, and not the token?",
        (
            ("It is shorter", False, "It is not."),
            (
                "Who reads the registry can't enrol with it",
                True,
                "Yes: a copy of the database is worth no certificate.",
            ),
            ("It is compared faster", False, "Both are compared in no time."),
        ),
    ),
    Question(
        "The reply with the certificate is lost. The device asks again with the same token. What should happen?",
        (
            ("Refused: the token is spent", False, "Then a lost packet would cost a device."),
            (
                "The same certificate, if the key is the same",
                True,
                "Yes. With another key it is somebody else, and refused.",
            ),
            ("A second certificate", False, "Then one token would be worth two."),
        ),
    ),
    Question(
        "Why is the service's own certificate from the fleet's authority, and not made at each start?",
        (
            (
                "A device can verify it on its first day",
                True,
                "Yes: it was shipped with the root. Otherwise it would have to believe anybody.",
            ),
            ("It is cheaper", False, "Both cost nothing."),
            ("TLS would not work otherwise", False, "It would, with anybody at the other end."),
        ),
    ),
    Question(
        "Operators show a certificate too. Why of another authority?",
        (
            (
                "So that a device can never become one",
                True,
                "Yes: whatever the devices' authority signs, no operator comes out.",
            ),
            ("Because their keys are longer", False, "They are not."),
            ("So that they can be revoked", False, "Both can."),
        ),
    ),
    Question(
        "During a renewal both certificates count for a while. What ends that?",
        (
            ("The clock", False, "The old one would count until its end, months later."),
            (
                "The first use of the new one, confirmed",
                True,
                "Yes: who presents it has it stored, and only then may the old one go.",
            ),
            ("The service, when it has signed", False, "A device that lost the reply would be locked out."),
        ),
    ),
    Question(
        "Two devices renew with the same certificate and different keys. What is certain?",
        (
            ("The second is the thief", False, "Thieves can be quick."),
            (
                "Somebody has copied a key",
                True,
                "Yes, and that is all that is certain, so neither is believed.",
            ),
            ("The database is damaged", False, "It has done what it is for."),
        ),
    ),
    Question(
        "Why does the service look at a certificate's dates itself, although TLS has?",
        (
            ("TLS does not look at dates", False, "It does, in a full handshake."),
            (
                "A resumed session shows a certificate that nobody has looked at again",
                True,
                "Yes: it may have run out since.",
            ),
            ("Devices' clocks are wrong", False, "It is the service's clock that counts here."),
        ),
    ),
    Question(
        "A contract manufacturer makes your devices, and you do not trust it with your authority's key. What do you give it?",
        (
            ("The intermediate's key, for a week", False, "In a week it can sign for ten years."),
            (
                "One token a device",
                True,
                "Yes: it can make as many devices as it has tokens, and each is used once.",
            ),
            (
                "Finished certificates and keys on a stick",
                False,
                "Then the keys of your devices lie on a stick.",
            ),
        ),
    ),
)
