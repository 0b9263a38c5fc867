"""The settings of a server, with the same names in the file, the environment and on the command line.

    built-in default  <  TOML file  <  NONESUCH_<NAME> in the environment  <  --<name> on the command line

docs/serving.md lists the descriptions, and a test compares both.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from nonesuch.engine.errors import FieldViolation, InvalidRequestError
from nonesuch.engine.session import SessionOptions

ENVIRONMENT_PREFIX = "NONESUCH_"
_LOOPBACK = "127.0.0.1:50051"
_FILE: ContextVar[dict[str, Any]] = ContextVar("_FILE", default={})  # noqa: B039 - never changed in place

Scope = Literal["generate", "bulk", "admin"]
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class _Table(BaseModel):
    """A table of the file; an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class ModelSettings(_Table):
    """One model: `[[models]]` in the file."""

    model: str = Field(min_length=1, description="name from `nonesuch models list`, or folder of an artifact")
    name: Name | None = Field(None, description="name for clients; default: the artifact's name")
    backend: str = Field("auto", description="name of the backend; see `nonesuch doctor`")
    device: str = Field("auto", description="device of the backend")
    threads: int | None = Field(None, ge=1, le=1024, description="threads of the session; default: as tuned")
    lanes: int | None = Field(None, ge=1, le=1024, description="images of a batch in parallel; default: as tuned")
    noise_mode: Literal["const", "none", "random"] | None = Field(None, description="noise mode of the variant")
    precision: Literal["fp32", "fp16"] | None = Field(None, description="precision of the variant")
    upsampling: str | None = Field(None, description="up-sampling form of the variant")
    deterministic: bool = Field(False, description="pad every run to `max_batch_size`")
    plans: str | None = Field(None, description="folder of plans from `nonesuch build --into`; default: the cache")
    cuda_graphs: bool = Field(False, description="run each batch of a TensorRT plan as a CUDA graph")
    load: Literal["start", "demand"] = Field("start", description="load it at the start, or at its first request")

    def session_options(self, max_batch_size: int) -> SessionOptions:
        """The options of its session. Idle threads sleep, which leaves cores to the event loop and the encoders."""
        return SessionOptions(
            device=self.device,
            max_batch_size=max_batch_size,
            deterministic=self.deterministic,
            threads=self.threads,
            lanes=self.lanes,
            spinning=False,
            noise=self.noise_mode,
            precision=self.precision,
            upsampling=self.upsampling,
            plans=self.plans,
            cuda_graphs=self.cuda_graphs,
        )


class KeySettings(_Table):
    """One API key: `[[keys]]` in the file; `nonesuch key` writes such a table."""

    name: Name = Field(description="name of the caller, for logs and limits")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the key, in hex")
    scopes: tuple[Scope, ...] = Field(("generate",), description="scopes: generate, bulk, admin")
    images_per_s: float | None = Field(None, gt=0, le=1e6, description="its rate limit; default: that of the server")
    burst_images: int | None = Field(None, ge=1, le=1_000_000, description="its burst; default: that of the server")


class TlsSettings(_Table):
    """TLS of the gRPC port: `[tls]` in the file. The files are reloaded when they change."""

    certificate: Path = Field(description="certificate chain, PEM")
    private_key: Path = Field(description="private key, PEM")
    client_ca: Path | None = Field(None, description="CA of the client certificates that are then required (mTLS)")


