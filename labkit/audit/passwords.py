"""A short public list of user names and passwords that are tried first, because they so often work."""

DEFAULTS = (
    ("admin", "admin"),
    ("admin", "password"),
    ("admin", ""),
    ("root", "root"),
    ("user", "user"),
    ("guest", "guest"),
    ("mqtt", "mqtt"),
    ("mosquitto", "mosquitto"),
    ("iot", "iot"),
    ("test", "test"),
    ("pi", "raspberry"),
)
"""User names and passwords, the most common first. Mirai's list (2016) had about sixty like these."""
