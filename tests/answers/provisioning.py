"""Answers to the exercises of lesson provisioning."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from labkit.course.lab import Lab, open_lab
from labkit.course.lessons.provisioning import CLONED, PLANT, race_for_tokens
from labkit.errors import RefusedError
from labkit.pki import Key, make_request
from labkit.provisioning.client import enrol, renew
from labkit.provisioning.slots import Slots
from labkit.scenarios.provisioning import ProvisioningSite, provisioning_site
from labkit.scenarios.separate import separate_authority
from tests.answers.shape import Answers, Right, Wrong, handing, laying, writing

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from pathlib import Path

_offices: list[ProvisioningSite] = []


@contextmanager
def prepared(folder: Path) -> Iterator[Lab]:
    """Yield the lesson's lab with the plant's service."""
    lab = open_lab("provisioning", workspace=folder / "w")
    plant = separate_authority(lab.workspace, PLANT)
    limits = {"requests_per_minute": 0, "failures_per_minute": 0}
    _offices.append(lab.enter(provisioning_site(plant, limits=limits)))
    yield lab
    _offices.clear()
    lab.close()


# --- 1: one token, once ---------------------------------------------------------------------------------------------


def racing(spend: Callable[..., bool]) -> Callable[[Lab], None]:
    """Let eight clients race with a function."""
    return lambda lab: race_for_tokens(lab, spend) and None


def right(db: sqlite3.Connection, token: str, who: str, now: float) -> bool:
    """Change the row in one statement."""
    done = db.execute(
        "UPDATE tokens SET used_by = ? WHERE token = ? AND used_by IS NULL AND ends_at > ?", (who, token, now)
    )
    return done.rowcount == 1


def in_a_transaction(db: sqlite3.Connection, token: str, who: str, now: float) -> bool:
    """Look and change, while nobody else may write."""
    db.execute("BEGIN IMMEDIATE")
    found = db.execute("SELECT used_by, ends_at FROM tokens WHERE token = ?", (token,)).fetchone()
    mine = found is not None and found[0] is None and found[1] > now
    if mine:
        db.execute("UPDATE tokens SET used_by = ? WHERE token = ?", (who, token))
    db.execute("COMMIT")
    return mine


def changes_and_looks(db: sqlite3.Connection, token: str, who: str, now: float) -> bool:
    """Name oneself where nobody is named, and see who is."""
    change = (
        "UPDATE tokens SET used_by = coalesce(used_by, ?) WHERE token = ? AND ends_at > ? RETURNING used_by"
    )
    return db.execute(change, (who, token, now)).fetchall() == [(who,)]


def look_first(db: sqlite3.Connection, token: str, who: str, now: float) -> bool:
    """Look, and then change: what is printed."""
    row = db.execute("SELECT used_by, ends_at FROM tokens WHERE token = ?", (token,)).fetchone()
    if row is None or row[0] is not None or row[1] <= now:
        return False
    db.execute("UPDATE tokens SET used_by = ? WHERE token = ?", (who, token))
    return True


def for_ever(db: sqlite3.Connection, token: str, who: str, _: float) -> bool:
    """Forget the end."""
    done = db.execute("UPDATE tokens SET used_by = ? WHERE token = ? AND used_by IS NULL", (who, token))
    return done.rowcount == 1


def anonymous(db: sqlite3.Connection, token: str, _: str, now: float) -> bool:
    """Forget who it was."""
    return right(db, token, "somebody", now)


def pasted(db: sqlite3.Connection, token: str, who: str, now: float) -> bool:
    """Paste the values into the statement."""
    done = db.execute(
        f"UPDATE tokens SET used_by = '{who}' WHERE used_by IS NULL AND ends_at > {now} AND token = '{token}'"
    )
    return done.rowcount == 1


def pasted_in_double_quotes(db: sqlite3.Connection, token: str, who: str, now: float) -> bool:
    """Paste them between double quotes, which SQLite takes for a text where no column has that name."""
    done = db.execute(
        f'UPDATE tokens SET used_by = "{who}" WHERE token = "{token}" AND used_by IS NULL AND ends_at > {now}'
    )
    return done.rowcount == 1


def pasted_in_a_transaction(db: sqlite3.Connection, token: str, who: str, now: float) -> bool:
    """Look and change while nobody else may write, and paste the values."""
    db.execute("BEGIN IMMEDIATE")
    found = db.execute(f"SELECT used_by, ends_at FROM tokens WHERE token = '{token}'").fetchone()
    mine = found is not None and found[0] is None and found[1] > now
    if mine:
        db.execute(f"UPDATE tokens SET used_by = '{who}' WHERE token = '{token}'")
    db.execute("COMMIT")
    return mine


def nobody(*_: Any) -> bool:
    """Refuse everybody."""
    return False


def everybody(*_: Any) -> bool:
    """Refuse nobody."""
    return True


# --- 2: the way back ------------------------------------------------------------------------------------------------


def returning(bring_back: Callable[[ProvisioningSite], object]) -> Callable[[Lab], None]:
    """Let the device be copied and caught, whatever became of it before, and bring it back."""

    def give(_: Lab) -> None:
        (office,) = _offices
        with suppress(RefusedError):  # it may not be in quarantine, or not be known
            office.act(CLONED, "release")
        victim = office.enrolled(CLONED)
        old = victim.current
        assert old
        office.act(CLONED, "renewal")
        office.anyone.as_device(old).renew(make_request(Key.generate(), CLONED))
        with suppress(RefusedError):
            renew(office.anyone, victim)
        assert office.show(CLONED)["state"] == "quarantined"
        bring_back(office)

    return give


def by_the_book(office: ProvisioningSite) -> None:
    """Release, and a first boot."""
    office.act(CLONED, "release")
    enrol(office.anyone, office.new_board(CLONED), CLONED)


def step_by_step(office: ProvisioningSite) -> None:
    """Do the same without the client's help."""
    office.act(CLONED, "release")
    board = office.new_board(CLONED)
    granted = office.anyone.provision(board.token, make_request(board.stage(), CLONED))
    board.install(granted["chain"])
    board.switch()
    board.erase_token()


