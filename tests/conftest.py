"""Fixtures for all tests: real tools, fresh folders, nothing that leaves this machine."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock

from labkit.broker import find_mosquitto
from labkit.broker.rabbit_nodes import find_rabbitmq
from labkit.errors import LabError
from labkit.network import Availability, availability
from labkit.pki import Store, hsm
from labkit.processes import find_tool
from labkit.scenarios import Site, mutual_tls
from labkit.workspace import Workspace
from tests.spread import Spread, rank

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labkit.broker import Mosquitto
    from labkit.broker.rabbit_nodes import RabbitMq

SLICE = 0.15
"""How much of the slow tests an ordinary run takes; `lab.py test --full` takes them all.

Of a long table of cases that all start a process, `slow(share=0.1)` takes less.
"""


def seed() -> int:
    """Return the seed that chooses the slice; set LABKIT_TEST_SEED to repeat a run."""
    os.environ.setdefault("LABKIT_TEST_SEED", str(random.SystemRandom().randrange(1000)))
    return int(os.environ["LABKIT_TEST_SEED"])


def pytest_configure(config: pytest.Config) -> None:
    """Choose the slice before workers inherit it, and give Ctrl-C its meaning back.

    A shell's background job begins with SIGINT ignored, and so would our children.
    """
    seed()
    config.option.loadscopereorder = False  # the order is ours: spread.py
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Spread:
    """Deal the tests out in groups."""
    return Spread(config, log)


def pytest_report_header() -> str:
    """Say which slice this is."""
    if os.environ.get("LABKIT_TEST_FULL"):
        return "labkit: all tests"
    return f"labkit: a slice of the slow tests; repeat it with LABKIT_TEST_SEED={seed()}"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say it at the end where `-q` has left the header out."""
    if terminalreporter.verbosity < 0:
        terminalreporter.write_line(pytest_report_header())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out slow tests that the seed does not choose, unless they were asked for by name."""
    named = any("::" in str(word) for word in config.args)
    if not (os.environ.get("LABKIT_TEST_FULL") or named):
        source = random.Random(seed())
        left_out = {
            item
            for item in items
            if (slow := item.get_closest_marker("slow")) and source.random() > slow.kwargs.get("share", SLICE)
        }
        config.hook.pytest_deselected(items=[item for item in items if item in left_out])
        items[:] = [item for item in items if item not in left_out]
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: rank(item.nodeid))


def is_local(host: str) -> bool:
    """Return whether a name or address leads to this machine for sure."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # any other name


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test connect to anything but this machine."""
    for name in ("connect", "connect_ex"):
        real = getattr(socket.socket, name)

        def connect(self: socket.socket, address: Any, real: Any = real) -> Any:
            if self.family in {socket.AF_INET, socket.AF_INET6}:
                assert is_local(address[0]), f"a test wants to connect to {address[0]}"
            return real(self, address)

        monkeypatch.setattr(socket.socket, name, connect)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in (
        "LABKIT_WORKSPACE",
        "LABKIT_REPORT",
        "LABKIT_DEBUG",
        "LABKIT_CA_PASSPHRASE",
        "LABKIT_SIGNING_PASSPHRASE",
        "LABKIT_CALLED_AS",
        "LABKIT_NO_NAMESPACES",
        "LABKIT_BROKER_ADDRESS",
    ):
        monkeypatch.delenv(name, raising=False)


def missing(what: str) -> None:
    """Skip for want of a tool, or fail where the tool is promised."""
    if os.environ.get("LABKIT_REQUIRE_TOOLS"):
        pytest.fail(f"{what} (LABKIT_REQUIRE_TOOLS is set)")
    pytest.skip(what)


@pytest.fixture
def dask() -> Any:
    """Return Dask's `distributed`."""
    try:
        return importlib.import_module("distributed")
    except ImportError:
        missing("distributed is not installed; python3 lab.py extras installs it")
        raise


@pytest.fixture(scope="session")
def mosquitto() -> Mosquitto:
    """Return the real Mosquitto."""
    try:
        return find_mosquitto()
    except LabError as error:
        missing(error.message)
        raise


@pytest.fixture(scope="session")
def rabbitmq() -> RabbitMq:
    """Return the real RabbitMQ."""
    try:
        return find_rabbitmq()
    except LabError as error:
        missing(error.message)
        raise


@pytest.fixture(scope="session")
def openssl() -> Path:
    """Return the real openssl."""
    found = find_tool("openssl")
    if found is None:
        missing("openssl is not on this machine")
        raise AssertionError
    return found


@pytest.fixture(scope="session")
def namespaces() -> Availability:
    """Return how network namespaces can be had; programs must be here, a kernel may refuse."""
    for tool in ("ip", "nft", "iptables-restore", "ip6tables-restore", "nsenter"):
        if find_tool(tool, folders=["/usr/sbin", "/sbin"]) is None:
            missing(f"{tool} is not on this machine")
    if not (found := availability()):
        pytest.skip(f"no network namespaces: {found.why}")
    return found


