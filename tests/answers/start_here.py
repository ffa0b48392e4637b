"""Answers to the exercises of lesson start-here."""

from __future__ import annotations

import datetime as dt
import select
import socket
import ssl
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from labkit.clock import SYSTEM_CLOCK
from labkit.course.lab import Lab, open_lab
from labkit.pki import DEVICE, SERVER, Authority, Issued, Key, Store, flawed, make_request, read_request
from labkit.scenarios import mutual_tls
from tests.answers.shape import Answers, Right, Wrong, handing, laying

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextmanager
def prepared(folder: Path) -> Iterator[Lab]:
    """Yield the lesson's lab with its authority, device and broker."""
    lab = open_lab("start-here", workspace=folder / "w")
    store = Store(lab.workspace)
    store.ensure_authority()
    store.identity("sensor-001"), store.identity("sensor-002")
    lab.enter(mutual_tls(store))
    yield lab
    lab.close()


# --- 1: knock by hand -----------------------------------------------------------------------------------------------


def reading(tls: ssl.SSLSocket) -> str:
    """Wait for a byte in a blocking call."""
    try:
        tls.recv(1)
    except TimeoutError:
        return "silence"
    return "closed"


def selecting(tls: ssl.SSLSocket) -> str:
    """Ask the system whether anything came, and read only then; half a record is no word."""
    for _ in range(20):
        if not select.select([tls], [], [], 0.3)[0]:
            return "silence"
        tls.setblocking(False)
        try:
            tls.recv(1)
        except ssl.SSLWantReadError:
            continue
    return "closed"


def reason(error: ssl.SSLError) -> str:
    """Return what the library calls the alert."""
    return error.reason


def knocking(listen: Callable[[ssl.SSLSocket], str], say: Callable[[ssl.SSLError], str] = reason) -> Any:
    """Knock three times as the exercise asks for, and write down what was heard."""

    def give(lab: Lab) -> None:
        store, site = Store(lab.workspace), lab.workspace.path("broker")
        port = int((site / "mosquitto.conf").read_text().partition("listener ")[2].split()[0])
        heard = {}
        for name, version in (("sensor-001", None), ("nobody", None), ("nobody, TLS 1.2", "TLSv1_2")):
            context = ssl.create_default_context(cafile=store.trust_anchor)
            if name == "sensor-001":
                context.load_cert_chain(store.device(name).certificate, store.device(name).key)
            if version:
                context.maximum_version = ssl.TLSVersion[version]
            try:
                with (
                    socket.create_connection(("127.0.0.1", port), timeout=0.4) as tcp,
                    context.wrap_socket(tcp, server_hostname="localhost") as tls,
                ):
                    heard[name] = listen(tls)
            except ssl.SSLError as error:
                heard[name] = say(error)
        lab.workspace.write_json("answers/start-here/knock.json", heard)

    return give


# --- 2: become the impostor -----------------------------------------------------------------------------------------


def intruding(make: Callable[[Store], Issued]) -> Callable[[Lab], None]:
    """Store a forgery as the impostor's."""

    def give(lab: Lab) -> None:
        store = Store(lab.workspace)
        store.save_intruder("impostor", make(store))

    return give


def rogue_intermediate(store: Store, name: str = "sensor-001") -> Authority:
    """Return an authority with our names."""
    del name
    return Authority.new_root(store.names.root).new_intermediate(store.names.intermediate)


def by_builder(store: Store) -> Issued:
    """Forge with nothing but the library: no root, a key that claims to be the intermediate."""
    theirs, ours, now = Key.generate("p256"), store.certificate("sensor-001"), SYSTEM_CLOCK.now()
    key = Key.generate("p256")
    builder = x509.CertificateBuilder(ours.issuer, ours.subject, key.public, x509.random_serial_number())
    builder = builder.not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(
        now + dt.timedelta(days=9)
    )
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(theirs.public)
    builder = builder.add_extension(above, critical=False)
    return Issued(builder.sign(theirs.private, hashes.SHA256()), key, ())


def with_another_key(store: Store) -> Issued:
    """Return our own certificate with a key that does not belong to it."""
    return flawed.mismatched_key(store.authority(), "sensor-001")


# --- 3: a visitor ---------------------------------------------------------------------------------------------------


