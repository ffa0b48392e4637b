"""Where the keys of Espressif's NVS generator come from: shown on the generator itself, as a child process."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from labkit import processes
from labkit.errors import ToolFailedError
from labkit.outcome import ACCEPTED, Outcome
from labkit.scenarios.device_files import GENERATOR

KEY_LENGTH = 64

# The generator is a program of its own, so its source of randomness is set in the process that becomes it.
_WITH_STATE = (
    "import random, runpy, sys; random.seed(int(sys.argv.pop(1))); "
    f"sys.argv[0] = '{GENERATOR}'; runpy.run_module('{GENERATOR}', run_name='__main__')"
)


def generated_key(*, state: int | None = None) -> bytes:
    """Return a key that Espressif's generator has drawn.

    Args:
        state: Begin with this state of Python's `random`; as the generator begins by itself without it.

    Raises:
        ToolFailedError: The generator refused, or is not here.
    """
    with TemporaryDirectory(prefix="labkit-keys-") as folder:
        begin = ["-m", GENERATOR] if state is None else ["-c", _WITH_STATE, str(state)]
        argv = [sys.executable, *begin, "generate-key", "--keyfile", "key.bin", "--outdir", folder]
        ended = processes.run(argv, cwd=Path(folder), timeout=60)
        written = Path(folder, "keys", "key.bin")
        if not written.exists():
            raise ToolFailedError(
                f"{GENERATOR} wrote no key: {ended.output.strip()[-200:]}",
                advice="Look at its words. It is installed with: pip install esp-idf-nvs-partition-gen",
                tool=GENERATOR,
                argv=argv,
                returncode=ended.returncode,
                output=ended.output,
            )
        return written.read_bytes()[:KEY_LENGTH]


def two_runs(state: int = 2026) -> Outcome:
    """Let the generator draw a key twice from the same state, and say whether the second was known before.

    Returns:
        An outcome at stage `key`: accepted where both are the same, so that who knows the state has the key.
    """
    first, second = generated_key(state=state), generated_key(state=state)
    detail = {"found": f"first run {first.hex()[:16]}…, second run {second.hex()[:16]}…"}
    if first == second:
        return Outcome("key", accepted=True, reason=ACCEPTED, detail=detail)
    return Outcome("key", accepted=False, reason="unpredictable", detail=detail)
