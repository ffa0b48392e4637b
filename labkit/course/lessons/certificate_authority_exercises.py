"""The optional exercises of lesson certificate-authority: a guest who is wrong, a chain judged by names, a key locked away."""

from __future__ import annotations

import re
from base64 import b64decode
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from labkit.clock import SYSTEM_CLOCK
from labkit.course.lesson import Check, CheckResult
from labkit.course.shelf import Case, failed, handed_in, not_attempted, questioned, site_of
from labkit.outcome import Severity
from labkit.pki import IdentityFiles, Key
from labkit.pki.identities import read_certificate
from labkit.pki.lint import lint

if TYPE_CHECKING:
    from labkit.course.answers import Reply
    from labkit.course.lab import Lab

# --- exercise 3: let in, and wrong all the same ---------------------------------------------------------------------


def _check_welcome(lab: Lab) -> CheckResult:
    """Ask the linter about the guest, and then the broker."""
    folder = lab.workspace.path("intruders")
    guest = IdentityFiles("welcome", folder / "welcome.crt", folder / "welcome.key")
    if not guest.certificate.exists():
        return not_attempted("complete smuggle(), then run the cell below it")
    found = lint(read_certificate(guest.certificate), role="device", now=SYSTEM_CLOCK.now())
    if not any(finding.severity is Severity.ERROR for finding in found):
        return failed(
            "only-warnings" if found else "nothing-wrong",
            f"the linter has {len(found)} findings, and none of them is an error",
            expected="a certificate with an error, which the broker takes all the same",
            advice="look at the second column of the zoo",
        )
    site = site_of(lab, where="the broker of *The deputy who appoints deputies*", again="run its cell again")
    if isinstance(site, CheckResult):
        return site
    outcome = site.attempt(guest)
    if not outcome.accepted:
        return failed(
            "not-let-in",
            f"the broker says: {outcome}",
            expected="a certificate with an error, which the broker takes all the same",
            advice="look at the last column of the zoo",
        )
    errors = [finding.rule for finding in found if finding.severity is Severity.ERROR]
    return CheckResult("passed", observed=f"the linter says {errors[0]}, and the broker lets it in")


# --- exercise 4: a chain judged by its names ------------------------------------------------------------------------


def _link(
    subject: str, issuer: str, key: str, signed_with: str, *, ca: bool, pathlen: int | None
) -> dict[str, Any]:
    return {
        "subject": subject, "issuer": issuer, "key": key, "signed_with": signed_with, "ca": ca, "pathlen": pathlen,
    }  # fmt: skip


LEAF = _link("sensor-001", "Device CA", "k-leaf", "k-device-ca", ca=False, pathlen=None)
MIDDLE = _link("Device CA", "Root CA", "k-device-ca", "k-root", ca=True, pathlen=0)
TOP = _link("Root CA", "Root CA", "k-root", "k-root", ca=True, pathlen=None)

_DEPUTY = _link("Deputy CA", "Device CA", "k-deputy", "k-device-ca", ca=True, pathlen=None)
_BELOW_DEPUTY = LEAF | {"issuer": "Deputy CA", "signed_with": "k-deputy"}
_THIRD = _link("Third CA", "Deputy CA", "k-third", "k-deputy", ca=True, pathlen=None)
_BY_SENSOR = _link("sensor-002", "sensor-001", "k-other", "k-leaf", ca=False, pathlen=None)
_RENAMED = TOP | {"subject": "Other CA", "issuer": "Other CA"}
_WIDE = MIDDLE | {"pathlen": 1}
_PLAIN = MIDDLE | {"ca": False}


def holds(chain: list[dict[str, Any]], roots: list[str]) -> bool:
    """Return whether a chain, leaf first, leads to a root: names and keys fit, and everybody may do what they did."""
    for below, (lower, upper) in enumerate(pairwise(chain)):
        fits = (lower["issuer"], lower["signed_with"]) == (upper["subject"], upper["key"])
        if not fits or not upper["ca"] or (upper["pathlen"] is not None and below > upper["pathlen"]):
            return False
    return chain[-1]["key"] in roots


