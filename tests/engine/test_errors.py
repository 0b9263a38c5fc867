from __future__ import annotations

import pytest

from nonesuch.engine import errors
from nonesuch.engine.errors import FieldViolation, InvalidRequestError, NonesuchError


def all_errors() -> list[type[NonesuchError]]:
    return [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, NonesuchError)]


def test_a_message_is_always_one_line() -> None:
    assert NonesuchError("a\n  b\r\n\tc ").message == "a b c"


def test_every_error_can_be_caught_at_the_root_and_has_a_code() -> None:
    assert len(all_errors()) == 18
    assert {kind.code for kind in all_errors()} == {
        "INTERNAL",
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "UNIMPLEMENTED",
        "RESOURCE_EXHAUSTED",
        "DEADLINE_EXCEEDED",
        "UNAVAILABLE",
        "FAILED_PRECONDITION",
        "UNAUTHENTICATED",
        "PERMISSION_DENIED",
        "ABORTED",
    }


def test_violations_are_named_in_the_message() -> None:
    error = InvalidRequestError([FieldViolation("psi", "too high"), FieldViolation("seed", "too low")])
    assert error.message == "psi: too high; seed: too low"
    with pytest.raises(ValueError, match="at least one field"):
        InvalidRequestError([])
