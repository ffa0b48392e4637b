"""Lesson provisioning: how a device comes by its certificate, renews it, is copied, and loses it."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

from labkit.clock import SYSTEM_CLOCK
from labkit.course.lab import ready_authority
from labkit.course.lesson import Check, CheckResult, Claim, Lesson, Prediction
from labkit.course.lessons.provisioning_exercises import MORE
from labkit.course.lessons.provisioning_questions import QUESTIONS
from labkit.course.shelf import failed, not_attempted
from labkit.devices import Registry, State, Status
from labkit.errors import DeviceUnknownError
from labkit.pki import Reason

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from labkit.course.lab import Lab

SHELF = "answers/provisioning"
"""Where the reader's answers lie."""

PLANT = "plant"
"""The authority of this lesson, with a registry of its own; made anew each time."""

CLONED = "sensor-042"
"""The device of the second exercise."""

GOOD = 30
"""Tokens of the first exercise that are worth something."""

BAIT = "bait"
"""A token that is worth something and that nobody shows."""

INJECTED = (f"x' OR token = '{BAIT}' --", f'x" OR token = "{BAIT}" --')
"""Tokens that hope to become a part of the statement."""

HOSTILE = ("expired", "unknown", *INJECTED)
"""Tokens that are worth nothing."""

CLAIMS = (
    Claim("printed-admin", "Two requests to the printed server, from nothing, bring an admin's certificate.", "http"),
    Claim("admin-commands", "With it a stranger commands a device.", "authorised"),
    Claim("ours-admin", "Our service makes no token for a stranger.", "http", "certificate-missing", "admin"),
    Claim("ours-name", "Our certificate carries the token's name, whatever was asked for.", "http", "subject-ignored"),
    Claim("printed-race", "With one bug mended, one token brings several certificates.", "http", "accepted", "race"),
    Claim("ours-race", "Ours brings one; the others are told that the token is spent.", "http", "token-spent"),
    Claim("printed-replay", "After an honest rush, spent tokens are worth something again.", "http"),
    Claim("ours-replay", "On ours they stay spent.", "http", "token-spent"),
    Claim("printed-idle", "One client that says nothing stops the printed server.", "http"),
    Claim("ours-idle", "Ours serves the others meanwhile.", "http", "served"),
    Claim("printed-path", "A device's name deletes the printed server's authority.", "http"),
    Claim("ours-path", "Ours makes no token for such a name.", "http", "malformed"),
    Claim("first-boot", "After its first boot a device is let in by the broker.", "mqtt"),
    Claim("token-again", "Its token is worth nothing to whoever finds it.", "http", "token-spent"),
    Claim("overlap-old", "During a renewal the old certificate gets in.", "mqtt"),
    Claim("overlap-new", "And so does the new one.", "mqtt", "accepted", "overlap"),
    Claim("old-superseded", "Once the new one is confirmed, the service refuses the old one.", "http",
          "certificate-superseded"),
    Claim("old-revoked", "Once the list is published, the broker does too.", "tls", "certificate-revoked"),
    Claim("clone-alarm", "The second to renew with one certificate sets off the alarm.", "http", "clone-alarm", "clone"),
    Claim("thief-out", "Afterwards the thief is refused.", "tls", "certificate-revoked"),
    Claim("victim-out", "And so is the device, until somebody has looked.", "tls", "certificate-revoked"),
    Claim("back-in", "Wiped and enrolled again, the device may publish.", "authorised"),
    Claim("leaving-in", "A device that is in service gets in.", "mqtt"),
    Claim("leaving-out", "Taken out of service, it does not come back.", "tls", "certificate-revoked"),
    Claim("staying-in", "Its neighbour does.", "mqtt"),
    Claim("token-travels", "A token from a flash chip opens the door from anywhere.", "authorised", "accepted", "flash"),
    Claim("token-back", "Taken back, it does not.", "mqtt", "not-authorised"),
    Claim("moved", "A device that moved over gets in with its certificate.", "authorised"),
    Claim("wrong-authority", "A device authority's admin is no operator.", "http", "not-an-operator"),
    Claim("rogue-authority", "A stranger's admin does not get as far as the question.", "tls", "unknown-ca"),
)  # fmt: skip

