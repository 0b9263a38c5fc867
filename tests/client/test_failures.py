from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2  # type: ignore[import-untyped, unused-ignore]

from nonesuch.client import (
    AccessError,
    Client,
    ClientError,
    DeadlineError,
    ModelNotFoundError,
    RequestError,
    ServerError,
    UnavailableError,
    UnsupportedError,
)
from nonesuch.v1 import generation_service_pb2

Serve = Callable[..., str]
Refuse = Callable[..., None]
WAIT_S = 20.0  # generous: a test that waits this long has failed


def test_violations_are_parsed(serve: Serve, refuse: Refuse) -> None:
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="synthesis.psi", description="9 is not within [-2, 2]")
    bad.field_violations.add(field="image.size", description="500 is no power of two")

    def generate(request: Any, context: grpc.ServicerContext) -> None:
        refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "two fields\nare wrong", bad)

    with Client(serve(Generate=generate)) as client, pytest.raises(RequestError) as caught:
        client.generate(psi=9)
    assert caught.value.violations == (
        ("synthesis.psi", "9 is not within [-2, 2]"),
        ("image.size", "500 is no power of two"),
    )
    assert caught.value.violations[0].field == "synthesis.psi"
    assert caught.value.details == "two fields are wrong"
    assert "\n" not in str(caught.value)


def test_a_stalled_server_meets_the_deadline(serve: Serve) -> None:
    gone = threading.Event()

    def stall(request: Any, context: grpc.ServicerContext) -> Any:
        context.add_callback(gone.set)
        gone.wait(WAIT_S)
        return generation_service_pb2.GenerateResponse()

    with Client(serve(Generate=stall)) as client, pytest.raises(DeadlineError, match="deadline_s"):
        client.generate(deadline_s=0.3)
    assert gone.wait(WAIT_S)


def test_where_nothing_listens_the_address_is_named(silent_address: str) -> None:
    with Client(silent_address) as client, pytest.raises(UnavailableError, match=silent_address) as caught:
        client.generate()
    assert "wait_for_ready" in str(caught.value)


def test_wait_for_ready_waits_until_the_deadline(silent_address: str) -> None:
    with Client(silent_address) as client, pytest.raises(DeadlineError):
        client.models(deadline_s=0.3, wait_for_ready=True)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.NOT_FOUND, ModelNotFoundError),
        (grpc.StatusCode.UNIMPLEMENTED, UnsupportedError),
        (grpc.StatusCode.INTERNAL, ServerError),
        (grpc.StatusCode.FAILED_PRECONDITION, ServerError),
        (grpc.StatusCode.PERMISSION_DENIED, AccessError),
        (grpc.StatusCode.UNAUTHENTICATED, AccessError),
        (grpc.StatusCode.ABORTED, ServerError),
        (grpc.StatusCode.CANCELLED, ServerError),
    ],
)
def test_each_code_has_its_error(serve: Serve, code: grpc.StatusCode, kind: type[ClientError]) -> None:
    def generate(request: Any, context: grpc.ServicerContext) -> None:
        context.abort(code, "id 7f3a")

    address = serve(Generate=generate)
    with Client(address) as client, pytest.raises(ClientError) as caught:
        client.generate()
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.details) == (code, "id 7f3a")
    assert address in str(caught.value)
    assert "id 7f3a" in str(caught.value)
    assert isinstance(caught.value.__cause__, grpc.RpcError)


def test_a_service_that_is_not_there_is_unsupported(serve: Serve) -> None:
    with Client(serve()) as client, pytest.raises(UnsupportedError):
        client.generate()


def test_details_that_are_cut_off_do_not_hide_the_refusal(serve: Serve) -> None:
    def generate(request: Any, context: grpc.ServicerContext) -> None:
        context.set_trailing_metadata((("grpc-status-details-bin", b"\x12\xff"),))
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "psi is wrong")

    with Client(serve(Generate=generate)) as client, pytest.raises(RequestError, match="psi is wrong") as caught:
        client.generate()
    assert caught.value.violations == ()
