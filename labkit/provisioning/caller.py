"""Who asks: read off the TLS connection, never off a header."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from labkit.pki.template import common_name
from labkit.provisioning.desk import refused
from labkit.serving import peer_certificate

if TYPE_CHECKING:
    from fastapi import Request

    from labkit.serving import Decision


class Caller:
    """Finds out who asks: from the TLS connection, never from a header.

    Args:
        operators: The operators' authority.
        devices: The devices' issuing authority.
    """

    def __init__(self, operators: x509.Certificate, devices: x509.Certificate) -> None:
        self._operators = operators
        self._devices = devices

    def device(self, request: Request) -> bytes:
        """Return the DER of the certificate that a device presented.

        Raises:
            RefusedError: `code` is `certificate-missing` or `not-a-device`.
        """
        der, certificate = self._presented(request)
        if not _issued_by(certificate, self._devices):
            raise refused("not-a-device")
        name = common_name(certificate.subject)
        decision_of(request).actor = f"device:{name}"
        decision_of(request).subject = name
        return der

    def operator(self, request: Request) -> str:
        """Return the name of the operator who asks.

        Raises:
            RefusedError: `code` is `certificate-missing`, `not-an-operator` or `certificate-expired`.
        """
        _, certificate = self._presented(request)
        if not _issued_by(certificate, self._operators):
            raise refused("not-an-operator")
        if certificate.not_valid_after_utc <= request.app.state.office.clock.now():
            raise refused("certificate-expired")
        name = common_name(certificate.subject)
        decision_of(request).actor = name
        return name

    @staticmethod
    def _presented(request: Request) -> tuple[bytes, x509.Certificate]:
        der = peer_certificate(request.scope)
        if der is None:
            raise refused("certificate-missing")
        return der, x509.load_der_x509_certificate(der)


def decision_of(request: Request) -> Decision:
    """Return what the log will say of a request."""
    decision: Decision = request.scope["state"]["decision"]
    return decision


def _issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
