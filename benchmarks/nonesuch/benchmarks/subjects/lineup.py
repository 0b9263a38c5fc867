"""Who takes part: every backend that works here, PyTorch in its forms, and the wheel's own network."""

from __future__ import annotations

from importlib.util import find_spec

from nonesuch.engine.backends.registry import installed_backends
from nonesuch.engine.session import SessionOptions

from ..measurement import Skipped
from ..subject import Subject
from ..suite import Outcome, Request
from .engine import EngineSubject
from .torch import cuda_here, torch_subjects
from .wheel import WheelSubject

__all__ = ["line_up"]

_BASELINE = "torch"


def line_up(suite: str, request: Request, outcome: Outcome, max_batch_size: int = 8) -> list[Subject]:
    """The subjects that were asked for, closed, PyTorch's reference first; what cannot run is skipped with a reason."""
    found: list[Subject] = []
    if find_spec("torch") is None:
        outcome.skipped.append(Skipped(suite=suite, subject="torch eager", reason="torch is not installed"))
    else:
        device = "cuda" if cuda_here() else "cpu"
        found += torch_subjects(request.model, device=device, max_batch_size=max_batch_size)
    found.append(WheelSubject(request.model))
    for name, backend in installed_backends().items():
        if name == _BASELINE:
            continue
        probe = backend.probe()
        if probe.usable:
            options = SessionOptions(device="auto", max_batch_size=max_batch_size)
            found.append(EngineSubject(request.model, name, options=options))
        elif request.wants(name):
            outcome.skipped.append(Skipped(suite=suite, subject=name, reason=probe.detail))
    return [subject for subject in found if request.wants(subject.name)]
