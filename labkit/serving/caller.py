"""Who asks: read off the TLS connection, never off a header."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from labkit.clock import SYSTEM_CLOCK, Clock
from labkit.pki.names import BROKER, OPERATORS
from labkit.pki.template import common_name
from labkit.serving.gate import Refused
from labkit.serving.peer import peer_certificate
from labkit.serving.problems import WHO, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import Request

    from labkit.serving.gate import Decision


class Caller:
    """Finds out who asks: from the TLS connection, never from a header.

    Args:
        operators: The operators' authority.
        devices: The devices' issuing authority.
        clock: What time it is.
    """

    def __init__(
        self, operators: x509.Certificate, devices: x509.Certificate, *, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._operators = operators
        self._devices = devices
        self._clock = clock

    def device(self, request: Request) -> bytes:
        """Return the DER of the certificate that a device presented.

        Raises:
            Refused: Its problem's `code` is `certificate-missing` or `not-a-device`.
        """
        der, certificate = self._presented(request)
        if not _issued_by(certificate, self._devices):
            raise unknown("not-a-device")
        name = common_name(certificate.subject)
        decision_of(request).actor = f"device:{name}"
        decision_of(request).subject = name
        return der

    def operator(self, request: Request) -> str:
        """Return the name of the operator who asks.

        Raises:
            Refused: Its problem's `code` is `certificate-missing`, `not-an-operator` or `certificate-expired`.
        """
        _, certificate = self._presented(request)
        if not _issued_by(certificate, self._operators):
            raise unknown("not-an-operator")
        if certificate.not_valid_after_utc <= self._clock.now():
            raise unknown("certificate-expired")
        name = common_name(certificate.subject)
        if name not in OPERATORS:  # a program's, such as the broker's
            raise unknown("not-an-operator")
        decision_of(request).actor = name
        return name

    def broker(self, request: Request) -> None:
        """Verify that a broker asks, with the certificate that the operators' authority gave it.

        Raises:
            Refused: Its problem's `code` is `certificate-missing`, `not-a-broker` or `certificate-expired`.
        """
        _, certificate = self._presented(request)
        if not self._is_broker(certificate):
            raise unknown("not-a-broker")
        if certificate.not_valid_after_utc <= self._clock.now():
            raise unknown("certificate-expired")
        decision_of(request).actor = BROKER

    def is_broker(self, der: bytes) -> bool:
        """Return whether a certificate that a connection presents is a broker's.

        Does not check: whether it has run out; `broker` does.
        """
        return self._is_broker(x509.load_der_x509_certificate(der))

    def presents_operator(self, scope: Mapping[str, Any]) -> bool:
        """Return whether a connection presents an operator's certificate, before its request is read.

        Does not check: whether it has run out; `operator` does.
        """
        der = peer_certificate(scope)
        return der is not None and _issued_by(x509.load_der_x509_certificate(der), self._operators)

    def _is_broker(self, certificate: x509.Certificate) -> bool:
        return _issued_by(certificate, self._operators) and common_name(certificate.subject) == BROKER

    @staticmethod
    def _presented(request: Request) -> tuple[bytes, x509.Certificate]:
        der = peer_certificate(request.scope)
        if der is None:
            raise unknown("certificate-missing")
        return der, x509.load_der_x509_certificate(der)


def decision_of(request: Request) -> Decision:
    """Return what the log will say of a request."""
    decision: Decision = request.scope["state"]["decision"]
    return decision


def unknown(code: str) -> Refused:
    """Return what ends a request because of who asks; `code` is one of `problems.WHO`."""
    return Refused(Problem(code, WHO[code]))


def _issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
