"""`labkit run`, `labkit lab`, `labkit notebooks`."""

from __future__ import annotations
