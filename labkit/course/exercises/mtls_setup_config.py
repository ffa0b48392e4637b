"""A student's mosquitto.conf and access rules, read as data and held against what was asked.

A configuration can load plugins, include files and open bridges, so a student's is never given to Mosquitto: what is
parsed here is rendered again by the judge, and an option that nobody here knows is refused.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from labkit.broker import acl as rules
from labkit.broker import config as configuration
from labkit.broker.config import BLANKS, BrokerConfig, Listener
from labkit.course.exercises import mtls_setup_files as files
from labkit.course.exercises.mtls_setup_files import FOLDER
from labkit.course.lesson import RejectedError
from labkit.errors import AclError, BrokerConfigError

if TYPE_CHECKING:
    from cryptography import x509

    from labkit.broker import Acl
    from labkit.course.work import Work

_JUDGES_OWN = {
    "autosave_interval",
    "connection_messages",
    "log_dest",
    "log_timestamp",
    "log_timestamp_format",
    "log_type",
    "password_file",  # asks nobody anything, where the user name comes from a certificate
    "persistence",
    "persistence_file",
    "persistence_location",
    "pid_file",
    "set_tcp_nodelay",
    "user",
}
"""Options that a student may write as they like: the judge's broker has values of its own for them."""

_HARMLESS = {"protocol mqtt", "per_listener_settings false"}
"""Options that change nothing."""

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_OLD_TLS = {"tlsv1", "tlsv1.0", "tlsv1.1"}
_MOST_FILES = 64
"""Files of a folder of authorities."""

_MOST_RULES = 500


def parsed(text: str) -> BrokerConfig:
    """Return a configuration as data.

    Raises:
        RejectedError: It has an option that this exercise does not use (`fault` is `config-refused`).
    """
    kept = [line for line in text.split("\n") if not _passed_over(line)]
    try:
        return configuration.parse("\n".join(kept))
    except BrokerConfigError as error:
        why = f"mosquitto.conf: {error.key}: {error.message.partition(f'{error.key}: ')[2] or error.message}"
        if error.key in configuration.vocabulary():
            raise RejectedError(
                "config-unclear" if error.line else "no-listener",
                why,
                expected="lines that every Mosquitto reads in the same way: a listener, and its options below it",
                advice="an option stands once, below its listener, with one value"
                if error.line
                else "which option opens a port?",
            ) from error
        raise RejectedError(
            "config-refused",
            why,
            expected="options that the notebook lists: a configuration can also run programs",
            advice="look at that option; what do you need it for?",
        ) from error


def _passed_over(line: str) -> bool:
    words = " ".join(line.strip(BLANKS).split(" "))
    return words.partition(" ")[0] in _JUDGES_OWN or words in _HARMLESS


def read_config(work: Work) -> BrokerConfig:
    """Return the student's configuration.

    Raises:
        RejectedError: There is none, or it is refused.
    """
    return parsed(files.content(work, "mosquitto.conf").decode("utf-8", errors="replace"))


def hold_listener(config: BrokerConfig) -> None:
    """Hold a configuration against the least that a broker of this exercise is: one listener, with TLS.

    Raises:
        RejectedError: It has several, or speaks without TLS.
    """
    if len(config.listeners) != 1:
        raise RejectedError(
            "extra-listener",
            f"there are {len(config.listeners)} listeners",
            expected="one, and everybody comes through it",
            advice="what does the other one ask of a client?",
        )
    (listener,) = config.listeners
    if not (listener.certfile and listener.keyfile):
        raise RejectedError(
            "no-tls",
            "the listener has no certificate or no key of its own",
            expected="TLS: the broker proves itself before anybody says anything",
            advice="which two files does the broker prove itself with?",
        )


def hold_config(work: Work, config: BrokerConfig) -> Listener:
    """Hold a configuration against what was asked, and return its listener.

    Raises:
        RejectedError: What is wrong with it; `fault` says which.
    """
    hold_listener(config)
    (listener,) = config.listeners
    for broken, fault, observed, expected, advice in (
        (
            listener.port != work.variant.port,
            "wrong-port",
            f"it listens on {listener.port}",
            f"your port, {work.variant.port}",
            "lab.variant.port is yours",
        ),
        (
            listener.host not in _LOOPBACK,
            "listens-everywhere",
            f"it listens on {listener.host}",
            "127.0.0.1: this is a lab on your own machine",
            "the address stands behind the port; without one it is every address that the machine has",
        ),
        (
            config.allow_anonymous,
            "anonymous-allowed",
            "clients without a name may come in",
            "nobody without a name",
            "what is allow_anonymous for, where everybody has a certificate?",
        ),
        (
            not listener.require_certificate,
            "certificate-not-required",
            "it asks no client for a certificate, or takes no for an answer",
            "a certificate from each client",
            "which option makes TLS mutual?",
        ),
        (
            not listener.use_identity_as_username,
            "identity-not-used",
            "the user name is what the client says it is",
            "the user name is the common name of the certificate",
            "which option takes the name from the certificate?",
        ),
        (
            bool(bare := _bare_suites(listener)),
            "suite-without-protection",
            f"it agrees to {bare}",
            "suites that prove and encrypt",
            "what does your list of ciphers allow beside what you meant?",
        ),
        (
            listener.tls_version in _OLD_TLS,
            "old-tls",
            f"it speaks {listener.tls_version}",
            "TLS 1.2 or newer",
            "tls_version is the lowest version that it speaks",
        ),
    ):
        if broken:
            raise RejectedError(fault, observed, expected=expected, advice=advice)
    return listener


