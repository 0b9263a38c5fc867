"""Calls a server with the real tritonclient and prints the answers as JSON; run by test_servicer.py.

It runs in a separate environment and process, because tritonclient needs an older protobuf, and its stubs have the same
names as ours.
"""

from __future__ import annotations

import base64
import json
import sys
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException


def main(address: str) -> dict[str, Any]:
    client = triton.InferenceServerClient(address)
    found: dict[str, Any] = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready("tiny"),
        "other_ready": client.is_model_ready("nobody"),
        "server": client.get_server_metadata(as_json=True),
        "model": client.get_model_metadata("tiny", as_json=True),
    }

    def tensor(name: str, array: np.ndarray, datatype: str) -> Any:
        made = triton.InferInput(name, list(array.shape), datatype)
        made.set_data_from_numpy(array)
        return made

    def infer(inputs: list[Any], outputs: list[str] | None = None, **more: Any) -> Any:
        wanted = None if outputs is None else [triton.InferRequestedOutput(name) for name in outputs]
        return client.infer("tiny", inputs, outputs=wanted, **more)

    def code(call: Any) -> list[str]:
        try:
            call()
        except InferenceServerException as error:
            return [str(error.status()), str(error.message())]
        return ["OK", ""]

    def b64(array: np.ndarray) -> str:
        return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()

    seeds = tensor("seed", np.array([3, 4, 5], np.uint64), "UINT64")
    answer = infer([seeds], request_id="a-7")
    image = answer.as_numpy("image")
    found["seed"] = {"shape": image.shape, "type": str(image.dtype), "data": b64(image), "id": answer.get_response().id}
    z = np.random.RandomState(3).randn(2, 10).astype(np.float32)
    signed = infer([tensor("z", z, "FP32")], ["image_fp32"], parameters={"psi": "0.5"}).as_numpy("image_fp32")
    found["z"] = {"shape": signed.shape, "type": str(signed.dtype), "data": b64(signed), "input": b64(z)}
    encoded = infer([seeds], ["encoded"], parameters={"format": "png", "size": 16}).as_numpy("encoded")
    found["encoded"] = [base64.b64encode(one).decode() for one in encoded]
    found["errors"] = {
        "unknown model": code(lambda: client.infer("nobody", [seeds])),
        "unknown version": code(lambda: client.infer("tiny", [seeds], model_version="7")),
        "unknown output": code(lambda: infer([seeds], ["pixels"])),
        "unknown parameter": code(lambda: infer([seeds], parameters={"speed": 1})),
        "bad psi": code(lambda: infer([seeds], parameters={"psi": "much"})),
        "psi out of range": code(lambda: infer([seeds], parameters={"psi": "7"})),
        "two sources": code(lambda: infer([seeds, tensor("z", z, "FP32")])),
        "too many": code(lambda: infer([tensor("seed", np.arange(9, dtype=np.uint64), "UINT64")])),
        "wrong shape": code(lambda: infer([tensor("z", z[:, :4], "FP32")])),
        "wrong type": code(lambda: infer([tensor("z", z.astype(np.float64), "FP64")])),
        "timeout": code(lambda: infer([seeds], client_timeout=0.000001)),
        "and then": code(lambda: infer([seeds])),
    }
    client.close()
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
