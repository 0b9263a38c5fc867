"""Everything that a server can be told: one name for a setting in the file, the environment and on the command line.

    built-in default  <  TOML file  <  NONESUCH_<NAME> in the environment  <  --<name> on the command line

The descriptions are those of the reference in docs/serving.md, which a test holds against them.
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

__all__ = ["ENVIRONMENT_PREFIX", "KeySettings", "ModelSettings", "ServerSettings", "TlsSettings", "load_settings"]

ENVIRONMENT_PREFIX = "NONESUCH_"
_LOOPBACK = "127.0.0.1:50051"
_FILE: ContextVar[dict[str, Any]] = ContextVar("_FILE", default={})  # noqa: B039 - never changed in place

Scope = Literal["generate", "bulk", "admin"]
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class _Table(BaseModel):
    """A table of the file; a name that is not known is a mistake, not a wish."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class ModelSettings(_Table):
    """One model: `[[models]]` in the file."""

    model: str = Field(min_length=1, description="a name of `nonesuch models list`, or an artifact's folder")
    name: Name | None = Field(None, description="what clients call it; unset: the artifact's own name")
    backend: str = Field("auto", description="a backend's name; see `nonesuch doctor`")
    device: str = Field("auto", description="the backend's device")
    threads: int | None = Field(None, ge=1, le=1024, description="threads of the session; unset: as tuned")
    lanes: int | None = Field(None, ge=1, le=1024, description="images of a batch side by side; unset: as tuned")
    noise_mode: Literal["const", "none", "random"] | None = Field(None, description="choose a variant by its noise")
    precision: Literal["fp32", "fp16"] | None = Field(None, description="choose a variant by its precision")
    upsampling: str | None = Field(None, description="choose a variant by its up-sampling")
    deterministic: bool = Field(False, description="pad every run to `max_batch_size`")
    plans: str | None = Field(None, description="folder of TensorRT plans of `nonesuch build --into`; unset: the cache")
    cuda_graphs: bool = Field(False, description="launch each batch of a TensorRT plan as a CUDA graph")
    load: Literal["start", "demand"] = Field("start", description="load it at the start, or at its first request")

    def session_options(self, max_batch_size: int) -> SessionOptions:
        """The options of its session. Idle threads sleep: busy ones would take cores from the loop and the encoders."""
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

    name: Name = Field(description="who it belongs to; in logs and limits")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="hash of the key; the key itself is kept nowhere")
    scopes: tuple[Scope, ...] = Field(("generate",), description="what it allows: generate, bulk, admin")
    images_per_s: float | None = Field(None, gt=0, le=1e6, description="its own rate instead of `images_per_s`")
    burst_images: int | None = Field(None, ge=1, le=1_000_000, description="its own burst instead of `burst_images`")


class TlsSettings(_Table):
    """TLS of the gRPC port: `[tls]` in the file. The files are read again when they change."""

    certificate: Path = Field(description="certificate chain, PEM")
    private_key: Path = Field(description="its key, PEM")
    client_ca: Path | None = Field(None, description="with it clients must show a certificate that it signed (mTLS)")


