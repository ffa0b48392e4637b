"""The questions of lesson mutual-tls."""

from labkit.course.lesson import Question

QUESTIONS = (
    Question(
        "TLS was on, and the thief got in with a password. What did TLS do for you?",
        (
            ("Nothing", False, "It kept the password off the wire, and proved the broker to the device."),
            (
                "It proved the broker and hid the password on the way",
                True,
                "Yes. It asked the client for nothing.",
            ),
            ("It proved the device", False, "For that the broker must ask for a certificate."),
        ),
    ),
    Question(
        "Somebody copies a device's certificate, and not its key. What can he do?",
        (
            ("Connect as the device", False, "He can't sign the handshake."),
            (
                "Nothing much: certificates are public",
                True,
                "Yes. Under TLS 1.2 everybody on the way sees them.",
            ),
            ("Decrypt its messages", False, "The keys of a session are not in a certificate."),
        ),
    ),
    Question(
        "A broker's cafile is the root alone. Which devices get in?",
        (
            ("None", False, "Those that send their intermediate do."),
            (
                "All that the root has signed for, directly or not",
                False,
                "Not if nobody shows the broker what lies between.",
            ),
            ("Those that send their chain", True, "Yes, as standard TLS has it."),
        ),
    ),
    Question(
        "Where does our broker take a client's user name from?",
        (
            ("From the CONNECT packet", False, "That field was ignored, whatever it said."),
            ("From the common name of its certificate", True, "Yes: use_identity_as_username."),
            ("From a list of devices", False, "It has none."),
        ),
    ),
    Question(
        "An MQTT 3.1.1 publisher gets its PUBACK. What does it know?",
        (
            ("That the broker has taken the packet off its hands", True, "Yes, and perhaps dropped it."),
            ("That the message was allowed", False, "Refused messages are acknowledged too."),
            ("That a subscriber has it", False, "PUBACK comes from the broker, not from a subscriber."),
        ),
    ),
    Question(
        "How do you prove that sensor-002 can't hear sensor-001's commands?",
        (
            ("Its SUBSCRIBE is refused", False, "It is granted, and nothing is delivered."),
            (
                "It receives nothing in five seconds",
                False,
                "Perhaps it is disconnected, or slow. What must arrive in the same time?",
            ),
            (
                "A command is sent, and a message of its own arrives after it while the command does not",
                True,
                "Yes: the fence shows that it was listening.",
            ),
        ),
    ),
    Question(
        "The CN is sensor-001/commands. Which layer should have stopped it?",
        (
            ("The authority, before it signed", True, "Yes: nobody after it knows what names mean."),
            ("TLS", False, "The certificate is perfectly valid."),
            (
                "The access rules",
                False,
                "They were kept: the name was filled in where it says %u. Newer brokers help, and you can't rely on it.",
            ),
        ),
    ),
    Question(
        "Why is a rule like `pattern readwrite devices/#` tempting, and wrong?",
        (
            ("It is too slow", False, "It is quick."),
            (
                "It has no %u in it, so every device may speak for every other",
                True,
                "Yes, and all tests with one device pass.",
            ),
            ("Patterns can't have #", False, "They can."),
        ),
    ),
    Question(
        "A rule file with a typing mistake is reloaded into Mosquitto 2.0. What happens?",
        (
            ("The broker stops", False, "2.1 does. 2.0 goes on, without any rules."),
            ("The old rules stay", False, "That would be safe; 2.0 drops all of them."),
            ("Everybody may do everything", True, "Yes. So rules are tried on a second broker first."),
        ),
    ),
    Question(
        "What does binding the client id to the certificate prevent?",
        (
            ("That one device takes over another's session and its waiting messages", True, "Yes."),
            ("That a device connects twice", False, "It still pushes its own older connection off."),
            ("That a device has a wrong certificate", False, "That is TLS's business."),
        ),
    ),
)