def visiting(make: Callable[[Store], Issued]) -> Callable[[Lab], None]:
    """Store an identity as the visitor's."""

    def give(lab: Lab) -> None:
        issued = make(Store(lab.workspace))
        lab.workspace.write("answers/start-here/visitor.crt", issued.certificate_pem)
        lab.workspace.write("answers/start-here/visitor.key", issued.key_pem, secret=True)

    return give


def issued(name: str = "visitor-001", days: float = 5, **options: Any) -> Callable[[Lab], None]:
    """Issue as the exercise does, with something else about it."""
    profile = replace(DEVICE, days=days, **options)
    return visiting(lambda store: store.authority().issue_device(name, profile=profile, renew=True))


def by_request(store: Store) -> Issued:
    """Let the visitor make its key, and sign its request for seven days."""
    key = Key.generate("p256")
    request = read_request(make_request(key, "visitor-001"))
    profile = replace(DEVICE, days=7)
    made = store.authority().issue_device("visitor-001", request=request, profile=profile, renew=True)
    return replace(made, key=key)


# --- 4: a test that can't fail --------------------------------------------------------------------------------------


def proves(body: str) -> Callable[[Any], None]:
    """Hand in a function with an expression."""
    return handing("proves", f"def proves(control, intruder, reason):\n    return {body}\n")


_STEPS = """
def proves(control, intruder, reason):
    if not control["accepted"] or intruder["accepted"]:
        return False
    if control["broker"] != intruder["broker"]:
        return False
    return intruder["reason"] == reason
"""

# --- 5: what a colleague opened -------------------------------------------------------------------------------------


def mend(*pairs: tuple[str, str]) -> Callable[[Any], None]:
    """Hand in a function that replaces lines."""
    body = "\n".join(f"    text = text.replace({old!r}, {new!r})" for old, new in pairs)
    return handing("mend", f"def mend(text):\n{body}\n    return text\n")


_ASK = ("require_certificate false", "require_certificate true")
_NAME = (
    "\nrequire_certificate",
    "\nuse_identity_as_username true\nuse_username_as_clientid true\nrequire_certificate",
)
_SHUT = ("allow_anonymous true", "allow_anonymous false")

_PARSED = """
from dataclasses import replace

from labkit.broker.config import parse, render


def mend(text):
    config = parse(text)
    door = replace(config.listeners[0], require_certificate=True, use_identity_as_username=True,
                   use_username_as_clientid=True)
    return render(replace(config, listeners=(door,), allow_anonymous=False))
"""

_RULELESS = _PARSED.replace("(config, ", "(config, acl_file=None, ")

