"""The errors that nonesuch raises on purpose, and the gRPC code of each.

    NonesuchError                        INTERNAL
    ├── InvalidRequestError              INVALID_ARGUMENT     the caller's values are wrong
    ├── ModelNotFoundError               NOT_FOUND            no model of that name or path
    ├── UnsupportedError                 UNIMPLEMENTED        understood, but this version does not do it
    ├── UnauthenticatedError             UNAUTHENTICATED      no key, or an unknown key
    ├── PermissionDeniedError            PERMISSION_DENIED    the key does not allow this
    ├── OverloadedError                  RESOURCE_EXHAUSTED   the queue or the caller's share of it is full
    ├── DeadlineError                    DEADLINE_EXCEEDED    dropped before it cost compute
    ├── SlowReaderError                  ABORTED              the caller did not read its answer
    ├── UnavailableError                 UNAVAILABLE          starting, draining or gone
    ├── ArtifactError                    FAILED_PRECONDITION  an artifact is damaged, altered or too new
    ├── PlanError                        FAILED_PRECONDITION  a compiled plan is damaged, altered, or does not fit
    ├── CheckpointError                  FAILED_PRECONDITION  a checkpoint cannot be read or converted
    ├── DownloadError                    UNAVAILABLE          a file could not be fetched
    ├── ExportMismatchError              INTERNAL             a graph disagrees with its reference
    └── BackendError                     INTERNAL             a runtime failed
        ├── BackendUnavailableError      FAILED_PRECONDITION  a runtime is not installed or not usable
        └── DeviceLostError              UNAVAILABLE          a device hangs or is gone; restart the process

Each message is one line: what was requested, what is available, what to do next.
The engine knows only the name of a code; `nonesuch.server` maps it to the status on the wire.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class FieldViolation:
    """One invalid field of a request, by its name on the wire, and the reason."""

    field: str
    description: str


class NonesuchError(Exception):
    """The base class of all errors that nonesuch raises on purpose."""

    code: str = "INTERNAL"

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))

    @property
    def message(self) -> str:
        """The error in one line."""
        return str(self.args[0])


class InvalidRequestError(NonesuchError):
    """Values that the caller must change; `violations` names the fields."""

    code = "INVALID_ARGUMENT"

    def __init__(self, violations: Sequence[FieldViolation] | FieldViolation) -> None:
        if isinstance(violations, FieldViolation):
            violations = [violations]
        if not violations:
            raise ValueError("an InvalidRequestError names at least one field")
        self.violations = tuple(violations)
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in self.violations))

    @classmethod
    def of(cls, field: str, description: str) -> InvalidRequestError:
        """The error for one field, by the engine's name for it; each wire replaces that name by its own."""
        return cls(FieldViolation(field, description))

    def under(self, prefix: str) -> InvalidRequestError:
        """The same violations with `prefix` before each field name."""
        return InvalidRequestError([FieldViolation(prefix + v.field, v.description) for v in self.violations])

    def renamed(self, names: Mapping[str, str]) -> InvalidRequestError:
        """The same violations with the fields renamed as `names` says."""
        return InvalidRequestError(
            [FieldViolation(names.get(v.field, v.field), v.description) for v in self.violations]
        )


class ModelNotFoundError(NonesuchError):
    """No model has the requested name or path."""

    code = "NOT_FOUND"


class UnsupportedError(NonesuchError):
    """A well-formed request that this version or model does not support."""

    code = "UNIMPLEMENTED"


class UnauthenticatedError(NonesuchError):
    """The server requires a key; the caller sent none, or an unknown one."""

    code = "UNAUTHENTICATED"


class PermissionDeniedError(NonesuchError):
    """The key is known but does not allow this."""

    code = "PERMISSION_DENIED"


class OverloadedError(NonesuchError):
    """The server is at capacity; `retry_after_ms` estimates when to retry."""

    code = "RESOURCE_EXHAUSTED"

    def __init__(self, message: str, *, retry_after_ms: int) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class DeadlineError(NonesuchError):
    """The caller's deadline passed before the work was started."""

    code = "DEADLINE_EXCEEDED"


class SlowReaderError(NonesuchError):
    """The caller did not read its images while others waited for the memory that they hold."""

    code = "ABORTED"


class UnavailableError(NonesuchError):
    """The service is starting, draining or has lost its device."""

    code = "UNAVAILABLE"


class ArtifactError(NonesuchError):
    """An artifact that is incomplete, altered, or of an unknown format."""

    code = "FAILED_PRECONDITION"


class PlanError(NonesuchError):
    """A compiled plan that is damaged, altered, or for another device or version."""

    code = "FAILED_PRECONDITION"


class CheckpointError(NonesuchError):
    """A checkpoint that cannot be read safely or does not describe a known network."""

    code = "FAILED_PRECONDITION"


class DownloadError(NonesuchError):
    """A file that could not be fetched, or differs from the published one."""

    code = "UNAVAILABLE"


class ExportMismatchError(NonesuchError):
    """An exported graph that disagrees with its reference; nothing was written."""


class BackendError(NonesuchError):
    """A runtime that failed while it loaded or ran a graph."""


class BackendUnavailableError(BackendError):
    """A requested backend that is not installed, or does not work on this machine."""

    code = "FAILED_PRECONDITION"


class DeviceLostError(BackendError):
    """A device that hangs or that the runtime lost; this process cannot use it again."""

    code = "UNAVAILABLE"
