"""The sensor node: what the firmware in `firmware/` does, in Python.

The files of this package that are pure are the twin of `firmware/components/lab_core`: same decisions, same codes, held
together by `tests/vectors/*.json`, which both sides read.
"""

__all__: list[str] = []
