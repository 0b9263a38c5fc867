"""Metrics and traces, with a real page and a real OpenTelemetry collector on loopback."""

from __future__ import annotations

import asyncio
import urllib.request
from concurrent import futures
from typing import Any

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from nonesuch.client import AsyncClient, ModelNotFoundError, OverloadedError, RequestError
from nonesuch.engine.errors import BackendUnavailableError, UnavailableError
from nonesuch.server.observing.tracing import Tracing

from ...conftest import RunServer

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def read(address: str) -> Samples:
    def get() -> str:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as page:
            return str(page.read().decode())

    families = text_string_to_metric_families(await asyncio.to_thread(get))
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


async def test_the_page_counts_what_happened(run_server: RunServer) -> None:
    async with run_server(metrics="127.0.0.1:0", cache_mib=1, images_per_s=1.0, burst_images=20) as server:
        async with AsyncClient(server.address, retries=False) as client:
            for seed in (1, 1, 2):
                await client.generate(seed=seed)
            assert len([image async for image in client.stream(range(10, 16))]) == 6
            with pytest.raises(RequestError):
                await client.generate(seed=1, psi=9)
            with pytest.raises(ModelNotFoundError):
                await client.generate(model="nobody")
            with pytest.raises(OverloadedError):
                async for _ in client.stream(range(20)):
                    pass
        found = await read(server.addresses["metrics"])
    model = (("model", "tiny"),)
    assert found["nonesuch_inference_request_success_total", model] == 8  # one of nine was in the cache
    assert found["nonesuch_inference_count_total", model] == 8
    runs = found["nonesuch_inference_exec_count_total", model]
    assert 1 <= runs <= 8
    assert found["nonesuch_inference_batch_size_count", model] == runs
    assert found["nonesuch_inference_batch_size_sum", model] == 8
    for part in ("request", "queue", "compute_infer", "compute_output"):
        assert found[f"nonesuch_inference_{part}_duration_us_total", model] > 0
    assert found["nonesuch_inference_pending_request_count", model] == 0
    assert found["nonesuch_batches_in_flight", model] == 0
    assert found["nonesuch_cache_num_hits", ()] == 1
    assert found["nonesuch_cache_num_misses", ()] == 9  # including the request whose psi was refused
    assert found["nonesuch_cache_bytes", ()] > 0
    method = ("method", "/nonesuch.v1.GenerationService/Generate")
    stream = ("method", "/nonesuch.v1.GenerationService/GenerateStream")
    assert found["nonesuch_inference_request_failure_total", (method, ("reason", "OTHER"))] == 2
    assert found["nonesuch_inference_request_failure_total", (stream, ("reason", "REJECTED"))] == 1
    assert found["nonesuch_call_duration_seconds_count", (("code", "OK"), method)] == 3
    assert found["process_resident_memory_bytes", ()] > 0


async def test_an_address_that_cannot_be_bound_stops_the_start(run_server: RunServer) -> None:
    async with run_server(metrics="127.0.0.1:0") as server:
        with pytest.raises(UnavailableError, match=r"cannot listen on .*--metrics HOST:PORT"):
            async with run_server(metrics=server.addresses["metrics"]):
                pass


async def test_a_collector_gets_a_span_per_call_with_its_stages(run_server: RunServer) -> None:
    trace_service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc")
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

    spans: list[Any] = []

    class Collector(trace_service.TraceServiceServicer):  # type: ignore[name-defined, misc]
        def Export(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802 - the wire's name
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    spans.extend(scope.spans)
            return trace_service_pb2.ExportTraceServiceResponse()

    collector = grpc.server(futures.ThreadPoolExecutor(2))
    trace_service.add_TraceServiceServicer_to_server(Collector(), collector)
    port = collector.add_insecure_port("127.0.0.1:0")
    collector.start()
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    try:
        async with run_server(otlp=f"http://127.0.0.1:{port}") as server:
            async with grpc.aio.insecure_channel(server.address) as channel:
                call: Any = channel.unary_unary("/nonesuch.v1.GenerationService/Generate")
                await call(b"", metadata=(("traceparent", parent), ("x-request-id", "t-1")))
                with pytest.raises(grpc.aio.AioRpcError):
                    await call(b"\xff")
        # Stopping the server sent the remaining spans.
    finally:
        collector.stop(0)
    by_name = {span.name: span for span in spans if span.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"}
    assert set(by_name) == {"nonesuch.v1.GenerationService/Generate", "queue", "inference", "encode"}
    root = by_name["nonesuch.v1.GenerationService/Generate"]
    assert root.parent_span_id.hex() == "b7ad6b7169203331"
    for part in ("queue", "inference", "encode"):
        assert by_name[part].parent_span_id == root.span_id
        assert by_name[part].end_time_unix_nano >= by_name[part].start_time_unix_nano
    failed = [span for span in spans if span.trace_id != root.trace_id]
    codes = {a.key: a.value.int_value for a in failed[0].attributes}
    assert codes["rpc.grpc.status_code"] == grpc.StatusCode.INVALID_ARGUMENT.value[0]


def test_without_the_extra_the_setting_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr("nonesuch.server.observing.tracing.import_module", missing)
    with pytest.raises(BackendUnavailableError, match=r"pip install 'nonesuch\[otel\]'"):
        Tracing("http://127.0.0.1:4317")
    Tracing().close()
