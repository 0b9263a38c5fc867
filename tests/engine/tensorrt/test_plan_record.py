from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from nonesuch.engine.errors import PlanError
from nonesuch.engine.tensorrt.plan_record import Numerics, PlanRecord

from .conftest import OTHER_VALUES, make_record, make_spec

PLAN = b"the bytes of a plan"


def content() -> dict[str, Any]:
    """A valid record for the test to damage."""
    decoded: dict[str, Any] = json.loads(make_record(PLAN).encode())
    return decoded


def refusal(data: bytes) -> str:
    with pytest.raises(PlanError) as caught:
        PlanRecord.decode(data, "a.json")
    message = caught.value.message
    assert message.startswith("a.json ")
    assert "\n" not in message
    assert "build" in message
    assert "again" in message
    return message


@pytest.mark.parametrize("field", [None, *(name for name in OTHER_VALUES if name != "schema")])
def test_a_record_survives_its_encoding(field: str | None) -> None:
    spec = make_spec() if field is None else make_spec(**{field: OTHER_VALUES[field]})
    record = make_record(PLAN, spec)
    assert PlanRecord.decode(record.encode(), "a.json") == record


def test_a_comparison_survives_its_encoding() -> None:
    numerics = Numerics(status="compared", note="onnxruntime", psnr_db=61.5, max_error=1, seeds=(0, 1))
    record = PlanRecord.of(make_spec(), PLAN, created="", build_s=0.0, numerics=numerics)
    assert PlanRecord.decode(record.encode(), "a.json").numerics == numerics


def test_a_record_has_the_hash_of_its_plan_and_is_readable() -> None:
    record = make_record(PLAN)
    assert record.plan_sha256 == hashlib.sha256(PLAN).hexdigest()
    assert record.plan_bytes == len(PLAN)
    assert record.encode().endswith(b"}\n")
    assert len(record.encode().splitlines()) > 20


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"\xff\xfe",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"spec": 1}',
        b'{"spec": {}}',
        b'{"spec": {"schema": "1"}}',
        b'{"spec": {"schema": 1}}',
        b'{"spec": {"schema": 1, "x": "\xff"}}',
        b"[" * 100_000,
        bytes(range(256)),
    ],
    ids=lambda data: repr(data[:24]),
)
def test_invalid_records_are_rejected(data: bytes) -> None:
    assert "does not describe a plan" in refusal(data)


def test_truncated_records_are_rejected() -> None:
    whole = make_record(PLAN).encode()
    for length in range(len(whole) - 2):  # the last two bytes are its closing brace and a line end
        refusal(whole[:length])


@pytest.mark.parametrize("schema", [0, 2, 99, -1])
def test_another_schema_is_named(schema: int) -> None:
    changed = content()
    changed["spec"]["schema"] = schema
    changed["a field of that time"] = True
    message = refusal(json.dumps(changed).encode())
    assert f"has schema {schema}, this version of nonesuch reads 1; build the plan again" in message


@pytest.mark.parametrize("place", [(), ("spec",), ("numerics",), ("spec", "output"), ("spec", "profiles", 0)], ids=str)
def test_unknown_fields_are_rejected_at_every_level(place: tuple[str | int, ...]) -> None:
    changed = content()
    part: Any = changed
    for step in place:
        part = part[step]
    part["surprise"] = 1
    assert "unknown field `surprise`" in refusal(json.dumps(changed).encode())


@pytest.mark.parametrize("field", ["spec", "plan_sha256", "plan_bytes", "created", "build_s", "numerics"])
def test_a_missing_field_is_rejected(field: str) -> None:
    changed = content()
    del changed[field]
    assert field in refusal(json.dumps(changed).encode())


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("", "plan_sha256", "abc"),
        ("", "plan_sha256", "A" * 64),
        ("", "plan_bytes", 0),
        ("", "plan_bytes", "19"),
        ("", "build_s", None),
        ("spec", "batch_sizes", []),
        ("spec", "batch_sizes", [0]),
        ("spec", "batch_sizes", [1025]),
        ("spec", "profiles", []),
        ("spec", "model_id", "../../x"),
        ("spec", "backend", "onnxruntime"),
        ("spec", "precision", "int8"),
        ("spec", "sms", "86"),
    ],
)
def test_a_value_of_another_kind_is_rejected(part: str, field: str, value: object) -> None:
    changed = content()
    (changed[part] if part else changed)[field] = value
    assert field in refusal(json.dumps(changed).encode())


@pytest.mark.parametrize(
    ("numerics", "problem"),
    [
        ({"status": "compared", "note": ""}, "'compared' needs psnr_db and max_error"),
        ({"status": "compared", "note": "", "psnr_db": 50.0}, "'compared' needs psnr_db and max_error"),
        ({"status": "compared", "note": "", "max_error": 1}, "'compared' needs psnr_db and max_error"),
        (
            {"status": "not run", "note": "", "psnr_db": 50.0, "max_error": 1},
            "'compared' needs psnr_db and max_error",
        ),
        ({"status": "passed", "note": ""}, "neither 'not run' nor 'compared'"),
    ],
)
def test_a_comparison_without_its_figures_is_rejected(numerics: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Numerics(**numerics)
    assert problem in refusal(json.dumps(content() | {"numerics": numerics}).encode())
