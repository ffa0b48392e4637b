"""What goes into a device's flash: so far its NVS partition."""

from labkit.firmware.nvs import NvsEntry, build_image, read_image
from labkit.firmware.nvs_csv import parse_csv, render_csv

__all__ = ["NvsEntry", "build_image", "parse_csv", "read_image", "render_csv"]
