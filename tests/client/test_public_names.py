from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

import nonesuch.client
from nonesuch.client import ClientError, OverloadedError, RequestError


def test_public_names_are_pinned() -> None:
    assert sorted(nonesuch.client.__all__) == [
        "AccessError",
        "AdminClient",
        "AsyncClient",
        "Client",
        "ClientError",
        "DEFAULT_DEADLINE_S",
        "DeadlineError",
        "FieldViolation",
        "GenerateOptions",
        "GeneratedImage",
        "Keyframe",
        "Limits",
        "Mixing",
        "ModelInfo",
        "ModelNotFoundError",
        "ModelState",
        "OverloadedError",
        "RequestError",
        "ServerError",
        "Timing",
        "UnavailableError",
        "UnsupportedError",
        "WalkOptions",
        "WsIndex",
        "tls_credentials",
    ]
    assert all(hasattr(nonesuch.client, name) for name in nonesuch.client.__all__)


def test_the_import_needs_nothing_of_the_engine_and_no_imaging_library() -> None:
    program = (
        "import sys, nonesuch.client; "
        "print(*sorted({'numpy', 'PIL', 'nonesuch.engine', 'onnxruntime', 'torch'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    "error",
    [
        RequestError.of("format", "'gif' is unknown"),
        OverloadedError("full", details="full", retry_after_s=1.5),
        ClientError("odd", details="odd"),
    ],
)
def test_errors_cross_process_boundaries(error: ClientError) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
