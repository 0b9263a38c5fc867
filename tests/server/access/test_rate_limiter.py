from __future__ import annotations

import pytest

from nonesuch.engine.errors import OverloadedError
from nonesuch.server.access.api_keys import Caller
from nonesuch.server.access.rate_limiter import RateLimiter


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


ANNA, BERT = Caller("anna", frozenset()), Caller("bert", frozenset())


def test_a_bucket_fills_at_the_rate_up_to_the_burst() -> None:
    clock = Clock()
    limiter = RateLimiter(2.0, 4, clock=clock)
    for _ in range(4):
        limiter.charge(ANNA, 1)
    with pytest.raises(OverloadedError) as caught:
        limiter.charge(ANNA, 1)
    assert caught.value.retry_after_ms == 500
    limiter.charge(BERT, 4)
    clock.now += 0.5
    limiter.charge(ANNA, 1)
    clock.now += 1000
    limiter.charge(ANNA, 4)
    with pytest.raises(OverloadedError):
        limiter.charge(ANNA, 1)


def test_more_than_the_burst_waits_for_a_full_bucket_and_leaves_a_debt() -> None:
    clock = Clock()
    limiter = RateLimiter(2.0, 4, clock=clock)
    limiter.charge(ANNA, 1)
    with pytest.raises(OverloadedError):
        limiter.charge(ANNA, 10)
    clock.now += 0.5
    limiter.charge(ANNA, 10)  # 6 below zero
    with pytest.raises(OverloadedError) as caught:
        limiter.charge(ANNA, 1)
    assert caught.value.retry_after_ms == 3500


def test_a_caller_may_have_its_own_limit_or_none() -> None:
    clock = Clock()
    unlimited = RateLimiter(None, 4, clock=clock)
    for _ in range(1000):
        unlimited.charge(ANNA, 100)
    own = Caller("carl", frozenset(), images_per_s=1.0, burst_images=1)
    unlimited.charge(own, 1)
    with pytest.raises(OverloadedError, match="'carl' may ask for 1 images a second, 1 at once"):
        unlimited.charge(own, 1)


def test_the_least_recently_active_clients_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nonesuch.server.access.rate_limiter._MAX_CLIENTS", 2)
    limiter = RateLimiter(1.0, 1, clock=Clock())
    for name in ("a", "b", "c"):
        limiter.charge(Caller(name, frozenset()), 1)
    assert len(limiter._buckets) == 2
