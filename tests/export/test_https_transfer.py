"""Transfers from a real server: requests, resumption, limits and errors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tqdm import tqdm

from nonesuch.engine.errors import DownloadError
from nonesuch.engine.home import Home
from nonesuch.export.https_download import HttpsFile

from ..https_shelf import Shelf

CONTENT = hashlib.shake_256(b"weights").digest(1_000_000)
CUT = 600_000
PIECE = 1 << 16  # an incomplete piece is lost


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    with Shelf(CONTENT).running() as shelf:
        yield shelf


@pytest.fixture
def file(shelf: Shelf) -> HttpsFile:
    return HttpsFile("net.pkl", url=shelf.url, allow_loopback=True)


@pytest.fixture
def cut(shelf: Shelf, file: HttpsFile, home: Home) -> Path:
    """The partial file of a first fetch that was cut twice, the second time before any byte."""
    shelf.cuts = [CUT, 0]
    assert "stopped (" in refusal(file, home)
    part = home.downloads / "net.pkl.part"
    assert CUT - PIECE < part.stat().st_size <= CUT
    assert part.read_bytes() == CONTENT[: part.stat().st_size]
    assert len(shelf.asked) == 2
    shelf.asked.clear()
    return part


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> list[tqdm[Any]]:
    """The progress bars drawn."""
    drawn: list[tqdm[Any]] = []

    def draw(**options: Any) -> tqdm[Any]:
        drawn.append(tqdm(**options))
        return drawn[-1]

    monkeypatch.setattr("nonesuch.export.https_download.tqdm", draw)
    return drawn


def kept(home: Home) -> list[str]:
    return sorted(path.name for path in home.downloads.iterdir() if path.suffix != ".lock")


def whole(file: HttpsFile, home: Home, content: bytes = CONTENT) -> None:
    assert file.fetch(home).read_bytes() == content
    assert kept(home) == ["known_hashes.json", "net.pkl"]


def refusal(file: HttpsFile, home: Home) -> str:
    with pytest.raises(DownloadError) as caught:
        file.fetch(home)
    message = caught.value.message
    assert message.startswith(file.url)
    assert message.endswith("pass it with --from FILE")
    assert "object at 0x" not in message
    assert "Pool" not in message
    return message


def test_a_cut_transfer_is_resumed_at_once(file: HttpsFile, home: Home, shelf: Shelf) -> None:
    shelf.cuts = [300_000, 200_000]
    whole(file, home)
    first, second, third = shelf.asked
    assert first["Range"] is None
    assert second["If-Range"] == third["If-Range"] == '"first"'
    starts = [int(asked["Range"].removeprefix("bytes=").removesuffix("-")) for asked in (second, third)]
    assert 300_000 - PIECE < starts[0] <= 300_000
    assert starts[0] < starts[1] <= 500_000


def test_a_partial_file_is_resumed_by_a_later_fetch(file: HttpsFile, home: Home, shelf: Shelf, cut: Path) -> None:
    start = cut.stat().st_size
    whole(file, home)
    assert [(asked["Range"], asked["If-Range"]) for asked in shelf.asked] == [(f"bytes={start}-", '"first"')]


def test_a_date_serves_as_validator_without_an_etag(file: HttpsFile, home: Home, shelf: Shelf) -> None:
    shelf.etag, shelf.last_modified = None, "Sun, 01 Nov 2020 00:00:00 GMT"
    shelf.cuts = [CUT]
    whole(file, home)
    assert shelf.asked[1]["If-Range"] == shelf.last_modified


@pytest.mark.parametrize("etag", [None, 'W/"first"'])
def test_without_a_strong_validator_it_starts_again(
    file: HttpsFile, home: Home, shelf: Shelf, etag: str | None
) -> None:
    shelf.etag, shelf.cuts = etag, [CUT]
    assert "stopped (" in refusal(file, home)
    whole(file, home)
    assert [asked["Range"] for asked in shelf.asked] == [None, None]


@pytest.mark.usefixtures("cut")
def test_a_server_without_ranges_sends_it_again(file: HttpsFile, home: Home, shelf: Shelf) -> None:
    shelf.ranges = False
    whole(file, home)
    assert len(shelf.asked) == 1


@pytest.mark.usefixtures("cut")
@pytest.mark.parametrize("heeds_if_range", [True, False])
def test_a_changed_file_is_fetched_from_its_start(
    file: HttpsFile, home: Home, shelf: Shelf, heeds_if_range: bool
) -> None:
    shelf.content, shelf.etag, shelf.if_range = CONTENT[::-1], '"second"', heeds_if_range
    whole(file, home, CONTENT[::-1])


@pytest.mark.usefixtures("cut")
def test_another_range_than_was_asked_for_is_not_appended(file: HttpsFile, home: Home, shelf: Shelf) -> None:
    shelf.moved = -5
    whole(file, home)


@pytest.mark.usefixtures("cut")
def test_a_file_that_became_shorter_is_fetched_from_its_start(file: HttpsFile, home: Home, shelf: Shelf) -> None:
    shelf.content = CONTENT[:1000]
    whole(file, home, CONTENT[:1000])


@pytest.mark.parametrize("note", ["", "{", "[]", '{"url": 1}', '{"url": "https://other/", "validator": "a"}'])
def test_a_part_without_a_readable_note_is_fetched_again(
    file: HttpsFile, home: Home, shelf: Shelf, cut: Path, note: str
) -> None:
    cut.with_name("net.pkl.part.json").write_text(note)
    cut.write_bytes(b"something else")
    whole(file, home)
    assert shelf.asked[0]["Range"] is None


def test_a_local_copy_deletes_the_part(file: HttpsFile, home: Home, cut: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").write_bytes(CONTENT)
    file.fetch(home, tmp_path / "copy")
    assert kept(home) == ["known_hashes.json", "net.pkl"]


def test_progress_counts_every_byte_once(file: HttpsFile, home: Home, shelf: Shelf, bars: list[tqdm[Any]]) -> None:
    shelf.cuts = [CUT]
    file.fetch(home, show_progress=True)
    (bar,) = bars
    assert (bar.desc, bar.n, bar.total) == ("net.pkl", len(CONTENT), len(CONTENT))


def test_an_announced_size_over_the_limit_is_refused(file: HttpsFile, home: Home, shelf: Shelf) -> None:
    message = refusal(replace(file, max_bytes=999_999), home)
    assert "has 1000000 bytes, not at most 999999 bytes" in message
    assert kept(home) == []


def test_an_announced_size_other_than_published_is_refused(file: HttpsFile, home: Home) -> None:
    assert "has 1000000 bytes, not the 999999 bytes published" in refusal(replace(file, size_bytes=999_999), home)
    assert kept(home) == []


@pytest.mark.parametrize("bound", [{"max_bytes": 200_000}, {"size_bytes": 200_000}])
def test_an_unannounced_size_over_the_limit_stops_the_transfer(
    file: HttpsFile, home: Home, shelf: Shelf, bars: list[tqdm[Any]], bound: dict[str, int]
) -> None:
    shelf.chunked = True
    with pytest.raises(DownloadError, match=r"sent \d+ bytes, not (at most 200000 bytes|the 200000 bytes published)"):
        replace(file, **bound).fetch(home, show_progress=True)  # type: ignore[arg-type]
    (bar,) = bars
    assert bar.total is None
    assert 0 < bar.n <= 200_000  # what was written
    assert kept(home) == []


def test_a_chunked_transfer_is_resumed(file: HttpsFile, home: Home, shelf: Shelf) -> None:
    shelf.chunked, shelf.cuts = True, [CUT]
    whole(file, home)


def test_a_response_without_length_needs_a_hash(file: HttpsFile, home: Home, shelf: Shelf) -> None:
    shelf.length = False
    assert "does not give the file's length" in refusal(file, home)
    assert kept(home) == []
    published = replace(file, sha256=hashlib.sha256(CONTENT).hexdigest())
    assert published.fetch(home).read_bytes() == CONTENT


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
def test_a_server_error_is_refused(file: HttpsFile, home: Home, shelf: Shelf, status: int) -> None:
    shelf.status = status
    assert f"answered {status} " in refusal(file, home)
    assert kept(home) == []


def test_a_server_error_leaves_the_part(file: HttpsFile, home: Home, shelf: Shelf, cut: Path) -> None:
    shelf.status = 503
    before = cut.read_bytes()
    assert "answered 503" in refusal(file, home)
    assert cut.read_bytes() == before


def test_an_encoding_is_refused(file: HttpsFile, home: Home, shelf: Shelf) -> None:
    shelf.encoding = "gzip"
    assert "an encoding that was not requested" in refusal(file, home)
    assert shelf.asked[0]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("kind", ["text/html", "Text/HTML; charset=utf-8"])
def test_a_web_page_is_not_the_file(file: HttpsFile, home: Home, shelf: Shelf, kind: str) -> None:
    # Some publishers ask for a click first; the recorded hash of that page would block the real file.
    shelf.kind = kind
    assert "returned a web page" in refusal(file, home)
    assert kept(home) == []
    shelf.status = 404
    assert "answered 404 " in refusal(file, home)


@pytest.mark.parametrize("stalls", [[0], [CUT, 0]])
def test_a_stalled_server_times_out(file: HttpsFile, home: Home, shelf: Shelf, stalls: list[int]) -> None:
    shelf.stalls = stalls
    assert "(Read timed out.)" in refusal(replace(file, timeouts_s=(20.0, 0.2)), home)
    shelf.stalls = []
    whole(file, home)


def test_a_refused_connection_is_one_line(file: HttpsFile, home: Home) -> None:
    with Shelf(b"").running() as gone:
        url = gone.url
    assert "cannot be fetched (Failed to establish a new connection" in refusal(replace(file, url=url), home)


@pytest.mark.parametrize(
    "location",
    ["http://example.org/net.pkl", "//example.org/net.pkl", "ftp://127.0.0.1/", "file:///etc/hosts"],
)
def test_a_redirect_to_anything_but_https_is_refused(file: HttpsFile, home: Home, shelf: Shelf, location: str) -> None:
    shelf.location = location
    assert "which is not https" in refusal(file, home)
    assert kept(home) == []


def test_a_redirect_to_an_invalid_address_is_refused(file: HttpsFile, home: Home, shelf: Shelf) -> None:
    shelf.location = "http://["
    assert "cannot be fetched (Invalid IPv6 URL)" in refusal(file, home)
    assert kept(home) == []


def test_a_redirect_is_followed_and_keeps_the_range(file: HttpsFile, home: Home, shelf: Shelf, cut: Path) -> None:
    shelf.location = "/elsewhere"
    start = cut.stat().st_size
    whole(file, home)
    assert [asked["Range"] for asked in shelf.asked] == [f"bytes={start}-"] * 2


def test_the_body_of_a_redirect_is_not_waited_for(file: HttpsFile, home: Home, shelf: Shelf) -> None:
    shelf.location, shelf.endless_redirect = "/elsewhere", True
    whole(replace(file, timeouts_s=(20.0, 5.0)), home)


def test_a_redirect_loop_ends(file: HttpsFile, home: Home, shelf: Shelf) -> None:
    shelf.location = shelf.url
    assert "redirects more than" in refusal(file, home)
