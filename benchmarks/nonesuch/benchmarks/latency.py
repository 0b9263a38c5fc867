"""Time of one image by every subject that works here, in turn in one run, beside the arithmetic floor.

Limits: one image at a time, styles in and pixels out (no mapping, no encoding). Read the ratios, which are formed
within rounds, before the times. The floor is what the model's convolutions and matrix products would take at the rate
of a large float32 matrix product, measured in the same rounds.
"""

from __future__ import annotations

from nonesuch.engine.errors import NonesuchError

from .contest import Contest
from .environment import sgemm_gflops
from .flops import graph_gflop
from .interleaved import Plan, Sampler
from .measurement import Measurement, Skipped
from .subjects.lineup import line_up
from .suite import Outcome, Request
from .workload import Workload

__all__ = ["FLOOR", "SUITE", "measure"]

SUITE = "latency"
FLOOR = "arithmetic floor"
QUICK = Plan(rounds=15, least_rounds=5, budget_s=6.0)
FULL = Plan(rounds=200, least_rounds=11, budget_s=45.0, warm_up=2)


def measure(request: Request) -> Outcome:
    """Samples of `latency`, ms, one for each round and subject, and of `device_latency` where a device has a clock.

    Raises:
        NonesuchError: there is no such model.
    """
    outcome = Outcome()
    workload = Workload(request.model)
    plan = QUICK if request.quick else FULL
    if request.rounds is not None:
        plan = Plan(rounds=request.rounds, least_rounds=request.rounds, warm_up=plan.warm_up)
    floor = _floor(request, workload, outcome) if request.wants(FLOOR) else {}
    with Contest(SUITE, request, workload, line_up(SUITE, request, outcome), outcome) as contest:
        subjects = contest.agree(1)
        sampled = contest.sample(subjects, 1, plan, floor)
        details = {subject.name: subject.detail for subject in subjects}
        for metric, found in (("latency", sampled.samples), ("device_latency", contest.device_ms)):
            outcome.measurements += [
                Measurement(
                    suite=SUITE,
                    subject=name,
                    detail=details.get(name, "GFLOP of the graph at the rate of numpy's sgemm"),
                    metric=metric,
                    unit="ms",
                    better="none" if name == FLOOR else "lower",
                    case={"batch": 1},
                    samples=samples,
                )
                for name, samples in found.items()
            ]
    return outcome


def _floor(request: Request, workload: Workload, outcome: Outcome) -> dict[str, Sampler]:
    """The sampler of the floor, and the graph's arithmetic as a measurement; nothing where it cannot be counted."""
    try:
        gflop = graph_gflop(workload.artifact.read(workload.variant.file))
    except NonesuchError as error:
        outcome.skipped.append(Skipped(suite=SUITE, subject=FLOOR, reason=error.message))
        return {}
    outcome.measurements.append(
        Measurement(
            suite=SUITE,
            subject=FLOOR,
            detail=f"convolutions and matrix products of {workload.variant.file}, one image",
            metric="arithmetic",
            unit="GFLOP",
            better="none",
            case={"batch": 1},
            samples=[gflop],
        )
    )
    request.say(f"{workload.variant.file} has {gflop:.1f} GFLOP an image")
    return {FLOOR: lambda _: gflop / sgemm_gflops() * 1e3}
