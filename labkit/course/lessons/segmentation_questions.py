"""The questions of lesson segmentation."""

from labkit.course.lesson import Question

QUESTIONS = (
    Question(
        "A firewall has three iptables rules about port 8883. What do they say about IPv6?",
        (
            ("The same", False, "iptables speaks of IPv4 alone."),
            ("Nothing", True, "Yes: IPv6 has rules of its own, and without any everything is allowed."),
            ("That it is forbidden", False, "What no rule speaks of, the policy decides; at first it is ACCEPT."),
        ),
    ),
    Question(
        "`-A INPUT -p tcp --dport 22 -s 192.168.10.0/24 -j ACCEPT` stands in a chain whose policy is ACCEPT. What does it do?",
        (
            ("It keeps everybody else away from SSH", False, "It says nothing about everybody else, and the policy lets them in."),
            ("Nothing", True, "Yes: whom it lets in would be let in without it."),
            ("It lets the office in over IPv6, too", False, "It is a rule of iptables."),
        ),
    ),
    Question(
        "With `-P INPUT DROP` and nothing else, a server can't fetch its own updates. Why?",
        (
            ("Its questions are dropped", False, "They leave by OUTPUT, which is open."),
            ("The answers are dropped", True, "Yes: they come in by INPUT. A rule for ESTABLISHED lets them."),
            ("Names can't be resolved any more, nothing else", False, "That too, and for the same reason."),
        ),
    ),
    Question(
        "The office looks at dashboards in the backend. Which flow does that need?",
        (
            ("backend to corporate", False, "That lets a stolen server open connections into the office."),
            ("corporate to backend", True, "Yes: whoever opens the connection is the source. Answers need no flow."),
            ("both", False, "The second one is what connection tracking is for."),
        ),
    ),
    Question(
        "A camera attacks the sensor beside it, in the same VLAN. What do the router's rules do?",
        (
            ("They drop it", False, "They never see it."),
            ("Nothing: it does not pass the router", True, "Yes. Client isolation or private VLANs help, and rules on the hosts."),
            ("They drop IPv4 and let IPv6 through", False, "Neither passes the router."),
        ),
    ),
    Question(
        "Why does each of our rules name the interface that a packet came in by?",
        (
            ("It is faster", False, "It may be, and that is not the point."),
            ("The sender chooses the address; it can't choose the wire", True, "Yes: an address is a claim."),
            ("iptables insists on it", False, "It does not."),
        ),
    ),
    Question(
        "A sensor is stolen, opened, and its key copied. What does segmentation still do?",
        (
            ("It keeps the thief out of the broker", False, "The thief comes from the sensor's zone with the sensor's key."),
            ("It keeps the thief away from everything but the broker's ports", True, "Yes. The rest is for ACLs and revocation."),
            ("Nothing", False, "Accounting is a world away."),
        ),
    ),
    Question(
        "Which of these proves that a rule set does what was meant?",
        (
            ("It loads without an error", False, "So did the printed one."),
            ("`nft list ruleset` shows it", False, "That shows what it says."),
            ("From each zone, what must be open is and what must not be isn't", True, "Yes: measured, both ways, both families."),
        ),
    ),
    Question(
        "An attempt is answered by silence, another by 'connection refused'. What is the difference for an attacker?",
        (
            ("None", False, "One costs a timeout, the other an instant."),
            ("Silence makes a scan slow, and tells less", True, "Yes. REJECT is kinder to your own people, who see at once what is wrong."),
            ("Refused means that nobody listens", False, "A firewall can say it, too (REJECT)."),
        ),
    ),
)  # fmt: skip