PREDICTIONS = (
    Prediction(
        "admin",
        "A stranger asks our service for a token, without any certificate. What happens?",
        {
            "tls": "TLS refuses the connection",
            "http": "the service answers with a clear no",
            "token": "the stranger gets a token for a device that does not exist",
        },
        "http",
        {
            "tls": "A device on its first day has no certificate either, so TLS has to let it in. The service decides.",
            "token": "That is the printed server.",
        },
    ),
    Prediction(
        "race",
        "The printed server writes each request into a file named after the device. You give each request a file of "
        "its own. What happens when six clients show one token at once?",
        {
            "fewer": "fewer certificates come out",
            "same": "as before: one",
            "more": "more than one comes out",
        },
        "more",
        {
            "fewer": "Nothing that you changed makes it refuse anything.",
            "same": "It was one because the others crashed over the file that they shared.",
        },
    ),
    Prediction(
        "overlap",
        "A device has been given its next certificate and has not used it yet. Which one does the broker accept?",
        {"old": "the old one only", "new": "the new one only", "both": "both"},
        "both",
        {
            "old": "The new one is signed and valid; a broker asks for nothing else.",
            "new": "Nothing has revoked the old one yet, and that is on purpose.",
        },
    ),
    Prediction(
        "clone",
        "A thief has copied a device's flash and renews first. Then the device renews with the same old certificate "
        "and a key of its own. What should the service do?",
        {
            "first": "believe the first",
            "second": "believe the second, which is the real one",
            "none": "believe neither",
        },
        "none",
        {
            "first": "This time that was the thief.",
            "second": "Which one is real, nobody can tell from here.",
        },
    ),
    Prediction(
        "flash",
        "Somebody reads a device's token out of its flash and tries it from another country. What does the platform do?",
        {"in": "it lets them in", "tls": "TLS refuses them", "mqtt": "MQTT refuses them"},
        "in",
        {
            "tls": "A token is shown after TLS; the thief's TLS is as good as anybody's.",
            "mqtt": "Id and token are right. What would it refuse?",
        },
    ),
)


# --- exercise 1 ---------------------------------------------------------------------------------------------------


def race_for_tokens(lab: Lab, spend: Callable[[sqlite3.Connection, str, str, float], bool]) -> dict[str, int]:
    """Let eight clients race for tokens in a database on the shelf, and return how often each was spent.

    Args:
        lab: The lab.
        spend: The reader's function: `spend(db, token, who, now)` returns whether the token is theirs.

    Returns:
        How many clients were told that a token is theirs, by token; those of `HOSTILE` may be among them.
    """
    path = lab.workspace.path(SHELF, "tokens.db")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    now = SYSTEM_CLOCK.now().timestamp()
    good = [f"token-{number:02d}" for number in range(GOOD)]
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE tokens (token TEXT PRIMARY KEY, ends_at REAL, used_by TEXT)")
        db.execute("CREATE TABLE winners (token TEXT, who TEXT)")
        rows = [(name, now + 3600) for name in (*good, BAIT)]
        db.executemany("INSERT INTO tokens VALUES (?, ?, NULL)", rows)
        db.execute("INSERT INTO tokens VALUES ('expired', ?, NULL)", (now - 1,))
    barrier = threading.Barrier(8)

    def client(number: int) -> None:
        with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as db:
            for token in (*good, *HOSTILE):
                barrier.wait(30)
                if spend(db, token, f"client-{number}", now):
                    db.execute("INSERT INTO winners VALUES (?, ?)", (token, f"client-{number}"))

    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(client, number) for number in range(8)]
        try:
            for each in waiting:
                each.result()
        except BaseException:
            barrier.abort()  # the others would wait for one that has stopped
            path.unlink(missing_ok=True)
            raise
    return _winners(path)


