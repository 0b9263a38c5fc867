"""The sidecar of a plan: JSON beside it that says what it was built from, and whether it was ever compared.

A plan without its sidecar is never loaded: plans are code for a GPU, and the library's own check of them finds damage
but no tampering.
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
    """How a plan's images compare with those of ONNX Runtime on the CPU, from the same graph and seeds.

    Attributes:
        status: "not run" where there was no device or no ONNX Runtime, with the reason in `note`; else "compared".
        psnr_db: over all seeds; 99 for equal bytes.
        max_error: the largest difference of a pixel, in grey levels.
        seeds: that were compared, and `batch_sizes` in which: one of each profile.
        note: with what, or why not.
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
            raise ValueError("only a comparison has figures")


class PlanRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that is known of a plan besides its bytes.

    Attributes:
        spec: what it was built from.
        plan_sha256: of its bytes, and `plan_bytes` their number.
        created: UTC, ISO 8601.
        build_s: how long the build took.
        numerics: how its images compare with another runtime's.
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
            PlanError: it is no record, or of another version of nonesuch.
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
