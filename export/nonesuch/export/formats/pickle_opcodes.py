"""The actions of the opcodes of protocols 0 to 5 on a `PickleMachine`.

A set becomes a list, because its hashes are not needed. The texts of protocol 0 are parsed, never evaluated. Extension
codes and out-of-band buffers are refused.
Source: the comments of `pickletools` in the standard library.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable
from typing import Any, NoReturn

from .pickle_machine import PickleMachine

_MAX_PROTOCOL = 5
_MAX_NUMBER_DIGITS = 640  # Python's own limit is 4300, at quadratic cost


def _number(layout: str) -> Callable[[PickleMachine], None]:
    packed = struct.Struct(layout)
    return lambda m: m.push(packed.unpack(m.take(packed.size))[0])


def _protocol(m: PickleMachine) -> None:
    version = m.take(1)[0]
    if version > _MAX_PROTOCOL:
        m.fail(f"pickle protocol {version} is not supported; up to {_MAX_PROTOCOL} are read")


def _frame(m: PickleMachine) -> None:
    # Frames only help to read ahead. One that reaches beyond the end reveals a truncated file early.
    length, left = m.unsigned(8), len(m.data) - m.position
    if length > left:
        m.fail(f"the file is truncated: a frame needs {length} bytes, {left} are left")


def _append(m: PickleMachine) -> None:
    item = m.pop()
    m.extend([item])


def _set_item(m: PickleMachine) -> None:
    value, key = m.pop(), m.pop()
    m.set_items([key, value])


def _object(m: PickleMachine) -> None:
    callee, *args = m.pop_mark()
    m.instance(callee, args)


def _instance(m: PickleMachine) -> None:
    m.instance(m.global_from_text(), m.pop_mark())


def _remember(m: PickleMachine, index: int) -> None:
    m.memo[index] = m.top()


def _unsupported(m: PickleMachine) -> NoReturn:
    m.fail("the pickle uses extension codes or buffers outside of it, which no checkpoint needs")


def _parse_text_int(line: bytes) -> int | bool:
    """Parse a decimal integer; `00` and `01` are the booleans of protocols 0 and 1.

    Raises:
        ValueError: the text is not an integer, or is too long.
    """
    if line in (b"00", b"01"):
        return line == b"01"
    if len(line) > _MAX_NUMBER_DIGITS:
        raise ValueError("the integer is too long")
    return int(line)


def _parse_text_float(line: bytes) -> float:
    """Parse a decimal number.

    Raises:
        ValueError: the text is not a number, or is too long.
    """
    if len(line) > _MAX_NUMBER_DIGITS:
        raise ValueError("the number is too long")
    return float(line)


def _unescape_string(line: bytes) -> str:
    """Decode a quoted byte string of Python 2 as Latin-1.

    Raises:
        ValueError: the string is not quoted, or an escape is invalid.
    """
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise ValueError("the string has no quotes")
    decoded: bytes = codecs.escape_decode(line[1:-1])[0]  # type: ignore[attr-defined, unused-ignore]
    return decoded.decode("latin-1")


def _unescape_unicode(line: bytes) -> str:
    r"""Decode a text with backslashes, newlines and characters above 255 written as `\\uXXXX`.

    Raises:
        ValueError: an escape is invalid.
    """
    return line.decode("raw-unicode-escape")


ACTIONS: dict[int, Callable[[PickleMachine], Any]] = {
    ord(code): action
    for code, action in {
        "\x80": _protocol,
        "\x95": _frame,
        "(": lambda m: m.marks.append(len(m.stack)),
        "0": PickleMachine.pop_or_mark,
        "1": PickleMachine.pop_mark,
        "2": lambda m: m.push(m.top()),
        # Numbers, texts, bytes
        "N": lambda m: m.push(None),
        "\x88": lambda m: m.push(True),
        "\x89": lambda m: m.push(False),
        "I": lambda m: m.push(_parse_text_int(m.line())),
        "L": lambda m: m.push(_parse_text_int(m.line().removesuffix(b"L"))),
        "F": lambda m: m.push(_parse_text_float(m.line())),
        "J": _number("<i"),
        "K": _number("<B"),
        "M": _number("<H"),
        "G": _number(">d"),
        "\x8a": lambda m: m.push(m.long(1)),
        "\x8b": lambda m: m.push(m.long(4)),
        "S": lambda m: m.push(_unescape_string(m.line())),
        "T": lambda m: m.push(str(m.take(m.unsigned(4)), "latin-1")),
        "U": lambda m: m.push(str(m.take(m.unsigned(1)), "latin-1")),
        "V": lambda m: m.push(_unescape_unicode(m.line())),
        "X": lambda m: m.push(m.text(4)),
        "\x8c": lambda m: m.push(m.text(1)),
        "\x8d": lambda m: m.push(m.text(8)),
        "B": lambda m: m.push(m.blob(4)),
        "C": lambda m: m.push(m.blob(1)),
        "\x8e": lambda m: m.push(m.blob(8)),
        "\x96": lambda m: m.push(m.blob(8)),
        # Containers
        ")": lambda m: m.push(()),
        "]": lambda m: m.push([]),
        "}": lambda m: m.push({}),
        "\x8f": lambda m: m.push([]),
        "t": lambda m: m.push(tuple(m.pop_mark())),
        "l": lambda m: m.push(m.pop_mark()),
        "\x91": lambda m: m.push(m.pop_mark()),
        "d": PickleMachine.make_dict,
        "\x85": lambda m: m.make_tuple(1),
        "\x86": lambda m: m.make_tuple(2),
        "\x87": lambda m: m.make_tuple(3),
        "a": _append,
        "e": lambda m: m.extend(m.pop_mark()),
        "\x90": lambda m: m.extend(m.pop_mark()),
        "s": _set_item,
        "u": lambda m: m.set_items(m.pop_mark()),
        # The memo
        "g": lambda m: m.push(m.memo[_parse_text_int(m.line())]),
        "h": lambda m: m.push(m.memo[m.unsigned(1)]),
        "j": lambda m: m.push(m.memo[m.unsigned(4)]),
        "p": lambda m: _remember(m, _parse_text_int(m.line())),
        "q": lambda m: _remember(m, m.unsigned(1)),
        "r": lambda m: _remember(m, m.unsigned(4)),
        "\x94": lambda m: _remember(m, len(m.memo)),
        # Names and calls, which are only recorded
        "c": lambda m: m.push(m.global_from_text()),
        "\x93": PickleMachine.global_from_stack,
        "i": _instance,
        "o": _object,
        "R": PickleMachine.reduce,
        "\x81": PickleMachine.reduce,
        "\x92": PickleMachine.new_with_keywords,
        "b": PickleMachine.build,
        "P": lambda m: m.persistent(str(m.line(), "ascii")),
        "Q": lambda m: m.persistent(m.pop()),
        **dict.fromkeys(["\x82", "\x83", "\x84", "\x97", "\x98"], _unsupported),
    }.items()
}
