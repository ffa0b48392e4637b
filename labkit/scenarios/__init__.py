"""Several domains staged together, named by what is staged and never by who uses it."""

from labkit.scenarios.diagnosis import diagnose
from labkit.scenarios.mutual_tls import Site, mutual_tls

__all__ = ["Site", "diagnose", "mutual_tls"]