CHAINS = tuple(
    Case(about, (chain, roots), holds(chain, roots), fault)
    for about, chain, roots, fault in (
        ("leaf, intermediate, root", [LEAF, MIDDLE, TOP], ["k-root"], "too-strict"),
        ("the root is the second that is believed", [LEAF, MIDDLE, TOP], ["k-else", "k-root"], "too-strict"),
        ("a leaf right below a root", [LEAF | {"issuer": "Root CA", "signed_with": "k-root"}, TOP], ["k-root"], "too-strict"),
        ("an intermediate that is believed itself", [LEAF, MIDDLE], ["k-device-ca"], "too-strict"),
        ("two authorities, where pathlen allows them", [_BELOW_DEPUTY, _DEPUTY, _WIDE, TOP], ["k-root"], "too-strict"),
        ("an authority that is asked about itself", [MIDDLE, TOP], ["k-root"], "too-strict"),
        ("a root alone", [TOP], ["k-root"], "too-strict"),
        ("a leaf alone, which nobody believes", [LEAF], ["k-root"], "any-root"),
        ("an impostor's root with our name", [LEAF, MIDDLE, TOP | {"key": "k-evil"}], ["k-root"], "names-alone"),
        ("an impostor's chain with our names",
         [LEAF | {"signed_with": "k-1"}, MIDDLE | {"key": "k-1", "signed_with": "k-2"}, TOP | {"key": "k-2"}],
         ["k-root"], "any-root"),
        ("a signature of another key", [LEAF | {"signed_with": "k-else"}, MIDDLE, TOP], ["k-root"], "names-alone"),
        ("the last signature is of another key", [LEAF, MIDDLE | {"signed_with": "k-else"}, TOP], ["k-root"], "names-alone"),
        ("a root that nobody believes", [LEAF, MIDDLE, TOP], ["k-else"], "any-root"),
        ("nobody is believed", [LEAF, MIDDLE, TOP], [], "any-root"),
        ("signed by a device", [_BY_SENSOR, LEAF, MIDDLE | {"pathlen": 3}, TOP], ["k-root"], "anybody-signs"),
        ("an intermediate that is no authority", [LEAF, _PLAIN, TOP], ["k-root"], "anybody-signs"),
        ("one authority more than pathlen allows", [_BELOW_DEPUTY, _DEPUTY, MIDDLE, TOP], ["k-root"], "any-length"),
        ("two more than pathlen allows, though it allows one",
         [_BELOW_DEPUTY | {"issuer": "Third CA", "signed_with": "k-third"}, _THIRD, _DEPUTY, _WIDE, TOP], ["k-root"], "any-length"),
        ("a signature of another key, between authorities",
         [_BELOW_DEPUTY, _DEPUTY | {"signed_with": "k-else"}, _WIDE, TOP], ["k-root"], "names-alone"),
        ("the root's own pathlen", [LEAF, MIDDLE, TOP | {"pathlen": 0}], ["k-root"], "any-length"),
        ("the right key under another name", [LEAF, MIDDLE, _RENAMED], ["k-root"], "keys-alone"),
        ("the links are in another order", [LEAF, TOP, MIDDLE], ["k-device-ca"], "any-order"),
    )
)  # fmt: skip
"""Chains as data, what they are worth, and the mistake of somebody who thinks otherwise."""


def _check_holds(lab: Lab) -> CheckResult:
    """Show the reader's function all chains."""
    return questioned(
        lab, "holds", CHAINS,
        expected="True where names and keys fit, every signer is an authority within its pathlen, and the last key is believed",
        looks={
            "too-strict": "this chain is in order; what did you ask for that nobody wants?",
            "names-alone": "names are text; which key made the signature, and whose key is that?",
            "any-root": "who is believed is known by key, and only what is in roots is believed",
            "anybody-signs": "a device has a key too; what says that it may sign?",
            "any-length": "how many authorities stand below this one? None may, if its pathlen is 0",
            "keys-alone": "the issuer's name has to be the subject of the next link, too",
            "any-order": "each link is signed by the next one, and by no other",
        },
        passed=f"{len(CHAINS)} chains, and none of them fooled you",
    )  # fmt: skip


# --- exercise 5: the root's key, locked away ------------------------------------------------------------------------

_PASSPHRASES = (b"correct horse battery staple", "Schlüssel für den Tresor".encode())
_PBES2 = bytes.fromhex("06092a864886f70d01050d")  # RFC 8018 §A.4, in DER
_PBKDF2 = re.compile(
    rb"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0c\x30.\x04.{1,64}?\x02([\x01-\x04])", re.DOTALL
)
"""The parameters of PBKDF2 in DER: a salt, then how long the number of rounds is."""
_LEAST_ROUNDS = 1000  # RFC 8018 §4.2; what openssl does is 2048


