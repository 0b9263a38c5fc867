"""What a benchmark writes down: samples of one metric of one subject in one case, and a file of them.

    result.json = Result: environment, model, measurements (suite, subject, metric, unit, case, samples), skipped, flags

Samples are kept in the order of the rounds. Within one suite, metric and case, sample i of every subject was taken in
round i, right after one another, so ratios are formed within rounds and a drift of the machine cancels.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import msgspec

from nonesuch.engine.errors import NonesuchError

__all__ = ["FORMAT", "RESULT_FILE", "BenchmarkError", "Case", "Measurement", "Result", "Skipped"]

FORMAT = 1
RESULT_FILE = "result.json"

Case = dict[str, str | int | float]
"""What was varied: {"batch": 4}, {"rate_per_s": 2.5}, {"precision": "fp32"}. Names carry their units."""


class BenchmarkError(NonesuchError):
    """A benchmark cannot be run, read or compared; the message says what to do."""


class Measurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Samples of one metric.

    Attributes:
        suite: the benchmark: latency, throughput, serve, peers, precision, memory, encoding, tuning, loadgen.
        subject: what was measured, unique within the suite: "openvino", "torch eager".
        detail: the subject's identity: runtime, version, device, settings.
        metric: what the samples are: latency, images_per_s, psnr, peak_rss.
        unit: of the samples: ms, 1/s, dB, MiB; empty for a plain number.
        better: which way is better; "none" where there is no better.
        case: what was varied.
        samples: finite numbers, in the order of the rounds.
    """

    suite: str
    subject: str
    metric: str
    unit: str
    better: Literal["lower", "higher", "none"]
    samples: list[float]
    case: Case = {}
    detail: str = ""

    def __post_init__(self) -> None:
        if not self.samples or not all(map(math.isfinite, self.samples)):
            raise BenchmarkError(f"{self.suite}: {self.subject} has no finite samples of {self.metric}")

    @property
    def key(self) -> tuple[str, ...]:
        """What makes two measurements of two runs comparable."""
        return (self.suite, self.metric, *(f"{name}={self.case[name]}" for name in sorted(self.case)), self.subject)


class Skipped(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A subject that was not measured, and why."""

    suite: str
    subject: str
    reason: str


class Result(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One run of the benchmark suite.

    Attributes:
        created: UTC, ISO 8601.
        command: the command line that made it.
        model: name of the model; `model_id` is the sha256 of its weights.
        resolution: of the images, pixels.
        quick: whether the short settings were used.
        environment: the machine and the software, name to value, as `environment.py` records it.
        flags: what makes the run less trustworthy: a busy machine, a schedule missed; empty for a clean run.
    """

    format: int = FORMAT
    created: str
    command: str
    model: str
    model_id: str
    resolution: int
    quick: bool
    environment: dict[str, str]
    measurements: list[Measurement]
    skipped: list[Skipped] = []
    flags: list[str] = []

    def save(self, folder: Path) -> Path:
        """Write `result.json` into the folder, which is made if need be; the file's path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / RESULT_FILE
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")
        return path

    @classmethod
    def load(cls, path: Path) -> Result:
        """Read a `result.json`, or the one in a folder.

        Raises:
            BenchmarkError: no such file, or not a result of this format.
        """
        file = path / RESULT_FILE if path.is_dir() else path
        try:
            result = msgspec.json.decode(file.read_bytes(), type=cls)
        except OSError as error:
            raise BenchmarkError(
                f"cannot read {file}: {error.strerror}; give a result.json of nonesuch bench"
            ) from error
        except msgspec.DecodeError as error:
            raise BenchmarkError(f"{file} is no result of nonesuch bench ({error})") from error
        if result.format != FORMAT:
            raise BenchmarkError(f"{file} has format {result.format}; this version reads {FORMAT}")
        return result