FIRMWARE_PACKAGES = "clang clang-tidy cppcheck cmake ninja-build pmccabe libcmocka-dev libcjson-dev libmbedtls-dev libclang-rt-14-dev"


@pytest.fixture(scope="session")
def firmware_tools() -> None:
    """See to it that the firmware's host build can be made and looked at."""
    programs = ("clang", "clang-tidy", "cppcheck", "cmake", "ninja", "pmccabe")
    headers = ("cmocka.h", "cjson/cJSON.h", "mbedtls/version.h")
    absent = [name for name in programs if shutil.which(name) is None]
    absent += [name for name in headers if not Path("/usr/include", name).exists()]
    if absent:
        missing(f"{', '.join(absent)}: not on this machine; apt install {FIRMWARE_PACKAGES}")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Return a fresh workspace, in a path with a space and an umlaut."""
    return Workspace.open(tmp_path / "läb space")


@pytest.fixture
def store(workspace: Workspace) -> Store:
    """Return a fresh authority."""
    made = Store(workspace)
    made.create(passphrase=b"correct horse")
    return made


@pytest.fixture(scope="module")
def site(mosquitto: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Return a broker with mutual TLS that a module's tests share; its log is shown if a test fails."""
    shared = Store(Workspace.open(tmp_path_factory.mktemp("site") / "workspace"))
    shared.create(passphrase=b"correct horse")
    with mutual_tls(shared) as running:
        yield running
        print(running.broker.log.tail(30))


@pytest.fixture(scope="session")
def built_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the course as a site: all lessons where an earlier run has left them, else the first.

    The first worker that wants it builds it for all of them; nobody writes to it.
    """
    from labkit.cli import cli
    from labkit.course import site

    if importlib.util.find_spec("sphinx") is None or importlib.util.find_spec("myst_nb") is None:
        missing("Sphinx is not installed; python3 lab.py extras site installs it")
    everything = Path("build/run/report.json").exists()
    slugs = () if everything else ("start-here",)
    own = tmp_path_factory.getbasetemp()
    out = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "site"
    whole = out / "whole"
    with FileLock(out.with_suffix(".lock")):
        if not whole.exists():
            site.build(Path.cwd(), cli, out=out, slugs=slugs)
            whole.touch()
    return out / "html"


@pytest.fixture(scope="session")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let SoftHSM2 keep its tokens in a folder of this run; the library reads that once a process."""
    try:
        hsm.find_module()
        hsm.speak()
    except LabError as error:
        missing(error.message)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SOFTHSM2_CONF", raising=False)
        hsm.use_softhsm(tmp_path_factory.mktemp("hsm"))
        yield
        os.environ.pop("SOFTHSM2_CONF", None)


@pytest.fixture
def hsm_token(softhsm: None) -> str:
    """Return the label of a fresh token; its PIN is `987654`."""
    label = f"test-{secrets.token_hex(4)}"
    hsm.new_softhsm_token(label, b"987654")
    return label


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """Return the URL of a real PostgreSQL's first database, listening on a socket in a folder of ours alone."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = programs[-1] if programs else shutil.which("initdb")
    if found is None or importlib.util.find_spec("psycopg") is None:
        missing("PostgreSQL is not on this machine, or its driver is not (lab.py extras)")
    bin_folder = Path(str(found)).resolve().parent
    folder = Path(tempfile.mkdtemp(prefix="labkit-pg-"))
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    if user:
        shutil.chown(folder, user)

    def do(*words: str) -> None:
        subprocess.run(words, user=user, check=True, cwd=folder, stdout=subprocess.DEVNULL)

    data = str(folder / "data")
    do(str(bin_folder / "initdb"), "-D", data, "-A", "trust", "-U", "postgres", "--no-sync")
    options = f"-c listen_addresses= -c unix_socket_directories={folder} -c max_connections=200"
    pg_ctl = str(bin_folder / "pg_ctl")
    do(pg_ctl, "-D", data, "-o", options, "-w", "-l", str(folder / "log"), "start")
    try:
        yield f"postgresql+psycopg://postgres@/postgres?host={folder}"
    finally:
        do(pg_ctl, "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def fresh_database(postgresql: str) -> str:
    """Return the URL of an empty database on PostgreSQL."""
    import sqlalchemy as sa

    name = f"fleet_{secrets.token_hex(6)}"
    engine = sa.create_engine(postgresql, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return postgresql.replace("/postgres?", f"/{name}?")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.tool)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return where a fresh registry can be, once for each kind of database."""
    if request.param == "sqlite":
        return str(tmp_path / "registry" / "fleet.db")
    url: str = request.getfixturevalue("fresh_database")
    return url
