"""Right and wrong answers to mtls-setup: an authority, a broker, rules, and tests that prove something."""

from __future__ import annotations

import datetime as dt
import textwrap
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from labkit.course.exercises import find
from labkit.course.exercises.mtls_setup_files import FOLDER
from labkit.pki import DEVICE, INTERMEDIATE, ROOT, SERVER, Authority, Key, by_hand, flawed, issue_list
from labkit.pki.template import Template, random_serial
from labkit.processes import run
from tests.answers.shape import Answers, Place, Right, Wrong

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from labkit.pki import Issued, Profile

EXERCISE = find("mtls-setup")
PLANT = EXERCISE.variant("ada")
ONE, OTHER = PLANT.devices
OPS = PLANT.operator
HOSTS = [PLANT.host, "localhost"]
NOW = dt.datetime.now(dt.UTC)

CONF = f"""\
listener {PLANT.port} 127.0.0.1
cafile believed.crt
certfile server-chain.crt
keyfile server.key
require_certificate true
use_identity_as_username true
acl_file acl.conf
"""
RULES = f"""\
user {OPS}
topic read {PLANT.prefix}/#
topic write {PLANT.prefix}/+/commands/#
pattern write {PLANT.prefix}/%u/telemetry/#
pattern write {PLANT.prefix}/%u/status
pattern read {PLANT.prefix}/%u/commands/#
"""
USERS = """\
# two devices\r
user $1\r
topic write $P/$1/telemetry/#\r
topic write $P/$1/status\r
topic read $P/$1/commands/#\r
user $2\r
topic write $P/$2/telemetry/#\r
topic write $P/$2/status\r
topic read $P/$2/commands/#\r
\r
user $O\r
topic read #\r
topic write $P/+/commands/#\r
"""
COMMAND = """\
def command(program, broker, name, topic, message):
    host, port = broker
    words = [program, "-h", host, "-p", str(port), "-t", topic, "--cafile", "root.crt"]
    words += ["--cert", f"{name}.crt", "--key", f"{name}.key"]
    return [*words, "-m", message] if program == "mosquitto_pub" else words
"""
PROVES = """\
def proves(control, attempt):
    return (control["accepted"] and not attempt["accepted"] and attempt["stage"] == "tls"
            and attempt["reason"] in ("certificate-required", "handshake-failure"))
"""


def pem(certificate: x509.Certificate) -> bytes:
    """Return a certificate as PEM."""
    return certificate.public_bytes(Encoding.PEM)


@cache
def authority() -> tuple[Authority, Authority]:
    """Return the root and the intermediate of the table, which keep their keys in memory."""
    root = Authority.new_root("Table root")
    return root, root.new_intermediate("Table devices")


@cache
def below_root(name: str, profile: Profile) -> Authority:
    """Return another intermediate under the table's root."""
    return authority()[0].new_intermediate(name, profile=profile)


def keep(place: Place, name: str, issued: Issued, *, chain: bool = False) -> None:
    """Write a certificate and its key."""
    put(place, f"{name}.crt", issued.chain_pem if chain else issued.certificate_pem)
    put(place, f"{name}.key", issued.key_pem)


def put(place: Place, name: str, content: str | bytes) -> None:
    """Write a file of the answer."""
    place.write(f"{FOLDER}/{name}", content)


def bundle(place: Place) -> None:
    """Write what the broker believes, and what it shows."""
    folder = place.root / FOLDER
    middle = (folder / "intermediate.crt").read_bytes()
    put(place, "believed.crt", middle + (folder / "root.crt").read_bytes())
    put(place, "server-chain.crt", (folder / "server.crt").read_bytes() + middle)


def ours(place: Place, root: Authority, middle: Authority, *, chain: bool = False) -> None:
    """Write a whole right set of certificates."""
    put(place, "root.crt", pem(root.certificate))
    put(place, "intermediate.crt", pem(middle.certificate))
    keep(place, "server", middle.issue_server(HOSTS, ["127.0.0.1"], renew=True))
    for device in PLANT.devices:
        keep(place, device, middle.issue_device(device, renew=True), chain=chain)
    keep(place, OPS, middle.issue_operator(OPS, renew=True), chain=chain)
    bundle(place)


@contextmanager
def prepared(folder: Path) -> Iterator[Place]:
    """Yield a workspace in which everything is right."""
    place = Place(EXERCISE, folder)
    ours(place, *authority())
    elsewhere = Authority.new_root("Table root")
    put(place, "stranger-ca.crt", pem(elsewhere.certificate))
    keep(place, "stranger", elsewhere.issue_device(ONE))
    for name, text in (
        ("mosquitto.conf", CONF),
        ("acl.conf", RULES),
        ("command.py", COMMAND),
        ("proves.py", PROVES),
    ):
        put(place, name, text)
    yield place


def file(name: str, content: str | bytes) -> Callable[[Place], None]:
    """Return an answer that differs in one file."""
    return lambda place: put(place, name, content)


def as_it_is(_place: Place) -> None:
    """Change nothing."""


def conf(*changes: tuple[str, str], add: str = "", **others: str) -> Callable[[Place], None]:
    """Return an answer whose configuration differs: words replaced, lines added, other files written."""

    def give(place: Place) -> None:
        text = CONF
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        put(place, "mosquitto.conf", text + add)
        for name, content in others.items():
            put(place, name.replace("_", "."), content)

    return give


def rules(text: str, *, config: str = CONF) -> Callable[[Place], None]:
    """Return an answer with other rules; D, P and O in them are replaced by devices, prefix and operator."""
    text = text.replace("$P", PLANT.prefix).replace("$O", OPS).replace("$1", ONE).replace("$2", OTHER)

    def give(place: Place) -> None:
        put(place, "acl.conf", text)
        put(place, "mosquitto.conf", config)

    return give


