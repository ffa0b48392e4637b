"""The factory line: every id once, whatever happens in between."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import signal
import stat
import subprocess
import sys
import tarfile
import tracemalloc
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from labkit.clock import Deadline
from labkit.devices import Registry, identify
from labkit.errors import BatchError, DeviceExistsError, FormatError, IssuanceRefusedError, NameRefusedError
from labkit.firmware import read_image
from labkit.pki import openssl
from labkit.provisioning import factory
from labkit.provisioning.archive import END, member, members
from labkit.provisioning.factory import Batch, Factory, Order, make_part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from labkit.pki import Store


@pytest.fixture
def registry(database: str) -> Iterator[Registry]:
    """Return a fresh registry."""
    with Registry.open(database) as opened:
        yield opened


class Here(Executor):
    """An executor that works at once, in this thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Do it now."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - an executor carries every one of them
            future.set_exception(error)
        return future


def assert_complete(registry: Registry, archive: Path, batch: Batch) -> dict[str, str]:
    """Assert that archive, registry and manifest have every id once and agree; return serial numbers by id."""
    wanted = [device for number in range(batch.parts) for device in batch.ids(number)]
    with tarfile.open(archive) as found:
        bundles = {m.name: found.extractfile(m).read() for m in found if m.name.endswith(".pem")}  # type: ignore[union-attr]
    assert [f"{device}.pem" for device in wanted] == list(bundles)
    serials = {}
    for device in wanted:
        pem = bundles[f"{device}.pem"]
        certificate = x509.load_pem_x509_certificate(pem[pem.index(b"-----BEGIN CERT") :])
        assert serialization.load_pem_private_key(pem, None).public_key() == certificate.public_key()
        serials[device] = f"{certificate.serial_number:x}"
    with registry.read() as tx:
        assert wanted == [each.device_id for each in tx.fleet.list(batch=batch.name, limit=100_000)]
        assert serials == {e.name: e.serial for e in tx.certificates.entries() if e.name in serials}
    rows = list(csv.DictReader(io.StringIO((archive.parent / "manifest.csv").read_text())))
    assert serials == {row["device_id"]: row["serial"] for row in rows}
    return serials


def test_a_batch(store: Store, registry: Registry, tmp_path: Path) -> None:
    """Archive, manifest and registry agree, openssl verifies a device of it, and a second run makes nothing."""
    batch = Batch("first", "sensor-", 70, part=20)
    seen: list[int] = []
    report = Factory(store, registry).run(batch, executor=Here(), progress=seen.append)
    assert (70, 0, 70) == (report.made, report.found, seen[-1])
    assert seen == sorted(seen)
    serials = assert_complete(registry, report.archive, batch)
    assert 0o600 == stat.S_IMODE(report.archive.stat().st_mode)
    with tarfile.open(report.archive) as found:
        bundle = found.extractfile("sensor-007.pem")
        assert bundle
        path = tmp_path / "sensor-007.pem"
        path.write_bytes(bundle.read())
    assert openssl.verify(
        path, trust=store.trust_anchor, untrusted=store.intermediate, purpose="sslclient"
    ).ok
    again = Factory(store, registry).run(batch, executor=Here())
    assert (0, 70) == (again.made, again.found)
    assert serials == assert_complete(registry, again.archive, batch)


def test_images_for_the_flash(store: Store, registry: Registry) -> None:
    """Each device has an image that its key and chain can be read from."""
    report = Factory(store, registry).run(Batch("flash", "node-", 3, flash=True), executor=Here())
    with tarfile.open(report.archive) as found:
        names = found.getnames()
        image = found.extractfile("node-002.bin")
        assert image
        values = {entry.key: entry.value for entry in read_image(image.read())}
    assert ["node-001.pem", "node-001.csv", "node-001.bin"] == names[:3]
    assert "node-002" == values["device_id"]
    key = serialization.load_pem_private_key(str(values["key"]).encode(), None)
    chain = x509.load_pem_x509_certificates(str(values["chain"]).encode())
    assert 2 == len(chain)
    assert key.public_key() == chain[0].public_key()


def test_processes_make_it_too(store: Store, registry: Registry) -> None:
    """By default parts are made in processes; the result is the same."""
    batch = Batch("pool", "pool-", 60, part=25)
    report = Factory(store, registry).run(batch, workers=2)
    assert_complete(registry, report.archive, batch)


@pytest.mark.tool
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_dask_makes_it_too(store: Store, dask: Any, tmp_path: Path) -> None:
    """A Dask cluster's executor is an executor like any other."""
    batch = Batch("dask", "dask-", 60, part=25)
    with (
        Registry.open(tmp_path / "fleet.db") as registry,
        dask.LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
        ) as cluster,
        dask.Client(cluster) as client,
    ):
        report = Factory(store, registry).run(batch, executor=client.get_executor())
        assert_complete(registry, report.archive, batch)


