"""The CSV that Espressif's generator reads, and its traps.

The generator takes `key,type,encoding,value` literally. A space after a comma becomes a part of the next word: in
`ca, file, string, root.crt` the type ` file` is not the type `file`, and without a word of complaint the text `root.crt`
itself is stored as the certificate.
"""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

from labkit.errors import NvsRefusedError
from labkit.firmware.nvs import INTEGERS, NvsEntry, verify_entries

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER = ["key", "type", "encoding", "value"]


def render_csv(entries: Sequence[NvsEntry]) -> str:
    """Return values as the generator reads them: strings as they are, blobs in hexadecimal.

    Raises:
        NvsRefusedError: See `nvs.verify_entries`; or a string has a carriage return (`rule` is `carriage-return`),
            which the generator's CSV reader would change.
    """
    verify_entries(entries)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEADER)
    namespace = None
    for entry in entries:
        if entry.namespace != namespace:
            namespace = entry.namespace
            writer.writerow([namespace, "namespace", "", ""])
        if isinstance(entry.value, bytes):
            writer.writerow([entry.key, "data", "hex2bin", entry.value.hex()])
        else:
            if "\r" in str(entry.value):
                raise _refused(
                    entry.key, "carriage-return", f"{entry.key} has a carriage return; make it a blob"
                )
            writer.writerow([entry.key, "data", entry.kind, entry.value])
    return out.getvalue()


def parse_csv(text: str) -> list[NvsEntry]:
    """Return the values of a CSV.

    Rows that name a file are refused: what a CSV from elsewhere names is not ours to read.

    Raises:
        NvsRefusedError: `rule` is `header`, `space` (the trap), `columns`, `type`, `file`, `encoding`, `integer`, `hex`,
            `namespace`; or see `nvs.verify_entries`.
    """
    rows = list(csv.reader(io.StringIO(text)))
    if not rows or rows[0] != HEADER:
        raise _refused("", "header", f"the first line must be {','.join(HEADER)}")
    namespace, found = "", []
    for row in rows[1:]:
        if not row:
            continue
        if len(row) != len(HEADER):
            raise _refused(row[0], "columns", f"{row[0]!r} has {len(row)} columns and not {len(HEADER)}")
        if any(word != word.strip() for word in row[:3]):
            why = (
                f"the line of {row[0].strip()!r} has a space beside a comma, which becomes a part of the word"
            )
            raise _refused(row[0].strip(), "space", why)
        if row[1] == "namespace":
            namespace = row[0]
            continue
        found.append(_entry(namespace, row))
    verify_entries(found)
    return found


def _entry(namespace: str, row: list[str]) -> NvsEntry:
    key, kind, encoding, value = row
    if not namespace:
        raise _refused(key, "namespace", f"{key} comes before any namespace")
    if kind == "file":
        raise _refused(key, "file", f"{key} names the file {value[:60]!r}; put its content into the line")
    if kind != "data":
        raise _refused(key, "type", f"{key} has the type {kind!r}; there are namespace, data and file")
    if encoding == "string":
        return NvsEntry(namespace, key, "string", value)
    if encoding == "hex2bin":
        if not re.fullmatch(r"([0-9A-Fa-f]{2})*", value):
            raise _refused(key, "hex", f"{key} is not in hexadecimal")
        return NvsEntry(namespace, key, "blob", bytes.fromhex(value))
    if encoding not in INTEGERS:
        raise _refused(key, "encoding", f"{key} has the encoding {encoding!r}, which is none of ours")
    if not re.fullmatch(r"-?[0-9]{1,20}", value):
        raise _refused(key, "integer", f"{key} is not a whole number")
    return NvsEntry(namespace, key, encoding, int(value))


def _refused(key: str, rule: str, why: str) -> NvsRefusedError:
    return NvsRefusedError(
        f"This is not a CSV for NVS: {why}.",
        advice="A line is key,type,encoding,value without spaces, for example: host,data,string,broker.local",
        key=key,
        rule=rule,
    )
