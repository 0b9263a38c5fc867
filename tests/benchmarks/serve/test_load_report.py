from __future__ import annotations

from dataclasses import replace

import pytest

from nonesuch.benchmarks.measurement import BenchmarkError
from nonesuch.benchmarks.serve.load_measurements import MAX_SAMPLES, load_flags, load_measurements
from nonesuch.benchmarks.serve.load_report import LoadReport, block_rates, quantile
from nonesuch.benchmarks.serve.request_record import LoadRun, RequestRecord


def record(scheduled_s: float, latency_s: float, code: str = "OK", lag_s: float = 0.0) -> RequestRecord:
    served = {"queue_ms": 4.0, "inference_ms": 5.0, "encode_ms": 1.0, "batch_size": 2} if code == "OK" else {}
    return RequestRecord(scheduled_s, scheduled_s + lag_s, scheduled_s + latency_s, code, **served)  # type: ignore[arg-type]


# Ten requests, one a second: eight images, of which two are late, one refusal, one that got no answer in time.
LATENCIES_S = (0.1, 0.1, 0.2, 0.1, 0.9, 0.1, 0.2, 1.0)
RUN = LoadRun(
    "open",
    [record(float(i), latency) for i, latency in enumerate(LATENCIES_S)]
    + [record(8, 0.01, "RESOURCE_EXHAUSTED"), record(9, 1.0, "DEADLINE_EXCEEDED")],
    offered_per_s=1.0,
)


def test_rates_count_images_and_goodput_those_within_the_slo() -> None:
    report = LoadReport.of(RUN, slo_ms=250)
    assert report.count == 10
    assert report.achieved_per_s == pytest.approx(8 / 10)
    assert report.goodput_per_s == pytest.approx(6 / 10)
    assert report.errors == {"RESOURCE_EXHAUSTED": 1, "DEADLINE_EXCEEDED": 1}
    assert (report.latency.p50, report.latency.p90, report.latency.max) == pytest.approx((200, 1000, 1000))
    assert (report.queue.p50, report.inference.p90, report.encode.p99) == (4, 5, 1)
    assert report.mean_batch == 2
    assert report.misses.missed == 0
    assert not report.misses.too_many


def test_goodput_is_timed_from_the_schedule() -> None:
    late = LoadRun("open", [replace(RUN.records[0], sent_s=0.05)], 1.0)
    assert late.records[0].sending_latency_ms == pytest.approx(50)
    assert LoadReport.of(late, slo_ms=60).goodput_per_s == 0


def test_a_miss_is_5_percent_of_the_median_late_and_at_least_1_ms() -> None:
    # The median is about 100 ms, so 5 ms is the tolerance.
    lags = [0.0] * 97 + [0.002, 0.004, 0.02]
    misses = LoadReport.of(LoadRun("open", [record(i, 0.1, lag_s=lag) for i, lag in enumerate(lags)], 1.0)).misses
    assert (misses.later_than_1_ms, misses.missed, misses.share) == (3, 1, 0.01)
    assert misses.max_lag_ms == pytest.approx(20)
    assert not misses.too_many  # 1 % is what may be
    quick = [record(i, 0.002, lag_s=lag) for i, lag in enumerate([0.0] * 8 + [0.0005, 0.0015])]
    misses = LoadReport.of(LoadRun("open", quick, 1.0)).misses
    assert (misses.tolerance_ms, misses.missed) == (1.0, 1)
    assert misses.too_many


def test_a_quantile_is_a_value_that_occurred() -> None:
    values = [float(n) for n in range(1, 11)]
    assert [quantile(values, share) for share in (0, 0.5, 0.89, 0.9, 1.0)] == [1, 6, 9, 10, 10]
    assert quantile([2.0, float("inf"), 1.0], 0.5) == 2
    with pytest.raises(BenchmarkError, match="nothing to take a percentile of"):
        quantile([], 0.5)


def test_block_rates_show_a_closed_loop_that_slows_down() -> None:
    ends = [0.1 * n for n in range(1, 11)] + [1 + 0.2 * n for n in range(1, 11)]
    run = LoadRun("closed", [RequestRecord(0, 0, end, "OK") for end in ends])
    assert block_rates(run) == pytest.approx([10, 10 * 4 / 4, 4 / 0.6, 5, 5], rel=0.2)
    assert block_rates(run, blocks=2) == pytest.approx([10, 5])
    assert len(block_rates(LoadRun("closed", run.records[:7]))) == 1


def by_metric(runs: list[LoadRun]) -> dict[str, list[float]]:
    case = {"loop": runs[0].loop, "load": 0.5}
    found = load_measurements(runs, subject="server", case=case, slo_ms=250)  # type: ignore[arg-type]
    assert all(measurement.suite == "serve" for measurement in found)
    assert len({measurement.key for measurement in found}) == len(found)
    return {" ".join([m.metric, str(m.case.get("code", ""))]).strip(): m.samples for m in found}


def test_measurements_keep_requests_in_order_and_one_rate_a_round() -> None:
    found = by_metric([RUN, RUN])
    assert found["latency_from_schedule"] == pytest.approx([1e3 * latency for latency in LATENCIES_S * 2])
    assert found["goodput_per_s"] == pytest.approx([0.6, 0.6])
    assert found["offered_per_s"] == [1.0, 1.0]
    assert found["errors RESOURCE_EXHAUSTED"] == pytest.approx([0.1])
    assert len(found["schedule_lag"]) == 20
    closed = by_metric([replace(RUN, loop="closed", offered_per_s=None)])
    assert not {"latency_from_schedule", "schedule_lag", "offered_per_s"} & set(closed)
    assert {"latency_from_sending", "images_per_s", "queue", "inference", "encode", "batch_size"} <= set(closed)


def test_samples_are_bounded_and_spread_over_the_run() -> None:
    run = LoadRun("open", [record(float(i), 0.1 + i) for i in range(MAX_SAMPLES * 3)], 1.0)
    samples = by_metric([run])["latency_from_schedule"]
    assert len(samples) == MAX_SAMPLES
    assert samples == sorted(samples)
    assert (samples[0], samples[-1]) == pytest.approx((100, 100 + 1e3 * (MAX_SAMPLES * 3 - 1)))


def test_flags_name_missed_schedules_and_failed_requests() -> None:
    assert load_flags([LoadRun("open", [record(0, 0.1)], 1.0)], "a case") == []
    late = LoadRun("open", [record(0, 0.1), record(1, 0.1, lag_s=0.05)], 1.0)
    assert "serve, a case: the generator missed its schedule: 1 requests (50.0%)" in load_flags([late], "a case")[0]
    assert "1 x DEADLINE_EXCEEDED, 1 x RESOURCE_EXHAUSTED" in load_flags([RUN], "a case")[-1]
