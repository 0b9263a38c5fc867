from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock

from nonesuch.engine.errors import DownloadError
from nonesuch.engine.home import Home
from nonesuch.export.download import PackageFile

INFO = "nonesuch_test_file-1.dist-info"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A wheel that pip accepts, in its own folder."""
    path = tmp_path / "shelf" / "nonesuch_test_file-1-py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{INFO}/METADATA", "Metadata-Version: 2.1\nName: nonesuch-test-file\nVersion: 1\n")
        archive.writestr(f"{INFO}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{INFO}/RECORD", "")
    return path


@pytest.fixture
def file(wheel: Path) -> PackageFile:
    """Its catalogue entry's file."""
    data = wheel.read_bytes()
    return PackageFile(
        wheel.name,
        package="nonesuch-test-file",
        version="1",
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def pip_finds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wheel: Path) -> None:
    """pip finds only the wheel's folder."""
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))


def kept(home: Home) -> list[str]:
    """The names in the downloads, without locks."""
    return sorted(path.name for path in home.downloads.iterdir() if path.suffix != ".lock")


def refusal(file: PackageFile, home: Home, source: Path | None = None) -> str:
    with pytest.raises(DownloadError) as caught:
        file.fetch(home, source)
    assert "\n" not in caught.value.message
    return caught.value.message


def test_a_local_copy_is_used(file: PackageFile, home: Home, wheel: Path) -> None:
    assert file.at_hand(home) is None
    path = file.fetch(home, wheel)
    assert path == home.downloads / file.filename == file.at_hand(home)
    assert path.read_bytes() == wheel.read_bytes()
    assert wheel.is_file()
    assert kept(home) == [file.filename]


def test_the_copy_may_have_any_name(file: PackageFile, home: Home, wheel: Path) -> None:
    renamed = wheel.rename(wheel.with_name("download (1)"))
    assert file.fetch(home, renamed).name == file.filename


def test_an_existing_file_is_not_fetched_again(file: PackageFile, home: Home, wheel: Path) -> None:
    first = file.fetch(home, wheel).stat()
    # The source does not exist, so a fetch would fail.
    assert file.fetch(home, Path("/nonexistent")).stat() == first


def test_another_file_is_refused_and_not_kept(file: PackageFile, home: Home, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"other")
    message = refusal(file, home, tmp_path / "other")
    assert f"is not the published {file.filename}" in message
    assert str(file.sha256)[:12] in message
    assert hashlib.sha256(b"other").hexdigest()[:12] in message
    assert kept(home) == []
    assert file.at_hand(home) is None


def test_a_source_that_cannot_be_read_is_one_line(file: PackageFile, home: Home, tmp_path: Path) -> None:
    for source in (tmp_path / "nowhere", tmp_path):
        assert f"{source} cannot be read" in refusal(file, home, source)
    assert kept(home) == []


def test_a_damaged_file_in_the_home_is_replaced(file: PackageFile, home: Home, wheel: Path) -> None:
    path = file.fetch(home, wheel)
    for damage in (b"", path.read_bytes()[:-1], path.read_bytes() + b"\0"):
        path.write_bytes(damage)
        assert file.at_hand(home) is None
        assert file.fetch(home, wheel) == path
        assert path.read_bytes() == wheel.read_bytes()
    assert kept(home) == [file.filename]


@pytest.mark.usefixtures("pip_finds")
def test_pip_downloads_it(file: PackageFile, home: Home, wheel: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = file.fetch(home)
    assert path.read_bytes() == wheel.read_bytes()
    assert kept(home) == [file.filename]
    assert capfd.readouterr().out == ""


@pytest.mark.usefixtures("pip_finds")
def test_pips_progress_never_reaches_standard_output(
    file: PackageFile, home: Home, capfd: pytest.CaptureFixture[str]
) -> None:
    # File descriptors, because pip is another process.
    file.fetch(home, show_progress=True)
    found = capfd.readouterr()
    assert found.out == ""
    assert file.filename in found.err


@pytest.mark.usefixtures("pip_finds")
def test_an_error_of_pip_is_one_line_with_advice(file: PackageFile, home: Home, wheel: Path) -> None:
    wheel.unlink()
    message = refusal(file, home)
    assert "No matching distribution found for nonesuch-test-file==1" in message
    assert f"pass --from {file.filename}" in message
    assert kept(home) == []


@pytest.mark.usefixtures("pip_finds")
def test_a_replaced_release_is_refused(file: PackageFile, home: Home, wheel: Path) -> None:
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("extra", "more")
    message = refusal(file, home)
    assert "pip's download of nonesuch-test-file==1 is not the published" in message
    assert kept(home) == []


def test_without_pip_the_error_names_the_from_option(
    file: PackageFile, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip.py").write_text("raise SystemExit('No module named pip')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    message = refusal(file, home)
    assert "No module named pip" in message
    assert "--from" in message


def test_a_fetch_waits_for_the_lock(file: PackageFile, home: Home, wheel: Path) -> None:
    home.downloads.mkdir(parents=True)
    with ThreadPoolExecutor(1) as pool:
        with FileLock(home.downloads / f"{file.filename}.lock"):
            started = threading.Event()

            def fetch() -> Path:
                started.set()
                return file.fetch(home, wheel)

            fetched = pool.submit(fetch)
            assert started.wait(timeout=30)
            # A waiting thread cannot be detected from outside; half a second is ample for one that does not wait.
            with pytest.raises(TimeoutError):
                fetched.result(timeout=0.5)
            assert kept(home) == []
        assert fetched.result(timeout=30).is_file()


FETCH = """
import sys
from pathlib import Path
from nonesuch.engine.home import Home
from nonesuch.export.download import PackageFile
home, source, filename, size_bytes, sha256 = sys.argv[1:]
sys.stdin.readline()
file = PackageFile(filename, package="p", version="1", size_bytes=int(size_bytes), sha256=sha256)
print(file.fetch(Home(Path(home)), Path(source)))
"""


def test_two_processes_at_once_both_get_it(file: PackageFile, home: Home, wheel: Path) -> None:
    command = [sys.executable, "-c", FETCH, str(home.root), str(wheel), file.filename]
    command += [str(file.size_bytes), str(file.sha256)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        assert out.strip() == str(home.downloads / file.filename)
    assert file.at_hand(home) is not None
    assert kept(home) == [file.filename]