# --- what can go wrong --------------------------------------------------------------------------------------------

SCRIPT = """
import sys
from labkit.devices import Registry
from labkit.pki import Store
from labkit.provisioning.factory import Batch, Factory
from labkit.workspace import Workspace
if __name__ == "__main__":
    store = Store(Workspace.open(sys.argv[1]))
    with Registry.open(sys.argv[2]) as registry:
        print("ready", flush=True)
        Factory(store, registry).run(Batch("killed", "kill-", 1500, part=50), workers=2, progress=lambda n: print(n, flush=True))
"""


@pytest.mark.parametrize("kills", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_a_kill_costs_nothing(store: Store, database: str, tmp_path: Path, kills: int) -> None:
    """Killed at any moment and started again, the batch has every id once; no worker stays behind."""
    script = tmp_path / "line.py"
    script.write_text(SCRIPT)
    chance, argv = random.Random(kills), [sys.executable, str(script), str(store.workspace.root), database]
    for _ in range(kills):
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as line:
            assert line.stdout
            for _ in range(chance.randrange(1, 1500 // 50 // kills + 2)):
                line.stdout.readline()
            deadline = Deadline(chance.uniform(0, 0.05))
            while not deadline.passed:
                deadline.pause(0.002)
            workers = psutil.Process(line.pid).children(recursive=True) if line.poll() is None else []
            line.send_signal(signal.SIGKILL)
        _, alive = psutil.wait_procs(workers, timeout=10)
        assert not alive
    with Registry.open(database) as registry:
        batch = Batch("killed", "kill-", 1500, part=50)
        report = Factory(store, registry).run(batch, workers=2)
        assert 1500 == len(assert_complete(registry, report.archive, batch))


def test_a_part_that_was_never_recorded_is_taken_in(store: Store, registry: Registry) -> None:
    """Made, put into its place, and then the power went: the next run records that part and makes no other."""
    batch = Batch("half", "half-", 40, part=20)
    line = Factory(store, registry)
    folder = store.workspace.path("factory", "half")
    folder.mkdir(parents=True)
    make_part(line._order(batch, folder, 1))
    kept = (folder / "part-00001").read_bytes()
    report = line.run(batch, executor=Here())
    assert kept == (folder / "part-00001").read_bytes()
    assert_complete(registry, report.archive, batch)


def test_a_torn_part_is_made_again(store: Store, registry: Registry) -> None:
    """A file that ends in the middle was never on record, so it is made anew."""
    batch = Batch("torn", "torn-", 10)
    folder = store.workspace.path("factory", "torn")
    folder.mkdir(parents=True)
    make_part(Factory(store, registry)._order(batch, folder, 0))
    part = folder / "part-00000"
    part.write_bytes(part.read_bytes()[:-700])
    report = Factory(store, registry).run(batch, executor=Here())
    assert_complete(registry, report.archive, batch)


@pytest.mark.parametrize("rule", ["part-missing", "part-changed"])
def test_what_is_on_record_is_not_replaced(store: Store, registry: Registry, rule: str) -> None:
    """A recorded part that is gone or changed stops the run; nothing is made in its place."""
    batch = Batch("kept", "kept-", 10)
    Factory(store, registry).run(batch, executor=Here())
    part = store.workspace.path("factory", "kept", "part-00000")
    if rule == "part-missing":
        part.unlink()
    else:
        part.write_bytes(part.read_bytes().replace(b"kept-001", b"kept-009"))
    with pytest.raises(BatchError) as caught:
        Factory(store, registry).run(batch, executor=Here())
    assert (rule, "kept") == (caught.value.rule, caught.value.name)
    with registry.read() as tx:
        assert 10 == len(tx.certificates.entries())


def test_a_name_is_one_batch(store: Store, registry: Registry) -> None:
    """Other values under the same name are refused, and say what was begun."""
    Factory(store, registry).run(Batch("same", "same-", 3), executor=Here())
    with pytest.raises(BatchError, match='"count": 3') as caught:
        Factory(store, registry).run(Batch("same", "same-", 4), executor=Here())
    assert "different" == caught.value.rule


@pytest.mark.parametrize(
    ("batch", "error"),
    [
        (Batch("none", "none-", 0), BatchError),
        (Batch("../up", "up-", 1), NameRefusedError),
        (Batch("slash", "a/b-", 1), NameRefusedError),
        (Batch("long", "x" * 62, 1), NameRefusedError),
    ],
)
def test_batches_that_make_no_sense(
    store: Store, registry: Registry, batch: Batch, error: type[Exception]
) -> None:
    """Counts, names and prefixes are looked at before anything is made."""
    with pytest.raises(error):
        Factory(store, registry).run(batch, executor=Here())
    with registry.read() as tx:
        assert not tx.certificates.entries()


def test_an_id_that_is_taken_stops_the_line(store: Store, registry: Registry) -> None:
    """A device that the registry has is not made a second time, and nothing of its part is kept."""
    with registry.begin() as tx:
        tx.fleet.add([identify("taken-015")], actor="admin")
    with pytest.raises(DeviceExistsError) as caught:
        Factory(store, registry).run(Batch("taken", "taken-", 30, part=10), executor=Here())
    assert "taken-015" == caught.value.name
    assert not store.workspace.path("factory/taken/part-00001").exists()
    with registry.read() as tx:
        named = {entry.name for entry in tx.certificates.entries()}
        assert not named & {f"taken-{number:03d}" for number in range(11, 21)}
        assert tx.fleet.get("taken-015").batch is None


def test_two_lines_do_not_make_one_batch(store: Store, registry: Registry) -> None:
    """While one process makes a batch, a second one is told to wait."""
    batch = Batch("busy", "busy-", 4, part=2)

    def second(_: int) -> None:
        with pytest.raises(BatchError) as caught:
            Factory(store, registry).run(batch, executor=Here())
        assert "busy" == caught.value.rule

    Factory(store, registry).run(batch, executor=Here(), progress=second)


def test_a_worker_refuses_the_roots_key(store: Store, tmp_path: Path) -> None:
    """Even if somebody hands it the root's key, a worker does not sign with it."""
    authority = store.root(b"correct horse")
    certificate, key = tmp_path / "c.crt", tmp_path / "c.key"
    certificate.write_bytes(store.trust_anchor.read_bytes())
    key.write_bytes(authority.key.pem())
    target = tmp_path / "part"
    with pytest.raises(IssuanceRefusedError) as caught:
        make_part(
            Order(Batch("b", "b-", 1), 0, str(target), str(certificate), str(key), str(store.trust_anchor))
        )
    assert caught.value.rule in {"root-key", "signer-kind"}
    assert not target.exists()


def test_memory_stays_flat(store: Store, tmp_path: Path) -> None:
    """Ten times as many devices take no more memory in the process that records them."""
    with ThreadPoolExecutor(1) as pool, Registry.open(tmp_path / "fleet.db") as registry:
        peaks = []
        for count in (400, 4000):
            tracemalloc.start()
            Factory(store, registry).run(
                Batch(f"flat-{count}", f"flat-{count}-", count, part=200), executor=pool
            )
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < 1.6 * peaks[0], peaks


def test_what_workers_are_sent_is_plain(store: Store, registry: Registry) -> None:
    """An order is plain values and paths: no key is pickled, whichever executor carries it."""
    import pickle

    order = Factory(store, registry)._order(Batch("b", "b-", 1), store.workspace.path("factory", "b"), 0)
    assert b"PRIVATE" not in pickle.dumps(order)
    assert pickle.loads(pickle.dumps(order)) == order  # noqa: S301 - our own
    assert json.dumps(os.fspath(order.key))
    assert factory.PART > 0


# --- the archive --------------------------------------------------------------------------------------------------

FILES = st.lists(
    st.tuples(st.text("abc-.0123456789", min_size=1, max_size=99), st.binary(max_size=1500)), max_size=5
)


@given(FILES)
def test_others_read_the_archive(files: list[tuple[str, bytes]]) -> None:
    """Python's tarfile finds every member that we wrote, and so do we."""
    data = b"".join(member(name, content) for name, content in files)
    assert files == list(members(data)) == list(members(data + END))
    with tarfile.open(fileobj=io.BytesIO(data + END)) as found:
        assert files == [(m.name, found.extractfile(m).read()) for m in found]  # type: ignore[union-attr]


@given(FILES, st.integers(0, 3000), st.binary(min_size=1, max_size=20))
def test_a_damaged_archive_is_refused_or_read(
    files: list[tuple[str, bytes]], where: int, noise: bytes
) -> None:
    """Whatever is written into a part, reading it ends with what is there, or says where it is damaged."""
    data = bytearray(b"".join(member(name, content) for name, content in files))
    data[where : where + len(noise)] = noise
    try:
        list(members(bytes(data)))
    except FormatError as error:
        assert 0 <= error.offset <= len(data)


def test_names_that_do_not_fit() -> None:
    """A name that is too long is a mistake of ours."""
    for name in ("", "x" * 100):
        with pytest.raises(ValueError, match="1 to 99"):
            member(name, b"")
