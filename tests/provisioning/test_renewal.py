"""Rotation: two certificates that overlap, the alarm when two devices have one identity, and the device's own store."""

from __future__ import annotations

import datetime as dt
import random
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from labkit.clock import FixedClock
from labkit.devices import Registry, State
from labkit.devices.certificates import Certificates
from labkit.devices.fleet import Fleet
from labkit.errors import RefusedError, ServiceUnreachableError, SlotsError
from labkit.pki import Authority, Key, Reason, make_request
from labkit.provisioning import Policy, renewal_opens
from labkit.provisioning.client import Client, enrol, persist, renew, renewal_due, waits
from labkit.provisioning.desk import Desk
from labkit.provisioning.slots import Slots
from labkit.scenarios.provisioning import ProvisioningSite, attempt

if TYPE_CHECKING:
    from pathlib import Path

DAY = dt.timedelta(days=1)
NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)


def statuses(office: ProvisioningSite, name: str) -> list[tuple[str, str | None]]:
    """Return what the registry says of a device's certificates, oldest first."""
    return [(each["status"], each["reason"]) for each in office.show(name)["certificates"]]


def copy_of(slots: Slots, folder: Path) -> Slots:
    """Return a thief's copy of a device's store."""
    shutil.copytree(slots.folder, folder)
    return Slots(folder)


# --- renewing -----------------------------------------------------------------------------------------------------


def test_it_is_too_early(office: ProvisioningSite) -> None:
    """A fresh certificate is not renewed unless an operator allows it, and then once."""
    slots = office.enrolled("early")
    before = slots.current
    with pytest.raises(RefusedError) as caught:
        renew(office.anyone, slots)
    assert "renewal-not-due" == caught.value.code
    assert before == slots.current
    assert not renewal_due(office.anyone, slots)
    office.act("early", "renewal")
    assert before != renew(office.anyone, slots)
    with pytest.raises(RefusedError) as caught:
        renew(office.anyone, slots)
    assert "renewal-not-due" == caught.value.code


def test_two_certificates_overlap(office: ProvisioningSite) -> None:
    """Both count until the new one is confirmed; then the old one is superseded, and its slot is empty."""
    slots = office.enrolled("overlap")
    office.act("overlap", "renewal")
    old = slots.current
    assert old
    granted = office.anyone.as_device(old).renew(make_request(slots.stage(), "overlap"))
    new = slots.install(granted["chain"])
    assert [("active", None), ("pending", None)] == statuses(office, "overlap")
    for slot in (old, new):
        assert attempt(lambda s=slot: office.anyone.as_device(s).call("GET", "/config")).accepted  # type: ignore[misc]
    assert "active" == office.anyone.as_device(new).call("POST", "/renew/confirm")["status"]
    assert [("ended", "superseded"), ("active", None)] == statuses(office, "overlap")
    refusal = attempt(lambda: office.anyone.as_device(old).call("GET", "/config"))
    assert "certificate-superseded" == refusal.reason
    # Confirmed twice is confirmed; the first certificate replaces none.
    assert attempt(lambda: office.anyone.as_device(new).call("POST", "/renew/confirm")).accepted
    first = office.enrolled("overlap-2").current
    assert first
    assert "nothing-to-confirm" == attempt(
        lambda: office.anyone.as_device(first).call("POST", "/renew/confirm")
    ).reason  # fmt: skip


def test_a_lost_reply_to_a_renewal_is_given_again(office: ProvisioningSite) -> None:
    """The same key asks twice and gets the identical certificate."""
    slots = office.enrolled("lost-renewal")
    office.act("lost-renewal", "renewal")
    current = slots.current
    assert current
    device, key = office.anyone.as_device(current), Key.generate()
    first = device.renew(make_request(key, "lost-renewal"))
    again = device.renew(make_request(key, "lost-renewal"))
    assert (first["certificate"], True) == (again["certificate"], again["repeated"])


@pytest.mark.parametrize("name", ["admin", "overlap"])
def test_a_renewal_keeps_the_subject(office: ProvisioningSite, name: str) -> None:
    """Another name is refused, and the permission to renew is not used up by that."""
    slots = office.enrolled(f"keeps-{name}")
    office.act(f"keeps-{name}", "renewal")
    current = slots.current
    assert current
    device = office.anyone.as_device(current)
    assert "subject-differs" == attempt(lambda: device.renew(make_request(Key.generate(), name))).reason
    assert attempt(lambda: device.renew(make_request(Key.generate(), f"keeps-{name}"))).accepted


