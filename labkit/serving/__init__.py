"""The HTTP floor: TLS with the verified client certificate, limits, problem details, and a log of decisions."""

from labkit.serving.gate import Decision, DecisionLog, Gate, Limits, Refused
from labkit.serving.peer import peer_certificate
from labkit.serving.problems import WHO, Kind, Problem, common, of_status
from labkit.serving.service import RunningService, ServiceSettings

__all__ = [
    "WHO",
    "Decision",
    "DecisionLog",
    "Gate",
    "Kind",
    "Limits",
    "Problem",
    "Refused",
    "RunningService",
    "ServiceSettings",
    "common",
    "of_status",
    "peer_certificate",
]
