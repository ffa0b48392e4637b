"""The questions of lesson threat-model."""

from labkit.course.lesson import Question

QUESTIONS = (
    Question(
        "What is a trust boundary?",
        (
            ("A firewall", False, "A firewall may stand on one. The border is there without it."),
            ("Where those inside are believed more than those outside", True, "Yes: whatever crosses it has to be checked by somebody."),
            ("The edge of a VLAN", False, "Often it is one, but also a chip's case, or the door of the house."),
        ),
    ),
    Question(
        "A flow crosses a border encrypted, and the device verifies the server. What is missing?",
        (
            ("Nothing", False, "The server does not know who is calling."),
            ("The server knows nothing about the client", True, "Yes: a password or a certificate is needed, and mutual TLS is the second."),
            ("Integrity", False, "TLS has it together with encryption."),
        ),
    ),
    Question(
        "Which of STRIDE is it when a device publishes in another device's topic?",
        (
            ("Information disclosure", False, "Nothing is read."),
            ("Elevation of privilege, and tampering", True, "Yes: it does what it may not, and what others read is not true any more."),
            ("Repudiation", False, "That is when nobody can tell who it was."),
        ),
    ),
    Question(
        "Likelihood 5 means here: it is tried on every address every day. Which of these is a 5?",
        (
            ("Reading a flash chip", False, "It takes the device in the hand."),
            ("Default passwords", True, "Yes. Mirai's descendants have not stopped."),
            ("Breaking AES", False, "We know of no case."),
        ),
    ),
    Question(
        "A password is stored in firmware and the flash is encrypted on every device. Who can read it?",
        (
            ("Nobody", False, "The file lies on a build server, an update server, and in mails."),
            ("Whoever has a copy of the file", True, "Yes: encryption happens in the device; the file is before that."),
            ("Only the chip", False, "That is so for what is made in the chip."),
        ),
    ),
    Question(
        "In an attack tree, a goal needs *all* of its four steps. How many have to be shut?",
        (
            ("All four", False, "Then each of them would have to be enough by itself."),
            ("One", True, "Yes; choose the cheapest, and a second one for the day on which it fails."),
            ("Two", False, "One is enough."),
        ),
    ),
    Question(
        "What did Mirai need on a camera?",
        (
            ("A hole in its software", False, "Its first version needed none."),
            ("Telnet that answers, and a password of about sixty", True, "Yes. And nobody who would notice."),
            ("The camera's key", False, "It had none to steal."),
        ),
    ),
    Question(
        "A device gets updates for five years and hangs on the wall for ten. What does that mean?",
        (
            ("It is safe after five years, because no new code comes in", False, "New holes are found in old code."),
            ("For the second half of its life every hole stays open", True, "Yes. Plan its end when you buy it."),
            ("Nothing, if it was written well", False, "It is made of libraries that others wrote."),
        ),
    ),
    Question(
        "You *accept* a risk. What is that?",
        (
            ("To forget it", False, "Then nobody would notice when it grows."),
            ("A decision, with a name and a reason, that is looked at again", True, "Yes."),
            ("The same as mitigating it later", False, "Later is not a treatment."),
        ),
    ),
)  # fmt: skip
