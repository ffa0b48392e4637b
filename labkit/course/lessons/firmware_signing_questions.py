"""The questions of lesson firmware-signing."""

from labkit.course.lesson import Question

QUESTIONS = (
    Question(
        "An image carries a good signature of your house. What do you know for sure?",
        (
            ("That it is the newest one", False, "It was signed once. When, nobody wrote into it."),
            (
                "That these bytes were signed with your key",
                True,
                "Yes, and nothing else. Product, age and purpose have to stand in what is signed.",
            ),
            ("That it works", False, "The release that bricked was signed as well as any."),
        ),
    ),
    Question(
        "Why does the signed header stand in front of the image, and not behind it?",
        (
            (
                "So that a device can refuse before it erases anything",
                True,
                "Yes: 192 bytes decide, and the rest is compared with a digest that is known by then.",
            ),
            (
                "Because signatures are computed from front to back",
                False,
                "A hash is; where it stands is free.",
            ),
            ("So that the image can be longer", False, "It is as long either way."),
        ),
    ),
    Question(
        "The header has the image's SHA-256, and the signature covers only the header. Why is that enough?",
        (
            (
                "Another image with the same SHA-256 can't be found",
                True,
                "Yes: the digest stands for the image, as it does inside of every signature.",
            ),
            (
                "The image has a checksum of its own",
                False,
                "That one byte finds accidents. Anybody can make it right again.",
            ),
            (
                "TLS protects the image",
                False,
                "On the way. The server it came from may be somebody else's by now.",
            ),
        ),
    ),
    Question(
        "An attacker has broken into the update server. The signing key is elsewhere. What can they do?",
        (
            (
                "Ship their own firmware",
                False,
                "No device takes it: the signature is wrong, or there is none.",
            ),
            (
                "Hold devices back, by offering nothing new",
                True,
                "Yes. A signature doesn't bring you news. The registry should know which version each device runs.",
            ),
            (
                "Ship an old release with a hole",
                False,
                "Its header says its version, and the device's own is newer.",
            ),
        ),
    ),
    Question(
        "The key id in the header is wrong. What does it cost an attacker to write the right one?",
        (
            (
                "Nothing, and it is worth nothing",
                True,
                "Yes: it chooses among the keys that the device trusts. The signature proves.",
            ),
            (
                "They need the key for that",
                False,
                "The id is the beginning of a hash of the public key. Everybody knows it.",
            ),
            (
                "It can't be written: it is signed",
                False,
                "They would sign their own header. What they lack is the key.",
            ),
        ),
    ),
    Question(
        "A new image confirms itself after the broker has accepted its session (CONNACK), and not at its first line. Why?",
        (
            (
                "An image that can't reach the broker can't be updated any more",
                True,
                "Yes: whatever else works, the way to the next update has to.",
            ),
            ("The broker verifies the image", False, "It never sees it."),
            (
                "The bootloader waits for the network",
                False,
                "It knows no network. It looks at what the last boot left behind.",
            ),
        ),
    ),
    Question(
        "The power goes while a device runs a new image on trial. What runs afterwards?",
        (
            (
                "The new image, on trial again",
                False,
                "One boot is all it gets; the bootloader can't tell a power cut from a crash.",
            ),
            (
                "The old image, and this release is not taken again",
                True,
                "Yes. That is the price of going back; the maker publishes the same thing under the next version.",
            ),
            ("Nothing", False, "The sweep has no such point."),
        ),
    ),
    Question(
        "Secure Boot V2 keeps in the chip's fuses …",
        (
            ("the public key", False, "It would need 400 bytes. The signature block brings it along."),
            (
                "the SHA-256 of the public key",
                True,
                "Yes: 32 bytes. Whoever brings another key brings another hash.",
            ),
            ("the private key", False, "Then whoever opened a chip could sign for all of them."),
        ),
    ),
    Question(
        "The key that signs your images was stolen. Your chips have a second digest burned. What first?",
        (
            (
                "Revoke the first digest at once",
                False,
                "What runs is signed with it. Devices would not start any more.",
            ),
            (
                "Ship an image that the second key signed, then revoke the first",
                True,
                "Yes. And burn or revoke what is left of the three places, before the thief does.",
            ),
            ("Re-flash every device by hand", False, "That is what the second digest is for."),
        ),
    ),
    Question(
        "Secure Boot is on, flash is not encrypted. Somebody reads the flash chip. What do they have?",
        (
            ("Nothing: the image is signed", False, "Signed is not encrypted; every byte can be read."),
            (
                "The firmware and whatever secrets lie there",
                True,
                "Yes. Signatures are about who wrote it, encryption about who reads it.",
            ),
            ("The signing key", False, "It never was on the device."),
        ),
    ),
)