def device(make: Callable[[Authority], Issued], name: str = ONE) -> Callable[[Place], None]:
    """Return an answer in which one client is another."""
    return lambda place: keep(place, name, make(authority()[1]))


def craft(name: str, **options: object) -> Callable[[Authority], Issued]:
    """Return what makes a certificate by no rules."""
    start = dt.datetime.now(dt.UTC)
    return lambda middle: flawed.craft(middle, name, start=start, **options)  # type: ignore[arg-type]


def as_server(make: Callable[[Authority], Issued]) -> Callable[[Place], None]:
    """Return an answer in which the broker's certificate is another."""
    return device(make, "server")


def long_lived(place: Place) -> None:
    """Write an intermediate without a limit to its path, and everything below it again."""
    ours(place, authority()[0], below_root("Deep", replace(INTERMEDIATE, path_length=None)))


def below_another_middle(profile: Profile, *, name: str = "Odd devices") -> Callable[[Place], None]:
    """Return an answer with an intermediate of another kind, and everything below it again."""

    def give(place: Place) -> None:
        root, key = authority()[0], Key.generate()
        subject = root.certificate.subject if name == "Table root" else Template(
            profile, issuer=root.certificate.subject, signer=root.key, now=NOW, limit=None
        ).subject(name)  # fmt: skip
        template = Template(
            profile,
            issuer=root.certificate.subject,
            signer=root.key,
            now=NOW,
            limit=root.certificate.not_valid_after_utc,
        )
        ours(place, root, Authority(template.sign(subject, key.public, random_serial()), key))

    return give


def named_otherwise(*names: x509.GeneralName) -> Callable[[Place], None]:
    """Return an answer whose broker has other alternative names."""

    def give(place: Place) -> None:
        _, middle = authority()
        key = Key.generate()
        template = Template(SERVER, issuer=middle.certificate.subject, signer=middle.key, now=NOW, limit=None)
        san = x509.SubjectAlternativeName(names)
        put(
            place,
            "server.crt",
            pem(template.sign(template.subject("broker"), key.public, random_serial(), san)),
        )
        put(place, "server.key", key.pem())

    return give


def appended(name: str, *others: str) -> Callable[[Place], None]:
    """Return an answer in which other files stand behind what is in one; `authority` is the intermediate's key."""

    def give(place: Place) -> None:
        folder = place.root / FOLDER
        more = [authority()[1].key.pem() if o == "authority" else (folder / o).read_bytes() for o in others]
        put(place, name, b"".join([(folder / name).read_bytes(), *more]))

    return give


def under_another_label(place: Place) -> None:
    """Let the broker believe somebody else by a block that OpenSSL reads and others pass over."""
    label = pem(Authority.new_root("Hidden").certificate).replace(b" CERTIFICATE-", b" TRUSTED CERTIFICATE-")
    put(place, "believed.crt", (place.root / FOLDER / "believed.crt").read_bytes() + label)


def many_hashed(place: Place) -> None:
    """Let the broker believe a folder in which nobody finds what is wrong."""
    hashed(place)
    for number in range(70):
        (place.root / FOLDER / "trusted" / f"{number:08x}.0").write_bytes(pem(authority()[0].certificate))


def not_critical(place: Place) -> None:
    """Write an intermediate whose constraints may be passed over."""
    root, _ = authority()
    made = flawed.authority_not_critical(root, "Lenient")
    assert made.key
    ours(place, root, Authority(made.certificate, made.key))


def key_of_another(place: Place, name: str, owner: str) -> None:
    """Certify one key twice."""
    _, middle = authority()
    folder = place.root / FOLDER
    key = (
        middle.key
        if owner == "intermediate"
        else Key.load((folder / f"{owner}.key").read_bytes(), path=folder)
    )
    keep(place, name, craft(name, key=key)(middle))


def without_names(place: Place) -> None:
    """Write a device whose certificate has an organisation and no common name."""
    _, middle = authority()
    key = Key.generate()
    template = Template(
        DEVICE, issuer=middle.certificate.subject, signer=middle.key, now=dt.datetime.now(dt.UTC), limit=None
    )
    subject = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Table")])
    put(place, f"{ONE}.crt", pem(template.sign(subject, key.public, random_serial())))
    put(place, f"{ONE}.key", key.pem())


def another_students(place: Place) -> None:
    """Hand in the devices of another variant, under the names of this one's files."""
    _, middle = authority()
    for name, theirs in zip(PLANT.devices, EXERCISE.variant("grace").devices, strict=True):
        keep(place, name, middle.issue_device(theirs, renew=True))