def test_a_renewal_needs_a_new_key(office: ProvisioningSite) -> None:
    """The key of the present certificate is refused; so is a renewal of what was not confirmed yet."""
    slots = office.enrolled("same-key")
    office.act("same-key", "renewal")
    current = slots.current
    assert current
    device = office.anyone.as_device(current)
    same = Key.load(current.key.read_bytes(), path=current.key)
    assert "key-not-new" == attempt(lambda: device.renew(make_request(same, "same-key"))).reason
    granted = device.renew(make_request(slots.stage(), "same-key"))
    new = slots.install(granted["chain"])
    refusal = attempt(lambda: office.anyone.as_device(new).renew(make_request(Key.generate(), "same-key")))
    assert "renewal-unconfirmed" == refusal.reason


def test_a_copy_raises_the_alarm(office: ProvisioningSite, tmp_path: Path) -> None:
    """The second to renew with one certificate is refused, both certificates are held, and both devices locked out."""
    slots = office.enrolled("cloned")
    thief = copy_of(slots, tmp_path / "thief")
    office.act("cloned", "renewal")
    renew(office.anyone, thief)
    office.act("cloned", "renewal")
    with pytest.raises(RefusedError) as caught:
        renew(office.anyone, slots)
    assert "clone-alarm" == caught.value.code
    assert "quarantined" == office.show("cloned")["state"]
    assert [("ended", "superseded"), ("ended", "certificate-hold")] == statuses(office, "cloned")
    for store in (slots, thief):
        current = store.current
        assert current
        outcome = attempt(lambda c=current: office.anyone.as_device(c).call("GET", "/config"))  # type: ignore[misc]
        assert "device-quarantined" == outcome.reason
    listed = office.store.revocations.revoked()
    assert {"certificate-hold", "superseded"} == {
        r.reason.value for r in listed.values() if r.name == "cloned"
    }
    with Registry.open(office.store.workspace.path("registry/fleet.db")) as registry, registry.read() as tx:
        assert "clone-alarm" in [event.action for event in tx.trail.events("cloned")]


def test_the_way_out_of_quarantine(office: ProvisioningSite) -> None:
    """A token does not help a device in quarantine; after an operator has released it, a fresh one does."""
    office.enrolled("held")
    token = office.token("held")
    office.act("held", "quarantine", {"reason": "suspicious"})
    assert "token-revoked" == office.ask(token).reason
    assert "move-refused" == attempt(lambda: office.token("held")).reason
    office.act("held", "release")
    assert office.ask(office.token("held")).accepted


def test_a_revocation_elsewhere_counts_here(office: ProvisioningSite) -> None:
    """A serial number that the authority's own register has as revoked is refused by the service too."""
    current = office.enrolled("elsewhere").current
    assert current
    device = office.anyone.as_device(current)
    assert attempt(lambda: device.call("GET", "/config")).accepted
    with Registry.open(office.store.workspace.path("registry/fleet.db")) as registry, registry.read() as tx:
        entries = [found.entry for found in tx.certificates.of("elsewhere")]
    office.store.revocations.revoke_entries(entries)
    assert "certificate-revoked" == attempt(lambda: device.call("GET", "/config")).reason


# --- with the clock in hand ---------------------------------------------------------------------------------------


@pytest.fixture
def clock() -> FixedClock:
    """Return a clock that stands still."""
    return FixedClock(NOW)


@pytest.fixture
def desk(tmp_path: Path, clock: FixedClock) -> Desk:
    """Return a desk without a service before it."""
    issuer = Authority.new_root("Desk Root", clock=clock).new_intermediate("Desk CA")
    return Desk(Registry.open(tmp_path / "fleet.db", clock=clock), issuer)


def first_of(desk: Desk, name: str) -> bytes:
    """Return the certificate of a device that has just enrolled."""
    from labkit.devices import identify

    with desk.registry.begin() as tx:
        tx.fleet.add([identify(name)], actor="admin")
        token = tx.tokens.issue([name], lifetime=DAY, actor="admin")[name]
    return desk.provision(token, make_request(Key.generate(), name)).certificate.public_bytes(Encoding.DER)