def _winners(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT token, count(*) FROM winners GROUP BY token").fetchall()
    return {str(token): int(number) for token, number in rows}


def _check_spend(lab: Lab) -> CheckResult:
    """Look into the database on the shelf: who was told that a token is theirs, and what it says itself."""
    path = lab.workspace.path(SHELF, "tokens.db")
    if not path.exists():
        return not_attempted("complete spend(), then run the race below it")
    try:
        told = _winners(path)
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            used = dict(db.execute("SELECT token, used_by FROM tokens WHERE used_by IS NOT NULL").fetchall())
            winners = dict(db.execute("SELECT token, who FROM winners").fetchall())
    except sqlite3.Error as error:
        return failed(
            "no-database",
            f"the database can't be read: {error}",
            expected="the tables of the race",
            advice="run the race again",
        )
    good = {f"token-{number:02d}" for number in range(GOOD)}
    if BAIT in used:
        return failed(
            "sql-in-token",
            f"the token {INJECTED[0]!r}, or its twin, has spent the token {BAIT!r}, which nobody showed",
            expected="what a client shows is compared, never read as SQL",
            advice="how does a value come into a statement without becoming a part of it?",
        )
    twice = sorted(token for token, number in told.items() if number > 1)
    if twice:
        return failed(
            "given-twice",
            f"{len(twice)} tokens were given to more than one client, {twice[0]} to {told[twice[0]]} of them",
            expected="of eight clients at once, one is told that the token is theirs",
            advice="what may happen between your look at the row and your change of it?",
        )
    if stray := sorted(set(told) - good):
        return failed(
            "worthless-token",
            f"somebody was given the token {stray[0]!r}",
            expected="nobody is given a token that has run out, or one that is not there",
            advice="which conditions does your statement name?",
        )
    if missing := sorted(good - set(told)):
        return failed(
            "nobody-has-it",
            f"nobody was given {missing[0]}",
            expected="each good token is somebody's",
            advice="what does your function return when it has changed a row?",
        )
    if used != winners:
        return failed(
            "wrong-name",
            "the table of tokens names other clients than those that were told so",
            expected="used_by says who it was",
            advice="write who into the row, in the same statement",
        )
    return CheckResult(
        "passed", observed=f"{GOOD} tokens, {GOOD} winners, and the hostile ones were nobody's"
    )


# --- exercise 2 ---------------------------------------------------------------------------------------------------


def _check_return(lab: Lab) -> CheckResult:
    """Look into the plant's registry, and at what lies on the device's board."""
    path = lab.workspace.path("scratch", PLANT, "registry/fleet.db")
    if not path.exists():
        return not_attempted("run the cells of *The alarm* first")
    with Registry.open(path) as registry, registry.read() as tx:
        try:
            device = tx.fleet.get(CLONED)
        except DeviceUnknownError:
            return not_attempted("run the cells of *The alarm* first")
        found = tx.certificates.of(CLONED)
        actions = [event.action for event in tx.trail.events(CLONED)]
    if device.state is State.QUARANTINED:
        return not_attempted(f"complete bring_back(), then run the cell below it: {CLONED} is in quarantine")
    if "clone-alarm" not in actions:
        return not_attempted("run the cells of *The alarm* first")
    counting = [each for each in found if each.status is not Status.ENDED]
    if device.state is not State.ENROLLED or len(counting) != 1:
        return failed(
            "not-enrolled",
            f"{CLONED} is {device.state}, with {len(counting)} certificates that count",
            expected="a device that is enrolled, with one",
            advice="out of quarantine it has no certificate; how does a device come by its first one?",
        )
    held = [each for each in found if each.reason is Reason.CERTIFICATE_HOLD]
    if not held or counting[0].entry.key in {each.entry.key for each in found if each is not counting[0]}:
        return failed(
            "not-held",
            "what the thief has is not held",
            expected="the old certificates stay ended",
            advice="lab.reset(), then run the cells from the top",
        )
    board = lab.workspace.path("scratch", PLANT, "scratch/boards", CLONED)
    chains = [p.read_bytes() for p in board.glob("*.crt")] if board.is_dir() else []
    wanted = _pem(counting[0].entry.der)
    if not any(chain.startswith(wanted) for chain in chains):
        return failed(
            "not-on-the-device",
            "the device's store does not hold the certificate that counts",
            expected="a device that has made its own key and stored its chain",
            advice="new_board(name) is a device with a token; what did sensor-001 do with its own?",
        )
    return CheckResult(
        "passed", observed=f"{CLONED} is back with a new key; what the thief copied stays on the list"
    )


def _pem(der: bytes) -> bytes:
    from labkit.pki.der_template import pem_of

    return pem_of(der)


CHECKS = (
    Check(
        "provisioning.1",
        "of eight clients that show a token at once one is given it; one that has run out, never was, or is SQL, nobody",
        (
            "Two steps, look and change, leave a gap between them. One statement does not.",
            "UPDATE … SET … WHERE … changes only rows for which the conditions hold at that moment.",
            "cursor.rowcount says how many rows it changed. The conditions: this token, not used, not run out.",
        ),
        _check_spend,
        why="What is looked at first and changed later can be had twice in between.",
        kind="fill-in",
        minutes=8,
    ),
    Check(
        "provisioning.2",
        f"{CLONED} is enrolled with one certificate for a new key; what the thief copied is still on the list",
        (
            "Three steps: somebody has looked; a token; a first boot.",
            "office.act(name, …) is how an operator acts. One of the actions is the way out of quarantine.",
            "After release: office.new_board(name) puts a fresh token into a device, and enrol(…) is its first boot.",
        ),
        _check_return,
        why="After a copy only a new key tells the device from the thief.",
        kind="defend-it",
        minutes=8,
    ),
    *MORE,
)


def registry_rows(lab: Lab, *, limit: int = 8) -> list[tuple[Any, ...]]:
    """Return the first rows of the plant's registry, for a table."""
    with (
        Registry.open(lab.workspace.path("scratch", PLANT, "registry/fleet.db")) as registry,
        registry.read() as tx,
    ):
        rows = []
        for device in tx.fleet.list(limit=limit):
            certificates = tx.certificates.of(device.device_id)
            newest = certificates[-1] if certificates else None
            rows.append(
                (
                    device.device_id,
                    device.state.value,
                    device.batch or "",
                    newest.status.value if newest else "none",
                    f"{newest.entry.not_after:%Y-%m-%d}" if newest else "",
                )
            )
        return rows


LESSON = Lesson(
    slug="provisioning",
    title="Provision: give a fleet its identities, and take them back",
    minutes=60,
    claims=CLAIMS,
    predictions=PREDICTIONS,
    checks=CHECKS,
    quizzes={"questions": QUESTIONS},
    prepare=ready_authority,
)
