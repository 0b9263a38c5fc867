"""What a suite is asked, what it finds, and the file that holds it.

    Request -> suite -> Outcome: measurements, skipped subjects, flags -> Result -> result.json

A suite is a function `measure(request: Request) -> Outcome`. It compares outputs before it times anything, leaves out
what does not work here with a reason, and never asserts a speed. It raises NonesuchError if the model does not exist,
or nothing here can run it.

Samples are kept in the order of the rounds. Within one suite, metric and case, sample i of every subject was taken in
round i, right after one another, so ratios are formed within rounds and a drift of the machine cancels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from nonesuch.engine.errors import NonesuchError

FORMAT, RESULT_FILE = 1, "result.json"
NOTE = "note:"  # starts a flag that a reader should know, and that does not disqualify a run

Better = Literal["lower", "higher", "none"]
Case = dict[str, str | int | float]
"""What was varied: {"batch": 4}, {"rate_per_s": 2.5}, {"precision": "fp32"}. Names carry their units."""


class BenchmarkError(NonesuchError):
    """A benchmark cannot be run, read or compared; the message says what to do."""


class Metric(NamedTuple):
    """Unit of the samples, empty for a plain number; which way is better; the metric in words where its name is not."""

    unit: str
    better: Better
    words: str = ""


METRICS = {
    "added_latency": Metric("ms", "lower"),
    "arithmetic": Metric("GFLOP", "none"),
    "batch_size": Metric("", "none"),
    "device_images_per_s": Metric("1/s", "higher", "images per second, device alone"),
    "device_latency": Metric("ms", "lower", "latency, device alone"),
    "device_memory": Metric("MiB", "lower"),
    "encode": Metric("ms", "lower", "time to encode"),
    "errors": Metric("", "lower"),
    "goodput_per_s": Metric("1/s", "higher", "goodput"),
    "image_time": Metric("ms", "lower"),
    "images_per_s": Metric("1/s", "higher", "images per second"),
    "inference": Metric("ms", "lower"),
    "latency": Metric("ms", "lower"),
    "latency_from_schedule": Metric("ms", "lower", "latency from the schedule"),
    "latency_from_sending": Metric("ms", "lower", "latency from sending"),
    "max_error": Metric("of 255", "lower", "largest error"),
    "offered_per_s": Metric("1/s", "none", "offered rate"),
    "peak_rate": Metric("1/s", "higher"),
    "peak_rss": Metric("MiB", "lower", "peak resident memory"),
    "psnr": Metric("dB", "higher", "PSNR"),
    "queue": Metric("ms", "lower"),
    "rss": Metric("MiB", "lower", "resident memory"),
    "rss_import": Metric("MiB", "lower", "resident memory after import"),
    "rss_open": Metric("MiB", "lower", "resident memory after opening"),
    "schedule_lag": Metric("ms", "none"),
    "size": Metric("KiB", "lower"),
    "slo": Metric("ms", "none"),
    "ssim": Metric("", "higher", "SSIM"),
    "visitors_per_s": Metric("1/s", "higher"),
}


def label(metric: str) -> str:
    """A metric in words: "peak resident memory"; of older results too, whose metrics may be unknown here."""
    return (metric in METRICS and METRICS[metric].words) or metric.replace("_", " ")


def case_text(case: Case) -> str:
    """What was varied, in words: "batch 4, precision fp32"; empty for nothing."""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in case.items())


class Measurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Samples of one metric of one subject in one case."""

    suite: str  # the benchmark: latency, throughput, serve, peers, precision, memory, encoding, tuning
    subject: str  # what was measured, unique within the suite: "openvino", "torch eager"
    metric: str  # what the samples are: latency, images_per_s, psnr, peak_rss
    unit: str  # of the samples: ms, 1/s, dB, MiB; empty for a plain number
    better: Better  # which way is better; "none" if neither is
    samples: list[float]  # finite numbers, in the order of the rounds
    case: Case = {}  # what was varied
    detail: str = ""  # the subject's identity: runtime, version, device, settings

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


def silent(_: str) -> None:
    """Reports progress to nobody."""


