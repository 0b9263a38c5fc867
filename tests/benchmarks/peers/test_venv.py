from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from nonesuch.benchmarks.peers import venv
from nonesuch.benchmarks.peers.venv import python_with, read_pins
from nonesuch.benchmarks.result import BenchmarkError
from nonesuch.engine.home import Home


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages, and a user's pip configuration that knows nothing else: no network."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    files = {
        "nobodys_peer.py": "ANSWER = 42\n",
        "nobodys_peer-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: nobodys-peer\nVersion: 1.0\n",
        "nobodys_peer-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, "nobodys_peer-1.0.dist-info/RECORD"])
    with zipfile.ZipFile(folder / "nobodys_peer-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in {**files, "nobodys_peer-1.0.dist-info/RECORD": record}.items():
            wheel.writestr(name, text)
    config = tmp_path / "pip.conf"
    config.write_text(f"[global]\nno-index = true\nfind-links = {folder}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    return folder


def test_what_is_not_pinned_is_what_is_installed_here() -> None:
    own, *shared = read_pins("litserve")
    assert own.startswith("litserve==")
    assert shared == [f"{name}=={metadata.version(name)}" for name in ("numpy", "onnxruntime", "pillow")]


def test_a_shared_package_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "odd.txt").write_text("nobodys-peer\n")
    monkeypatch.setattr(venv, "REQUIREMENTS", tmp_path)
    with pytest.raises(BenchmarkError, match="pip install nobodys-peer"):
        read_pins("odd")


def test_pins_that_are_met_here_need_no_environment(tmp_path: Path) -> None:
    pins = [f"{name}=={metadata.version(name)}" for name in ("numpy", "pillow")]
    assert python_with("met", pins, Home(tmp_path)) == Path(sys.executable)
    assert not list(tmp_path.iterdir())


def test_an_environment_is_made_once(shelf: Path, tmp_path: Path) -> None:
    home, pins = Home(tmp_path / "home"), ["nobodys-peer==1.0"]
    python = python_with("odd", pins, home)
    assert python.is_relative_to(home.root / "cache" / "peers")
    code = "import nobodys_peer, importlib.util; print(nobodys_peer.ANSWER, importlib.util.find_spec('numpy'))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    # Nothing of the running environment is in it.
    assert done.stdout.split() == ["42", "None"], done.stderr
    # With an empty shelf nothing could be installed a second time.
    for wheel in shelf.iterdir():
        wheel.unlink()
    assert python_with("odd", pins, home) == python


def test_what_does_not_install_is_refused_with_pips_reason_and_leaves_nothing(shelf: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with pytest.raises(BenchmarkError, match=r"odd does not install: ERROR: .*nobodys-peer==2\.0") as caught:
        python_with("odd", ["nobodys-peer==2.0"], home)
    assert "\n" not in caught.value.message
    assert not [path for path in (home.root / "cache" / "peers").iterdir() if path.is_dir()]
