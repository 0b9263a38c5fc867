"""TLS, with a self-signed certificate."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from nonesuch.engine.errors import DownloadError
from nonesuch.engine.home import Home
from nonesuch.export.https_download import HttpsFile

from ..https_shelf import Shelf

CONTENT = hashlib.shake_256(b"weights").digest(100_000)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 and its key, in one file."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", path, "-out", f"{path}.crt"], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


def test_an_untrusted_certificate_is_refused(home: Home, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    with (
        Shelf(CONTENT, certificate).running() as shelf,
        pytest.raises(DownloadError, match=r"cannot be fetched \(.*certificate verify failed") as caught,
    ):
        HttpsFile("net.pkl", url=shelf.url).fetch(home)
    assert "\n" not in caught.value.message
    assert [path.suffix for path in home.downloads.iterdir()] == [".lock"]


def test_a_redirect_must_stay_on_https(home: Home, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", f"{certificate}.crt")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Shelf(CONTENT, certificate).running() as shelf, Shelf(CONTENT).running() as plain:
        file = HttpsFile("net.pkl", url=shelf.url)
        shelf.location = plain.url
        with pytest.raises(DownloadError, match=f"redirects to {plain.url}, which is not https"):
            file.fetch(home)
        assert plain.asked == []
        shelf.location = "/elsewhere"
        assert file.fetch(home).read_bytes() == CONTENT