def with_openssl(place: Place) -> None:
    """Make everything with the openssl command, as the lessons print it."""
    recipe = by_hand.root("Table root").then(by_hand.intermediate("Table devices"))
    for each in (by_hand.server(HOSTS, ["127.0.0.1"]), *(by_hand.device(n) for n in (*PLANT.devices, OPS))):
        recipe = recipe.then(each)
    work = place.root / "by-openssl"
    for folder in ("by-hand", "root", "intermediate", "server", "devices"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    for path, text in recipe.files.items():
        (work / path).write_text(text, encoding="utf-8")
    for argv in recipe.commands:
        run(argv, cwd=work, env={"LABKIT_CA_PASSPHRASE": "correct horse"})
    names = {"root.crt": "root/ca.crt", "intermediate.crt": "intermediate/intermediate.crt"}
    names |= {f"server.{end}": f"server/broker.{end}" for end in ("crt", "key")}
    names |= {f"{n}.{end}": f"devices/{n}.{end}" for n in (*PLANT.devices, OPS) for end in ("crt", "key")}
    for name, path in names.items():
        put(place, name, (work / path).read_bytes())
    bundle(place)


BY_A_GUIDE = r"""
set -e
openssl genrsa -out root.key 2048
openssl req -x509 -new -key root.key -days 3650 -sha256 -subj "/C=DE/O=Guide/CN=Guide Root" -out root.crt \
  -addext keyUsage=critical,keyCertSign,cRLSign
openssl genrsa -out intermediate.key 2048
openssl req -new -key intermediate.key -subj "/C=DE/O=Guide/CN=Guide Sub" -out i.csr
printf 'basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n' > i.ext
openssl x509 -req -in i.csr -CA root.crt -CAkey root.key -CAcreateserial -days 1825 -extfile i.ext -text -out intermediate.crt
openssl genrsa -traditional -out server.key 2048
openssl req -new -key server.key -subj "/CN=$HOST" -out s.csr
printf "extendedKeyUsage=serverAuth\nsubjectAltName=DNS:$HOST,DNS:localhost,IP:127.0.0.1\nkeyUsage=digitalSignature,keyEncipherment\n" > s.ext
openssl x509 -req -in s.csr -CA intermediate.crt -CAkey intermediate.key -CAcreateserial -days 365 -extfile s.ext -out server.crt
for name in $NAMES; do
  openssl ecparam -name prime256v1 -genkey -out $name.key
  openssl req -new -key $name.key -subj "/O=Guide/CN=$name" -out $name.csr
  printf 'extendedKeyUsage=clientAuth\n' > d.ext
  openssl x509 -req -in $name.csr -CA intermediate.crt -CAkey intermediate.key -CAcreateserial -days 365 -extfile d.ext -out $name.crt
done
"""


def by_a_guide(place: Place) -> None:
    """Make everything as guides do: RSA above, old key formats, text before the PEM, few extensions, Windows' line ends."""
    folder = place.root / "by-guide"
    names = (*PLANT.devices, OPS)
    if not folder.exists():
        folder.mkdir()
        run(["sh", "-c", BY_A_GUIDE], cwd=folder, env={"HOST": PLANT.host, "NAMES": " ".join(names)})
    stems = ("server", *names)
    for name in ("root.crt", "intermediate.crt", *(f"{s}.{e}" for s in stems for e in ("crt", "key"))):
        put(place, name, (folder / name).read_bytes().replace(b"\n", b"\r\n"))
    bundle(place)


def with_rsa(place: Place) -> None:
    """Use RSA all over, and give each client its chain."""
    root = Authority.new_root("RSA root", profile=ROOT.with_key("rsa2048"))
    middle = root.new_intermediate("RSA devices", profile=INTERMEDIATE.with_key("rsa2048"))
    ours(place, root, middle, chain=True)
    keep(
        place,
        "server",
        middle.issue_server(HOSTS, ["127.0.0.1"], profile=SERVER.with_key("rsa2048"), renew=True),
    )


def chains(place: Place) -> None:
    """Let the broker believe the root alone, and each client bring the intermediate."""
    ours(place, *authority(), chain=True)
    put(place, "mosquitto.conf", CONF.replace("believed.crt", "root.crt"))


def leaf_alone(place: Place) -> None:
    """Let the broker show its certificate alone, and know no intermediate to send with it."""
    chains(place)
    put(
        place,
        "mosquitto.conf",
        CONF.replace("believed.crt", "root.crt").replace("server-chain.crt", "server.crt"),
    )


def hashed(place: Place) -> None:
    """Let the broker believe a folder, as openssl rehash leaves it."""
    folder = place.root / FOLDER / "trusted"
    folder.mkdir()
    for name in ("root", "intermediate"):
        (folder / f"{name}.pem").write_bytes((place.root / FOLDER / f"{name}.crt").read_bytes())
    run(["openssl", "rehash", folder])
    put(place, "mosquitto.conf", CONF.replace("cafile believed.crt", "capath trusted"))


def not_hashed(place: Place) -> None:
    """Forget openssl rehash."""
    hashed(place)
    for entry in (place.root / FOLDER / "trusted").iterdir():
        if entry.is_symlink():
            entry.unlink()


def linked(name: str, target: str) -> Callable[[Place], None]:
    """Return an answer in which a file is a link to another."""

    def give(place: Place) -> None:
        path = place.root / FOLDER / name
        path.unlink()
        path.symlink_to(target)

    return give


def encrypted(place: Place) -> None:
    """Put a passphrase on a device's key."""
    folder = place.root / FOLDER
    key = Key.load((folder / f"{ONE}.key").read_bytes(), path=folder)
    put(place, f"{ONE}.key", key.pem(b"passphrase"))


def believes_more(place: Place) -> None:
    """Let the broker believe the stranger's authority too."""
    folder = place.root / FOLDER
    put(
        place,
        "believed.crt",
        (folder / "believed.crt").read_bytes() + (folder / "stranger-ca.crt").read_bytes(),
    )


def with_a_planted_log(place: Place) -> None:
    """Refuse nobody, and plant a log in which everything went well."""
    put(place, "mosquitto.conf", CONF.replace("require_certificate true", "require_certificate false"))
    lines = "".join(
        f"New client connected from 127.0.0.1:4{n} as {n} (p5, c1, k30, u'{n}').\n" for n in PLANT.devices
    )
    put(place, "mosquitto.log", lines)
    put(place, "results.json", '{"mtls-setup.2": "passed"}')


def stranger(make: Callable[[], Issued]) -> Callable[[Place], None]:
    """Return an answer with another intruder."""
    return lambda place: keep(place, "stranger", make())


def stranger_named(place: Place, name: str) -> None:
    """Write an intruder of an authority whose certificate is not there."""
    keep(place, "stranger", craft(name)(Authority.new_root("Elsewhere")))


def stranger_for_servers(place: Place) -> None:
    """Write an intruder that could not be a client anyway."""
    keep(place, "stranger", flawed.wrong_purpose(Authority.new_root("Elsewhere"), ONE))


def keep_stranger(place: Place, key: Key) -> None:
    """Write an intruder of another authority, with a key that is given."""
    elsewhere = Authority.new_root("Elsewhere")
    put(place, "stranger-ca.crt", pem(elsewhere.certificate))
    keep(place, "stranger", craft(ONE, key=key)(elsewhere))


def with_the_key_of(place: Place, name: str) -> Key:
    """Return somebody's key."""
    path = place.root / FOLDER / f"{name}.key"
    return Key.load(path.read_bytes(), path=path)


def sibling(place: Place, *, chain: bool = False) -> None:
    """Write an intruder of another intermediate under our own root."""
    other = below_root("Office VPN", INTERMEDIATE)
    put(place, "stranger-ca.crt", pem(other.certificate))
    keep(place, "stranger", craft(ONE)(other), chain=chain)


def stranger_below(place: Place, above: Authority, days: int) -> None:
    """Write an intruder whose authority is signed by one of ours, against its rules."""
    key = Key.generate()
    profile = replace(INTERMEDIATE, days=days)
    template = Template(profile, issuer=above.certificate.subject, signer=above.key, now=NOW, limit=None)
    made = Authority(template.sign(template.subject("Elsewhere"), key.public, random_serial()), key)
    put(place, "stranger-ca.crt", pem(made.certificate))
    keep(place, "stranger", craft(ONE)(made))


def stranger_of_the_past(place: Place) -> None:
    """Write an intruder whose authority ran out."""
    key, start = Key.generate(), NOW - dt.timedelta(days=4000)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Elsewhere")])
    template = Template(ROOT, issuer=subject, signer=key, now=start, limit=None)
    made = Authority(template.sign(subject, key.public, random_serial()), key)
    put(place, "stranger-ca.crt", pem(made.certificate))
    keep(place, "stranger", craft(ONE)(made))


def stranger_with_its_authoritys_key(place: Place) -> None:
    """Write an intruder that is its own authority, under two names."""
    elsewhere = Authority.new_root("Elsewhere")
    put(place, "stranger-ca.crt", pem(elsewhere.certificate))
    keep(place, "stranger", craft(ONE, key=elsewhere.key)(elsewhere))


def with_a_list(place: Place, *, now: dt.datetime = NOW) -> None:
    """Let the broker go by a list of revoked certificates."""
    made = issue_list(authority()[1], [], number=1, now=now)
    put(place, "revoked.crl", made.pem)
    put(place, "mosquitto.conf", CONF + "crlfile revoked.crl\n")


def by_an_intermediate(place: Place) -> None:
    """Let the stranger come from an intermediate of another root, with RSA and with its chain."""
    made = craft(ONE)(Authority.new_root("Elsewhere").new_intermediate("Elsewhere devices"))
    keep(place, "stranger", made, chain=True)
    put(place, "stranger-ca.crt", pem(made.chain[0]))


def command(*changes: tuple[str, str]) -> Callable[[Place], None]:
    """Return an answer with another command line."""

    def give(place: Place) -> None:
        text = COMMAND
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        put(place, "command.py", text)

    return give


def proves(body: str) -> Callable[[Place], None]:
    """Return an answer with another test of proofs."""
    return file("proves.py", f"def proves(control, attempt):\n    return {body}\n")


TIDY = f"""\
# My broker\r
\r
persistence false\r
log_type error\r
log_type warning\r
log_dest file /var/log/mosquitto/mosquitto.log\r
allow_anonymous false\r
acl_file /home/ada/labs/workspace/{FOLDER}/acl.conf\r
listener {PLANT.port} localhost\r
protocol mqtt\r
require_certificate true\r
use_identity_as_username true\r
use_username_as_clientid true\r
tls_version tlsv1.3\r
cafile C:\\labs\\{FOLDER.replace("/", chr(92))}\\believed.crt\r
certfile /home/ada/labs/workspace/{FOLDER}/server-chain.crt\r
keyfile ./server.key\r
"""

_PARTLY = "partly"
TABLE = (
    Answers(
        "mtls-setup.1",
        right=(
            Right("labkit.pki", as_it_is),
            Right("openssl, as the lessons print it", with_openssl),
            Right("openssl, as guides print it", by_a_guide),
            Right("RSA, and chains", with_rsa),
            Right("hosts in capitals, and one more", named_otherwise(x509.DNSName(PLANT.host.upper()), x509.DNSName("LocalHost"), x509.DNSName("mqtt.example"), x509.IPAddress(ip_address("127.0.0.1")))),
            Right("an intermediate for clients and servers", below_another_middle(replace(INTERMEDIATE, purposes=(*SERVER.purposes, *DEVICE.purposes)))),
        ),
        wrong=(
            Wrong("nothing", lambda place: [p.unlink() for p in (place.root / FOLDER).glob("*.crt")], "", "not-attempted"),
            Wrong("one key for both devices", partial(key_of_another, name=OTHER, owner=ONE), "key-shared", _PARTLY),
            Wrong("the authority's key on a device", partial(key_of_another, name=ONE, owner="intermediate"), "key-shared", _PARTLY),
            Wrong("the broker's key on a device", partial(key_of_another, name=ONE, owner="server"), "key-shared", _PARTLY),
            Wrong("no common name", without_names, "common-name-count", _PARTLY),
            Wrong("two common names", device(lambda m: flawed.two_common_names(m, ONE)), "common-name-count", _PARTLY),
            Wrong("a slash in the name", device(lambda m: flawed.slash_in_name(m, ONE)), "name-grammar", _PARTLY),
            Wrong("vouches for itself", device(lambda _: flawed.self_signed(ONE)), "self-signed", _PARTLY),
            Wrong("expired", device(lambda m: flawed.expired(m, ONE)), "validity-expired", _PARTLY),
            Wrong("valid for four years", device(lambda m: flawed.long_validity(m, ONE)), "validity-too-long", _PARTLY),
            Wrong("no purpose", device(lambda m: flawed.no_purpose(m, ONE)), "purpose-missing", _PARTLY),
            Wrong("client and server at once", device(lambda m: flawed.any_purpose(m, ONE)), "purpose-wrong", _PARTLY),
            Wrong("a device that is an authority", device(lambda m: flawed.authority_on_a_leaf(m, ONE)), "leaf-is-authority", _PARTLY),
            Wrong("of an authority of the same name", device(lambda m: flawed.rogue(m, ONE)), "issuer-signature", _PARTLY),
            Wrong("signed by the root", device(lambda _: craft(ONE)(authority()[0])), "issuer-name", _PARTLY),
            Wrong("another's key", device(lambda m: flawed.mismatched_key(m, ONE)), "key-mismatch", _PARTLY),
            Wrong("RSA with 1,024 bits", device(lambda m: flawed.weak_key(m, ONE)), "key-weak", _PARTLY),
            Wrong("a key under a passphrase", encrypted, "key-encrypted", _PARTLY),
            Wrong("another student's devices", another_students, "wrong-name", _PARTLY),
            Wrong("the same serial number twice", lambda place: [keep(place, n, craft(n, serial=1 << 100)(authority()[1])) for n in PLANT.devices], "serial-reused", _PARTLY),
            Wrong("no hosts", as_server(flawed.no_san), "san-missing", _PARTLY),
            Wrong("hosts without the address", as_server(lambda m: m.issue_server(HOSTS, renew=True)), "san-mismatch", _PARTLY),
            Wrong("hosts with the address as a name", named_otherwise(*(x509.DNSName(n) for n in (*HOSTS, "127.0.0.1"))), "san-mismatch", _PARTLY, says="127.0.0.1"),
            Wrong("alternative names of the other device", device(craft(ONE, san=[ONE, OTHER])), "wrong-name", _PARTLY, says=OTHER),
            Wrong("room for one more authority", below_another_middle(replace(INTERMEDIATE, path_length=1)), "path-length-too-long", _PARTLY),
            Wrong("an intermediate for servers alone", below_another_middle(replace(INTERMEDIATE, purposes=SERVER.purposes)), "chain-broken", _PARTLY, says="intermediate.crt"),
            Wrong("one name for both authorities", below_another_middle(INTERMEDIATE, name="Table root"), "authorities-of-one-name", _PARTLY),
            Wrong("a device's key behind its certificate", appended(f"{ONE}.crt", f"{ONE}.key"), "key-in-public-file", _PARTLY),
            Wrong("the authority's key in the file that everybody gets", appended("root.crt", "authority"), "key-in-public-file", _PARTLY),
            Wrong("the authority's key behind a device's", appended(f"{ONE}.key", "authority"), "several-keys", _PARTLY),
            Wrong("a stranger's authority in a chain", appended(f"{ONE}.crt", "stranger-ca.crt"), "chain-of-another", _PARTLY),
            Wrong("no path length", long_lived, "path-length-missing", _PARTLY),
            Wrong("constraints that are not critical", not_critical, "basic-constraints-not-critical", _PARTLY),
            Wrong("a bundle as root", lambda place: put(place, "root.crt", (place.root / FOLDER / "believed.crt").read_bytes()), "root-not-alone", _PARTLY),
            Wrong("intermediate as root", lambda place: put(place, "root.crt", pem(authority()[1].certificate)), "root-not-self-signed", _PARTLY),
            Wrong("a link to a file elsewhere", linked("root.crt", "/etc/hostname"), "AnswerUnreadableError"),
            Wrong("no certificate at all", file("server.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "not-a-certificate", _PARTLY),
        ),
    ),
    Answers(
        "mtls-setup.2",
        right=(
            Right("a bundle", as_it_is),
            Right("chains from the clients", chains),
            Right("its leaf, which Mosquitto completes from the bundle", conf(("server-chain.crt", "server.crt"))),
            Right("a hashed folder", hashed),
            Right("tidy, TLS 1.3 only, Windows' line ends, other machines' paths", file("mosquitto.conf", TIDY)),
            Right("made by a guide", by_a_guide),
            Right("a list of revoked certificates", with_a_list),
            Right("1 for true", conf(("require_certificate true", "require_certificate 1"), ("as_username true", "as_username 1"))),
        ),
        wrong=(
            Wrong("nothing", lambda place: (place.root / FOLDER / "mosquitto.conf").unlink(), "", "not-attempted"),
            Wrong("a comment", file("mosquitto.conf", "# later\n"), "no-listener"),
            Wrong("asks, and a line later asks nobody", conf(add="require_certificate false\n"), "config-unclear", says="twice"),
            Wrong("asks above the listener", file("mosquitto.conf", "require_certificate true\n" + CONF.replace("require_certificate true\n", "")), "config-unclear", says="below"),
            Wrong("yes for true", conf(("require_certificate true", "require_certificate yes")), "config-unclear", says="true or false"),
            Wrong("believes somebody under another label", under_another_label, "not-a-certificate", says="TRUSTED"),
            Wrong("a folder of seventy", many_hashed, "too-many-files"),
            Wrong("a list that ended long ago", partial(with_a_list, now=NOW - dt.timedelta(days=400)), "refuses-everybody"),
            Wrong("asks nobody, and a planted log", with_a_planted_log, "certificate-not-required"),
            Wrong("asks politely", conf(("require_certificate true\n", "")), "certificate-not-required"),
            Wrong("takes the client's word", conf(("use_identity_as_username true\n", "")), "identity-not-used"),
            Wrong("lets in the nameless", conf(add="allow_anonymous true\n"), "anonymous-allowed"),
            Wrong("a second door", conf(add="listener 1883 127.0.0.1\n"), "extra-listener"),
            Wrong("a plugin", conf(add="plugin /tmp/evil.so\n"), "config-refused", says="plugin"),
            Wrong("other files", conf(add="include_dir /etc/mosquitto/conf.d\n"), "config-refused", says="include_dir"),
            Wrong("a bridge", conf(add="connection out\naddress example.org:1883\n"), "config-refused", says="connection"),
            Wrong("websockets", conf(add="protocol websockets\n"), "config-refused", says="protocol"),
            Wrong("suites that encrypt nothing", conf(add="ciphers ALL:eNULL:@SECLEVEL=0\n"), "suite-without-protection"),
            Wrong("suites that prove nobody", conf(add="ciphers HIGH:aNULL:@SECLEVEL=0\n"), "suite-without-protection"),
            Wrong("another port", conf((str(PLANT.port), "8883")), "wrong-port"),
            Wrong("everywhere", conf((" 127.0.0.1", "")), "listens-everywhere"),
            Wrong("in the clear", conf(("certfile server-chain.crt\nkeyfile server.key\n", "")), "no-tls"),
            Wrong("an old version", conf(add="tls_version tlsv1.1\n"), "old-tls"),
            Wrong("a version that there is not", conf(add="tls_version tlsv9\n"), "does-not-start"),
            Wrong("believes the system's authorities", conf(("believed.crt", "/etc/ssl/certs/ca-certificates.crt")), "file-elsewhere"),
            Wrong("believes a stranger too", believes_more, "foreign-authority-trusted"),
            Wrong("believes nobody", conf(("cafile believed.crt\n", "")), "trusts-nobody"),
            Wrong("as printed: believes the root alone", conf(("believed.crt", "root.crt")), "refuses-everybody", says="unknown-ca"),
            Wrong("believes the intermediate alone", conf(("believed.crt", "intermediate.crt")), "refuses-everybody"),
            Wrong("forgot rehash", not_hashed, "refuses-everybody"),
            Wrong("shows its leaf alone, and has nothing to complete it with", leaf_alone, "server-not-believed"),
            Wrong("shows another certificate", conf(("server-chain.crt", f"{ONE}.crt")), "other-server-certificate"),
            Wrong("one device of another root", device(lambda m: flawed.rogue(m, OTHER), OTHER), "own-client-refused", says=OTHER),
            Wrong("the operator is a device", device(lambda m: m.issue_device(ONE, renew=True), OPS), "wrong-user-name", says=OPS),
            Wrong("a link to a configuration elsewhere", linked("mosquitto.conf", "acl.conf"), "AnswerUnreadableError"),
        ),
    ),
    Answers(
        "mtls-setup.3",
        right=(
            Right("short options", as_it_is),
            Right("long options, and more", command(('"-h", host, "-p"', '"--debug", "-V", "mqttv5", "-i", name, "--host", host, "--port"'), ('"-t"', '"-q", "1", "--topic"'))),
            Right("a user name too, which the broker passes over", command(('"-t"', '"-u", name, "-t"'))),
            Right("paths from elsewhere", command(('f"{name}.key"', f'f"/home/ada/{FOLDER}/{{name}}.key"'))),
        ),
        wrong=(
            Wrong("the stub", file("command.py", "def command(*a):\n    raise NotImplementedError\n"), "", "not-attempted"),
            Wrong("a shell line", command(("return [*words", 'return " ".join([*words'), ("message] if", "message]) if")), "not-a-command"),
            Wrong("its own port", command(("str(port)", f'"{PLANT.port}"')), "argument-ignored", says="--port"),
            Wrong("its own host", command(('"-h", host', '"-h", "localhost"')), "argument-ignored", says="--host"),
            Wrong("one device for all", command(('f"{name}.crt"', f'"{ONE}.crt"'), ('f"{name}.key"', f'"{ONE}.key"')), "wrong-identity"),
            Wrong("ends before a value", command(("else words", 'else [*words, "-i"]')), "option-refused", says="ends"),
            Wrong("checks no name", command(('"--cafile"', '"--insecure", "--cafile"')), "name-not-checked"),
            Wrong("in the clear", command((', "--cafile", "root.crt"', "")), "no-tls"),
            Wrong("without a certificate", command(('words += ["--cert", f"{name}.crt", "--key", f"{name}.key"]', "pass")), "no-identity"),
            Wrong("sends a file", command(('"-m", message]', '"-m", message, "-f", "/etc/passwd"]')), "option-refused", says="-f"),
            Wrong("believes the wrong file", command(('"root.crt"', '"stranger-ca.crt"')), "not-delivered"),
            Wrong("a file from elsewhere", command(('"root.crt"', '"/etc/ssl/certs/ca-certificates.crt"')), "file-elsewhere"),
            Wrong("a number", command(("str(port)", "port")), "not-a-command"),
            Wrong("always the same program", command(("words = [program", 'words = ["mosquitto_pub"')), "not-a-command"),
            Wrong("fails", command(("host, port = broker", "host, port = broker.split(':')")), "function-fails"),
        ),
    ),
    Answers(
        "mtls-setup.4",
        right=(
            Right("both reasons", as_it_is),
            Right("in its own words", file("proves.py", textwrap.dedent("""\
                WANTED = {"handshake-failure", "certificate-required"}
                def proves(control, attempt):
                    if control["reason"] != "accepted":
                        return False
                    return attempt["stage"] == "tls" and attempt["reason"] in WANTED
                """))),
            Right("TLS 1.3 only", conf(add="tls_version tlsv1.3\n")),
        ),
        wrong=(
            Wrong("neither", lambda place: [(place.root / FOLDER / n).unlink() for n in ("mosquitto.conf", "proves.py")], "", "not-attempted"),
            Wrong("no test yet", lambda place: (place.root / FOLDER / "proves.py").unlink(), "no-test", _PARTLY),
            Wrong("always content", proves("True"), "proof-too-easy", _PARTLY),
            Wrong("content with any refusal", proves('not attempt["accepted"]'), "proof-too-easy", _PARTLY),
            Wrong("no control", proves('attempt["stage"] == "tls" and attempt["reason"] in ("certificate-required", "handshake-failure")'), "proof-too-easy", _PARTLY),
            Wrong("any refusal in TLS", proves('control["accepted"] and attempt["stage"] == "tls"'), "proof-too-easy", _PARTLY),
            Wrong("one version only", proves('control["accepted"] and attempt["stage"] == "tls" and attempt["reason"] == "certificate-required"'), "proof-too-strict", _PARTLY),
            Wrong("never content", proves("False"), "proof-too-strict", _PARTLY),
            Wrong("a word instead of an answer", proves('"yes"'), "proof-too-strict", _PARTLY),
            Wrong("a broker that refuses everybody", conf(("require_certificate true\n", "")), "refuses-everybody", _PARTLY),
            Wrong("a broker that lets everybody in", conf(("require_certificate true\nuse_identity_as_username true\n", "allow_anonymous true\n")), "let-in-without-certificate", _PARTLY),
            Wrong("both wrong", lambda place: (conf(("require_certificate true\n", ""))(place), proves("True")(place)), "refuses-everybody"),
        ),
    ),
    Answers(
        "mtls-setup.5",
        right=(
            Right("another root of the same name", as_it_is),
            Right("an intermediate of another root", by_an_intermediate),
            Right("made by a guide, a stranger beside it", by_a_guide),
            Right("a list of revoked certificates", with_a_list),
        ),
        wrong=(
            Wrong("none", lambda place: [p.unlink() for p in (place.root / FOLDER).glob("stranger*")], "", "not-attempted"),
            Wrong("expired too", stranger(lambda: flawed.expired(Authority.new_root("Elsewhere"), ONE)), "stranger-has-another-fault", _PARTLY, says="ran out"),
            Wrong("another authority's certificate beside it", lambda place: stranger_named(place, ONE), "stranger-without-authority", _PARTLY),
            Wrong("no purpose", stranger(lambda: flawed.no_purpose(Authority.new_root("Elsewhere"), ONE)), "stranger-has-another-fault", _PARTLY),
            Wrong("vouches for itself", stranger(lambda: flawed.self_signed(ONE)), "stranger-has-another-fault", _PARTLY),
            Wrong("of our own authority", stranger(lambda: craft(ONE)(authority()[1])), "stranger-is-ours", _PARTLY),
            Wrong("of a sibling under our own root", sibling, "stranger-is-ours", _PARTLY),
            Wrong("the same, which brings its chain and gets in", partial(sibling, chain=True), "stranger-is-ours", _PARTLY),
            Wrong("the device's own key", lambda place: keep_stranger(place, with_the_key_of(place, ONE)), "key-shared", _PARTLY),
            Wrong("the other device's key", lambda place: keep_stranger(place, with_the_key_of(place, OTHER)), "key-shared", _PARTLY, says=OTHER),
            Wrong("the key of its own authority", stranger_with_its_authoritys_key, "key-shared", _PARTLY),
            Wrong("of an authority below our intermediate", lambda place: stranger_below(place, authority()[1], 300), "stranger-is-ours", _PARTLY),
            Wrong("of one below our root that outlives it", lambda place: stranger_below(place, authority()[0], 9000), "stranger-is-ours", _PARTLY),
            Wrong("of an authority that ran out", stranger_of_the_past, "stranger-has-another-fault", _PARTLY, says="stranger-ca.crt"),
            Wrong("under its own name", lambda place: stranger_named(place, "stranger-1"), "stranger-pretends-nothing", _PARTLY),
            Wrong("for servers", stranger_for_servers, "stranger-has-another-fault", _PARTLY),
            Wrong("another's key", lambda place: put(place, "stranger.key", Key.generate().pem()), "key-mismatch", _PARTLY),
            Wrong("the broker believes it", believes_more, "foreign-authority-trusted"),
            Wrong("a broker that refuses everybody", conf(("believed.crt", "root.crt")), "refuses-everybody", _PARTLY),
        ),
    ),
    Answers(
        "mtls-setup.6",
        right=(
            Right("patterns", as_it_is),
            Right("a list of users", rules(USERS)),
            Right("client ids, which are bound to the name", rules(RULES.replace("%u", "%c"), config=CONF + "use_username_as_clientid true\n")),
            Right("devices that hear themselves, and an operator of two", rules(RULES.replace("pattern write", "pattern readwrite").replace("topic write $P/+/commands/#".replace("$P", PLANT.prefix), "topic write $P/$1/commands/#\ntopic write $P/$2/commands/#"))),
            Right("more than enough, and denials", rules(RULES + "\nuser $1\ntopic deny $P/$2/#\nuser $2\ntopic deny $P/$1/#\n")),
        ),
        wrong=(
            Wrong("nothing", conf(("acl_file acl.conf\n", ""), acl_conf=""), "rules-not-in-force"),
            Wrong("nobody named the file", conf(("acl_file acl.conf\n", "")), "rules-not-in-force"),
            Wrong("everything for everybody", rules("pattern readwrite #\n"), "speaks-for-another"),
            Wrong("everything below the prefix", rules(RULES + "pattern readwrite $P/#\n"), "speaks-for-another"),
            Wrong("everybody's telemetry", rules(RULES.replace("%u/telemetry", "+/telemetry")), "speaks-for-another"),
            Wrong("a device writes its whole tree", rules(RULES.replace("write $P/%u/telemetry/#".replace("$P", PLANT.prefix), f"readwrite {PLANT.prefix}/%u/#")), "device-commands"),
            Wrong("no rule at all", rules("\n"), "own-topic-lost"),
            Wrong("rules above every user", rules("topic read $P/#\ntopic write $P/+/telemetry/#\n"), "own-topic-lost"),
            Wrong("the rules of the lesson", rules(RULES.replace(PLANT.prefix, "devices")), "own-topic-lost"),
            Wrong("a rule of one user for all", rules("user $O\ntopic read $P/#\ntopic write $P/+/commands/#\ntopic write $P/%u/telemetry/#\npattern write $P/%u/status\npattern read $P/%u/commands/#\n"), "own-topic-lost"),
            Wrong("one level of telemetry", rules(RULES.replace("telemetry/#", "telemetry/+")), "own-topic-lost"),
            Wrong("client ids, as they are claimed", rules(RULES.replace("%u", "%c")), "client-id-believed"),
            Wrong("deaf devices", rules(RULES.replace(f"pattern read {PLANT.prefix}/%u/commands/#\n", "")), "deaf-to-commands", _PARTLY),
            Wrong("devices hear all", rules(RULES + "pattern read $P/#\n"), "hears-another", _PARTLY),
            Wrong("a deaf operator", rules(RULES.replace(f"topic read {PLANT.prefix}/#\n", "")), "operator-deaf", _PARTLY),
            Wrong("an operator without commands", rules(RULES.replace("topic write", "topic read")), "operator-cannot-command", _PARTLY),
            Wrong("an operator that may do all", rules(RULES.replace("topic read", "topic readwrite")), "operator-writes-too-much", _PARTLY),
            Wrong("an operator that writes everywhere", rules(RULES + "\nuser $O\ntopic write $P/all/#\n"), "operator-writes-too-much", _PARTLY),
            Wrong("an operator that hears telemetry alone", rules(RULES.replace(f"topic read {PLANT.prefix}/#", f"topic read {PLANT.prefix}/+/telemetry/#")), "operator-deaf", _PARTLY),
            Wrong("commands of one level", rules(RULES.replace(f"read {PLANT.prefix}/%u/commands/#", f"read {PLANT.prefix}/%u/commands/+")), "deaf-to-commands", _PARTLY),
            Wrong("settings of its own", rules(RULES + "pattern write $P/%u/settings\n"), "speaks-elsewhere"),
            Wrong("another's status is heard", rules(RULES + "pattern read $P/+/status\n"), "hears-another", _PARTLY),
            Wrong("a topic of its own that nobody asked for", rules(RULES + "pattern write $P/%u/debug/#\n"), "speaks-elsewhere", says="debug"),
            Wrong("more levels below its status", rules(RULES.replace("%u/status", "%u/status/#")), "speaks-elsewhere"),
            Wrong("a corner of the other's telemetry", rules(RULES + "\nuser $1\ntopic write $P/$2/telemetry/deep\n"), "speaks-for-another"),
            Wrong("a command of three levels", rules(RULES + "\nuser $1\ntopic write $P/$2/commands/report/now\n"), "device-commands"),
            Wrong("a corner of the other's telemetry is heard", rules(RULES + "\nuser $1\ntopic read $P/$2/telemetry/air/#\n"), "hears-another", _PARTLY),
            Wrong("calls to everybody", rules(RULES + "pattern read $P/all/#\n"), "hears-another", _PARTLY),
            Wrong("an operator with settings", rules(RULES + "\nuser $O\ntopic write $P/+/settings\n"), "operator-writes-too-much", _PARTLY),
            Wrong("an operator of other plants too", rules(RULES + "\nuser $O\ntopic write elsewhere/#\n"), "operator-writes-too-much", _PARTLY),
            Wrong("a status by client id", rules(RULES.replace("%u/status", "%c/status")), "client-id-believed"),
            Wrong("commands by client id", rules(RULES.replace("%u/commands", "%c/commands")), "client-id-believed", _PARTLY),
            Wrong("a user that there is not, who may do all", rules(RULES + "\nuser root\ntopic readwrite #\n"), "user-unknown", _PARTLY, says="root"),
            Wrong("six hundred rules", rules(RULES + "".join(f"pattern read $P/%u/commands/{n}\n" for n in range(600))), "rules-refused", says="60"),
            Wrong("a line that is none", rules(RULES + "allow everything\n"), "rules-refused"),
            Wrong("a broker that refuses everybody", conf(("believed.crt", "root.crt")), "refuses-everybody"),
        ),
    ),
)  # fmt: skip
