"""Frames on the wire, and noise between them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.board.slip import LONGEST, SlipReader, decode, encode
from labkit.errors import FormatError

SPECIAL = st.binary(max_size=60) | st.lists(st.sampled_from([0xC0, 0xDB, 0xDC, 0xDD, 0x00])).map(bytes)


@given(SPECIAL)
def test_a_packet_comes_back(packet: bytes) -> None:
    """Encoding and decoding are inverse, and nothing inside looks like an end."""
    frame = encode(packet)
    assert (0xC0, 0xC0, 2) == (frame[0], frame[-1], frame.count(b"\xc0"))
    assert packet == decode(frame[1:-1])


@pytest.mark.parametrize(
    ("body", "offset"), [(b"\xdb", 0), (b"ab\xdb\x00", 2), (b"\xdb\xdd\xdb\xdb\xdc", 2), (b"a\xc0", 1)]
)
def test_an_escape_without_meaning_is_refused(body: bytes, offset: int) -> None:
    """The error says where; the same bytes, escaped, are fine."""
    with pytest.raises(FormatError) as caught:
        decode(body)
    assert ("slip", offset) == (caught.value.what, caught.value.offset)
    assert body == decode(encode(body)[1:-1])


@given(SPECIAL)
def test_decoding_raises_nothing_else(body: bytes) -> None:
    """Whatever it is, it decodes or is a format error."""
    try:
        assert len(decode(body)) <= len(body)
    except FormatError as error:
        assert body[error.offset] in {0xC0, 0xDB}


@given(st.lists(SPECIAL.filter(bool), max_size=6), st.integers(1, 7))
def test_packets_come_out_however_bytes_arrive(packets: list[bytes], step: int) -> None:
    """Cut anywhere, with noise before the first, the reader gives out the same packets."""
    wire = b"noise" + b"".join(map(encode, packets))
    reader, found = SlipReader(), []
    for start in range(0, len(wire), step):
        found += reader.feed(wire[start : start + step])
    assert packets == found
    assert (1 if packets else 0) == reader.dropped


def test_noise_is_dropped_and_counted() -> None:
    """A spoilt frame costs itself, not the next one."""
    reader = SlipReader()
    assert [b"good"] == reader.feed(b"\xc0bad\xdb\xc0" + encode(b"good"))
    assert 1 == reader.dropped


def test_an_endless_frame_takes_no_room() -> None:
    """What never ends is dropped as it comes, and the next frame is read."""
    reader = SlipReader()
    reader.feed(b"\xc0")
    for _ in range(200):
        reader.feed(bytes(1000))
    assert sum(map(len, reader._pending)) <= LONGEST
    assert [b"good"] == reader.feed(encode(b"good"))
    assert 1 == reader.dropped
