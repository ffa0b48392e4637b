"""labkit.broker.config: a configuration as data, and back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.broker import BrokerConfig, Listener, mutual_tls
from labkit.broker.config import parse, render
from labkit.errors import BrokerConfigError

RIGHT = mutual_tls(
    port=8883,
    cafile=Path("/lab/my ca.crt"),
    certfile=Path("/lab/broker.crt"),
    keyfile=Path("/lab/broker.key"),
    acl_file=Path("/lab/acl.conf"),
)

words = st.text(
    st.characters(
        min_codepoint=33, max_codepoint=0x2FF, exclude_categories=("Cc", "Zs"), exclude_characters=":#"
    ),
    min_size=1,
    max_size=20,
)
paths = st.builds(lambda text: Path("/" + text.replace("/", "_")), words)
flags = st.none() | st.booleans()
listeners = st.builds(
    Listener, port=st.integers(1, 65535), host=st.just("127.0.0.1"), cafile=st.none() | paths, certfile=st.none() | paths,
    keyfile=st.none() | paths, crlfile=st.none() | paths, tls_version=st.none() | st.sampled_from(["tlsv1.2", "tlsv1.3"]),
    ciphers=st.lists(words, max_size=3).map(tuple), ciphers_tls13=st.lists(words, max_size=3).map(tuple),
    require_certificate=flags, use_identity_as_username=flags, use_username_as_clientid=flags,
)  # fmt: skip
configs = st.builds(
    BrokerConfig, listeners=st.lists(listeners, min_size=1, max_size=3).map(tuple), allow_anonymous=st.booleans(),
    acl_file=st.none() | paths, password_file=st.none() | paths, user=st.none() | words,
)  # fmt: skip


@given(configs)
def test_round_trip(config: BrokerConfig) -> None:
    """What is rendered is parsed back to the same values."""
    assert config == parse(render(config))


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever stands in a file, it is refused with one clear error or is a configuration."""
    try:
        found = parse(text)
    except BrokerConfigError:
        return
    assert found.listeners


def test_mutual_tls_is_done_right() -> None:
    """The course's configuration has every line that mutual TLS needs."""
    text = render(RIGHT)
    for line in (
        "allow_anonymous false", "require_certificate true", "use_identity_as_username true",
        "use_username_as_clientid true", "set_tcp_nodelay true", "log_type all", "tls_version tlsv1.2",
        "listener 8883 127.0.0.1", "cafile /lab/my ca.crt",
    ):  # fmt: skip
        assert line in text.splitlines()
    suites = RIGHT.listeners[0].ciphers
    assert all(suite.startswith("ECDHE-") and ("GCM" in suite or "POLY1305" in suite) for suite in suites)


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("listener 8883\nplugin /tmp/evil.so", 2, "plugin"),
        ("include_dir /tmp\nlistener 8883", 1, "include_dir"),
        ("connection bridge\nlistener 8883", 1, "connection"),
        ("listener 0", 1, "listener"),
        ("listener 70000", 1, "listener"),
        ("listener ten", 1, "listener"),
        ("listener ٨٨", 1, "listener"),
        ("listener 1 a b", 1, "listener"),
        ("cafile /x", 1, "cafile"),
        ("listener 1\nrequire_certificate yes", 2, "require_certificate"),
        ("listener 1\ncafile", 2, "cafile"),
        ("listener 1\n\tcafile /x", 2, "\tcafile"),
        ("listener 1\n # no comment", 2, "#"),
        ("listener 1\nper_listener_settings true", 2, "per_listener_settings"),
        ("listener 1\nallow_anonymous true\nallow_anonymous false", 3, "allow_anonymous"),
        ("", 0, "listener"),
    ],
)
def test_what_is_unknown_or_malformed_is_refused(text: str, line: int, key: str) -> None:
    """A line that we don't understand is refused by number and word, and never passed over."""
    with pytest.raises(BrokerConfigError) as caught:
        parse(text)
    assert (line, key) == (caught.value.line, caught.value.key)


@pytest.mark.parametrize(
    "value", ["/x\nallow_anonymous true", "/x\0", " ", "", "/x\r", "x ", "\tx", "x\udcff", "x\x85"]
)
def test_values_can_not_smuggle_lines(value: str) -> None:
    """A value that is not one line of UTF-8 is refused, so that it can't bring options of its own."""
    with pytest.raises(BrokerConfigError) as caught:
        render(BrokerConfig(listeners=(Listener(port=1),), user=value))
    assert caught.value.key == "user"
