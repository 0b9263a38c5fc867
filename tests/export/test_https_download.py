from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nonesuch.engine.errors import DownloadError
from nonesuch.engine.home import Home
from nonesuch.export.checkpoint import Checkpoint
from nonesuch.export.download import CatalogueEntry
from nonesuch.export.https_download import HttpsFile

from ..https_shelf import Shelf

CONTENT = hashlib.shake_256(b"weights").digest(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = hashlib.shake_256(b"other weights").digest(300_000)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    with Shelf(CONTENT).running() as shelf:
        yield shelf


@pytest.fixture
def file(shelf: Shelf) -> HttpsFile:
    """A catalogue file without a published size and hash."""
    return HttpsFile("net.pkl", url=shelf.url, allow_loopback=True)


def kept(home: Home) -> list[str]:
    """The names in the downloads, without locks."""
    return sorted(path.name for path in home.downloads.iterdir() if path.suffix != ".lock")


def refusal(file: HttpsFile, home: Home, source: Path | None = None) -> str:
    with pytest.raises(DownloadError) as caught:
        file.fetch(home, source)
    assert "\n" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize(
    "url",
    ["http://example.org/net.pkl", "http://127.0.0.1/net.pkl", "ftp://example.org/", "file:///net.pkl", "https:///"],
)
def test_an_address_that_is_not_https_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is not an https address"):
        HttpsFile("net.pkl", url=url)


@pytest.mark.parametrize(
    "url", ["http://example.org/", "http://127.0.0.1.example.org/", "http://127.0.0.1@example.org/"]
)
def test_allow_loopback_allows_loopback_only(url: str) -> None:
    with pytest.raises(ValueError, match="is not an https address"):
        HttpsFile("net.pkl", url=url, allow_loopback=True)


@pytest.mark.parametrize("name", ["../net.pkl", "/net.pkl", "", "..", "a/b"])
def test_a_name_with_a_folder_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a plain file name"):
        HttpsFile(name, url="https://example.org/net.pkl")


def test_a_complete_file_is_not_fetched_again(file: HttpsFile, home: Home, shelf: Shelf) -> None:
    published = replace(file, sha256=SHA256, size_bytes=len(CONTENT))
    assert published.at_hand(home) is None
    path = published.fetch(home)
    assert path == home.downloads / "net.pkl" == published.at_hand(home)
    assert path.read_bytes() == CONTENT
    assert published.fetch(home) == path
    assert len(shelf.asked) == 1
    assert kept(home) == ["net.pkl"]


def test_the_hash_of_a_file_without_a_published_one_is_recorded_and_checked(
    file: HttpsFile, home: Home, shelf: Shelf
) -> None:
    assert file.expected_sha256(home) is None
    path = file.fetch(home)
    record = home.downloads / "known_hashes.json"
    assert json.loads(record.read_text()) == {"net.pkl": {"sha256": SHA256, "from": shelf.url}}
    assert file.expected_sha256(home) == SHA256
    path.write_bytes(OTHER)  # altered here
    assert file.at_hand(home) is None
    assert file.fetch(home).read_bytes() == CONTENT
    path.unlink()
    shelf.content = OTHER  # and replaced there
    message = refusal(file, home)
    assert f"{shelf.url} is not the net.pkl that was first used here" in message
    assert SHA256[:12] in message
    assert f"remove its entry from {record}" in message
    assert kept(home) == ["known_hashes.json"]
    record.write_text("{}")
    assert file.fetch(home).read_bytes() == OTHER


def test_an_unrecorded_file_is_not_trusted(file: HttpsFile, home: Home) -> None:
    home.downloads.mkdir(parents=True)
    (home.downloads / "net.pkl").write_bytes(OTHER)
    assert file.at_hand(home) is None
    assert file.fetch(home).read_bytes() == CONTENT


@pytest.mark.parametrize("text", ["", "[]", "{", '{"net.pkl": 1}', '{"net.pkl": {"sha256": "abc"}}', "[" * 100_000])
def test_a_damaged_record_is_refused_in_one_line(file: HttpsFile, home: Home, text: str) -> None:
    home.downloads.mkdir(parents=True)
    record = home.downloads / "known_hashes.json"
    record.write_text(text)
    assert f"{record} " in refusal(file, home)
    assert record.read_text() == text
    assert kept(home) == ["known_hashes.json"]


def test_records_of_other_files_stay(file: HttpsFile, home: Home) -> None:
    file.fetch(home)
    replace(file, filename="second.pkl").fetch(home)
    assert set(json.loads((home.downloads / "known_hashes.json").read_text())) == {"net.pkl", "second.pkl"}


def test_a_wrong_hash_is_refused_and_nothing_is_kept(file: HttpsFile, home: Home) -> None:
    message = refusal(replace(file, sha256="0" * 64), home)
    assert f"{file.url} is not the published net.pkl: its sha256 is {SHA256[:12]}…, not 000000000000…" in message
    assert "--from FILE" in message
    assert kept(home) == []


def test_a_local_copy_is_used_and_recorded(file: HttpsFile, home: Home, shelf: Shelf, tmp_path: Path) -> None:
    copy = tmp_path / "download (1)"
    copy.write_bytes(CONTENT)
    assert file.fetch(home, copy).read_bytes() == CONTENT
    assert json.loads((home.downloads / "known_hashes.json").read_text())["net.pkl"]["from"] == str(copy)
    (home.downloads / "net.pkl").unlink()
    copy.write_bytes(OTHER)
    assert f"{copy} is not the net.pkl that was first used here" in refusal(file, home, copy)
    assert shelf.asked == []


@pytest.mark.parametrize(
    ("published", "words"),
    [
        ({"sha256": "0" * 64}, "its sha256 is"),
        ({"size_bytes": 5}, "it has 300000 bytes, not 5"),
        ({"max_bytes": 5}, "is larger than the limit of 5 bytes"),
    ],
)
def test_a_wrong_local_copy_is_refused(
    file: HttpsFile, home: Home, tmp_path: Path, published: dict[str, object], words: str
) -> None:
    copy = tmp_path / "copy"
    copy.write_bytes(CONTENT)
    assert words in refusal(replace(file, **published), home, copy)  # type: ignore[arg-type]
    assert kept(home) == []


@pytest.mark.parametrize("source", ["/dev/zero", "/nonexistent", "/"])
def test_a_source_that_is_not_a_file_is_refused(file: HttpsFile, home: Home, source: str) -> None:
    assert f"{source} cannot be read" in refusal(file, home, Path(source))


FETCH = """
import sys
from pathlib import Path
from nonesuch.engine.home import Home
from nonesuch.export.https_download import HttpsFile
home, url = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
print(HttpsFile("net.pkl", url=url, allow_loopback=True).fetch(Home(Path(home))))
"""


def test_two_processes_at_once_fetch_once(file: HttpsFile, home: Home, shelf: Shelf) -> None:
    command = [sys.executable, "-c", FETCH, str(home.root), shelf.url]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    shelf.free.clear()
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    # A waiting process cannot be detected from outside; half a second is ample for one that does not wait.
    time.sleep(0.5)
    shelf.free.set()
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        assert out.strip() == str(home.downloads / "net.pkl")
    assert len(shelf.asked) == 1
    assert kept(home) == ["known_hashes.json", "net.pkl"]


def test_the_weights_source_has_the_hash_of_the_file(file: HttpsFile, home: Home) -> None:
    def read(path: Path) -> Checkpoint:
        raise NotImplementedError

    entry = CatalogueEntry("net", "noise", "stylegan2", 64, file, "none", "Do as you like.", "https://a.org/", read)
    source = entry.weights_source(file.fetch(home))
    assert (source.name, source.licence, source.sha256) == (file.url, "Do as you like.", SHA256)
