"""The predictions and questions of lesson audit."""

from labkit.course.lesson import Prediction, Question

PREDICTIONS = (
    Prediction(
        "hardcoded",
        "The factory builds one application image for every device. Where will the audit look for secrets in it?",
        {
            "names": "in variables that are called password",
            "bytes": "in its bytes, whatever they are called",
            "source": "in its source",
        },
        "bytes",
        {
            "names": "An image has no variables any more. A thief searches bytes.",
            "source": "The auditor has no source, and neither has the thief.",
        },
    ),
    Prediction(
        "stopped",
        "Somebody stops the broker before the audit. What becomes of the items that try to get in?",
        {
            "pass": "they pass: nobody gets in",
            "fail": "they fail: the control does not get in either",
            "na": "they do not apply",
        },
        "fail",
        {
            "pass": "Then unplugging the network would be the best security there is. A refusal needs a positive control.",
            "na": "The plant was said to have a broker. What can't be shown is not there.",
        },
    ),
    Prediction(
        "incident",
        "A stolen device tries to command its neighbour, four times. The broker refuses. Who notices, and when?",
        {
            "nobody": "nobody: it was refused, so nothing happened",
            "third": "the monitor, at the third line in the log",
            "renewal": "the service, at the next renewal",
        },
        "third",
        {
            "nobody": "A refusal is the best news that a log has: it says who tried, before anything happened.",
            "renewal": "That finds a copy. Here somebody misbehaves, and the log says so today.",
        },
    ),
    Prediction(
        "tokens",
        "One broker, two doors: ids and tokens over TLS, and certificates. Which items tell them apart?",
        {
            "tls": "encryption: the token's door is weaker",
            "mutual": "mutual TLS: who is asked for what before MQTT begins",
            "passwords": "default passwords: a token is one",
        },
        "mutual",
        {
            "tls": "Both doors speak the same TLS with the same suites.",
            "passwords": "A random token is on no list. What is wrong with it comes later, when it is copied.",
        },
    ),
)

QUESTIONS = (
    Question(
        "An auditor tries to get in without a certificate and is refused. What else is needed before the item passes?",
        (
            ("Nothing; it was refused", False, "A broker that is down refuses everybody."),
            ("A device of ours that gets in, on the same door", True, "Yes: the positive control."),
            ("The line require_certificate true in the configuration", False, "Configurations promise; doors show."),
        ),
    ),
    Question(
        "The alert rules are there, and well-formed. Why can the item still fail?",
        (
            ("They are played against a recorded attack, and stayed silent", True, "Yes. A rule that can't fire is none."),
            ("Prometheus is not installed", False, "The rules are judged by what they do, not by who runs them."),
            ("They are too old", False, "Age alone does not matter to a threshold."),
        ),
    ),
    Question(
        "An item needs a person. What does the machine contribute?",
        (
            ("Nothing", False, "It looks whether there is anything to read: dated, reviewed, recent."),
            ("A pass, if the file exists", False, "A file named plan.md with one word in it exists, too."),
            ("Fail where there is no dated, reviewed record; otherwise it hands over", True, "Yes."),
        ),
    ),
    Question(
        "Why does the audit fail when it can't find out something?",
        (
            ("To be strict for its own sake", False, "It has a reason: who wants to pass could break the measuring."),
            ("Because otherwise breaking the evidence would be a way to pass", True, "Yes: it fails closed."),
            ("Because software is unreliable", False, "That is why there are controls."),
        ),
    ),
    Question(
        "In the flash of a board with flash encryption the audit finds no key. On the factory's image of the same device it finds one. Which is right?",
        (
            ("Both: the factory's image is what goes in, before the chip encrypts it", True, "Yes. Guard the factory's files."),
            ("The second; the first was not searched well", False, "Ciphertext has no keys that can be found."),
            ("The first; images don't matter", False, "A stolen factory image is a stolen device."),
        ),
    ),
    Question(
        "The firewall rules drop everything but what is needed, in IPv4. Which item fails, and why?",
        (
            ("None; devices use IPv4", False, "They speak IPv6 as soon as a router answers, and routers do."),
            ("The one about the broker's port alone", False, "Everything else is open over IPv6, too."),
            ("Three network items: the other family was left open", True, "Yes: rules for one family leave the other."),
        ),
    ),
    Question(
        "Four denied messages from one device within a minute. What is the first thing to do?",
        (
            ("Nothing, they were denied", False, "A device that tries is a device that somebody has."),
            ("Take it out of service: list, rules, session; then look", True, "Yes, in the order of your plan."),
            ("Reflash it from here", False, "It is in somebody else's hand."),
        ),
    ),
    Question(
        "Why do metrics count clients that the registry does not know under one label?",
        (
            ("Their names are secret", False, "They are in the log."),
            ("Whoever connects chooses the name, and each name would be a time series of its own", True, "Yes."),
            ("Prometheus forbids dashes", False, "It does not, in the values of labels."),
        ),
    ),
    Question(
        "A telemetry payload is minimised by a list of fields to delete. What goes wrong?",
        (
            ("It is slow", False, "It is fast, and wrong."),
            ("The next firmware sends a field that is not on the list", True, "Yes: name what may leave."),
            ("Nothing", False, "Look at the third reading once more."),
        ),
    ),
    Question(
        "For forty sensors in a rented hall for one week, with a platform that has ids and tokens: what do you decide?",
        (
            ("Certificates, always", False, "They are better, and the week is over before the authority is set up."),
            ("Tokens, with one a device, a date on which they end, and the list of what is accepted with that", True,
             "Yes: a decision has a reason, a date and a price."),
            ("One token for all forty", False, "Then there is nothing to take back when one is lost."),
        ),
    ),
)  # fmt: skip
