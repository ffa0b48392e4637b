"""How does a RabbitMQ cluster carry a fleet, if it asks the registry about every device?

    python -m benchmarks.load_cluster

The same devices, readings and observer as above. Two nodes carry half of the devices each, and the observer listens at the
second, so that half of the readings cross from node to node. Nobody has a row in the broker: each node asks the provisioning
service, and goes by an answer for a minute. A device's first reading waits for its answer, and all of them ask at once: that
is what the latencies show. Service, nodes, fleet and observer share the processors.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from benchmarks.load import STEPS, Step, table
from benchmarks.load import measure as carry

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["measure", "table"]


def measure(*, steps: Sequence[int] = STEPS) -> list[Step]:
    """Put the cluster under load."""
    return carry(steps=steps, only=("rabbitmq",))


if __name__ == "__main__":
    print(table(measure(steps=[int(word) for word in sys.argv[1:]] or STEPS)))
