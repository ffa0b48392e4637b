"""`labkit firmware`: what goes into a device, and who vouches for it."""

from __future__ import annotations

import click

from labkit.cli import building, rollout, signing


@click.group()
def firmware() -> None:
    """Build the firmware, sign images for the air, verify them as a device does, and keep the keys that sign.

    \b
      labkit firmware key new               a signing key, encrypted with a passphrase
      labkit firmware sign app.bin          the signed header, and behind it the image
      labkit firmware inspect app.update    what it says of itself
      labkit firmware verify app.update     would a device take it? if not, why
      labkit firmware manifest app.update   what an update server tells devices
      labkit firmware serve-updates         that server
      labkit firmware rollout --help        publish, a share of the fleet at a time, pause, take back
      labkit firmware build                 the C firmware by ESP-IDF; flash and monitor: a real board
    """  # noqa: D301 - click wants the character itself


for _command in (
    signing.key, signing.sign, signing.verify, signing.inspect, signing.manifest,
    rollout.serve_updates, rollout.rollout, rollout.fetch,
    building.build, building.flash, building.monitor,
):  # fmt: skip
    firmware.add_command(_command)
