"""The Open Inference Protocol, with the real tritonclient for raw contents, and with messages for the rest."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image

from nonesuch.benchmarks.peers.venv import python_with
from nonesuch.engine import __version__
from nonesuch.engine.downscale import downscale
from nonesuch.engine.generator import Generator
from nonesuch.engine.home import Home
from nonesuch.oip import open_inference_service_pb2 as pb
from nonesuch.oip import open_inference_service_pb2_grpc

from ...conftest import REPOSITORY, RunServer

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def triton_python() -> Path:
    """An interpreter with tritonclient in a separate environment, because it needs an older protobuf."""
    home = Home(Path(os.environ.get("NONESUCH_TEST_HOME", REPOSITORY / ".cache" / "home")))
    return python_with("tritonclient", (HERE / "triton_pins.txt").read_text().split(), home)


async def test_tritonclient_works_unchanged(run_server: RunServer, generator: Generator, triton_python: Path) -> None:
    async with run_server() as server:
        process = await asyncio.create_subprocess_exec(
            str(triton_python), str(HERE / "triton_calls.py"), server.address,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, error = await process.communicate()
        assert process.returncode == 0, error.decode()
        (model,) = server.registry.loaded
        build_id = model.build_id()
    found: dict[str, Any] = json.loads(out)
    assert (found["live"], found["ready"], found["model_ready"], found["other_ready"]) == (True, True, True, False)
    assert found["server"] == {"name": "nonesuch", "version": __version__}
    assert found["model"]["versions"] == [build_id]
    assert {(one["name"], one["datatype"], *one["shape"]) for one in found["model"]["inputs"]} == {
        ("seed", "UINT64", "-1"), ("z", "FP32", "-1", "10"), ("w", "FP32", "-1", "12"), ("ws", "FP32", "-1", "8", "12"),
    }  # fmt: skip
    assert {(one["name"], one["datatype"]) for one in found["model"]["outputs"]} == {
        ("image", "UINT8"), ("image_fp32", "FP32"), ("encoded", "BYTES"),
    }  # fmt: skip

    expected = generator.generate([3, 4, 5])
    assert found["seed"]["shape"] == [3, 32, 32, 3]
    assert found["seed"]["type"] == "uint8"
    assert found["seed"]["id"] == "a-7"
    assert base64.b64decode(found["seed"]["data"]) == expected.tobytes()

    z = np.frombuffer(base64.b64decode(found["z"]["input"]), np.float32).reshape(2, 10)
    signed = np.frombuffer(base64.b64decode(found["z"]["data"]), np.float32).reshape(found["z"]["shape"])
    levels = generator.generate(z=z, psi=0.5)
    # The middle of a level's interval: half a level from its edges, also at -1 and 1.
    np.testing.assert_allclose(signed.transpose(0, 2, 3, 1), (levels.astype(float) - 127.5) / 127.5, atol=1e-6)

    for data, picture in zip(found["encoded"], expected, strict=True):
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            np.testing.assert_array_equal(np.asarray(image), downscale(picture, 16))

    errors = {name: (status.removeprefix("StatusCode."), text) for name, (status, text) in found["errors"].items()}
    codes = {name: code for name, (code, _) in errors.items()}
    assert codes == {
        "unknown model": "NOT_FOUND",
        "unknown version": "NOT_FOUND",
        "unknown output": "INVALID_ARGUMENT",
        "unknown parameter": "INVALID_ARGUMENT",
        "bad psi": "INVALID_ARGUMENT",
        "psi out of range": "INVALID_ARGUMENT",
        "two sources": "INVALID_ARGUMENT",
        "too many": "INVALID_ARGUMENT",
        "wrong shape": "INVALID_ARGUMENT",
        "wrong type": "INVALID_ARGUMENT",
        "timeout": "DEADLINE_EXCEEDED",
        "and then": "OK",
    }
    assert "'pixels' is unknown; there are image, image_fp32, encoded" in errors["unknown output"][1]
    assert "shape [9] does not fit [1 to 8]" in errors["too many"][1]


def tensor(name: str, datatype: str, shape: list[int], **contents: list[Any]) -> pb.ModelInferRequest.InferInputTensor:
    made = pb.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape)
    if contents:
        made.contents.CopyFrom(pb.InferTensorContents(**contents))
    return made


async def test_typed_contents_are_answered_with_typed_contents(run_server: RunServer, generator: Generator) -> None:
    expected = generator.generate([7])
    async with run_server() as server, grpc.aio.insecure_channel(server.address) as channel:
        stub = open_inference_service_pb2_grpc.GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        for datatype, contents in (
            ("UINT64", {"uint64_contents": [7]}),
            ("INT64", {"int64_contents": [7]}),
            ("INT32", {"int_contents": [7]}),
            ("UINT32", {"uint_contents": [7]}),
        ):
            seed = tensor("seed", datatype, [1, 1], **contents)
            answer = await stub.ModelInfer(pb.ModelInferRequest(model_name="tiny", inputs=[seed]))
            (output,) = answer.outputs
            assert (output.name, output.datatype, list(output.shape)) == ("image", "UINT8", [1, 32, 32, 3])
            assert not answer.raw_output_contents
            assert np.array(output.contents.uint_contents, np.uint8).tobytes() == expected.tobytes()
        w = generator.styles([7], psi=1.0)[:, 0]
        request = pb.ModelInferRequest(
            model_name="tiny", inputs=[tensor("w", "FP32", [1, 12], fp32_contents=list(w[0]))]
        )
        request.parameters["psi"].double_param = 0.7
        request.outputs.add(name="encoded")
        answer = await stub.ModelInfer(request)
        (data,) = answer.outputs[0].contents.bytes_contents
        with Image.open(io.BytesIO(data)) as image:
            assert image.format == "JPEG"
            assert image.size == (32, 32)


async def test_invalid_contents_are_refused_with_their_location(run_server: RunServer) -> None:
    seed = tensor("seed", "UINT64", [1], uint64_contents=[7])
    raw_seed = tensor("seed", "UINT64", [1])
    eight = (7).to_bytes(8, "little")
    cases = [
        (pb.ModelInferRequest(inputs=[seed], raw_input_contents=[eight]), "inputs[0].contents: is set beside raw"),
        (
            pb.ModelInferRequest(inputs=[raw_seed], raw_input_contents=[eight, eight]),
            "raw_input_contents: 2 for 1 inputs",
        ),
        (pb.ModelInferRequest(inputs=[raw_seed], raw_input_contents=[b"123"]), "not a multiple of the size of UINT64"),
        (pb.ModelInferRequest(inputs=[raw_seed], raw_input_contents=[eight * 2]), "does not match the 2 values"),
        (pb.ModelInferRequest(inputs=[raw_seed]), "does not match the 0 values"),
        (pb.ModelInferRequest(inputs=[tensor("seed", "UINT64", [-1], uint64_contents=[7])]), "[-1] does not match"),
        # Sides that would take minutes to multiply, and more of them than an array can have.
        (
            pb.ModelInferRequest(inputs=[tensor("seed", "UINT64", [2**62] * 50_000, uint64_contents=[7])]),
            "does not match",
        ),
        (pb.ModelInferRequest(inputs=[tensor("seed", "UINT64", [1] * 70, uint64_contents=[7])]), "does not match"),
        (pb.ModelInferRequest(inputs=[tensor("seed", "UINT64", [0, 2**40, 2**40])]), "does not match"),
        (pb.ModelInferRequest(inputs=[seed, seed]), "'seed' is not unique"),
        (pb.ModelInferRequest(), "none given; send exactly one of seed, z, w, ws"),
        (
            pb.ModelInferRequest(inputs=[tensor("seed", "BYTES", [1], bytes_contents=[b"7"])]),
            "BYTES' is not supported",
        ),
        (pb.ModelInferRequest(inputs=[tensor("seed", "INT64", [1], int64_contents=[-1])]), "-1 is out of range"),
        (pb.ModelInferRequest(inputs=[tensor("seed", "FP32", [1], fp32_contents=[7])]), "use UINT64"),
        (
            pb.ModelInferRequest(inputs=[seed], outputs=[{"name": "image"}, {"name": "encoded"}]),
            "encoded must be the only output",
        ),
        (
            pb.ModelInferRequest(inputs=[seed], parameters={"format": pb.InferParameter(string_param="png")}),
            "applies only to the output encoded",
        ),
        (
            pb.ModelInferRequest(inputs=[seed], parameters={"size": pb.InferParameter(int64_param=48)}),
            "size: 48 is",
        ),
        (
            pb.ModelInferRequest(inputs=[seed], parameters={"psi": pb.InferParameter(bool_param=True)}),
            "is not a number",
        ),
    ]
    async with run_server() as server, grpc.aio.insecure_channel(server.address) as channel:
        stub = open_inference_service_pb2_grpc.GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        for request, text in cases:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.ModelInfer(request)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT, text
            assert text in str(caught.value.details())
        twice = pb.ModelInferRequest(inputs=[seed], outputs=[{"name": "encoded"}, {"name": "encoded"}])
        assert len((await stub.ModelInfer(twice)).outputs) == 1
        timed = pb.ModelInferRequest(inputs=[seed], parameters={"timeout": pb.InferParameter(int64_param=5)})
        assert (await stub.ModelInfer(timed)).outputs  # a parameter that tritonclient adds
