"""Random bytes to every method: only documented codes are returned, and the server keeps serving."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nonesuch.benchmarks.serve.server import ServerProcess
from nonesuch.client import Client
from nonesuch.engine.artifact import Artifact
from nonesuch.oip import open_inference_service_pb2
from nonesuch.v1 import admin_service_pb2, generation_service_pb2, model_service_pb2

MODULES = (generation_service_pb2, model_service_pb2, open_inference_service_pb2, admin_service_pb2)
ADMIN = "/nonesuch.v1.AdminService/"
METHODS = {
    f"/{service.full_name}/{method.name}": (method.input_type, method.server_streaming)
    for module in MODULES
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
    if method.name != "Drain"  # any valid message ends the server
}
DOCUMENTED = {
    "OK", "INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "UNIMPLEMENTED",
}  # fmt: skip
MESSAGES = 50  # in one example
ADMIN_MESSAGES = 5  # many of them load the model
EXAMPLES = 300
_F = FieldDescriptor
_INTEGERS = {
    _F.TYPE_UINT32: (0, 2**32 - 1), _F.TYPE_INT32: (-(2**31), 2**31 - 1),
    _F.TYPE_UINT64: (0, 2**64 - 1), _F.TYPE_INT64: (-(2**63), 2**63 - 1),
}  # fmt: skip


def values(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if field.type in _INTEGERS:
        low, high = _INTEGERS[field.type]
        return st.one_of(st.integers(max(low, 0), 9), st.integers(low, high))
    if field.type == _F.TYPE_ENUM:
        return st.integers(0, 12)
    if field.type == _F.TYPE_BOOL:
        return st.booleans()
    if field.type in {_F.TYPE_FLOAT, _F.TYPE_DOUBLE}:
        return st.one_of(st.floats(-2, 2), st.floats(width=32))
    if field.type == _F.TYPE_BYTES:
        return st.binary(max_size=64)
    if field.type == _F.TYPE_STRING:
        names = ["", "tiny", "seed", "z", "w", "ws", "image", "encoded", "UINT64", "FP32", "psi", "../etc", "\x00"]
        return st.one_of(st.sampled_from(names), st.text(max_size=20))
    assert field.message_type is not None
    return messages(field.message_type, depth - 1)


def messages(descriptor: Descriptor, depth: int = 4) -> st.SearchStrategy[Message]:
    """Messages of a type with some of their fields, down to a depth."""

    @st.composite
    def build(draw: st.DrawFn) -> Message:
        message = GetMessageClass(descriptor)()
        for field in descriptor.fields:
            nested = field.type == _F.TYPE_MESSAGE
            if (nested and depth <= 0) or not draw(st.booleans()):
                continue
            inner = field.message_type
            if inner is not None and inner.GetOptions().map_entry:
                value_field = inner.fields_by_name["value"]
                key = draw(values(inner.fields_by_name["key"], depth))
                getattr(message, field.name)[key].CopyFrom(draw(values(value_field, depth)))
            elif field.is_repeated:
                many = draw(st.lists(values(field, depth), max_size=12))
                getattr(message, field.name).extend(many)
            elif nested:
                getattr(message, field.name).CopyFrom(draw(values(field, depth)))
            else:
                setattr(message, field.name, draw(values(field, depth)))
        return message

    return build()


@st.composite
def payloads(draw: st.DrawFn, descriptor: Descriptor) -> bytes:
    """A message, a message with changed bytes, or random bytes."""
    kind = draw(st.integers(0, 3))
    if kind == 0:
        return draw(st.binary(max_size=80))
    data = bytearray(draw(messages(descriptor)).SerializeToString())
    if kind == 1 and data:
        for _ in range(draw(st.integers(1, 4))):
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    if kind == 2:
        data = data[: draw(st.integers(0, len(data)))]
    return bytes(data)


@pytest.fixture(scope="module")
def admin_address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"unix:{tmp_path_factory.mktemp('fuzz')}/admin"


@pytest.fixture(scope="module")
def server(artifact: Artifact, admin_address: str) -> Iterator[ServerProcess]:
    options = ["--max-images-per-stream", "16", "--log-level", "error", "--admin", admin_address]
    with ServerProcess(str(artifact.folder), options) as process:
        yield process


@pytest.fixture(scope="module")
def channel(server: ServerProcess) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.address) as channel:
        yield channel


@pytest.fixture(scope="module")
def admin_channel(server: ServerProcess, admin_address: str) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(admin_address) as channel:
        yield channel


@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(data=st.data())
def test_every_payload_gets_a_documented_status(
    server: ServerProcess, channel: grpc.Channel, admin_channel: grpc.Channel, data: st.DataObject
) -> None:
    method = data.draw(st.sampled_from(sorted(METHODS)))
    descriptor, streaming = METHODS[method]
    # One drawn message and its neighbours: drawing fifty would take longer than answering them.
    base = data.draw(payloads(descriptor))
    seeds = data.draw(st.randoms(use_true_random=False))
    admin = method.startswith(ADMIN)
    where = admin_channel if admin else channel
    call: Any = (where.unary_stream if streaming else where.unary_unary)(method)
    running: list[Any] = []
    for _ in range(ADMIN_MESSAGES if admin else MESSAGES):
        changed = bytearray(base)
        for _ in range(seeds.randint(0, 3)):
            position = seeds.randint(0, len(changed))
            changed[position : position + seeds.randint(0, 2)] = seeds.randbytes(seeds.randint(0, 3))
        payload = bytes(changed)
        running.append(call(payload, timeout=20) if streaming else call.future(payload, timeout=20))
    for one in running:
        try:
            for _ in one if streaming else [one.result()]:
                pass
            continue
        except grpc.RpcError as error:
            code, details = error.code(), str(error.details())
        assert code.name in DOCUMENTED, (method, base, code, details)
        assert "Traceback" not in details
        assert ".py" not in details
        assert len(details) <= 600
    assert Path(f"/proc/{server.pid}").exists()
    if admin:
        load: Any = admin_channel.unary_unary(f"{ADMIN}LoadModel")
        load(b"", timeout=20)  # it may have been unloaded


def test_the_next_good_call_works(server: ServerProcess) -> None:
    with Client(server.address) as client:
        assert client.generate(seed=1).data
        assert client.health() == "SERVING"
