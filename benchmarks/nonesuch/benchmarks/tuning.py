"""What `nonesuch tune` chooses, against the best of every combination, in turn in one run.

Limits: the choice is made first and then measured again beside the sweep, so its samples are not those that chose it.
The best of a sweep is the luckiest of many; the interval of the ratio says how much of it is luck.
"""

from __future__ import annotations

from .interleaved import Plan
from .measurement import Measurement, Skipped
from .suite import Outcome, Request
from .tuner import Candidate, Tuner

__all__ = ["SUITE", "TUNED", "measure"]

SUITE = "tuning"
TUNED = "tune's choice"
BATCH = 4
QUICK = Plan(rounds=5, least_rounds=5)
FULL = Plan(rounds=21, least_rounds=21)


def measure(request: Request) -> Outcome:
    """Samples of `image_time`, ms per image alone and in a batch, of every combination and of `tune`'s choice.

    Raises:
        NonesuchError: there is no such model, or no backend can run it.
    """
    outcome = Outcome()
    tuner = Tuner(request)
    chosen = Candidate.of(tuner.tune().fastest())
    candidates = tuner.sweep()
    plan = QUICK if request.quick else FULL
    if request.rounds is not None:
        plan = Plan(rounds=request.rounds, least_rounds=request.rounds)
    for size in (1, BATCH):
        request.say(f"{len(candidates)} combinations, batch {size}")
        sampled = tuner.measure(candidates, size, plan, extra={TUNED: chosen})
        outcome.skipped += [
            Skipped(suite=SUITE, subject=name, reason=f"batch {size}: {reason}")
            for name, reason in sampled.dropped.items()
        ]
        outcome.measurements += [
            Measurement(
                suite=SUITE,
                subject=name,
                detail=chosen.name if name == TUNED else "",
                metric="image_time",
                unit="ms",
                better="lower",
                case={"batch": size},
                samples=samples,
            )
            for name, samples in sampled.samples.items()
        ]
    return outcome
