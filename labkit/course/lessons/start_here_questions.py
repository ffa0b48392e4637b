"""The questions of lesson start-here: what the course takes for granted, and what the reader should know now."""

from labkit.course.lesson import Question

READY = (
    Question(
        "What does `ls -l ca.key` show for a file that only its owner may read and write?",
        (
            ("-rw-------", True, "Yes: mode 0600."),
            ("-rw-r--r--", False, "Everybody may read that one. Read: file modes, `man chmod`."),
            ("-rwx------", False, "That is a program of its owner's. Read: file modes, `man chmod`."),
        ),
    ),
    Question(
        "What is at 127.0.0.1?",
        (
            (
                "This computer, reached through itself",
                True,
                "Yes: the loopback address. It never leaves the machine.",
            ),
            (
                "The router",
                False,
                "A router has an address in your network, often ending in .1. Read: loopback.",
            ),
            (
                "Whichever computer has that address",
                False,
                "Every computer has it, for itself. Read: loopback.",
            ),
        ),
    ),
    Question(
        "A server listens on TCP port 8883. What must a client know to reach it?",
        (
            ("Its address and the port", True, "Yes, both."),
            ("Its address; the port follows", False, "One machine has 65,535 ports. Read: TCP ports."),
            ("Its MAC address", False, "That is for the local network's frames. Read: TCP ports."),
        ),
    ),
    Question(
        "In MQTT, who receives a message?",
        (
            ("Every client subscribed to a matching topic", True, "Yes, and the broker hands it on."),
            (
                "The client that it is addressed to",
                False,
                "Messages go to topics, not to clients. Read: MQTT publish and subscribe.",
            ),
            ("All clients", False, "Only those who subscribed. Read: MQTT publish and subscribe."),
        ),
    ),
    Question(
        "Which topics does the filter `devices/+/status` match?",
        (
            ("devices/a/status", True, "Yes: + stands for exactly one level."),
            ("devices/a/b/status", False, "That has two levels where + stands. Read: MQTT topic filters."),
            ("devices/status", False, "+ needs a level to stand for. Read: MQTT topic filters."),
        ),
    ),
    Question(
        "You have somebody's public key. What can you do with it?",
        (
            ("Check a signature that the owner made", True, "Yes, and encrypt for the owner."),
            (
                "Sign in the owner's name",
                False,
                "For that you need the private key. Read: public-key cryptography.",
            ),
            (
                "Work out the private key",
                False,
                "If that were possible, none of this would work. Read: public-key cryptography.",
            ),
        ),
    ),
    Question(
        "Two files have the same SHA-256 hash. What follows?",
        (
            (
                "For all practical purposes they are the same file",
                True,
                "Yes: nobody knows two different ones.",
            ),
            (
                "They have the same length, nothing more",
                False,
                "The hash is 32 bytes whatever the length. Read: cryptographic hashes.",
            ),
            (
                "They were made by the same person",
                False,
                "A hash knows no author; a signature does. Read: cryptographic hashes.",
            ),
        ),
    ),
    Question(
        "What does `with open('a') as file:` promise in Python?",
        (
            (
                "The file is closed at the end, also after an error",
                True,
                "Yes. Our brokers stop the same way.",
            ),
            ("The file exists", False, "It raises if there is none. Read: context managers."),
            ("Nobody else writes to it", False, "That takes a lock. Read: context managers."),
        ),
    ),
    Question(
        "In a notebook, which order of cells counts?",
        (
            (
                "The order in which you ran them",
                True,
                "Yes: the kernel remembers, whatever the page looks like.",
            ),
            ("From top to bottom, always", False, "Only after Restart and Run All. Read: notebook kernels."),
            (
                "It does not matter",
                False,
                "A cell that uses a name needs the cell that made it. Read: notebook kernels.",
            ),
        ),
    ),
    Question(
        "You want to try an attack from this course on your neighbour's camera. What do you need?",
        (
            ("The neighbour's permission, in writing", True, "Yes, and before you start."),
            ("A VPN", False, "That hides you and makes nothing lawful. Read: the rules of engagement above."),
            (
                "To be careful not to break anything",
                False,
                "Access without permission is the offence. Read: the rules of engagement above.",
            ),
        ),
    ),
)

QUESTIONS = (
    Question(
        "Why was the impostor refused although every name in its chain was right?",
        (
            ("No signature in its chain leads to our root's key", True, "Yes: keys vouch, names only label."),
            (
                "The broker knows the names of all devices",
                False,
                "It has no such list; it never saw sensor-001 before today.",
            ),
            ("Its certificate had expired", False, "It was fresh; the alert would have been another."),
        ),
    ),
    Question(
        "A probe says: refused at mqtt, not-authorised. What has certainly worked?",
        (
            ("The TLS handshake", True, "Yes: mqtt comes after tls."),
            (
                "The check of a client certificate",
                False,
                "The careless broker refused at mqtt and never asked for one.",
            ),
            ("Nothing, it was refused", False, "The stage says how far it came: tcp and tls are behind it."),
        ),
    ),
    Question(
        "The stolen server certificate was signed by our own authority. Why was it refused as a client?",
        (
            ("Its extended key usage says serverAuth only", True, "Yes: the purpose is wrong."),
            (
                "The broker noticed that it was its own",
                False,
                "It never compares. A second server's certificate would be refused as well.",
            ),
            ("Servers have no private key", False, "They have, and the intruder had stolen it too."),
        ),
    ),
    Question(
        "You see the alert unknown_ca and nothing else. What do you know?",
        (
            ("The chain doesn't lead to a root that the broker trusts", True, "Yes, and no more than that."),
            ("Somebody forged our authority", False, "A self-signed certificate gives the same alert."),
            (
                "The client forgot its certificate",
                False,
                "That is certificate_required (TLS 1.3) or handshake_failure (TLS 1.2).",
            ),
        ),
    ),
    Question(
        "A test tries one connection without a certificate and it is refused. What is missing?",
        (
            (
                "A connection that is accepted by the same broker, and the reason of the refusal",
                True,
                "Yes: both. A dead broker passes the test otherwise.",
            ),
            ("Nothing", False, "The careless broker would have passed this test."),
            ("More intruders", False, "A broker that refuses everybody refuses them all."),
        ),
    ),
    Question(
        "Which key must never be on the broker's machine?",
        (
            ("The root's private key", True, "Yes: with it one can make any identity."),
            ("The broker's private key", False, "It needs that to prove who it is."),
            ("The root's public key", False, "It is in ca.crt, and the broker needs it."),
        ),
    ),
    Question(
        "Under TLS 1.3 a client library reports a finished handshake. Was the client accepted?",
        (
            ("Not known yet: the refusal may still be on its way", True, "Yes: wait for CONNACK."),
            ("Yes", False, "Intruder one finished its handshake too."),
            (
                "No, TLS 1.3 refuses first",
                False,
                "It is TLS 1.2 in which the refusal comes during the handshake.",
            ),
        ),
    ),
    Question(
        "How did we know that the temperature really went through?",
        (
            ("The observer received it", True, "Yes: delivery is the proof."),
            (
                "The publisher got no error",
                False,
                "With MQTT 3.1.1 a forbidden publish gets no error either.",
            ),
            ("The broker's log shows the connection", False, "Connected is not yet allowed to publish."),
        ),
    ),
)
