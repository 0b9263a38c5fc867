"""The sidecar of a plan: a JSON file with its spec, its hash and the result of its comparison.

A plan is never loaded without its sidecar: plans are code for a GPU, and the library's own check detects damage but not
tampering.
"""

from __future__ import annotations

import hashlib
from typing import Annotated

import msgspec

from ..errors import PlanError
from .build_spec import SCHEMA, BuildSpec

MAX_RECORD_BYTES = 1 << 20

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Numerics(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The comparison of a plan's images with those of ONNX Runtime on the CPU, for the same graph and seeds.

    Attributes:
        status: "compared", or "not run" without a device or ONNX Runtime.
        psnr_db: over all seeds; 99 for equal bytes.
        max_error: the largest difference of a pixel, in grey levels.
        seeds: the compared seeds.
        batch_sizes: the compared batch sizes, one per profile.
        note: the reference, or the reason for "not run".
    """

    status: str
    note: str
    psnr_db: float | None = None
    max_error: int | None = None
    seeds: tuple[int, ...] = ()
    batch_sizes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.status not in {"not run", "compared"}:
            raise ValueError(f"status {self.status!r} is neither 'not run' nor 'compared'")
        if (self.status == "compared") != (self.psnr_db is not None and self.max_error is not None):
            raise ValueError("'compared' needs psnr_db and max_error, 'not run' has neither")


class PlanRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything about a plan except its bytes.

    Attributes:
        spec: the spec that it was built from.
        plan_sha256: the hash of its bytes; `plan_bytes` is their number.
        created: UTC, ISO 8601.
        build_s: the duration of the build.
        numerics: the comparison with another runtime.
    """

    spec: BuildSpec
    plan_sha256: Sha256
    plan_bytes: Annotated[int, msgspec.Meta(ge=1)]
    created: str
    build_s: float
    numerics: Numerics

    @classmethod
    def of(cls, spec: BuildSpec, plan: bytes, *, created: str, build_s: float, numerics: Numerics) -> PlanRecord:
        """The record of a plan's bytes."""
        digest = hashlib.sha256(plan).hexdigest()
        return cls(
            spec=spec,
            plan_sha256=digest,
            plan_bytes=len(plan),
            created=created,
            build_s=build_s,
            numerics=numerics,
        )

    def encode(self) -> bytes:
        """The record as indented JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"

    @classmethod
    def decode(cls, data: bytes, label: str) -> PlanRecord:
        """Read a record; `label` names it in errors.

        Raises:
            PlanError: the data is not a record, or is from another version of nonesuch.
        """
        try:
            schema = msgspec.json.decode(data, type=_Header).spec.schema
            if schema == SCHEMA:
                return msgspec.json.decode(data, type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise PlanError(f"{label} does not describe a plan ({error}); delete it and build again") from error
        raise PlanError(f"{label} has schema {schema}, this version of nonesuch reads {SCHEMA}; build the plan again")


class _SpecHeader(msgspec.Struct):
    schema: int


class _Header(msgspec.Struct):
    spec: _SpecHeader
