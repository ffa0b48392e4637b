"""The questions of lesson esp32-flashing."""

from labkit.course.lesson import Question

QUESTIONS = (
    Question(
        "A private key is embedded in the firmware image. Who can have it?",
        (
            ("Whoever holds a board in their hands", False, "They can, and they need not even."),
            (
                "Whoever can download an update",
                True,
                "Yes: the image goes to every device and lies on every update server. No board is needed.",
            ),
            (
                "Nobody, because the image is compiled",
                False,
                "The key stands in it as text, between its two lines.",
            ),
        ),
    ),
    Question(
        "Why does the identity get a partition of its own?",
        (
            ("A partition of its own is encrypted", False, "Not by being a partition."),
            (
                "What is written to settings, updates or Wi-Fi does not touch it, and it can be written alone",
                True,
                "Yes. It is also a place that a factory can write without knowing which firmware comes later.",
            ),
            ("The default partition is too small", False, "It would fit, and that is the trap."),
        ),
    ),
    Question(
        "An image of 0x6000 bytes was written at 0x9000, and the board runs older firmware now. Why?",
        (
            ("The image had older firmware in it", False, "It had three texts in it."),
            (
                "The partition behind nvs was otadata, which says which slot boots",
                True,
                "Yes: erased otadata means the first slot, whatever is in it.",
            ),
            ("esptool reset the board to factory settings", False, "It wrote exactly what it was told to."),
        ),
    ),
    Question(
        "Flash encryption is on. What does a dump of an NVS partition show?",
        (
            ("Noise", False, "That is what most people expect; the dump showed otherwise."),
            (
                "Its values, unless NVS encrypts them itself",
                True,
                "Yes: NVS writes single entries, so flash encryption leaves its partitions alone.",
            ),
            (
                "Nothing: read-flash is refused",
                False,
                "Secure Download Mode refuses it; flash encryption does not.",
            ),
        ),
    ),
    Question(
        "Where does the key of an encrypted NVS partition lie on an ESP32?",
        (
            (
                "In eFuses",
                False,
                "With the HMAC scheme of newer chips it is made from one. The ESP32 has none.",
            ),
            (
                "In a partition that flash encryption protects",
                True,
                "Yes, and the key of flash encryption lies in eFuses that no software can read.",
            ),
            ("In the firmware image", False, "Then every device would have the same."),
        ),
    ),
    Question(
        "The expired certificate was refused. Which layer said no, and how do you know?",
        (
            (
                "The board: it looked at its clock",
                False,
                "The board tried. Its console shows the answer it got.",
            ),
            (
                "TLS at the broker: an alert on the wire and a line in the broker's log",
                True,
                "Yes, before a single byte of MQTT was read.",
            ),
            ("MQTT: the CONNACK had a reason code", False, "There was no CONNACK."),
        ),
    ),
    Question(
        "A device is told to send every 0 seconds. Who has to refuse that?",
        (
            ("The broker, by its rules", False, "The broker's rules know topics, not what is in a message."),
            (
                "The device: it knows what makes sense",
                True,
                "Yes. Who may send a command is the broker's business, what is in it is the device's.",
            ),
            ("Nobody, the operator is trusted", False, "An operator's typing is input, too."),
        ),
    ),
    Question(
        "A dump is noise. What can the thief still do with it?",
        (
            ("Nothing at all", False, "One thing is left, and it needs no key."),
            (
                "Write it back later, on the same board",
                True,
                "Yes: encryption does not say which state is the newest. Anti-rollback and expiry dates do.",
            ),
            ("Run it on another board of the same type", False, "The other chip's eFuses hold another key."),
        ),
    ),
    Question(
        "Two boards of a batch have the same flash encryption key. What is wrong with that?",
        (
            ("Nothing, the key can't be read anyway", False, "It can't, and it need not be."),
            (
                "One board's flash runs in the other, so whoever opens one has all",
                True,
                "Yes: the same goes for keys of NVS, and for tokens.",
            ),
            ("The second board would not boot", False, "It boots, and that is the trouble."),
        ),
    ),
    Question(
        "Why are the keys in this lesson drawn by `secrets`, and not by the generator of NVS partitions?",
        (
            ("The generator's keys are too short", False, "They have the right length."),
            (
                "The generator draws them from a source that was made for dice, not for keys",
                True,
                "Yes: Python's random follows from its state. secrets asks the system's generator.",
            ),
            ("secrets is faster", False, "It is slower, and nobody would notice."),
        ),
    ),
)
