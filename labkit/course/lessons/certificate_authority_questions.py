"""The questions of lesson certificate-authority."""

from labkit.course.lesson import Question

QUESTIONS = (
    Question(
        "A root certificate is signed by its own key. What does that signature prove to a stranger?",
        (
            ("That the root can be trusted", False, "Anybody can make one in a second; you did."),
            (
                "That whoever made it had the key in it",
                True,
                "Yes, and nothing else. Belief comes from elsewhere.",
            ),
            (
                "That nobody has changed it since the CA was audited",
                False,
                "A certificate knows of no audit.",
            ),
        ),
    ),
    Question(
        "Why are basicConstraints and keyUsage critical?",
        (
            (
                "Programs that do not understand them must refuse, instead of passing over them",
                True,
                "Yes: RFC 5280, section 4.2.",
            ),
            ("They are checked first", False, "The order is the verifier's business."),
            ("Critical extensions can't be changed", False, "Nothing in a signed certificate can."),
        ),
    ),
    Question(
        "The intermediate has pathlen:0. What stops its key from signing another authority?",
        (
            ("openssl, which refuses to sign", False, "It signs. So does every other tool that is told to."),
            (
                "Nothing; whoever verifies the chain refuses it",
                True,
                "Yes: the limit is enforced by those who look.",
            ),
            ("The root, which must agree", False, "The root is in its safe and hears of nothing."),
        ),
    ),
    Question(
        "What may a device's signing request decide?",
        (
            ("Its public key", True, "Yes, with the proof that it has the private one."),
            ("Its name", False, "Then the first to ask is admin."),
            (
                "Its name, if the signature on the request holds",
                False,
                "That signature proves the key, not the right to a name.",
            ),
        ),
    ),
    Question(
        "`openssl verify -CAfile root.crt fullchain.crt` says: unable to get local issuer certificate. What is wrong?",
        (
            ("The chain file is damaged", False, "The broker presents it every day."),
            (
                "The question: verify reads the first certificate of the file alone",
                True,
                "Yes; hand the intermediate over with -untrusted.",
            ),
            ("The root has expired", False, "That would be another error, at another depth."),
        ),
    ),
    Question(
        "A client certificate has no extended key usage at all. What does the broker do with it?",
        (
            (
                "It accepts: nothing said counts as everything allowed",
                True,
                "Yes, and a client would take it for a server's as well.",
            ),
            (
                "It refuses: the purpose is missing",
                False,
                "That would be the safe reading; OpenSSL's is the other one.",
            ),
            ("It asks the authority", False, "There is nobody to ask. A certificate speaks for itself."),
        ),
    ),
    Question(
        "Eight copies of a script sign with -CAcreateserial at once. What is the worst that you saw?",
        (
            (
                "Two certificates with the same serial number",
                False,
                "You saw none of those; openssl failed instead.",
            ),
            ("A certificate with a wrong name", False, "Names did not come from the shared file."),
            ("Certificates that were never made", True, "Yes, and a script that does not look goes on."),
        ),
    ),
    Question(
        "The intermediate's key was copied. Which keys must be made anew?",
        (
            (
                "The intermediate's and the broker's; devices keep theirs",
                True,
                "Yes. The broker gets a fresh one because nothing is simpler.",
            ),
            (
                "All of them",
                False,
                "The thief has one key. He can make identities, not read the keys of others.",
            ),
            ("The root's", False, "It was in the safe."),
        ),
    ),
    Question(
        "Why does the ledger record a certificate before it is handed out?",
        (
            ("It is faster that way", False, "It costs a write more."),
            (
                "A crash in between must not leave a certificate that nobody knows of",
                True,
                "Yes: you can't revoke what you never heard of.",
            ),
            (
                "The serial number comes from the ledger",
                False,
                "It is 128 random bits; the ledger only sees that it is new.",
            ),
        ),
    ),
    Question(
        "Which certificate would you buy from a public CA?",
        (
            ("The devices'", False, "Public CAs certify host names to servers, for weeks."),
            (
                "The intermediate's",
                False,
                "Nobody sells you the right to make certificates that all browsers believe.",
            ),
            (
                "The one of the page that people open in their browsers",
                True,
                "Yes: their browsers know that CA already.",
            ),
        ),
    ),
)