class ServerSettings(BaseSettings):
    """The settings of a server; all waits and sizes have limits.

    Raises:
        InvalidRequestError: invalid values, each under its name.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, frozen=True, extra="forbid", protected_namespaces=(), validate_default=False
    )

    grpc: str = Field(_LOOPBACK, description="address for gRPC, HOST:PORT or unix:PATH; port 0 selects a free one")
    admin: str | None = Field(None, description="address for the admin service, on loopback or unix:PATH; default: off")
    http: str | None = Field(None, description="address for the HTTP API and web page, HOST:PORT, no TLS; default: off")
    http_cors: bool = Field(False, description="allow other origins to use the HTTP API (CORS)")
    http_proxies: str | None = Field(
        None, description="comma-separated addresses of proxies whose X-Forwarded-For is trusted; default: none"
    )
    http_ready_faces: int = Field(4, ge=0, le=64, description="faces rendered ahead for visitors of the web page")
    http_source: str | None = Field(
        None, pattern=r"^https?://[!-~]+$", max_length=2048,
        description="URL of the program's source, linked from the web page; default: no link",
    )  # fmt: skip
    metrics: str | None = Field(None, description="address for the Prometheus page /metrics; default: off")
    models: tuple[ModelSettings, ...] = Field((), description="models, the default one first")
    model_memory_mib: int | None = Field(
        None, ge=1, description="max memory of models; then the least recently used is unloaded; default: no limit"
    )
    max_batch_size: int = Field(8, ge=1, le=1024, description="max images in one run")
    min_batch_gain: float = Field(
        0.1, ge=0, le=0.9, description="min share of the time per image that doubling a batch must save; 0: always grow"
    )
    queue_delay_ms: float = Field(
        0.0, ge=0, le=10_000, allow_inf_nan=False, description="max wait for more images while the device is idle"
    )
    queue_limit: int = Field(
        128, ge=1, le=100_000,
        description="max images in the queue; visitors and bulk together get at most 3/4 of it, bulk 1/2",
    )  # fmt: skip
    max_wait_ms: float = Field(
        30_000.0, ge=1, le=3_600_000, allow_inf_nan=False, description="max predicted wait; longer ones are refused"
    )
    run_timeout_s: float = Field(
        120.0,
        ge=0.1,
        le=3600,
        allow_inf_nan=False,
        description="max time of a run; then the device is lost, exit code 1",
    )
    max_images_per_stream: int = Field(1024, ge=1, le=1_000_000, description="max images of a stream")
    stalled_reader_s: float = Field(
        30.0,
        ge=0.1,
        le=3600,
        allow_inf_nan=False,
        description="time without a read after which a stream is ended; also the max time to receive a request",
    )
    encode_threads: int | None = Field(None, ge=1, le=256, description="threads for encoding; default: one per core")
    cache_mib: int = Field(0, ge=0, le=1_000_000, description="size of the cache of encoded images; 0: no cache")
    images_per_s: float | None = Field(None, gt=0, le=1e6, description="max images/s of one client; default: no limit")
    burst_images: int = Field(64, ge=1, le=1_000_000, description="max images of one client at once, within its rate")
    keys: tuple[KeySettings, ...] = Field((), description="API keys; if there are any, calls need one")
    tls: TlsSettings | None = Field(None, description="certificate and key for gRPC; default: no TLS")
    reflection: bool = Field(True, description="serve grpc.reflection")
    max_connections: int | None = Field(None, ge=1, le=1_000_000, description="max open connections; default: no limit")
    max_calls: int = Field(1024, ge=1, le=1_000_000, description="max concurrent calls; more are refused")
    max_calls_per_connection: int = Field(
        1000, ge=1, le=1_000_000, description="max calls of one connection; more are reset, or wait at the client"
    )
    keepalive_s: Seconds = Field(60.0, description="idle time before a connection is pinged; 0: never")
    connection_age_s: Seconds = Field(0.0, description="max age of a connection, for load balancing; 0: no limit")
    connection_grace_s: Seconds = Field(60.0, description="time for the calls of a connection after its max age")
    drain_delay_s: float = Field(
        0.5,
        ge=0,
        le=600,
        allow_inf_nan=False,
        description="on SIGTERM: time to report NOT_SERVING and still accept calls",
    )
    drain_s: float = Field(
        60.0, ge=0, le=3600, allow_inf_nan=False, description="after that: max time for accepted calls to finish"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="min level of log messages")
    log_json: bool | None = Field(
        None, description="JSON lines instead of text; default: text on a terminal, otherwise JSON"
    )
    uvloop: bool = Field(True, description="use uvloop if it is installed")
    otlp: str | None = Field(None, description="OTLP gRPC endpoint for traces, needs nonesuch[otel]; default: off")

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InvalidRequestError(_violations(error)) from error
        except SettingsError as error:  # a list or table in the environment is not JSON
            raise InvalidRequestError.of("environment", f"{error}; write it as JSON") from error

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The sources by precedence: arguments, environment, file; neither a .env file nor a secrets folder."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=_FILE.get())

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        names = [key.name for key in self.keys]
        if len(set(names)) != len(names):
            raise ValueError("keys: a name is not unique")
        if self.admin is not None and not _is_local(self.admin):
            raise ValueError("admin: the address must be on loopback or a unix socket")
        return self


def load_settings(file: Path | None = None, overrides: Mapping[str, Any] | None = None) -> ServerSettings:
    """The settings of a TOML file, the environment, and `overrides` from the command line; later ones take precedence.

    Raises:
        InvalidRequestError: the file cannot be read or is not TOML, or names or values are invalid; all are listed.
    """
    written: dict[str, Any] = {}
    if file is not None:
        try:
            written = tomllib.loads(file.read_text())
        except OSError as error:
            raise InvalidRequestError.of("config", f"{file} cannot be read ({error.strerror})") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InvalidRequestError.of("config", f"{file} is not TOML: {error}") from error

    token = _FILE.set(written)
    try:
        return ServerSettings(**dict(overrides or {}))
    finally:
        _FILE.reset(token)


def _violations(error: ValidationError) -> list[FieldViolation]:
    return [_violation(problem) for problem in error.errors(include_url=False)]


def _violation(problem: ErrorDetails) -> FieldViolation:
    path = ".".join(str(part) for part in problem["loc"])
    text, value = problem["msg"].removeprefix("Value error, "), problem.get("input")
    if not path:  # from `_check_consistency`; the text starts with a name
        name, _, text = text.partition(": ")
        return FieldViolation(name, text)
    if problem["type"] == "extra_forbidden":
        return FieldViolation(path, "there is no such setting; docs/serving.md lists all settings")
    if problem["type"] == "missing":
        return FieldViolation(path, "is required")
    if isinstance(value, int | float) and (bounds := _bounds(path)):
        return FieldViolation(path, f"{_number(value)} is out of range; it is {bounds}")
    # Values of keys are never quoted: a user may have written the key instead of its hash.
    shown = "" if isinstance(value, dict | list) or path.startswith("keys") else f"{value!r}: "
    return FieldViolation(path, f"{shown}{text[:1].lower()}{text[1:]}")


def _bounds(name: str) -> str:
    """The range of a number as text; empty without a range."""
    field = ServerSettings.model_fields.get(name)
    bounds = {key: value for rule in (field.metadata if field else ()) for key, value in _rule(rule)}
    if not bounds:
        return ""
    low = _number(bounds["ge"]) if "ge" in bounds else f"more than {_number(bounds['gt'])}" if "gt" in bounds else ""
    high = f"to {_number(bounds['le'])}" if "le" in bounds else "or more"
    return f"{low} {high}".strip()


def _number(value: float) -> str:
    return str(int(value)) if math.isfinite(value) and value == int(value) else f"{value:g}"


def _rule(rule: object) -> Iterator[tuple[str, float]]:
    for key in ("ge", "gt", "le"):
        if (value := getattr(rule, key, None)) is not None:
            yield key, value


def _is_local(address: str) -> bool:
    host = address.rpartition(":")[0]
    return address.startswith("unix:") or host in {"localhost", "[::1]"} or host.startswith("127.")
