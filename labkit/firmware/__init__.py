"""What goes into a device's flash: images, partition tables, otadata, NVS."""

from labkit.firmware.nvs import NvsEntry, build_image
from labkit.firmware.nvs_csv import parse_csv, render_csv
from labkit.firmware.nvs_reader import read_image

__all__ = ["NvsEntry", "build_image", "parse_csv", "read_image", "render_csv"]