def only_released(office: ProvisioningSite) -> None:
    """Release, and forget that it has no certificate now."""
    office.act(CLONED, "release")


def with_a_token(office: ProvisioningSite) -> None:
    """Release, give it a token, and forget its first boot."""
    office.act(CLONED, "release")
    office.new_board(CLONED)


def elsewhere(office: ProvisioningSite) -> None:
    """Enrol something that is not the device."""
    office.act(CLONED, "release")
    board = Slots(office.store.workspace.path("scratch/other"))
    board.put_token(office.token(CLONED))
    enrol(office.anyone, board, CLONED)


# --- 4: a rule for tokens -------------------------------------------------------------------------------------------

_DECIDE = """
def decide(token, request, now):
    if token is None:
        return "token-unknown", None
    if token["used_by"] is not None:
        return ("repeated", token["device"]) if token["used_by"] == request["key"] else ("token-spent", None)
    if now >= token["ends_at"]:
        return "token-expired", None
    return "granted", token["device"]
"""

_AS_A_TABLE = """
def decide(token, request, now):
    token = token or {}
    rules = [
        (not token, "token-unknown"),
        (token.get("used_by") == request["key"], "repeated"),
        (token.get("used_by"), "token-spent"),
        (not now < token.get("ends_at", 0), "token-expired"),
    ]
    word = next((word for applies, word in rules if applies), "granted")
    return [word, token["device"] if word in ("granted", "repeated") else None]
"""

_COLLEAGUE = """
def decide(token, request, now):
    if now > token["ends_at"]:
        return "token-expired", None
    if token["used_by"] is not None:
        return "token-spent", None
    return "granted", request["name"]
"""

_TIME_FIRST = """
def decide(token, request, now):
    if token is None:
        return "token-unknown", None
    if token["used_by"] == request["key"]:
        return "repeated", token["device"]
    if now >= token["ends_at"]:
        return "token-expired", None
    return ("granted", token["device"]) if token["used_by"] is None else ("token-spent", None)
"""

_SPENT = (
    'return ("repeated", token["device"]) if token["used_by"] == request["key"] else ("token-spent", None)'
)


def deciding(old: str, new: str) -> Callable[[Any], None]:
    """Hand in a rule that is wrong in one place."""
    assert old in _DECIDE
    return handing("decide", _DECIDE.replace(old, new))


def policy(window: Any, jitter: Any) -> Callable[[Any], None]:
    """Hand in a policy."""
    return laying("policy.json", {"window": window, "jitter": jitter})


def names(*given: Any) -> Callable[[Any], None]:
    """Hand in the names of a request."""
    return laying("names.json", given)


