"""Provisioning: how a device comes by its certificate, renews it, and loses it; the service, and the device's side."""

from labkit.provisioning.office import Office, prepare
from labkit.provisioning.policy import Policy, renewal_opens
from labkit.provisioning.publication import Publication

__all__ = [
    "Office",
    "Policy",
    "Publication",
    "prepare",
    "renewal_opens",
]
