"""The register of revocations of one authority on disk, and the list that it publishes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from labkit.errors import FormatError, NotIssuedError, RevocationRefusedError, WorkspaceCorruptError
from labkit.pki.revocation import (
    Reason,
    Revocation,
    RevocationList,
    Schedule,
    State,
    issue_list,
    prune,
    read_list,
)
from labkit.workspace import os_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from labkit.clock import Clock
    from labkit.pki.authority import Authority
    from labkit.pki.ledger import Entry, Ledger
    from labkit.workspace import Workspace

LIST = "crl.pem"
REGISTER = "revocations.jsonl"


class Register:
    """What one authority has revoked, in its folder: a journal of events, and the list that it signed last.

    The journal comes first. A crash before the list is written costs nothing: the next list has what the journal has.

    Args:
        workspace: Where it is.
        folder: The authority's folder, `intermediate` or `root`.
        authority: Returns the authority, which signs.
        ledger: What was issued.
        clock: What time it is.
        schedule: How long a list counts.
    """

    def __init__(
        self,
        workspace: Workspace,
        folder: str,
        authority: Callable[[], Authority],
        *,
        ledger: Ledger,
        clock: Clock,
        schedule: Schedule | None = None,
    ) -> None:
        self.schedule = schedule or Schedule()
        self._workspace = workspace
        self._folder = folder
        self._authority = authority
        self._ledger = ledger
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Register in {self._workspace.path(self._folder)}>"

    @property
    def path(self) -> Path:
        """The list: what the broker's `crlfile` points to."""
        return self._workspace.path(self._folder, LIST)

    def revoked(self) -> dict[str, Revocation]:
        """Return everything that is revoked now, by serial number, oldest first.

        Raises:
            WorkspaceCorruptError: The journal is damaged.
        """
        found: dict[str, Revocation] = {}
        for event in self._journal():
            if event["event"] == "revoked":
                revocation = event["revocation"]
                found[revocation.serial] = revocation
            elif event["event"] == "released":
                found.pop(event["serial"], None)
        return found

    def current(self) -> RevocationList | None:
        """Return the list that was published last, or None if there never was one.

        Raises:
            WorkspaceCorruptError: It is damaged.
        """
        try:
            with os_errors(self.path):
                return read_list(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except FormatError as error:
            raise WorkspaceCorruptError(
                f"{self.path} is damaged: {error.message}",
                advice="Make a new one: labkit ca crl",
                path=self.path,
            ) from error

    def ensure(self) -> RevocationList:
        """Return a list that counts, published anew where there is none or where it is due.

        Raises:
            AuthorityMissingError, WorkspaceCorruptError: See `Store.authority`.
        """
        listed = self.current()
        if listed is not None and self.schedule.state(listed, self._clock.now()) is State.FRESH:
            return listed
        return self.publish()

    def revoke(
        self, name: str, reason: Reason | str = Reason.UNSPECIFIED, *, serial: str | None = None
    ) -> RevocationList:
        """Revoke every certificate of a name that has not run out, and publish a list with them.

        Args:
            name: The common name; for the broker the first of its host names.
            reason: Why.
            serial: Only the one with this serial number, in hexadecimal.

        Returns:
            The new list. No broker knows it yet, and no session ends by it.

        Raises:
            NotIssuedError: The authority has issued nothing to that name, or not that serial number.
            RevocationRefusedError: Everything is revoked already (`rule` is `already-revoked`) or has run out
                (`rule` is `expired`).
            ValueError: There is no such reason.
        """
        issuer, now = self._authority().name, self._clock.now()
        theirs = [
            e
            for e in self._ledger.entries()
            if (e.name, e.issuer) == (name, issuer) and serial in {None, e.serial}
        ]
        if not theirs:
            raise _not_issued(name, serial)
        revoked = self.revoked()
        if wanted := [e for e in theirs if e.not_after > now and e.serial not in revoked]:
            return self.revoke_entries(wanted, Reason(reason))
        known = [revoked[e.serial] for e in theirs if e.serial in revoked]
        raise _already(known[-1]) if known else _expired(theirs[-1])

    def revoke_entries(self, entries: Sequence[Entry], reason: Reason = Reason.UNSPECIFIED) -> RevocationList:
        """Put certificates on record as revoked, all or none, and publish a list with them.

        Args:
            entries: What the ledger says of them.
            reason: Why.

        Returns:
            The new list. No broker knows it yet.

        Raises:
            RevocationRefusedError: One is revoked already (`rule` is `already-revoked`).
        """
        now = self._clock.now()
        return self.enter([Revocation(e.serial, e.name, now, reason, e.not_after) for e in entries])

    def enter(self, revocations: Sequence[Revocation]) -> RevocationList:
        """Put revocations on record, all or none, and publish a list with them.

        For whoever decides elsewhere what is revoked, when and why: a registry of devices, for example.

        Raises:
            RevocationRefusedError: One is revoked already (`rule` is `already-revoked`).
        """
        with self._workspace.transaction():
            known = self.revoked()
            for each in revocations:
                if each.serial in known:
                    raise _already(known[each.serial])
            self._append([{"event": "revoked", **each.to_json()} for each in revocations])
            return self.publish()

    def release(self, serial: str) -> RevocationList:
        """Take a certificate off hold, and publish a list without it.

        Raises:
            RevocationRefusedError: It is not revoked (`rule` is `not-revoked`), or for another reason than a hold
                (`rule` is `final`): nobody comes back from those (RFC 5280 §5.3.1).
        """
        with self._workspace.transaction():
            found = self.revoked().get(serial)
            if found is None or found.reason is not Reason.CERTIFICATE_HOLD:
                raise _not_on_hold(serial, found)
            self._append([{"event": "released", "serial": serial}])
            return self.publish()

    def publish(self) -> RevocationList:
        """Sign a new list with the next number, and put it in its place."""
        authority, now = self._authority(), self._clock.now()
        with self._workspace.transaction():
            number = 1 + max((event["number"] for event in self._journal() if "number" in event), default=0)
            due = prune(self.revoked().values(), self._last())
            listed = issue_list(authority, due, number=number, now=now, schedule=self.schedule)
            self._append([{"event": "published", "number": number, "at": now.isoformat()}])
            self._workspace.write(f"{self._folder}/{LIST}", listed.pem)
        return listed

    def _last(self) -> RevocationList | None:
        try:
            return self.current()
        except WorkspaceCorruptError:
            return None  # the journal knows all that was on it, and a new list mends it

    def _append(self, events: Sequence[dict[str, Any]]) -> None:
        # Written whole: it has a line for each revocation, not for each device, and is replaced in one step.
        path = f"{self._folder}/{REGISTER}"
        lines = "".join(json.dumps(event) + "\n" for event in events)
        self._workspace.write(path, self._text() + lines)

    def _text(self) -> str:
        path = self._workspace.path(self._folder, REGISTER)
        try:
            with os_errors(path):
                return path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""
        except UnicodeDecodeError as error:
            raise self._damaged(1) from error

    def _journal(self) -> list[dict[str, Any]]:
        return [self._event(line, n) for n, line in enumerate(self._text().splitlines(), start=1)]

    def _event(self, line: str, number: int) -> dict[str, Any]:
        try:
            event: dict[str, Any] = json.loads(line)
            kind = event["event"]
            if kind == "revoked":
                return {"event": kind, "revocation": Revocation.from_json(event)}
            if kind == "released":
                return {"event": kind, "serial": str(event["serial"])}
            return {"event": "published", "number": int(event["number"])}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise self._damaged(number) from error

    def _damaged(self, number: int) -> WorkspaceCorruptError:
        path = self._workspace.path(self._folder, REGISTER)
        return WorkspaceCorruptError(
            f"{path}, line {number}, is no event of a register.",
            advice="Go back to a checkpoint (labkit reset --to NAME). Nothing was forgotten: the file is as it was.",
            path=path,
        )


def _not_issued(name: str, serial: str | None) -> NotIssuedError:
    which = f" with serial {serial}" if serial else ""
    return NotIssuedError(
        f"This authority has issued no certificate{which} to {name}.",
        advice="See what it has issued: labkit ca list",
        name=name,
    )


def _expired(entry: Entry) -> RevocationRefusedError:
    return RevocationRefusedError(
        f"{entry.name} has no valid certificate: the last one ran out at {entry.not_after:%Y-%m-%d %H:%M} UTC.",
        advice="Nothing is left to do: verifiers refuse it already.",
        name=entry.name,
        rule="expired",
    )


def _already(before: Revocation) -> RevocationRefusedError:
    return RevocationRefusedError(
        f"{before.name} (serial {before.serial}) was revoked at {before.at:%Y-%m-%d %H:%M} UTC: {before.reason}.",
        advice=f"A new identity: labkit ca issue {before.name} --renew   A new list: labkit ca crl",
        name=before.name,
        rule="already-revoked",
    )


def _not_on_hold(serial: str, found: Revocation | None) -> RevocationRefusedError:
    rule, why = (
        ("final", f"it was revoked for {found.reason}") if found else ("not-revoked", "it is not revoked")
    )
    return RevocationRefusedError(
        f"Serial {serial} can't be released: {why}.",
        advice="Only a certificate-hold can be taken back. Issue a new identity: labkit ca issue NAME --renew",
        name=found.name if found else serial,
        rule=rule,
    )
