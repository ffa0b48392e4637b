"""Our linter beside pkilint, which we did not write: what it finds on the whole zoo, we find."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from labkit.clock import SYSTEM_CLOCK
from labkit.pki import Authority
from labkit.pki.lint import lint
from labkit.pki.zoo import ZOO, Keeper, Specimen, findings
from labkit.scenarios.printed_authority import printed_authority

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

if os.environ.get("LABKIT_REQUIRE_TOOLS") != "1":
    pytest.importorskip("pkilint", reason="pkilint is not here; conda-forge has none")

NOT_OURS = {
    "pkix.invalid_domain_name_syntax": "a device id, and localhost, is a DNS name of one label (RFC 1035 §2.3.1)",
}
"""What pkilint finds and we don't, and why."""

OURS = {
    "pkix.basic_constraints_extension_not_critical": "basic-constraints-not-critical",
    "pkix.key_usage_extension_not_critical": "key-usage-not-critical",
    "pkix.certificate_version_is_not_v3": "version",
    "pkix.certificate_skid_end_entity_missing": "key-identifier-missing",
    "pkix.authority_key_identifier_extension_absent": "version",
    "pkix.authority_key_identifier_keyid_missing": "key-identifier-missing",
    "itu.invalid_asn1_syntax": "common-name-length",
    "unreadable": "not-a-certificate",
}
"""What both find, by pkilint's word and ours."""

ROOT = Authority.new_root("Root")
MIDDLE = ROOT.new_intermediate("CA")
KEEPER = Keeper(ROOT, MIDDLE, SYSTEM_CLOCK)


@pytest.fixture(scope="module")
def theirs() -> Callable[[bytes], set[str]]:
    """Return pkilint with all that it has for RFC 5280, as a function from PEM to words."""
    from pkilint import loader
    from pkilint.pkix import certificate, extension, name

    judge = certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )

    def words(pem: bytes) -> set[str]:
        try:
            document: Any = loader.RFC5280CertificateDocumentLoader().load_pem_document(pem.decode(), "x")
        except ValueError:
            return {"unreadable"}
        return {
            found.finding.code
            for result in judge.validate(document.root)
            for found in result.finding_descriptions
            if found.finding.severity.name in {"WARNING", "ERROR", "FATAL"}
        }

    return words


@pytest.mark.parametrize("specimen", ZOO, ids=lambda specimen: specimen.name)
def test_what_pkilint_finds_on_a_specimen_we_find(
    theirs: Callable[[bytes], set[str]], specimen: Specimen
) -> None:
    """Each of its words is one of ours, or has a reason why it is not."""
    exhibit = specimen.make(KEEPER)
    found = theirs(exhibit.certificate) - NOT_OURS.keys()
    assert {OURS[word] for word in found} <= {f.rule for f in findings(specimen, exhibit, KEEPER)}


@pytest.mark.tool
@pytest.mark.parametrize(
    ("name", "role"),
    [("root", "root"), ("intermediate", "intermediate"), ("broker", "server"), ("device", "device")],
)
def test_what_pkilint_finds_on_a_tutorials_authority_we_find(
    theirs: Callable[[bytes], set[str]], openssl: object, tmp_path: Path, name: str, role: str
) -> None:
    """The printed root, intermediate and leaves: its findings are among ours."""
    pem = getattr(printed_authority(tmp_path / "x"), name).read_bytes()
    found = theirs(pem) - NOT_OURS.keys()
    assert {OURS[word] for word in found} <= {f.rule for f in lint(pem, role=role, now=SYSTEM_CLOCK.now())}
    assert bool(found) == (role in {"root", "intermediate"})


def test_pkilint_finds_nothing_on_ours(theirs: Callable[[bytes], set[str]]) -> None:
    """The positive control: on good certificates it has no words but those that we explain."""
    good = [ROOT.certificate, MIDDLE.certificate, MIDDLE.issue_device("sensor-001").certificate]
    good.append(MIDDLE.issue_server(["broker.example"], ["127.0.0.1"]).certificate)
    words = [theirs(each.public_bytes(Encoding.PEM)) for each in good]
    assert [set(), set(), set(NOT_OURS), set()] == words
