"""What became of one request, and what became of a run of them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from nonesuch.client import AsyncClient, ClientError

__all__ = ["CUT_OFF", "NOT_SENT", "OK", "LoadRun", "RequestRecord", "send_request"]

OK = "OK"
NOT_SENT = "NOT_SENT"
"""The generator had as many requests on their way as it may, or no time left: its own failure, not the server's."""
CUT_OFF = "CUT_OFF"
"""The run's time was over before the answer came."""


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request; times in seconds from the start of the run.

    Attributes:
        scheduled_s: when it was to be sent; in a closed loop, when it was sent.
        sent_s: when it was handed to the client.
        done_s: when its answer, or its refusal, was there.
        code: OK, a gRPC status by its name, NOT_SENT or CUT_OFF.
        queue_ms: as the server reports it, like the next three; 0 where there is no image.
        inference_ms: of the whole batch.
        encode_ms: of the image.
        batch_size: images computed together with this one, itself included.
    """

    scheduled_s: float
    sent_s: float
    done_s: float
    code: str
    queue_ms: float = 0.0
    inference_ms: float = 0.0
    encode_ms: float = 0.0
    batch_size: int = 0

    @property
    def ok(self) -> bool:
        """Whether there is an image."""
        return self.code == OK

    @property
    def latency_ms(self) -> float:
        """From the scheduled time: what a user who came at that time waited."""
        return (self.done_s - self.scheduled_s) * 1e3

    @property
    def sending_latency_ms(self) -> float:
        """From the sending: without what the generator itself was late."""
        return (self.done_s - self.sent_s) * 1e3

    @property
    def lag_ms(self) -> float:
        """How much later than scheduled it was sent."""
        return (self.sent_s - self.scheduled_s) * 1e3


@dataclass(frozen=True)
class LoadRun:
    """The records of one run, in the order of the schedule, or of the sending in a closed loop."""

    loop: Literal["open", "closed"]
    records: list[RequestRecord]
    offered_per_s: float | None = None  # of the schedule; a closed loop offers what the server takes


async def send_request(
    client: AsyncClient, seed: int, origin: float, scheduled_s: float | None, deadline_s: float
) -> RequestRecord:
    """Ask for one JPEG of quality 90 and record what came of it; a refusal is a record, not an exception.

    Args:
        client: made with `retries=False`: a retry would hide what the server refused.
        seed: of the image; one of its own for each request, so that no cache can answer.
        origin: `time.perf_counter()` at the start of the run.
        scheduled_s: seconds from `origin`; None is now.
        deadline_s: how long the call may take.
    """
    sent_s = time.perf_counter() - origin
    scheduled_s = sent_s if scheduled_s is None else scheduled_s
    try:
        image = await client.generate(seed=seed, format="jpeg", quality=90, deadline_s=deadline_s)
    except ClientError as error:
        return RequestRecord(scheduled_s, sent_s, time.perf_counter() - origin, error.code.name)
    done_s, timing = time.perf_counter() - origin, image.timing
    return RequestRecord(
        scheduled_s, sent_s, done_s, OK, timing.queue_ms, timing.inference_ms, timing.encode_ms, image.batch_size
    )
