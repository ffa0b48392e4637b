"""Every kernel of `labkit lab` runs this first, so that there is help before the lab is open."""

from labkit.course import first_aid as _first_aid

_first_aid.install()
del _first_aid
