from __future__ import annotations

from pathlib import Path

import pytest

from nonesuch.engine.errors import InvalidRequestError
from nonesuch.server.settings import KeySettings, ModelSettings, ServerSettings, load_settings

HASH = "0" * 64


def fields(caught: pytest.ExceptionInfo[InvalidRequestError]) -> dict[str, str]:
    return {violation.field: violation.description for violation in caught.value.violations}


def test_all_invalid_settings_are_listed() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        ServerSettings(max_batch_size=0, queue_limit=-1, queue_delay_ms=float("nan"), log_level="loud")
    found = fields(caught)
    assert set(found) == {"max_batch_size", "queue_limit", "queue_delay_ms", "log_level"}
    assert found["max_batch_size"] == "0 is out of range; it is 1 to 1024"


def test_the_defaults_are_valid_and_listen_on_loopback() -> None:
    assert ServerSettings().grpc.startswith("127.0.0.1:")


def test_the_command_line_overrides_the_environment_and_both_override_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "server.toml"
    file.write_text(
        f"""
        queue_limit = 10
        max_batch_size = 2
        drain_s = 5
        [[models]]
        model = "faces"
        load = "demand"
        [[keys]]
        name = "anna"
        sha256 = "{HASH}"
        scopes = ["generate", "bulk"]
        [tls]
        certificate = "c.pem"
        private_key = "k.pem"
        """
    )
    monkeypatch.setenv("NONESUCH_QUEUE_LIMIT", "20")
    monkeypatch.setenv("NONESUCH_MAX_BATCH_SIZE", "4")
    monkeypatch.setenv("NONESUCH_SOMETHING_ELSE", "1")
    settings = load_settings(file, {"max_batch_size": 8})
    assert (settings.drain_s, settings.queue_limit, settings.max_batch_size) == (5, 20, 8)
    assert settings.models == (ModelSettings(model="faces", load="demand"),)
    assert settings.keys == (KeySettings(name="anna", sha256=HASH, scopes=("generate", "bulk")),)
    assert settings.tls is not None
    assert settings.tls.certificate == Path("c.pem")
    assert ServerSettings().drain_s == 60  # the file is of that call alone
    monkeypatch.setenv("NONESUCH_MODELS", '[{"model": "cats"}]')
    assert load_settings(file).models == (ModelSettings(model="cats"),)
    monkeypatch.setenv("NONESUCH_MODELS", "cats")
    with pytest.raises(InvalidRequestError, match="write it as JSON"):
        load_settings(file)


@pytest.mark.parametrize(
    ("text", "field", "problem"),
    [
        ("queue_limits = 3", "queue_limits", "there is no such setting"),
        ("[[models]]\nmodel = 'a'\nspeed = 3", "models.0.speed", "there is no such setting"),
        ("[[models]]\nname = 'a'", "models.0.model", "required"),
        ("[[keys]]\nname = 'a'\nsha256 = 'abc'", "keys.0.sha256", "match pattern"),
        (f"[[keys]]\nname = 'a'\nsha256 = '{HASH}'\nscopes = ['root']", "keys.0.scopes.0", "input should be"),
        (
            f"[[keys]]\nname = 'a'\nsha256 = '{HASH}'\n[[keys]]\nname = 'a'\nsha256 = '{HASH}'",
            "keys", "a name is not unique",
        ),
        ("admin = '0.0.0.0:7000'", "admin", "the address must be on loopback or a unix socket"),
        ("tls = 3", "tls", "3"),
        ("queue_limit = ", "config", "is not TOML"),
    ],
)  # fmt: skip
def test_an_invalid_file_names_the_setting(tmp_path: Path, text: str, field: str, problem: str) -> None:
    file = tmp_path / "server.toml"
    file.write_text(text)
    with pytest.raises(InvalidRequestError) as caught:
        load_settings(file)
    found = fields(caught)
    assert field in found, found
    assert problem in found[field]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"config: .*none\.toml cannot be read"):
        load_settings(tmp_path / "none.toml")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "localhost:1", "[::1]:1", "unix:/run/x"])
def test_admin_listens_only_on_local_addresses(address: str) -> None:
    assert ServerSettings(admin=address).admin == address