def test_the_window_opens(desk: Desk, clock: FixedClock) -> None:
    """A day before the window it is too early, in the window it is not, after the end it is too late."""
    der = first_of(desk, "sensor-001")
    certificate = x509.load_der_x509_certificate(der)
    opens = renewal_opens(
        "sensor-001", certificate.not_valid_before_utc, certificate.not_valid_after_utc, Policy()
    )
    assert 30 * DAY <= certificate.not_valid_after_utc - opens <= 35 * DAY
    for moment, code in (
        (opens - DAY, "renewal-not-due"),
        (certificate.not_valid_after_utc + DAY, "certificate-expired"),
    ):
        clock.advance(moment - clock.now())
        with pytest.raises(RefusedError) as caught:
            desk.renew(der, make_request(Key.generate(), "sensor-001"))
        assert code == caught.value.code
    clock.advance(opens - clock.now())
    assert not desk.renew(der, make_request(Key.generate(), "sensor-001")).repeated
    desk.registry.close()


def test_an_expired_certificate_counts_nowhere(desk: Desk, clock: FixedClock) -> None:
    """What a resumed session presents after its end is refused by the desk itself."""
    der = first_of(desk, "sensor-001")
    assert desk.present(der)
    clock.advance(366 * DAY)
    for use in (desk.present, desk.confirm):
        with pytest.raises(RefusedError) as caught:
            use(der)
        assert "certificate-expired" == caught.value.code
    desk.registry.close()


def test_an_expired_certificate_is_no_alarm(desk: Desk, clock: FixedClock) -> None:
    """What ran out is told so before anything else: it neither gets its successor again nor locks the device out."""
    der, key = first_of(desk, "sensor-001"), Key.generate()
    with desk.registry.begin() as tx:
        tx.fleet.allow_renewal("sensor-001", actor="admin")
    desk.renew(der, make_request(key, "sensor-001"))
    clock.advance(366 * DAY)
    for again in (key, Key.generate()):
        with pytest.raises(RefusedError) as caught:
            desk.renew(der, make_request(again, "sensor-001"))
        assert "certificate-expired" == caught.value.code
    with desk.registry.read() as tx:
        assert State.ENROLLED is tx.fleet.get("sensor-001").state
    desk.registry.close()