@dataclass(frozen=True)
class Request:
    """What to measure."""

    model: str  # name or folder of an exported artifact, as `Generator.open` takes it
    quick: bool = False  # the short settings: fewer rounds, fewer cases, the same subjects
    subjects: tuple[str, ...] = ()  # measure only the subjects whose name contains one of these; empty for all
    rounds: int | None = None  # overrides the suite's number of rounds
    say: Callable[[str], None] = silent  # is told in one line what is being done

    def wants(self, subject: str) -> bool:
        """Whether this subject was asked for."""
        return not self.subjects or any(part in subject for part in self.subjects)


@dataclass
class Outcome:
    """What a suite found; it adds to this as it goes."""

    suite: str
    measurements: list[Measurement] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)

    def add(
        self,
        subject: str,
        metric: str,
        samples: Sequence[float],
        case: Case,
        detail: str = "",
        better: Better | None = None,
    ) -> None:
        """Add samples of one of `METRICS`, in the order of the rounds; `better` overrides the metric's own way.

        Raises BenchmarkError if there are no samples, or one is not finite.
        """
        unit, usual, _ = METRICS[metric]
        self.measurements.append(
            Measurement(
                suite=self.suite, subject=subject, metric=metric, unit=unit, better=better or usual,
                samples=list(samples), case=case, detail=detail,
            )
        )  # fmt: skip

    def skip(self, subject: str, reason: object) -> None:
        """Note that a subject was not measured; of an error, its text in one line."""
        text = " ".join(str(reason).split()) or type(reason).__name__
        self.skipped.append(Skipped(suite=self.suite, subject=subject, reason=text))

    def skip_all(self, reasons: Mapping[str, str], about: str = "") -> None:
        """`skip` each subject with its reason, after what it is about: "batch 4: "."""
        for subject, reason in reasons.items():
            self.skip(subject, about + reason)


class Result(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One run of one or more suites."""

    format: int = FORMAT
    created: str  # UTC, ISO 8601
    command: str  # the command line that made it
    model: str  # name of the model; `model_id` is the sha256 of its weights
    model_id: str
    resolution: int  # of the images, pixels
    quick: bool  # whether the short settings were used
    environment: dict[str, str]  # the machine and the software, name to value, as `environment.py` records it
    measurements: list[Measurement]
    skipped: list[Skipped] = []
    # what makes the run less trustworthy: a busy machine, a schedule missed; empty for a clean run
    flags: list[str] = []

    def find(self, suite: str, metric: str | None = None, **case: str | float) -> list[Measurement]:
        """The measurements of a suite, of one metric or of all, whose case holds these values."""
        return [
            one
            for one in self.measurements
            if one.suite == suite
            and metric in {None, one.metric}
            and all(one.case.get(name) == value for name, value in case.items())
        ]

    def doubts(self, suite: str | None = None) -> list[str]:
        """The flags that disqualify the run; with a suite, without those that speak of another suite alone."""
        others = {one.suite for one in self.measurements} - {suite} if suite else set()
        about_others = tuple(f"{other}{mark}" for other in others for mark in ":,")
        return [flag for flag in self.flags if not flag.startswith((NOTE, *about_others))]

    def left_out(self, suite: str) -> list[str]:
        """What a suite did not measure and why, subjects with one reason together."""
        reasons: dict[str, dict[str, None]] = {}
        for one in self.skipped:
            if one.suite == suite:
                reasons.setdefault(one.reason, {})[one.subject] = None
        return [f"{'; '.join(subjects)}: {reason}" for reason, subjects in reasons.items()]

    def save(self, folder: Path) -> Path:
        """Write `result.json` into the folder, which is made if need be; the file's path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / RESULT_FILE
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")
        return path

    @classmethod
    def load(cls, path: Path) -> Result:
        """Read a `result.json`, or the one in a folder.

        Raises BenchmarkError if the file does not exist or is not a result of this format.
        """
        file = path / RESULT_FILE if path.is_dir() else path
        try:
            result = msgspec.json.decode(file.read_bytes(), type=cls)
        except OSError as error:
            raise BenchmarkError(
                f"cannot read {file}: {error.strerror}; give a result.json of nonesuch bench"
            ) from error
        except msgspec.DecodeError as error:
            raise BenchmarkError(f"{file} is not a result of nonesuch bench ({error})") from error
        if result.format != FORMAT:
            raise BenchmarkError(f"{file} has format {result.format}; this version reads {FORMAT}")
        return result
