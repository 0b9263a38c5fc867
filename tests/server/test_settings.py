from __future__ import annotations

import pytest

from nonesuch.engine.errors import InvalidRequestError
from nonesuch.server.settings import ServerSettings


def test_every_wrong_setting_is_named_at_once() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        ServerSettings(max_batch_size=0, queue_limit=-1, queue_delay_ms=float("nan"))
    assert {violation.field for violation in caught.value.violations} == {
        "max_batch_size",
        "queue_limit",
        "queue_delay_ms",
    }


def test_the_defaults_are_valid_and_listen_on_loopback() -> None:
    assert ServerSettings().grpc_address.startswith("127.0.0.1:")