def _check_locked(lab: Lab) -> CheckResult:
    """Let the reader's function lock two keys away, and try to open what comes back."""
    answer = handed_in(lab, "lock_away")
    if answer is None:
        return not_attempted("complete lock_away(), then run the cell below it")
    keys = [Key.generate("p384") for _ in _PASSPHRASES]
    replies = answer.ask([(key.pem(), words) for key, words in zip(keys, _PASSPHRASES, strict=True)])
    for key, words, reply in zip(keys, _PASSPHRASES, replies, strict=True):
        if wrong := _not_locked(key, words, reply):
            fault, observed, look = wrong
            expected = "the same key as PKCS #8 in PEM, which the passphrase opens, and nothing else does"
            return failed(fault, observed[:120], expected=expected, advice=look)
    return CheckResult("passed", observed="two keys, and each opens with its own passphrase alone")


def _not_locked(key: Key, words: bytes, reply: Reply) -> tuple[str, str, str] | None:
    """Return fault, what is there and where to look, if what came back is not the key, locked."""
    kept = reply.value
    if reply.error:
        return (
            "crashed",
            f"lock_away() raised {reply.error}",
            "key and passphrase are bytes; so is what you return",
        )
    if not isinstance(kept, bytes):
        return (
            "not-bytes",
            f"lock_away() returned no bytes, but {type(kept).__name__}",
            "private_bytes returns bytes",
        )
    if any(line in kept for line in key.pem().splitlines()[1:-1]) or _opens(kept, None) is not None:
        return "in-the-open", "whoever has the file has the key", "which algorithm did you choose?"
    opened = _opens(kept, words)
    if opened is None:
        return (
            "other-passphrase",
            "the passphrase does not open it",
            "take the passphrase that you were given",
        )
    if Key(opened).fingerprint != key.fingerprint:
        return "other-key", "the passphrase opens another key", "lock the key away that you were given"
    if b"BEGIN ENCRYPTED PRIVATE KEY" not in kept or not _slow(kept):
        look = "PKCS8 and BestAvailableEncryption; older formats hash the passphrase once, and it is guessed in a day"
        return "old-format", "it opens, and is in a format that hardly slows a guesser down", look
    return None


def _opens(pem: bytes, passphrase: bytes | None) -> Any:
    try:
        return load_pem_private_key(pem, passphrase)
    except (ValueError, TypeError):
        return None


def _slow(pem: bytes) -> bool:
    """Return whether the key comes from the passphrase by PBES2, which is made to be slow."""
    body = b64decode(b"".join(line for line in pem.splitlines() if line and not line.startswith(b"-")))
    if _PBES2 not in body[:32]:
        return False
    found = _PBKDF2.search(body)
    return found is None or int.from_bytes(body[found.end() : found.end() + found[1][0]]) >= _LEAST_ROUNDS


MORE = (
    Check(
        "certificate-authority.3",
        "the broker lets your guest in, and the linter finds an error in its certificate",
        (
            "The table of the zoo has both verdicts. Look for an error in one column and accepted in the other.",
            "labkit.pki.flawed has a function for each specimen, named like it.",
            "Think of what a broker is never asked to check: policy, or a purpose that is not there.",
        ),
        _check_welcome,
        why="What a broker lets in is not what an authority should sign: the strict one has to be you.",
        kind="break-it",
        required=False,
        minutes=5,
    ),
    Check(
        "certificate-authority.4",
        "holds() judges many chains as a verifier does",
        (
            "itertools.pairwise(chain) gives each link together with the one that signed it.",
            "Four questions for each pair: name, key, may it sign at all, and how many stand below it?",
            "Counted from the leaf, the pair number n has n authorities below its signer. And the last key must be in roots.",
        ),
        _check_holds,
        why="A chain is believed because of keys and of what each link may do, never because its names fit.",
        kind="bug-hunt",
        required=False,
        minutes=8,
    ),
    Check(
        "certificate-authority.5",
        "lock_away() makes a file of a key that its passphrase opens and nobody else",
        (
            "load_pem_private_key(pem, None) makes an object of it; its private_bytes(…) makes a file again.",
            "private_bytes takes an encoding, a format and an encryption. Which format is not the traditional one?",
            "Encoding.PEM, PrivateFormat.PKCS8 and BestAvailableEncryption(passphrase).",
        ),
        _check_locked,
        why="A root's key that lies in a folder in the open is as safe as the folder's last backup.",
        kind="defend-it",
        required=False,
        minutes=6,
    ),
)
"""The exercises that nothing later builds on."""
