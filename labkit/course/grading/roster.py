"""The roster: who is in the class, and what the learning platform calls them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.errors import RosterError

if TYPE_CHECKING:
    from pathlib import Path

_COLUMNS = {
    # field: what platforms call its column
    "student": ("student", "student id", "username", "sis login id", "login", "id number"),
    "name": ("name", "full name", "student name"),
    "email": ("email", "email address", "e-mail"),
    "number": ("number", "identifier", "id", "participant"),
    "sis": ("sis user id",),
    "login": ("login", "sis login id", "username"),
    "section": ("section", "group"),
}


@dataclass(frozen=True, slots=True)
class Person:
    """One student.

    Attributes:
        student: The id that decides the variant.
        name: As the platform shows it.
        email: The address.
        number: The platform's number.
        sis: Canvas's `SIS User ID`.
        login: The platform's login.
        section: The group.
    """

    student: str
    name: str = ""
    email: str = ""
    number: str = ""
    sis: str = ""
    login: str = ""
    section: str = ""

    @property
    def known_as(self) -> set[str]:
        """Return the names under which a platform may file their work."""
        joined = "".join(char for char in self.name.lower() if char.isalnum())
        reversed_name = "".join(
            char for char in "".join(reversed(self.name.lower().split())) if char.isalnum()
        )
        names = {self.student, self.name, self.email, self.number, self.login, joined, reversed_name}
        return {name for name in names if name}


def read(path: Path) -> list[Person]:
    """Read a roster: a CSV file with a column `student`, and whatever else the platform exports.

    Raises:
        RosterError: It can't be read, has no such column, or has one student twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise _bad(path, f"it can't be read ({error})") from error
    people = [person for line in lines if (person := _person(line)).student]
    if not people:
        raise _bad(path, "it has no column `student` (or `username`) with an id in it")
    ids = [person.student for person in people]
    if twice := sorted({one for one in ids if ids.count(one) > 1}):
        raise _bad(path, f"{', '.join(twice[:5])} is in it twice")
    return people


def _person(line: dict[str, str]) -> Person:
    plain = {str(key).strip().lower(): str(value or "").strip() for key, value in line.items()}
    found = {
        name: next((plain[column] for column in columns if plain.get(column)), "")
        for name, columns in _COLUMNS.items()
    }
    found["number"] = found["number"].removeprefix("Participant ").strip()
    return Person(**found)


def by_name(people: list[Person]) -> dict[str, str]:
    """Return student ids by everything that a platform may call them."""
    return {name: person.student for person in people for name in person.known_as}


def _bad(path: Path, why: str) -> RosterError:
    return RosterError(
        f"{path.name} is no roster: {why}.",
        advice="A CSV file whose first line names columns: student,name,email,number",
        path=path,
    )