TABLE = (
    Answers(
        "start-here.1",
        right=(
            Right("waits in recv", knocking(reading)),
            Right("asks select first", knocking(selecting)),
        ),
        wrong=(
            Wrong("does not read", knocking(lambda _: "silence"), "nobody-misheard", says="for nobody"),
            Wrong("says the whole error", knocking(reading, str), "nobody-misheard"),
            Wrong("calls every error silence", knocking(reading, lambda _: "silence"), "nobody-misheard"),
            Wrong("calls silence closed", knocking(lambda tls: reading(tls) and "closed"), "device-misheard"),
            Wrong("hears the same in both versions", laying("knock.json", {
                "sensor-001": "silence", "nobody": "TLSV13_ALERT_CERTIFICATE_REQUIRED",
                "nobody, TLS 1.2": "TLSV13_ALERT_CERTIFICATE_REQUIRED"}), "old-misheard"),
            Wrong("a list", laying("knock.json", ["silence"]), "device-misheard"),
            Wrong("nothing but null", laying("knock.json", None), "device-misheard"),
        ),
    ),
    Answers(
        "start-here.2",
        touches=("intruders",),
        right=(
            Right("two authorities", intruding(lambda s: rogue_intermediate(s).issue_device("sensor-001"))),
            Right("one key that claims to be the intermediate", intruding(by_builder)),
        ),
        wrong=(
            Wrong("other names", intruding(
                lambda _: Authority.new_root("Evil").new_intermediate("Evil CA").issue_device("sensor-001")),
                "other-names", says="Evil CA"),
            Wrong("another device", intruding(lambda s: rogue_intermediate(s).issue_device("sensor-002")),
                  "other-names", says="sensor-002"),
            Wrong("signed itself", intruding(lambda _: flawed.self_signed("sensor-001")), "other-names"),
            Wrong("a root that issues devices", intruding(
                lambda s: Authority.new_root(s.names.root).issue_device("sensor-001")), "other-names"),
            Wrong("ours", intruding(lambda s: s.authority().issue_device("sensor-001", renew=True)),
                  "signed-by-ours"),
            Wrong("ours with another key", intruding(with_another_key), "signed-by-ours"),
            Wrong("ours, expired", intruding(lambda s: flawed.expired(s.authority(), "sensor-001")),
                  "other-reason", says="certificate-expired"),
            Wrong("no certificate", lambda lab: lab.workspace.write("intruders/impostor.crt", "junk"),
                  "WorkspaceCorruptError"),
        ),
    ),
    Answers(
        "start-here.3",
        right=(
            Right("five days", issued()),
            Right("the visitor's own key, for seven days", visiting(by_request)),
            Right("crafted by hand, for one day", visiting(lambda s: flawed.craft(
                s.authority(), "visitor-001", profile=replace(DEVICE, days=1), start=SYSTEM_CLOCK.now()))),
        ),
        wrong=(
            Wrong("as always", visiting(lambda s: s.authority().issue_device("visitor-001", renew=True)),
                  "too-long", says="days"),
            Wrong("eight days", issued(days=8), "too-long"),
            Wrong("another device", issued("sensor-001"), "other-name", says="sensor-001"),
            Wrong("a server's purposes", issued(purposes=SERVER.purposes), "something-else", says="purpose"),
            Wrong("for both purposes", issued(purposes=(*DEVICE.purposes, *SERVER.purposes)),
                  "something-else", says="purpose"),
            Wrong("over already", visiting(lambda s: flawed.expired(s.authority(), "visitor-001")),
                  "something-else", says="validity"),
            Wrong("from an authority of its own", visiting(lambda s: rogue_intermediate(s).issue_device(
                "visitor-001", profile=replace(DEVICE, days=5))), "not-let-in", says="unknown-ca"),
            Wrong("signed by itself", visiting(lambda _: flawed.self_signed("visitor-001")), "too-long"),
            Wrong("somebody else's key", visiting(lambda s: replace(s.authority().issue_device(
                "visitor-001", profile=replace(DEVICE, days=5), renew=True), key=Key.generate("p256"))),
                "IdentityRefusedError"),
        ),
    ),
    Answers(
        "start-here.4",
        right=(
            Right("one expression", proves(
                'control["accepted"] and control["broker"] == intruder["broker"]'
                ' and not intruder["accepted"] and intruder["reason"] == reason')),
            Right("step by step", handing("proves", _STEPS)),
            Right("compares tuples", proves(
                '(control["accepted"], intruder["accepted"], intruder["reason"], intruder["broker"])'
                ' == (True, False, reason, control["broker"])')),
        ),
        wrong=(
            Wrong("the colleague's", proves(
                'control["accepted"] != intruder["accepted"] or intruder["reason"] == reason'), "control-forgotten"),
            Wrong("looks at the intruder alone", proves('not intruder["accepted"]'), "control-forgotten"),
            Wrong("forgets the reason", proves('control["accepted"] and not intruder["accepted"]'), "any-reason"),
            Wrong("forgets the control", proves(
                'control != intruder and control["broker"] == intruder["broker"] and not intruder["accepted"]'
                ' and intruder["reason"] == reason'), "control-forgotten", says="own reason"),
            Wrong("looks for the reason in the reason", proves(
                'control["accepted"] and control["broker"] == intruder["broker"] and not intruder["accepted"]'
                ' and reason in intruder["reason"]'), "any-reason"),
            Wrong("and the other way round", proves(
                'control["accepted"] and control["broker"] == intruder["broker"] and not intruder["accepted"]'
                ' and intruder["reason"] in reason'), "any-reason"),
            Wrong("brokers that begin alike", proves(
                'control["accepted"] and intruder["broker"].startswith(control["broker"])'
                ' and not intruder["accepted"] and intruder["reason"] == reason'), "two-brokers"),
            Wrong("knows two reasons", proves(
                'control["accepted"] and control["broker"] == intruder["broker"] and not intruder["accepted"]'
                ' and intruder["reason"] == reason in ("no-certificate", "not-authorised")'), "too-strict"),
            Wrong("forgets the broker", proves(
                'control["accepted"] and not intruder["accepted"] and intruder["reason"] == reason'), "two-brokers"),
            Wrong("wants TLS", proves(
                'control["accepted"] and control["broker"] == intruder["broker"] and not intruder["accepted"]'
                ' and intruder["reason"] == reason and intruder["stage"] == "tls"'), "too-strict"),
            Wrong("knows one broker", proves(
                'control["accepted"] and control["broker"] == intruder["broker"] == "hall"'
                ' and not intruder["accepted"] and intruder["reason"] == reason'), "too-strict"),
            Wrong("believes the reason alone", proves(
                'control["accepted"] and control["broker"] == intruder["broker"] and intruder["reason"] == reason'),
                "let-in"),
            Wrong("compares the wrong way round", proves(
                'intruder["accepted"] and not control["accepted"]'), "too-strict"),
            Wrong("says yes in words", proves('"True"'), "too-strict"),
            Wrong("gives up", proves('control["missing"]'), "crashed", says="KeyError"),
            Wrong("is the stub", handing("proves", "def proves(a, b, c):\n    raise NotImplementedError\n"), "",
                  status="not-attempted"),
        ),
    ),
    Answers(
        "start-here.5",
        right=(
            Right("replaces lines", mend(_NAME, _ASK, _SHUT)),
            Right("through the library", handing("mend", _PARSED)),
        ),
        wrong=(
            Wrong("changes nothing", mend(), "still-anonymous"),
            Wrong("shuts the anonymous out alone", mend(_SHUT), "nobody-gets-in", says="at mqtt"),
            Wrong("forgets the name", mend(_ASK, _SHUT), "device-locked-out"),
            Wrong("asks, and leaves it nameless", mend(_ASK), "still-anonymous"),
            Wrong("leaves the nameless in", mend(_NAME, _ASK), "still-anonymous"),
            Wrong("leaves client ids to the clients", mend(
                ("\nrequire_certificate", "\nuse_identity_as_username true\nrequire_certificate"), _ASK, _SHUT),
                "any-client-id"),
            Wrong("asks twice", mend(_ASK, ("\nrequire_certificate", "\nrequire_certificate true\nrequire_certificate")),
                  "unreadable", says="twice"),
            Wrong("a word that there is not", mend(_NAME, _ASK, ("true", "yes")), "unreadable"),
            Wrong("loads a plugin", mend(_NAME, _ASK, _SHUT, ("\nacl_file", "\nplugin /tmp/x.so\nacl_file")),
                  "unreadable", says="plugin"),
            Wrong("opens a second door", mend(_NAME, _ASK, _SHUT, ("\nlistener", "\nlistener 1883 127.0.0.1\n\nlistener")),
                  "another-door"),
            Wrong("listens to everybody", mend(_NAME, _ASK, _SHUT, ("127.0.0.1", "192.168.1.100")), "another-door"),
            Wrong("moves the door", mend(_NAME, _ASK, _SHUT, ("listener 8883", "listener 8884")), "another-door", says="8884"),
            Wrong("throws the rules away", handing("mend", _RULELESS), "something-else", says="acl_file"),
            Wrong("lowers the version", mend(_NAME, _ASK, _SHUT, ("tls_version tlsv1.2", "tls_version tlsv1")), "weakened"),
            Wrong("believes nobody", mend(_NAME, _ASK, _SHUT, ("trust-bundle.crt", "nowhere.crt")), "does-not-start"),
            Wrong("believes the root alone", mend(_NAME, _ASK, _SHUT, ("intermediate/trust-bundle.crt", "root/ca.crt")),
                  "device-locked-out", says="unknown-ca"),
            Wrong("returns nothing", handing("mend", "def mend(text):\n    print(text)\n"), "no-text"),
            Wrong("crashes", handing("mend", "def mend(text):\n    return text.mended()\n"), "crashed"),
        ),
    ),
)  # fmt: skip
