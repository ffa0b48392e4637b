"""The questions of lesson tls."""

from labkit.course.lesson import Question

QUESTIONS = (
    Question(
        "Which of TLS's promises did the flipped bit break, if TLS had not noticed?",
        (
            ("Integrity", True, "Yes: what arrives is what was sent."),
            ("Confidentiality", False, "Whoever flips a bit need not be able to read it."),
            ("Authenticity of the broker", False, "The broker was the right one."),
        ),
    ),
    Question(
        "Why does TLS 1.3 need one round trip less?",
        (
            ("Its encryption is faster", False, "AES-128-GCM is the same in both versions."),
            ("It leaves the certificates out", False, "They are there, encrypted; you opened them."),
            (
                "Both sides send half of a key in their first flight",
                True,
                "Yes: the client guesses a group and sends its share at once.",
            ),
        ),
    ),
    Question(
        "What does somebody who only listens learn from mutual TLS 1.3?",
        (
            ("Nothing at all", False, "Addresses, sizes, times, and the server's name in the ClientHello."),
            (
                "Which broker, how much and when, and not which device",
                True,
                "Yes: certificates are behind the encryption.",
            ),
            ("The device's certificate", False, "That was TLS 1.2."),
        ),
    ),
    Question(
        "Somebody steals the broker's private key today. Which recordings of last year can he read?",
        (
            ("Those of sessions without forward secrecy", True, "Yes: static RSA sent the secret along."),
            ("All of them", False, "With ECDHE the key only signed."),
            ("None: the sessions are over", False, "A recording does not know that it is over."),
        ),
    ),
    Question(
        "And which of *tomorrow's* sessions can he attack with the key?",
        (
            ("None with ECDHE", False, "He can pretend to be the broker from now on."),
            (
                "Any, by pretending to be the broker",
                True,
                "Yes. Forward secrecy protects the past; revocation and a new key protect the future.",
            ),
            (
                "Only those of devices without certificates",
                False,
                "The device checks the broker's certificate, and it is genuine.",
            ),
        ),
    ),
    Question(
        "A broker's configuration has no line about suites. What does it take?",
        (
            ("Only what TLS 1.3 allows", False, "You saw the table."),
            (
                "Nothing but the suite that its authors recommend",
                False,
                "OpenSSL's defaults must suit everybody, browsers of 2010 included.",
            ),
            (
                "Whatever its OpenSSL takes by default, weak suites included",
                True,
                "Yes; so ask the broker, not the manual.",
            ),
        ),
    ),
    Question(
        "`connect()` under TLS 1.3 returned without an error. What do you know about your certificate?",
        (
            ("That the broker has accepted it", False, "It may not have looked yet."),
            ("Nothing yet", True, "Yes: the verdict comes with the broker's next flight."),
            ("That it was sent in the open", False, "Under 1.3 it is encrypted."),
        ),
    ),
    Question(
        "Which suite would you give a device with AES in hardware?",
        (
            ("TLS_AES_128_GCM_SHA256", True, "Yes."),
            (
                "TLS_RSA_WITH_AES_128_CBC_SHA",
                False,
                "No forward secrecy, CBC, SHA-1: three faults in one name.",
            ),
            ("TLS_RSA_WITH_NULL_SHA256", False, "NULL encrypts nothing at all."),
        ),
    ),
    Question(
        "Why must a key log be kept like a private key?",
        (
            ("It opens the recordings of its sessions", True, "Yes, forward secrecy or not."),
            ("It contains the device's private key", False, "It contains the secrets of sessions."),
            ("It can sign in the device's name", False, "Nothing in it can sign."),
        ),
    ),
    Question(
        "What is wrong with 0-RTT for commands?",
        (
            ("They are not encrypted", False, "They are, with a key of the session before."),
            (
                "They can be replayed by whoever recorded them",
                True,
                "Yes: the first flight has nothing fresh from the server in it.",
            ),
            ("They are too long", False, "Their length is not the problem."),
        ),
    ),
)