def test_what_ended_while_we_waited_has_ended(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that another transaction ends while this one waits for the device counts no more."""
    der = first_of(desk, "sensor-001")
    assert desk.present(der)
    real = Fleet.get

    def get(self: Fleet, device_id: str, *, lock: bool = False) -> Any:
        # What PostgreSQL lets happen before it hands the lock over.
        Certificates(self._connection, self._now).end_all(device_id, Reason.SUPERSEDED)
        return real(self, device_id, lock=lock)

    monkeypatch.setattr(Fleet, "get", get)
    with pytest.raises(RefusedError) as caught:
        desk.renew(der, make_request(Key.generate(), "sensor-001"))
    assert "certificate-superseded" == caught.value.code
    desk.registry.close()


@given(st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True), st.integers(2, 4000))
def test_the_window_lies_within_the_life(name: str, days: int) -> None:
    """However long a certificate lives, it is renewed after it begins, before it ends, and always on the same day."""
    end = NOW + days * DAY
    opens = renewal_opens(name, NOW, end, Policy())
    assert NOW < opens < end
    assert opens == renewal_opens(name, NOW, end, Policy())


# --- the device's side --------------------------------------------------------------------------------------------


class Crash(Exception):  # noqa: N818 - what it is
    """The power went."""


@pytest.mark.parametrize("cut", range(14))
def test_no_crash_costs_the_identity(
    office: ProvisioningSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    """Whatever write or request the power fails at, the device has a working identity, and ends renewed."""
    name = f"cut-{cut}"
    slots = office.enrolled(name)
    office.act(name, "renewal")
    left = [cut]

    def maybe(real: object) -> object:
        def step(*arguments: object, **options: object) -> object:
            left[0] -= 1
            if left[0] == -1:
                raise Crash
            done = real(*arguments, **options)  # type: ignore[operator]
            left[0] -= 1
            if left[0] == -1:
                raise Crash
            return done

        return step

    with monkeypatch.context() as patch:
        patch.setattr(
            "labkit.provisioning.slots.write_atomic",
            maybe(__import__("labkit.workspace").workspace.write_atomic),
        )
        patch.setattr(Client, "call", maybe(Client.call))
        try:
            renew(office.anyone, slots)
        except Crash:
            pass
        else:
            assert cut > 11, "a renewal has six steps, each with a before and an after"
    again = Slots(slots.folder)
    current = again.current
    assert current
    working = [
        attempt(lambda s=slot: office.anyone.as_device(s).call("GET", "/config")).accepted  # type: ignore[misc]
        for slot in (current, again.spare)
        if again.complete(slot)
    ]
    assert any(working)
    try:
        renew(office.anyone, again)
    except RefusedError as error:
        assert "renewal-not-due" == error.code
    final = again.current
    assert final
    assert attempt(lambda: office.anyone.as_device(final).call("GET", "/config")).accepted
    assert [("ended", "superseded"), ("active", None)] == statuses(office, name)


def test_a_first_boot_that_was_cut_off_goes_on(
    office: ProvisioningSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the certificate can't be stored, the next boot asks again with the same key and gets the same one."""
    slots = office.new_board("cut-off")
    with monkeypatch.context() as patch:
        patch.setattr(Slots, "install", lambda *_: (_ for _ in ()).throw(Crash()))
        with pytest.raises(Crash):
            enrol(office.anyone, slots, "cut-off")
    assert slots.token
    assert enrol(office.anyone, slots, "cut-off") == slots.current
    assert slots.token is None
    assert [("active", None)] == statuses(office, "cut-off")
    assert enrol(office.anyone, slots, "cut-off") == slots.current  # later boots do nothing


def test_a_certificate_for_another_key_is_not_installed(tmp_path: Path) -> None:
    """The device looks at what it was sent; its store is as it was."""
    slots = Slots(tmp_path / "board")
    slots.stage()
    issued = Authority.new_root("Other").issue_device("sensor-001")
    with pytest.raises(SlotsError, match="another key"):
        slots.install(issued.chain_pem.decode())
    assert slots.current is None
    with pytest.raises(SlotsError):
        slots.switch()


def test_neither_identity_nor_token(office: ProvisioningSite, tmp_path: Path) -> None:
    """A device with nothing says what it needs."""
    with pytest.raises(SlotsError, match="neither") as caught:
        enrol(office.anyone, Slots(tmp_path / "empty"), "empty")
    assert "provision token" in caught.value.advice


def test_a_stranger_is_not_told_the_token(office: ProvisioningSite, tmp_path: Path) -> None:
    """A service whose certificate is not from our root gets nothing: the connection ends before the request."""
    root = tmp_path / "other.crt"
    root.write_bytes(Authority.new_root("Other").certificate.public_bytes(Encoding.PEM))
    lines = office.decisions.read_text()
    with pytest.raises(ServiceUnreachableError, match="does not verify"):
        Client(office.service.url, trust=root).provision("labtok_x", make_request(Key.generate(), "x"))
    assert lines == office.decisions.read_text()
    with pytest.raises(ValueError, match="https only"):
        Client("http://127.0.0.1:1", trust=root)


def test_waiting_is_scattered_and_bounded() -> None:
    """Pauses double up to a cap, and no two devices wait alike."""
    pauses = waits(base=1, cap=8, source=random.Random(1))
    found = [next(pauses) for _ in range(200)]
    assert max(found[:1]) <= 1
    assert 4 < max(found) <= 8
    assert len(set(found)) == len(found)


def test_what_is_temporary_is_tried_again() -> None:
    """No answer and "not now" are tried again until patience ends; a clear no is not."""
    said: list[Exception | str] = [
        ServiceUnreachableError("x", advice="y", url="z"),
        RefusedError("x", advice="y", code="rate-limited"),
        "done",
    ]

    def attempt_next() -> str:
        one = said.pop(0)
        if isinstance(one, Exception):
            raise one
        return one

    assert "done" == persist(attempt_next, patience=5, pauses=iter([0.0] * 5))
    said[:] = [RefusedError("x", advice="y", code="token-spent"), "never"]
    with pytest.raises(RefusedError):
        persist(attempt_next, patience=5)
    said[:] = [ServiceUnreachableError("x", advice="y", url="z")]
    with pytest.raises(ServiceUnreachableError):
        persist(attempt_next, patience=0)