class ServerSettings(BaseSettings):
    """Settings of one server; every wait and every size is bounded.

    Raises:
        InvalidRequestError: values that cannot be, each under its name.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, frozen=True, extra="forbid", protected_namespaces=(), validate_default=False
    )

    grpc: str = Field(
        _LOOPBACK, description="address of the gRPC port, HOST:PORT or unix:PATH; port 0 takes a free one"
    )
    admin: str | None = Field(None, description="address of the admin service, loopback or unix:PATH; unset: none")
    http: str | None = Field(None, description="address of the HTTP API, HOST:PORT, in clear; unset: none")
    http_cors: bool = Field(False, description="let pages of other origins read the HTTP API")
    http_proxies: str | None = Field(
        None, description="addresses of proxies, with commas, whose X-Forwarded-For says who calls; unset: of none"
    )
    http_ready_faces: int = Field(4, ge=0, le=64, description="faces made ahead for visitors of the HTTP API")
    http_source: str | None = Field(
        None, pattern=r"^https?://[!-~]+$", max_length=2048,
        description="URL of the program's source, linked at the foot of the page; unset: not linked",
    )  # fmt: skip
    metrics: str | None = Field(None, description="address of the Prometheus page /metrics; unset: none")
    models: tuple[ModelSettings, ...] = Field((), description="the models, the default first")
    model_memory_mib: int | None = Field(
        None, ge=1, description="memory of loaded models; the one idle for longest makes room. Unset: no bound"
    )
    max_batch_size: int = Field(8, ge=1, le=1024, description="images in one run at most")
    min_batch_gain: float = Field(
        0.1, ge=0, le=0.9, description="grow a batch while doubling saves this share of the time per image; 0: always"
    )
    queue_delay_ms: float = Field(
        0.0, ge=0, le=10_000, allow_inf_nan=False, description="how long a batch may wait for company on an idle device"
    )
    queue_limit: int = Field(
        128, ge=1, le=100_000,
        description="images that may wait; three quarters of them may be of visitors and bulk, half of bulk",
    )  # fmt: skip
    max_wait_ms: float = Field(
        30_000.0, ge=1, le=3_600_000, allow_inf_nan=False, description="longest wait, by prediction, that is accepted"
    )
    run_timeout_s: float = Field(
        120.0, ge=0.1, le=3600, allow_inf_nan=False, description="a run that takes longer: the device hangs; exit 1"
    )
    max_images_per_stream: int = Field(1024, ge=1, le=1_000_000, description="longer streams are refused")
    stalled_reader_s: float = Field(
        30.0,
        ge=0.1,
        le=3600,
        allow_inf_nan=False,
        description="a stream whose reader takes nothing so long is ended, as is a request that is not here after it",
    )
    encode_threads: int | None = Field(None, ge=1, le=256, description="threads that encode; unset: one for each core")
    cache_mib: int = Field(0, ge=0, le=1_000_000, description="encoded images kept for equal requests; 0: none")
    images_per_s: float | None = Field(None, gt=0, le=1e6, description="images a second of one client; unset: no limit")
    burst_images: int = Field(64, ge=1, le=1_000_000, description="images that a client may ask for at once, within it")
    keys: tuple[KeySettings, ...] = Field((), description="API keys; with any, calls need one")
    tls: TlsSettings | None = Field(None, description="certificate and key of the gRPC port; unset: plain text")
    reflection: bool = Field(True, description="serve grpc.reflection")
    max_connections: int | None = Field(None, ge=1, le=1_000_000, description="open connections; unset: no limit")
    max_calls: int = Field(1024, ge=1, le=1_000_000, description="calls that run at once; one more is refused")
    max_calls_per_connection: int = Field(
        1000, ge=1, le=1_000_000, description="streams of one connection; one more is reset, or waits at the client"
    )
    keepalive_s: Seconds = Field(60.0, description="ping a silent connection after so long; 0: never")
    connection_age_s: Seconds = Field(0.0, description="end connections so old, so that balancers spread; 0: never")
    connection_grace_s: Seconds = Field(60.0, description="and let their calls run on for so long")
    drain_delay_s: float = Field(
        0.5, ge=0, le=600, allow_inf_nan=False, description="on SIGTERM: say NOT_SERVING, and still take calls"
    )
    drain_s: float = Field(
        60.0, ge=0, le=3600, allow_inf_nan=False, description="then: how long accepted calls may take to finish"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level of the log")
    log_json: bool | None = Field(None, description="JSON lines or text; unset: text on a terminal")
    uvloop: bool = Field(True, description="use uvloop where it is installed")
    otlp: str | None = Field(None, description="OTLP gRPC endpoint for traces, nonesuch[otel]; unset: none")

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InvalidRequestError(_violations(error)) from error
        except SettingsError as error:  # a list or a table in the environment that is no JSON
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
        """Arguments, then the environment, then the file; no .env file and no secrets folder is looked for."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=_FILE.get())

    @model_validator(mode="after")
    def _are_consistent(self) -> Self:
        names = [key.name for key in self.keys]
        if len(set(names)) != len(names):
            raise ValueError("keys: two have the same name")
        if self.admin is not None and not _is_local(self.admin):
            raise ValueError("admin: it listens on loopback or a unix socket only")
        return self


def load_settings(file: Path | None = None, overrides: Mapping[str, Any] | None = None) -> ServerSettings:
    """The settings of a TOML file, the environment, and `overrides` from the command line, each over the former.

    Raises:
        InvalidRequestError: the file cannot be read or is no TOML; names or values that cannot be, all at once.
    """
    written: dict[str, Any] = {}
    if file is not None:
        try:
            written = tomllib.loads(file.read_text())
        except OSError as error:
            raise InvalidRequestError.of("config", f"{file} cannot be read ({error.strerror})") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InvalidRequestError.of("config", f"{file} is no TOML: {error}") from error

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
    if not path:  # of the settings as a whole; the text starts with a name
        name, _, text = text.partition(": ")
        return FieldViolation(name, text)
    if problem["type"] == "extra_forbidden":
        return FieldViolation(path, "there is no such setting; docs/serving.md has them all")
    if problem["type"] == "missing":
        return FieldViolation(path, "is required")
    if isinstance(value, int | float) and (bounds := _bounds(path)):
        return FieldViolation(path, f"{_number(value)} is out of range; it is {bounds}")
    # Of keys nothing is quoted: somebody may have written one where its hash belongs.
    shown = "" if isinstance(value, dict | list) or path.startswith("keys") else f"{value!r}: "
    return FieldViolation(path, f"{shown}{text[:1].lower()}{text[1:]}")


def _bounds(name: str) -> str:
    """The range of a number, in words; empty where it has none."""
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
