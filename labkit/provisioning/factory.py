"""The factory line: keys and certificates for a batch of devices, in an archive and in the registry, whatever happens.

A batch is made in parts. A worker makes a part and puts it into its place whole; then the registry takes in its
devices, its certificates and its number in one transaction. After a crash the next run finds for each part one of
three things: it is on record, or it lies there and is recorded now, or it is made. So no id comes twice, and none is
missing.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import multiprocessing
import os
import shutil
import threading
from concurrent.futures import FIRST_COMPLETED, Executor, ProcessPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from filelock import FileLock, Timeout

from labkit.clock import SYSTEM_CLOCK
from labkit.devices import DeviceIdentity
from labkit.devices.schema import certificates, chunks
from labkit.errors import BatchError, DeviceExistsError, FormatError
from labkit.firmware import NvsEntry, build_image, render_csv
from labkit.pki import DEVICE, Authority, Entry, Key, names
from labkit.pki.der_template import FleetTemplate, pem_of
from labkit.pki.identities import read_certificate
from labkit.pki.keys import check_policy
from labkit.provisioning.archive import END, member, members
from labkit.workspace import make_folder, os_errors, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from labkit.devices import Registry
    from labkit.pki import Store

FOLDER = "factory"
PART = 500
"""Devices of a part."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What to make.

    Attributes:
        name: What the batch is called; a device id's grammar.
        prefix: What the ids begin with.
        count: How many devices.
        start: The first number.
        flash: Also write a CSV for the NVS generator and a flash-ready image for each.
        part: Devices of a part.
    """

    name: str
    prefix: str
    count: int
    start: int = 1
    flash: bool = False
    part: int = PART

    def ids(self, number: int) -> list[str]:
        """Return the ids of a part."""
        end = self.start + self.count
        width = max(3, len(str(end - 1)))  # one for all, as `names.numbered` has it
        first = self.start + number * self.part
        return [f"{self.prefix}{n:0{width}d}" for n in range(first, min(first + self.part, end))]

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return -(-self.count // self.part)


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker needs for a part: plain values, so that any executor can carry it.

    The worker signs with the key of an intermediate, which it reads for itself. The root's it never sees.
    """

    batch: Batch
    number: int
    target: str
    certificate: str
    key: str
    root: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did.

    Attributes:
        archive: All devices in one file, 0600: it holds their keys.
        manifest: Id, serial number, fingerprint and end of each, in a CSV without secrets.
        made: How many devices this run made.
        found: How many were there already.
    """

    archive: Path
    manifest: Path
    made: int
    found: int


def make_part(order: Order) -> str:
    """Make a part of a batch and put it into its place; return its SHA-256. Runs in a worker.

    Raises:
        IssuanceRefusedError: The key is a root's, or the authority has run out.
    """
    authority, root = _signer(order.certificate, order.key, order.root)
    ids = order.batch.ids(order.number)
    template = FleetTemplate(authority, len(ids[0]), now=SYSTEM_CLOCK.now())
    chain = b"".join(pem_of(c.public_bytes(Encoding.DER)) for c in authority.presented)
    written = []
    for made in map(template.make, ids):
        pem = made.certificate_pem
        written.append(member(f"{made.device_id}.pem", made.key_pem + pem))
        if order.batch.flash:
            values = nvs_values(made.device_id, (pem + chain).decode(), made.key_pem.decode(), root)
            written.append(member(f"{made.device_id}.csv", render_csv(values).encode()))
            written.append(member(f"{made.device_id}.bin", build_image(values)))
    content = b"".join(written)
    write_atomic(Path(order.target), content, secret=True)
    return hashlib.sha256(content).hexdigest()


def nvs_values(device_id: str, chain: str, key: str, root: str) -> list[NvsEntry]:
    """Return what a device finds in its NVS partition on its first day."""
    return [
        NvsEntry("identity", "device_id", "string", device_id),
        NvsEntry("identity", "chain", "string", chain),
        NvsEntry("identity", "key", "string", key),
        NvsEntry("identity", "root", "string", root),
    ]


@lru_cache(maxsize=4)
def _signer(certificate: str, key: str, root: str) -> tuple[Authority, str]:
    path = Path(key)
    with os_errors(path):
        loaded = Key.load(path.read_bytes(), path=path)
    return Authority(read_certificate(Path(certificate)), loaded), Path(root).read_text(encoding="ascii")


class Factory:
    """A factory line.

    Args:
        store: The devices' authority; the intermediate signs.
        registry: The fleet.
    """

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store = store
        self._registry = registry

    def run(
        self,
        batch: Batch,
        *,
        executor: Executor | None = None,
        workers: int | None = None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> Report:
        """Make a batch, or go on with it.

        Args:
            batch: What to make. A batch of that name that was begun must be the same one.
            executor: Where parts are made; processes of this machine without it.
            workers: How many of those.
            progress: Called with the number of devices that are on record.

        Raises:
            BatchError: `rule` is `different` (another batch has the name), `busy`, `count`, `part-missing` or `part-changed` (a part that
                is on record is not as it was).
            DeviceExistsError: An id belongs to a device already; nothing of that part is kept, other parts may be made.
            NameRefusedError, IssuanceRefusedError, DiskFullError: See `Authority.issue_device`.
        """
        if batch.count < 1 or batch.part < 1 or batch.start < 0:
            raise BatchError(
                f"A batch of {batch.count} devices from number {batch.start} can't be made.",
                advice="Give a count of at least 1.",
                name=batch.name,
                rule="count",
            )
        names.device_id(batch.name)
        names.device_id(batch.ids(batch.parts - 1)[-1])
        folder = make_folder(self._store.workspace.path(FOLDER, batch.name), private=True)
        with _alone(batch, folder):
            self._remember(batch, folder)
            done = self._recorded(batch, folder)
            found = sum(len(batch.ids(number)) for number in done)
            progress(found)
            made = self._make(batch, folder, done, executor, workers, progress=lambda n: progress(found + n))
            return self._finish(batch, folder, made, found)

    def _remember(self, batch: Batch, folder: Path) -> None:
        path = folder / "batch.json"
        told = json.dumps(asdict(batch))
        if path.exists() and path.read_text(encoding="utf-8") != told:
            raise BatchError(
                f"The batch {batch.name} was begun with other values: {path.read_text(encoding='utf-8')}",
                advice="Give the same values to go on with it, or another name.",
                name=batch.name,
                rule="different",
            )
        write_atomic(path, told)

    def _recorded(self, batch: Batch, folder: Path) -> set[int]:
        with self._registry.read() as tx:
            rows = tx.connection.execute(sa.select(chunks).where(chunks.c.batch == batch.name)).all()
        for row in rows:
            path = _part(folder, row.number)
            if not path.exists():
                raise _changed(batch, path, "part-missing")
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != row.digest:
                    raise _changed(batch, path, "part-changed")
        return {row.number for row in rows}

    def _make(
        self,
        batch: Batch,
        folder: Path,
        done: set[int],
        executor: Executor | None,
        workers: int | None,
        *,
        progress: Callable[[int], None],
    ) -> int:
        missing = iter(sorted(set(range(batch.parts)) - done))
        made = 0
        with _pool(executor, workers) as pool:
            running: dict[Any, int] = {}
            try:
                while True:
                    # A few more than there are workers, so that none waits; not all, so that memory stays flat.
                    while len(running) < 2 * (workers or os.cpu_count() or 1):
                        number = next(missing, None)
                        if number is None:
                            break
                        if self._usable(batch, folder, number):
                            made += self._record(batch, folder, number)
                            progress(made)
                            continue
                        running[pool.submit(make_part, self._order(batch, folder, number))] = number
                    if not running:
                        return made
                    for finished in wait(running, return_when=FIRST_COMPLETED).done:
                        number = running.pop(finished)
                        finished.result()
                        made += self._record(batch, folder, number)
                        progress(made)
            finally:
                for left in running:
                    left.cancel()

    def _order(self, batch: Batch, folder: Path, number: int) -> Order:
        path = self._store.workspace.path
        return Order(
            batch,
            number,
            str(_part(folder, number)),
            str(path("intermediate/intermediate.crt")),
            str(path("intermediate/intermediate.key")),
            str(self._store.trust_anchor),
        )

    @staticmethod
    def _usable(batch: Batch, folder: Path, number: int) -> bool:
        """Return whether a part lies there that was made and never recorded."""
        path = _part(folder, number)
        try:
            found = [name for name, _ in members(path.read_bytes()) if name.endswith(".pem")]
        except (FileNotFoundError, FormatError):
            return False
        return found == [f"{device}.pem" for device in batch.ids(number)]

    def _record(self, batch: Batch, folder: Path, number: int) -> int:
        content = _part(folder, number).read_bytes()
        ids, issuer = batch.ids(number), self._store.names.intermediate
        bundles = [pem for name, pem in members(content) if name.endswith(".pem")]
        entries = [_entry(device, pem, issuer) for device, pem in zip(ids, bundles, strict=True)]
        with self._registry.begin() as tx:
            try:
                tx.fleet.add([DeviceIdentity(device) for device in ids], actor="factory", batch=batch.name)
            except DeviceExistsError:
                _part(folder, number).unlink()  # never on record, so never handed out
                raise
            tx.certificates.record(entries, now=tx.now)
            digest = hashlib.sha256(content).hexdigest()
            tx.connection.execute(
                sa.insert(chunks), {"batch": batch.name, "number": number, "digest": digest}
            )
        return len(ids)

    def _finish(self, batch: Batch, folder: Path, made: int, found: int) -> Report:
        archive, manifest = folder / f"{batch.name}.tar", folder / "manifest.csv"
        beside = folder / f".{batch.name}.tar.part"
        with os_errors(archive), _secret_file(beside) as target:
            for number in range(batch.parts):
                with _part(folder, number).open("rb") as source:
                    shutil.copyfileobj(source, target, 1 << 20)
            target.write(END)
            target.flush()
            os.fsync(target.fileno())
        beside.replace(archive)
        write_atomic(manifest, self._manifest(batch))
        return Report(archive, manifest, made, found)

    def _manifest(self, batch: Batch) -> str:
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["device_id", "serial", "fingerprint", "not_after"])
        columns = (
            certificates.c.name,
            certificates.c.serial,
            certificates.c.fingerprint,
            certificates.c.not_after,
        )
        with self._registry.read() as tx:
            for number in range(batch.parts):
                chosen = sa.select(*columns).where(certificates.c.name.in_(batch.ids(number)))
                for row in tx.connection.execute(chosen.order_by(certificates.c.name)):
                    writer.writerow(
                        [row.name, row.serial, row.fingerprint, f"{row.not_after:%Y-%m-%dT%H:%M:%SZ}"]
                    )
        return out.getvalue()


@contextmanager
def _alone(batch: Batch, folder: Path) -> Iterator[None]:
    lock = FileLock(folder / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise BatchError(
            f"Another process makes the batch {batch.name}.",
            advice="Wait for it, or stop it; then run this again.",
            name=batch.name,
            rule="busy",
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _secret_file(path: Path) -> Iterator[Any]:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        yield file


def _entry(device: str, bundle: bytes, issuer: str) -> Entry:
    certificate = x509.load_pem_x509_certificate(bundle[bundle.index(b"-----BEGIN CERTIFICATE") :])
    public = check_policy(certificate.public_key())
    return Entry.of(certificate, public, name=device, profile=DEVICE.name, issuer=issuer)


def _part(folder: Path, number: int) -> Path:
    return folder / f"part-{number:05d}"


def _pool(executor: Executor | None, workers: int | None) -> Any:
    if executor is not None:
        return nullcontext(executor)
    return ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent
    )


def _end_with_parent() -> None:
    # A worker waits for work on a pipe that its siblings hold open too, and would wait for ever.
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _changed(batch: Batch, path: Path, rule: str) -> BatchError:
    what = "is gone" if rule == "part-missing" else "is not as it was"
    return BatchError(
        f"{path.name} of the batch {batch.name} is on record and {what}.",
        advice="Put it back from where you copied it. Its devices can't be made again: revoke them and take new ids.",
        name=batch.name,
        rule=rule,
    )
