"""Images a second against batch size, of every subject that works here, in turn in one run.

Limits: one batch at a time by one caller, styles in and pixels out (no mapping, no encoding). A backend may render the
images of a batch one after another; what counts is what comes out.
"""

from __future__ import annotations

from .contest import Contest
from .interleaved import Plan
from .measurement import Measurement
from .subjects.lineup import line_up
from .suite import Outcome, Request
from .workload import Workload

__all__ = ["SUITE", "measure"]

SUITE = "throughput"
QUICK_SIZES = (1, 4)
FULL_SIZES = (1, 2, 4, 8)
# The run that compares the pictures is a warm-up already.
QUICK = Plan(rounds=10, least_rounds=3, budget_s=4.0, warm_up=0)
FULL = Plan(rounds=50, least_rounds=7, budget_s=40.0, warm_up=1)


def measure(request: Request) -> Outcome:
    """Samples of `images_per_s`, one for each round, subject and batch size; on CUDA also of the device alone.

    Raises:
        NonesuchError: there is no such model.
    """
    outcome = Outcome()
    sizes, plan = (QUICK_SIZES, QUICK) if request.quick else (FULL_SIZES, FULL)
    if request.rounds is not None:
        plan = Plan(rounds=request.rounds, least_rounds=request.rounds, warm_up=plan.warm_up)
    workload = Workload(request.model)
    lineup = line_up(SUITE, request, outcome, max_batch_size=max(sizes))
    with Contest(SUITE, request, workload, lineup, outcome) as contest:
        for size in sizes:
            subjects = contest.agree(size)
            sampled = contest.sample(subjects, size, plan)
            details = {subject.name: subject.detail for subject in subjects}
            for metric, found in (("images_per_s", sampled.samples), ("device_images_per_s", contest.device_ms)):
                outcome.measurements += [
                    Measurement(
                        suite=SUITE,
                        subject=name,
                        detail=details[name],
                        metric=metric,
                        unit="1/s",
                        better="higher",
                        case={"batch": size},
                        samples=[size / taken_ms * 1e3 for taken_ms in samples],
                    )
                    for name, samples in found.items()
                ]
    return outcome