def _bare_suites(listener: Listener) -> str:
    """Return the first suite of TLS 1.2 that encrypts nothing or proves nobody; empty where there is none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.set_ciphers(":".join(listener.ciphers) or "DEFAULT")
    except ssl.SSLError:
        return ""  # then Mosquitto will say it
    found = [
        each for each in context.get_ciphers() if not each["strength_bits"] or each["auth"] == "auth-null"
    ]
    return str(found[0]["name"]) if found else ""


def read_rules(work: Work, config: BrokerConfig) -> Acl | None:
    """Return the rules that the configuration puts in force, or None where it names none.

    Raises:
        RejectedError: They can't be read (`fault` is `rules-refused`).
    """
    if config.acl_file is None:
        return None
    name = files.inside(config.acl_file)
    try:
        found = rules.parse(files.content(work, name).decode("utf-8", errors="replace"))
    except AclError as error:
        raise RejectedError(
            "rules-refused",
            error.message,
            expected="rules that every Mosquitto reads in the same way",
            advice="a line begins with user, topic or pattern; Mosquitto 2.0 drops all rules if it can't read one",
        ) from error
    if len(found.rules) > _MOST_RULES:
        raise RejectedError(
            "rules-refused",
            f"there are {len(found.rules)} rules",
            expected=f"{_MOST_RULES} at most: the broker goes through all of them for each message",
            advice="a pattern speaks for every device at once",
        )
    return found


def folder_entries(work: Work, name: str) -> list[tuple[str, str]]:
    """Return the entries of a folder of authorities, each with the file that it stands for.

    `openssl rehash` leaves links to files beside them; they are followed by name, never by the system.
    """
    found = [(each, each) for each in work.names(f"{FOLDER}/{name}")]
    folder = work.root / FOLDER / name
    if not any(each.is_symlink() for each in (folder, *folder.parents)) and folder.is_dir():
        links = [entry for entry in folder.iterdir() if entry.is_symlink()]
        found += [(entry.name, entry.readlink().name) for entry in links]
    if len(found) > _MOST_FILES:
        raise RejectedError(
            "too-many-files",
            f"{name} holds {len(found)} files",
            expected=f"{_MOST_FILES} at most; your own two authorities are enough",
            advice="whom does the broker have to believe?",
        )
    return sorted(found)


def hold_trust(work: Work, listener: Listener) -> None:
    """Hold whom a broker believes against the student's own authorities.

    Raises:
        RejectedError: It believes nobody, or somebody else too.
    """
    believed: list[x509.Certificate] = []
    if listener.cafile:
        name = files.inside(listener.cafile)
        believed += files.certificates(work, name)
    if listener.capath:
        folder = files.inside(listener.capath)
        for target in sorted({target for _, target in folder_entries(work, folder)}):
            believed += files.parsed(files.content(work, f"{folder}/{target}"), f"{folder}/{target}")
    if not believed:
        raise RejectedError(
            "trusts-nobody",
            "the broker believes no authority",
            expected="your root and your intermediate",
            advice="which option says whom the broker believes?",
        )
    ours = files.authorities_as_they_are(work).fingerprints
    strangers = [each for each in believed if files.mark(each) not in ours]
    if strangers:
        raise RejectedError(
            "foreign-authority-trusted",
            f"the broker also believes {strangers[0].subject.rfc4514_string()}",
            expected="your root, your intermediate, and nobody else",
            advice="whoever that authority certifies gets in, under any name that it likes",
        )


def hold_own_certificate(work: Work, listener: Listener) -> None:
    """Hold what a broker proves itself with against the student's server certificate.

    Raises:
        RejectedError: It is another one.
    """
    assert listener.certfile is not None  # noqa: S101 - held before
    shown = files.certificates(work, files.inside(listener.certfile))[0]
    if files.mark(shown) != files.mark(files.certificates(work, "server.crt")[0]):
        raise RejectedError(
            "other-server-certificate",
            f"{listener.certfile.name} does not begin with the certificate in server.crt",
            expected="the broker's own certificate first, then the intermediate",
            advice="what does a client need to get from the broker's certificate to the root?",
        )
