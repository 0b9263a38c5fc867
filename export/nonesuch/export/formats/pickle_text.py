"""The text forms of protocol 0: numbers as decimals, strings with backslashes. Nothing is evaluated."""

from __future__ import annotations

import codecs

__all__ = ["parse_text_float", "parse_text_int", "unescape_string", "unescape_unicode"]

_LONGEST_NUMBER = 640  # digits; Python itself takes 4300, at quadratic cost


def parse_text_int(line: bytes) -> int | bool:
    """A decimal integer; `00` and `01` are the booleans of protocols 0 and 1.

    Raises:
        ValueError: it is none, or is too long.
    """
    if line in (b"00", b"01"):
        return line == b"01"
    if len(line) > _LONGEST_NUMBER:
        raise ValueError("the integer is too long")
    return int(line)


def parse_text_float(line: bytes) -> float:
    """A decimal number.

    Raises:
        ValueError: it is none, or is too long.
    """
    if len(line) > _LONGEST_NUMBER:
        raise ValueError("the number is too long")
    return float(line)


def unescape_string(line: bytes) -> str:
    """A quoted byte string of Python 2, each byte as the character of that number.

    Raises:
        ValueError: it is not quoted, or an escape is broken.
    """
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise ValueError("the string has no quotes")
    decoded: bytes = codecs.escape_decode(line[1:-1])[0]  # type: ignore[attr-defined, unused-ignore]
    return decoded.decode("latin-1")


def unescape_unicode(line: bytes) -> str:
    r"""A text whose backslashes, newlines and characters above 255 are written `\\uXXXX`.

    Raises:
        ValueError: an escape is broken.
    """
    return line.decode("raw-unicode-escape")
