"""labkit.mqtt.packets: hostile bytes end in FormatError and in nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import FormatError
from labkit.mqtt import packets
from labkit.mqtt.packets import Answer, Kind, Packet


@given(st.binary(max_size=400), st.sampled_from([packets.V311, packets.V5]))
def test_any_bytes_are_read_or_refused(data: bytes, protocol: int) -> None:
    """Whatever a peer sends, it is packets or a FormatError, and no byte is counted twice."""
    rest = data
    try:
        while True:
            packet, after = packets.split(rest)
            if packet is None:
                assert rest == after
                break
            assert len(after) < len(rest)
            rest = after
            packets.parse_answer(packet, protocol=protocol)
    except FormatError as error:
        assert error.what


@given(st.text(max_size=300), st.binary(max_size=40_000), st.integers(1, 65_535))
def test_what_we_write_can_be_split(topic: str, payload: bytes, packet_id: int) -> None:
    """A packet of any length comes out whole, wherever it is cut in two."""
    data = packets.publish(topic, payload, protocol=packets.V5, packet_id=packet_id)
    packet, rest = packets.split(data + b"next")
    assert packet
    assert (packet.kind, packet.flags, rest) == (Kind.PUBLISH, 2, b"next")
    assert packet.body.endswith(payload)
    assert packets.split(data[:-1]) == (None, data[:-1])


def test_connect_by_the_standard() -> None:
    """A CONNECT has the bytes that MQTT 5 §3.1 and 3.1.1 §3.1 ask for."""
    assert packets.connect(protocol=4) == b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x1e\x00\x00"
    assert (
        packets.connect(protocol=5, client_id="a", username="u")
        == b"\x10\x11\x00\x04MQTT\x05\x82\x00\x1e\x00\x00\x01a\x00\x01u"
    )


@pytest.mark.parametrize(
    ("packet", "protocol", "answer"),
    [
        (Packet(2, 0, b"\0\0\0"), 5, Answer(Kind.CONNACK, 0)),
        (Packet(2, 0, b"\0\x05"), 4, Answer(Kind.CONNACK, 5)),
        (Packet(4, 0, b"\0\x01"), 5, Answer(Kind.PUBACK, 0, 1)),
        (Packet(4, 0, b"\0\x01\x87\0"), 5, Answer(Kind.PUBACK, 0x87, 1)),
        (Packet(4, 0, b"\0\x01\x87"), 4, Answer(Kind.PUBACK, 0, 1)),
        (Packet(14, 0, b"\x8e"), 5, Answer(Kind.DISCONNECT, 0x8E)),
    ],
)
def test_answers(packet: Packet, protocol: int, answer: Answer) -> None:
    """Each answer is read as its version means it; a PUBACK of 3.1.1 has no code."""
    assert answer == packets.parse_answer(packet, protocol=protocol)


@pytest.mark.parametrize(
    "data", [b"\x20\xff\xff\xff\xff\x01", b"\x20\xff\xff\xff\x7f", b"\x20\x01\0", b"\x40\x01\0", b"\xf0\0"]
)
def test_malformed_packets(data: bytes) -> None:
    """Lengths of five bytes or of 256 MB, and bodies that are too short, are refused."""
    with pytest.raises(FormatError):
        packet, _ = packets.split(data)
        assert packet
        packets.parse_answer(packet, protocol=5)


def test_words_for_codes() -> None:
    """Codes have the standard's words, and unknown ones a number."""
    assert packets.reason_of(0x87, 5) == packets.reason_of(5, 4) == "not-authorised"
    assert packets.reason_of(0xEE, 5) == "code-238"
