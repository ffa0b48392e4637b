"""Telnet's COM-port option (RFC 2217): a serial port over TCP that carries baud rate, DTR and RTS.

Pure: bytes in; payload, answers and changes of lines out. `ResetLines` is the circuit of two transistors on every
development board that turns DTR and RTS into EN (reset) and GPIO0 (boot mode).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_IAC, _SB, _SE, _WILL, _WONT, _DO, _DONT = 0xFF, 0xFA, 0xF0, 0xFB, 0xFC, 0xFD, 0xFE
_COM_PORT = 44
_WANTED = frozenset({0, 3, _COM_PORT})  # binary, no go-ahead, COM port
_SET_BAUD, _SET_CONTROL = 1, 5
_LONGEST_OPTION = 64
_SERVER = 100
"""What an answer's code has more than the request's."""

_LINES = {8: ("dtr", True), 9: ("dtr", False), 11: ("rts", True), 12: ("rts", False)}


@dataclass(frozen=True, slots=True)
class Change:
    """A change that the client asked for: `baud` with a rate, `dtr` or `rts` with a truth value."""

    what: str
    value: int


class TelnetPort:
    """One client's connection."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self._said: set[tuple[int, int]] = set()
        self._command = 0
        self._state = "data"
        self._option = bytearray()
        self._answers = bytearray()
        self._dtr = self._rts = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the payload among these bytes, and what to answer. Changes wait in `changes`."""
        if self._state == "data" and b"\xff" not in data:
            return data, b""
        payload = bytearray()
        for byte in data:
            self._byte(byte, payload)
        answers = bytes(self._answers)
        self._answers.clear()
        return bytes(payload), answers

    @staticmethod
    def escape(data: bytes) -> bytes:
        """Return payload as it goes out."""
        return data.replace(b"\xff", b"\xff\xff")

    def _byte(self, byte: int, payload: bytearray) -> None:
        state, self._state = self._state, "data"
        if state == "data":
            if byte == _IAC:
                self._state = "command"
            else:
                payload.append(byte)
        elif state == "command":
            self._begin(byte, payload)
        elif state == "negotiate":
            self._negotiate(self._command, byte)
        elif state == "option":
            self._state = "option-command" if byte == _IAC else "option"
            if byte != _IAC:
                self._keep(byte)
        elif byte == _SE:  # in "option-command"
            self._end(bytes(self._option))
        else:
            self._state = "option"
            self._keep(byte)

    def _begin(self, byte: int, payload: bytearray) -> None:
        if byte == _IAC:
            payload.append(byte)
        elif byte == _SB:
            self._state = "option"
            self._option.clear()
        elif byte in {_WILL, _WONT, _DO, _DONT}:
            self._state, self._command = "negotiate", byte

    def _keep(self, byte: int) -> None:
        if len(self._option) < _LONGEST_OPTION:
            self._option.append(byte)

    def _negotiate(self, command: int, option: int) -> None:
        if command == _WILL:
            answer = _DO if option in _WANTED else _DONT
        elif command == _DO:
            answer = _WILL if option in _WANTED else _WONT
        else:
            return
        if (answer, option) not in self._said:  # said once, or two polite sides would never end
            self._said.add((answer, option))
            self._answers += bytes((_IAC, answer, option))

    def _end(self, option: bytes) -> None:
        if len(option) < 2 or option[0] != _COM_PORT:
            return
        code, value = option[1], option[2:]
        if code == _SET_BAUD and len(value) == 4:
            rate = struct.unpack(">I", value)[0]
            self.changes.append(Change("baud", rate))
        elif code == _SET_CONTROL and len(value) == 1:
            value = self._control(value)
        self._answers += bytes((_IAC, _SB, _COM_PORT, (code + _SERVER) & 0xFF))
        self._answers += self.escape(value) + bytes((_IAC, _SE))

    def _control(self, value: bytes) -> bytes:
        if value[0] in _LINES:
            name, on = _LINES[value[0]]
            if name == "dtr":
                self._dtr = on
            else:
                self._rts = on
            self.changes.append(Change(name, on))
        asked = {0: 1, 4: 6, 7: 8 if self._dtr else 9, 10: 11 if self._rts else 12, 13: 14}
        return bytes((asked.get(value[0], value[0]),))


class ResetLines:
    """EN is low while RTS is on and DTR off; GPIO0 is low while DTR is on and RTS off.

    EN comes up slowly, through a resistor into a capacitor. So a tool that sets DTR before it lets RTS go still finds
    GPIO0 low when the chip wakes up.
    """

    def __init__(self) -> None:
        self.dtr = self.rts = False
        self._held = False

    def set(self, what: str, value: int) -> str | None:
        """Change a line; return `hold`, `download` or `run` where that means something to the chip."""
        setattr(self, what, bool(value))
        if self.rts and not self.dtr:
            self._held = True
            return "hold"
        if not self._held or self.rts:
            return None  # both lines on: EN is on its way up
        self._held = False
        return "download" if self.dtr else "run"
