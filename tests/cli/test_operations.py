"""What operators call: serve with a file, --check, key, admin."""

from __future__ import annotations

import signal
import socket
import subprocess
import tomllib
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from nonesuch.client import AccessError, Client, tls_credentials
from nonesuch.engine.artifact import Artifact
from nonesuch.server.access.api_keys import hash_of_key
from nonesuch.server.settings import ServerSettings

from .conftest import Call, LineOf

Start = Callable[..., AbstractContextManager[subprocess.Popen[str]]]
ReadUntil = Callable[[subprocess.Popen[str], str], list[str]]


def made_key(call: Call, *arguments: object) -> tuple[str, str]:
    done = call("key", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stderr.strip(), done.stdout


def test_a_key_and_its_table(call: Call, line_of: LineOf) -> None:
    key, table = made_key(call, "anna", "--scope", "generate", "--scope", "bulk", "--images-per-s", 2.5)
    assert key.startswith("nsk_")
    assert key not in table
    assert tomllib.loads(table) == {
        "keys": [
            {"name": "anna", "sha256": hash_of_key(key), "scopes": ["generate", "bulk"], "images_per_s": 2.5},
        ]
    }  # fmt: skip
    assert made_key(call, "anna")[0] != key
    line = line_of(call("key", "no name"), code=2)
    assert "'no name'" in line


def test_a_server_with_a_file_keys_admin_and_metrics(
    call: Call, line_of: LineOf, start: Start, read_until: ReadUntil, artifact: Artifact, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    anna, anna_table = made_key(call, "anna", "--scope", "generate", "--scope", "bulk")
    boss, boss_table = made_key(call, "boss", "--scope", "admin")
    config = tmp_path / "server.toml"
    head = f'grpc = "127.0.0.1:0"\nadmin = "unix:{tmp_path}/admin"\nmetrics = "127.0.0.1:0"\nlog_level = "error"\n'
    first = f'[[models]]\nmodel = "{artifact.folder}"\n'
    models = f'{first}{first}name = "spare"\nload = "demand"\n'
    config.write_text(head + models + anna_table + boss_table)
    with start("serve", "--config", config, "--queue-limit", 7) as process:
        lines = read_until(process, "^try .*\n")
        assert lines[0] == "serving tiny, 32x32"
        address = lines[1].split()[1]
        assert lines[2] == f"admin  unix:{tmp_path}/admin"
        assert lines[3].startswith("metrics http://127.0.0.1:")
        line = line_of(call("fetch", "--server", address, "--seeds", "0-2", "--out", tmp_path / "out"))
        assert "wants an API key" in line
        monkeypatch.setenv("NONESUCH_API_KEY", anna)
        done = call("fetch", "--server", address, "--seeds", "0-2", "--out", tmp_path / "out", "--size", 16)
        assert done.returncode == 0, done.stderr
        with Client(address, api_key=anna) as client:
            assert client.model().limits.queue_limit == 7
        admin = ("admin", "--server", f"unix:{tmp_path}/admin")
        assert "needs the scope 'admin'" in line_of(call(*admin, "status"))
        monkeypatch.setenv("NONESUCH_API_KEY", boss)
        status = call(*admin, "status").stdout.splitlines()
        assert status[0].startswith("tiny: idle, 0 waiting")
        assert status[1] == "spare: not loaded"
        assert call(*admin, "load", "spare").stdout.startswith("spare: ")
        assert call(*admin, "reload", "spare").stdout.startswith("spare: ")
        assert call(*admin, "unload", "spare").stdout == "unloaded\n"
        assert "no model 'nobody'" in line_of(call(*admin, "load", "nobody"))
        config.write_text(head + models + boss_table)
        process.send_signal(signal.SIGHUP)
        with Client(address, api_key=anna) as client:
            with pytest.raises(AccessError, match="revoked"):
                deque((client.model() for _ in range(1000)), maxlen=0)  # until the signal has been seen
        assert call(*admin, "drain").returncode == 0
        assert process.wait(30) == 0


def test_check_starts_everything_makes_an_image_and_ends(
    call: Call, line_of: LineOf, artifact: Artifact, tmp_path: Path
) -> None:
    config = tmp_path / "server.toml"
    config.write_text(f'[[models]]\nmodel = "{artifact.folder}"\n[[models]]\nmodel = "{artifact.folder}"\nname = "b"\n')
    done = call("serve", "--config", config, "--check", "--log-level", "error", "--metrics", "127.0.0.1:9")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("tiny: 32x32, ")
    assert lines[1].startswith("b: 32x32, ")
    config.write_text("queue_limit = 0\nspeed = 3\n")
    line = line_of(call("serve", "--config", config, "--check"), code=2)
    assert "--queue-limit: 0 is out of range; it is 1 to 100000" in line
    assert "there is no such setting" in line
    line = line_of(call("serve", "--model", artifact.folder, "--check", "--tls-certificate", tmp_path / "none"), code=2)
    assert "private" in line


def test_check_touches_no_address_of_the_server(call: Call, artifact: Artifact, tmp_path: Path) -> None:
    with ExitStack() as stack:
        taken = {}
        for name in ("grpc", "http", "admin", "metrics"):  # as a server that runs would hold them
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            taken[name] = f"127.0.0.1:{listener.getsockname()[1]}"
        flags = [part for name, address in taken.items() for part in (f"--{name}", address)]
        done = call("serve", "--model", artifact.folder, "--check", "--log-level", "error", *flags)
        assert done.returncode == 0, done.stderr
        done = call("serve", "--model", artifact.folder, "--check", "--admin", f"unix:{tmp_path}/admin")
        assert done.returncode == 0, done.stderr
        assert not (tmp_path / "admin").exists()


def test_flags_and_settings_are_the_same(call: Call) -> None:
    text = call("serve", "--help").stdout
    for name in ServerSettings.model_fields:
        if name not in {"models", "keys", "tls"}:
            assert f"--{name.replace('_', '-')}" in text, name


def test_fetch_speaks_tls(call: Call, start: Start, read_until: ReadUntil, artifact: Artifact, tmp_path: Path) -> None:
    import trustme

    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    arguments = ("serve", "--grpc", "127.0.0.1:0", "--model", artifact.folder, "--log-level", "error")
    tls = ("--tls-certificate", tmp_path / "cert.pem", "--tls-private-key", tmp_path / "key.pem")
    with start(*arguments, *tls) as process:
        address = read_until(process, "^gRPC .*\n")[1].split()[1]
        done = call(
            "fetch", "--server", address, "--tls-ca", tmp_path / "ca.pem", "--seeds", "0", "--out", tmp_path / "out"
        )
        assert done.returncode == 0, done.stderr
        with Client(address, credentials=tls_credentials(tmp_path / "ca.pem")) as client:
            assert client.health() == "SERVING"
