"""Every error that nonesuch raises on purpose, and the gRPC code each one answers with.

    NonesuchError                        INTERNAL
    ├── InvalidRequestError              INVALID_ARGUMENT     the caller's values are wrong
    ├── ModelNotFoundError               NOT_FOUND            no model of that name or path
    ├── UnsupportedError                 UNIMPLEMENTED        understood, but this version does not do it
    ├── UnauthenticatedError             UNAUTHENTICATED      no key, or one that is not known
    ├── PermissionDeniedError            PERMISSION_DENIED    a key that may not do this
    ├── OverloadedError                  RESOURCE_EXHAUSTED   the queue is full, or a caller's share is; try again
    ├── DeadlineError                    DEADLINE_EXCEEDED    dropped before it cost compute
    ├── SlowReaderError                  ABORTED              an answer that the caller did not take
    ├── UnavailableError                 UNAVAILABLE          starting, draining or gone
    ├── ArtifactError                    FAILED_PRECONDITION  an artifact is damaged, altered or too new
    ├── PlanError                        FAILED_PRECONDITION  a compiled plan is damaged, altered, or does not fit
    ├── CheckpointError                  FAILED_PRECONDITION  a checkpoint cannot be read or converted
    ├── DownloadError                    UNAVAILABLE          a file could not be fetched
    ├── ExportMismatchError              INTERNAL             a graph disagrees with its reference
    └── BackendError                     INTERNAL             a runtime failed
        ├── BackendUnavailableError      FAILED_PRECONDITION  a runtime is not installed or not usable
        └── DeviceLostError              UNAVAILABLE          a device that hangs or is gone: only a new process helps

Each message is one line for the person who must act: what was asked, what there is, what to do next.
The engine knows the code only by its name; `nonesuch.server` turns names into wire status in one place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class FieldViolation:
    """One field of a request that is wrong, by its name on the wire, and why."""

    field: str
    description: str


class NonesuchError(Exception):
    """The root of the tree: catch this to catch everything that nonesuch raises on purpose."""

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
        """The refusal of one field, by the engine's name for it; each wire says its own name in its place."""
        return cls(FieldViolation(field, description))

    def under(self, prefix: str) -> InvalidRequestError:
        """The same violations, where the fields are part of something: `prefix` goes before their names."""
        return InvalidRequestError([FieldViolation(prefix + v.field, v.description) for v in self.violations])

    def renamed(self, names: Mapping[str, str]) -> InvalidRequestError:
        """The same violations, with the caller's own names for the engine's fields where it has others."""
        return InvalidRequestError(
            [FieldViolation(names.get(v.field, v.field), v.description) for v in self.violations]
        )


class ModelNotFoundError(NonesuchError):
    """No model of the name or path that was asked for."""

    code = "NOT_FOUND"


class UnsupportedError(NonesuchError):
    """A request that is well formed but that this version or model does not do."""

    code = "UNIMPLEMENTED"


class UnauthenticatedError(NonesuchError):
    """The server wants a key, and got none or one that it does not know."""

    code = "UNAUTHENTICATED"


class PermissionDeniedError(NonesuchError):
    """The key is known, and does not allow this."""

    code = "PERMISSION_DENIED"


class OverloadedError(NonesuchError):
    """No room now; `retry_after_ms` says when there is likely to be some."""

    code = "RESOURCE_EXHAUSTED"

    def __init__(self, message: str, *, retry_after_ms: int) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class DeadlineError(NonesuchError):
    """The caller's deadline passed before the work was started."""

    code = "DEADLINE_EXCEEDED"


class SlowReaderError(NonesuchError):
    """A caller that did not take its images while others wait for the memory that they hold."""

    code = "ABORTED"


class UnavailableError(NonesuchError):
    """The service is starting, draining or has lost its device."""

    code = "UNAVAILABLE"


class ArtifactError(NonesuchError):
    """An artifact that is incomplete, altered, or of a format this version does not know."""

    code = "FAILED_PRECONDITION"


class PlanError(NonesuchError):
    """A compiled plan that is damaged, altered, or for another device or version."""

    code = "FAILED_PRECONDITION"


class CheckpointError(NonesuchError):
    """A checkpoint that cannot be read safely or does not describe a known network."""

    code = "FAILED_PRECONDITION"


class DownloadError(NonesuchError):
    """A file that could not be fetched, or whose content is not what was published."""

    code = "UNAVAILABLE"


class ExportMismatchError(NonesuchError):
    """An exported graph that disagrees with its reference; nothing was written."""


class BackendError(NonesuchError):
    """A runtime that failed while it loaded or ran a graph."""


class BackendUnavailableError(BackendError):
    """A backend that was asked for by name and is not installed, or cannot work on this machine."""

    code = "FAILED_PRECONDITION"


class DeviceLostError(BackendError):
    """A device that hangs, or that the runtime has lost; nothing in this process can use it again."""

    code = "UNAVAILABLE"
