"""The questions of lesson revocation."""

from labkit.course.lesson import Question

QUESTIONS = (
    Question(
        "A device was stolen an hour ago. What does `labkit ca revoke` change at that moment?",
        (
            ("A new list lies on the disk of the authority", True, "Yes, and no broker knows it yet."),
            ("The device's next connection is refused", False, "Not before the broker has read the list."),
            ("The device's open session ends", False, "No list ends a session."),
        ),
    ),
    Question(
        "Which of these ends what an open session may do, at once?",
        (
            (
                "A reload of the list",
                False,
                "The list is looked at in handshakes; this session had its own long ago.",
            ),
            ("A rule that denies everything to its user", True, "Yes: rules are looked at for each message."),
            ("Deleting its certificate from the authority", False, "The broker never looks there."),
        ),
    ),
    Question(
        "All devices of a plant are refused since midnight, with the alert certificate_expired. What do you look at first?",
        (
            ("The next update of the broker's list", True, "Yes: all at once, at a round hour, is a list."),
            (
                "The certificates of the devices",
                False,
                "They were not all issued in the same second. Look at one, then at the list.",
            ),
            ("The firmware of the devices", False, "The alert came from the broker."),
        ),
    ),
    Question(
        "A list arrives over plain HTTP. Is that a problem?",
        (
            (
                "Yes, anybody could change it on the way",
                False,
                "Then its signature would no longer hold, and you check that.",
            ),
            (
                "It could be held back or be an old one",
                True,
                "Yes: the signature holds for old lists too. Number and next update bound the harm.",
            ),
            ("No, lists are secret anyway", False, "They are public. Serial numbers tell little."),
        ),
    ),
    Question(
        "Why may an expired certificate come back on a TLS ticket?",
        (
            ("Its clock is slow", False, "The broker's clock decided, and it was right."),
            (
                "The ticket holds a copy of the private key",
                False,
                "It holds the session's secret, sealed with a key of the server.",
            ),
            (
                "A resumed handshake shows no certificate, so none is judged",
                True,
                "Yes: what was judged is the first visit.",
            ),
        ),
    ),
    Question(
        "The root has revoked the intermediate. What does Mosquitto do with a device below it?",
        (
            ("It lets the device in", True, "Yes: it looks up the leaf, never the chain."),
            (
                "It refuses, because the root's list names the issuer",
                False,
                "openssl verify -crl_check_all does; Mosquitto asks for the leaf only.",
            ),
            ("It refuses until the device has a new key", False, "The key is not the question."),
        ),
    ),
    Question(
        "After the intermediate was replaced, what must a healthy device get?",
        (
            ("A new key and a new certificate", False, "Its key never left it. Nobody has to touch it."),
            (
                "A new certificate over the key that it has",
                True,
                "Yes, and a certificate may be sent in the open.",
            ),
            ("A new trust anchor", False, "It trusts the root, and the root is the same."),
        ),
    ),
    Question(
        "Why does the list grow more slowly when certificates live for a month?",
        (
            ("Fewer devices are stolen", False, "That would be nice."),
            (
                "Entries of certificates that ran out leave the list",
                True,
                "Yes: expiry refuses them already.",
            ),
            ("Serial numbers are shorter", False, "They have 128 random bits either way."),
        ),
    ),
    Question(
        "enforce knocks with a revoked canary *and* with the operator. What would be missing without the operator?",
        (
            (
                "Nothing, the canary is what counts",
                False,
                "A broker with a stale list refuses the canary too, and everybody else.",
            ),
            ("The proof that healthy clients still get in", True, "Yes: the positive control."),
            ("The signature of the operator", False, "Nobody signs anything here."),
        ),
    ),
    Question(
        "How long should a list be valid, if it is renewed every day?",
        (
            ("A day: then it is never stale", False, "One missed renewal and nobody gets in."),
            ("A year: then nothing can go wrong", False, "A thief who holds back new lists has a year."),
            (
                "Long enough to notice and mend a failed renewal, and no longer",
                True,
                "Yes; ours takes a week.",
            ),
        ),
    ),
)