TABLE = (
    Answers(
        "provisioning.1",
        right=(Right("one statement", racing(right)), Right("a transaction", racing(in_a_transaction)), Right("changes, and looks who it is", racing(changes_and_looks))),
        wrong=(
            Wrong("looks first", racing(look_first), "given-twice", says="more than one client"),
            Wrong("refuses nobody", racing(everybody), "given-twice"),
            Wrong("pastes what a client shows", racing(pasted), "sql-in-token", says="bait"),
            Wrong("pastes it between double quotes", racing(pasted_in_double_quotes), "sql-in-token"),
            Wrong("pastes it in a transaction", racing(pasted_in_a_transaction), "sql-in-token"),
            Wrong("forgets the end", racing(for_ever), "worthless-token", says="'expired'"),
            Wrong("forgets who it was", racing(anonymous), "wrong-name", says="other clients"),
            Wrong("refuses everybody", racing(nobody), "nobody-has-it", says="nobody was given"),
            Wrong("no database", writing("tokens.db", "no database at all" * 100), "no-database", says="can't be read"),
        ),
    ),
    Answers(
        "provisioning.2",
        touches=(),
        right=(Right("a first boot", returning(by_the_book)), Right("step by step", returning(step_by_step))),
        wrong=(
            Wrong("released, and no more", returning(only_released), "not-enrolled", says="0 certificates"),
            Wrong("a token, and no first boot", returning(with_a_token), "not-enrolled", says="0 certificates"),
            Wrong("something that is not the device", returning(elsewhere), "not-on-the-device", says="store does not hold"),
            Wrong("nothing", returning(lambda _: None), "", status="not-attempted"),
        ),
    ),
    Answers(
        "provisioning.3",
        right=(Right("two names", names("admin", "sensor-103")), Right("three names", names("admin", "sensor-001", "sensor-103"))),
        wrong=(
            Wrong("the honest one", names("sensor-103"), "nobody", says="sensor-103"),
            Wrong("somebody else", names("sensor-001", "sensor-103"), "nobody", says="sensor-001"),
            Wrong("the name alone", names("admin"), "refused"),
            Wrong("the wrong way round", names("sensor-103", "admin"), "refused"),
            Wrong("both in one", names("admin,CN=sensor-103"), "refused"),
            Wrong("a zero between", names("admin\0sensor-103", "sensor-103"), "nobody"),
            Wrong("none", names(), "not-names"),
            Wrong("an empty one", names("admin", "", "sensor-103"), "not-names"),
            Wrong("too long", names("admin", "x" * 65, "sensor-103"), "not-names"),
            Wrong("numbers", names(1, 2), "not-names"),
            Wrong("a text", laying("names.json", "admin"), "not-names"),
        ),
    ),
    Answers(
        "provisioning.4",
        right=(Right("one after the other", handing("decide", _DECIDE)), Right("a table of rules", handing("decide", _AS_A_TABLE))),
        wrong=(
            Wrong("the colleague's", handing("decide", _COLLEAGUE), "name-from-request", says="admin"),
            Wrong("signs the wish", deciding('"granted", token["device"]', '"granted", request["name"]'), "name-from-request"),
            Wrong("signs the wish when it repeats", deciding('("repeated", token["device"])', '("repeated", request["name"])'), "name-from-request"),
            Wrong("counts the end", deciding("now >=", "now >"), "end-counts"),
            Wrong("forgets the end", deciding('    if now >= token["ends_at"]:\n        return "token-expired", None\n', ""), "end-ignored"),
            Wrong("once is once", deciding(_SPENT, 'return "token-spent", None'), "lost-reply"),
            Wrong("a spent token for anybody", deciding(_SPENT, 'return "repeated", token["device"]'), "spent-twice"),
            Wrong("looks at the time first", handing("decide", _TIME_FIRST), "spent-first"),
            Wrong("calls what nobody made expired", deciding('"token-unknown"', '"token-expired"'), "unknown-token"),
            Wrong("knows one device", deciding('"granted", token["device"]', '"granted", "sensor-103"'), "honest-refused", says="['granted', 'sensor-103']"),
            Wrong("knows one end", deciding('token["ends_at"]', "1000"), "honest-refused", says="token-expired"),
            Wrong("keys that begin alike", deciding('token["used_by"] == request["key"]', 'request["key"].startswith(token["used_by"])'), "spent-twice"),
            Wrong("keys in any case", deciding('token["used_by"] == request["key"]', 'request["key"].lower() == token["used_by"]'), "spent-twice"),
            Wrong("a word alone", deciding('return "granted", token["device"]', 'return "granted"'), "honest-refused"),
            Wrong("takes whatever there is", deciding('    if token is None:\n        return "token-unknown", None\n', ""), "crashed", says="TypeError"),
        ),
    ),
    Answers(
        "provisioning.5",
        right=(
            Right("just enough", policy(20, 8)),
            Right("as wide as may be", policy(20, 10)),
            Right("a day more for everybody", policy(21, 9)),
        ),
        wrong=(
            Wrong("the course's own", policy(30, 5), "pile-up", says="30 days before"),
            Wrong("too wide", policy(20, 40), "pile-up"),
            Wrong("wide and long", policy(23, 9), "pile-up"),
            Wrong("no jitter", policy(20, 0), "all-at-once", says="1000 devices"),
            Wrong("too little jitter", policy(20, 7), "all-at-once"),
            Wrong("a day too short", policy(19, 10), "too-late", says="19."),
            Wrong("jitter instead of a window", policy(10, 20), "too-late"),
            Wrong("a whole life", policy(90, 90), "pile-up"),
            Wrong("less than nothing", policy(20, -8), "not-days"),
            Wrong("half a day", policy(20.5, 8), "not-days"),
            Wrong("true", policy(20, True), "not-days"),
            Wrong("one number", laying("policy.json", {"window": 20}), "not-days"),
        ),
    ),
)  # fmt: skip
