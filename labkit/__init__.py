"""labkit owns every mechanism of the course *IoT Device Security Labs*.

Notebooks tell the story, labkit does the work, and real tools (Mosquitto, OpenSSL, esptool) are the judges.
Importing the package is free: no network, no files, no child process.

The layers, each importing only from those below it::

    7  cli
    6  course
    5  scenarios     display
    4  node          audit
    3  provisioning  updates   board
    2  broker        mqtt      devices   firmware   network   serving   threats
    1  pki
    0  workspace     processes ports  |  errors  outcome  clock
"""

__version__ = "0.1.0"
