"""A root whose key is made in a hardware module, before witnesses, and never leaves it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.clock import SYSTEM_CLOCK, Clock
from labkit.errors import CeremonyError
from labkit.pki import ceremony, hsm
from labkit.pki.authority import Authority
from labkit.pki.keys import Key
from labkit.pki.ledger import MemoryLedger
from labkit.pki.profiles import ROOT
from labkit.pki.store import DNS_NAMES, IP_ADDRESSES, Names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from labkit.pki.hsm import HardwareModule
    from labkit.pki.store import Store
    from labkit.workspace import Workspace

LABEL = "root"
LOG = "root/ceremony.log"


def create_in_module(
    store: Store,
    module: HardwareModule,
    *,
    pin: bytes,
    present: Sequence[str],
    names: Names | None = None,
    dns_names: Sequence[str] = DNS_NAMES,
    ip_addresses: Sequence[str] = IP_ADDRESSES,
    clock: Clock = SYSTEM_CLOCK,
) -> Authority:
    """Make root, intermediate and the broker's certificate; the root's key is made in the module.

    Each use of the root's key is a line in the ceremony's log. The intermediate's key is a file, as ever: it signs all
    day, and the module can be locked away.

    Args:
        store: Where everything else goes.
        module: The module.
        pin: What opens its token.
        present: Who is there; at least two.
        names: What the authorities are called.
        dns_names: The broker's host names.
        ip_addresses: The broker's addresses.
        clock: What time it is.

    Returns:
        The intermediate, which signs from now on.

    Raises:
        IssuanceRefusedError: An authority is there already.
        CeremonyError: `rule` is `witnesses`: fewer than two people are there.
        HsmError: The module refuses. A key that it made may stay in it, and certifies nothing.
    """
    chosen = names or Names()
    store.refuse_second_authority()
    refuse_without_witnesses(present)
    label = _free(module, pin)
    made = module.generate(label, pin, kind=ROOT.key_kind)
    draft = MemoryLedger()
    root = Authority.new_root(chosen.root, ledger=draft, clock=clock, key=Key(made))
    middle = root.new_intermediate(chosen.intermediate)
    server = middle.issue_server(dns_names, ip_addresses)
    with store.workspace.transaction():
        store.refuse_second_authority()
        store.ledger.record(draft.entries(), now=clock.now(), renew=True)
        store.workspace.write(f"root/ca{hsm.SUFFIX}", made.reference.text())
        where = {"module": str(module.module), "token": module.token, "key": label}
        log = Log(store.workspace, LOG, clock=clock)
        log.note("root's key made in the module", present, {**where, "fingerprint": root.key.fingerprint})
        log.note("root signed itself", present, {"serial": f"{root.certificate.serial_number:x}"})
        log.note(
            "root signed the intermediate", present,
            {"serial": f"{middle.certificate.serial_number:x}", "fingerprint": middle.key.fingerprint},
        )  # fmt: skip
        store.save_authorities(root, middle, server)
    return store.authority()


class Log:
    """A ceremony's log in a workspace.

    Args:
        workspace: The folder.
        relative: Where in it.
        clock: What time it is.
    """

    def __init__(self, workspace: Workspace, relative: str, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._workspace = workspace
        self._relative = relative
        self._clock = clock

    def text(self) -> str:
        """Return it; nothing where there is none."""
        path = self._workspace.path(self._relative)
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def note(self, action: str, present: Sequence[str], facts: Mapping[str, str]) -> str:
        """Add a line, and return the seal that goes on paper.

        Raises:
            CeremonyError: Fewer than two people are there.
            FormatError: The log was tampered with.
        """
        refuse_without_witnesses(present)
        log = ceremony.record(self.text(), action, present=present, now=self._clock.now(), facts=facts)
        self._workspace.write(self._relative, log)
        return ceremony.seal(log)


def refuse_without_witnesses(present: Sequence[str]) -> None:
    """Raise if nobody watches.

    Raises:
        CeremonyError: `rule` is `witnesses`.
    """
    if len({name.strip() for name in present if name.strip()}) < 2:
        raise CeremonyError(
            "A key that everything hangs on is made before at least two people.",
            advice="Name them: --present Ada --present Grace",
            rule="witnesses",
        )


def _free(module: HardwareModule, pin: bytes) -> str:
    # An attempt that was cut off leaves a key behind that certifies nothing; a module's operator deletes it, not we.
    taken = set(module.labels(pin))
    return next(
        label
        for number in range(len(taken) + 1)
        if (label := LABEL if not number else f"{LABEL}-{number + 1}") not in taken
    )
