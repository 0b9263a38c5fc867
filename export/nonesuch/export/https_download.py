"""A resumable HTTPS download with limits on size and on idle time.

It resumes if a strong ETag or Last-Modified shows that the content is unchanged (RFC 9110, sections 13.1.5 and 14), and
restarts otherwise. The partial file is NAME.part, with its address and validator beside it.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from tqdm import tqdm

from nonesuch.engine import __version__
from nonesuch.engine.errors import DownloadError
from nonesuch.engine.home import Home

from .download import ModelFile

_PIECE_BYTES = 1 << 16
_MAX_HOPS = 5
_MAX_ATTEMPTS = 5
_BAR: Any = {"unit": "B", "unit_scale": True, "unit_divisor": 1024, "leave": False}
_HEADERS = {"User-Agent": f"nonesuch/{__version__}", "Accept-Encoding": "identity"}


@dataclass(frozen=True, kw_only=True)
class HttpsFile(ModelFile):
    """A file at an https `url`; `allow_loopback`, for tests only, allows http://127.0.0.1 too.

    `timeouts_s` are the limits on connecting and on waiting for the next bytes.

    Raises:
        ValueError: the address is not https, or the name is not a plain file name.
    """

    url: str
    timeouts_s: tuple[float, float] = (20.0, 60.0)
    allow_loopback: bool = False

    def __post_init__(self) -> None:
        if not self._is_allowed(self.url):
            raise ValueError(f"{self.url} is not an https address")
        if Path(self.filename).name != self.filename or self.filename in ("", ".."):
            raise ValueError(f"{self.filename!r} is not a plain file name")

    def describe(self) -> str:
        """The address."""
        return self.url

    def _is_allowed(self, url: str) -> bool:
        scheme, host = urlsplit(url).scheme, urlsplit(url).hostname
        return bool(host) and (scheme == "https" or (self.allow_loopback and (scheme, host) == ("http", "127.0.0.1")))

    def _copy(self, source: Path, target: Path, home: Home) -> None:
        super()._copy(source, target, home)
        _Part(target).discard()

    def _download(self, target: Path, home: Home, *, show_progress: bool) -> None:
        part = _Part(target)
        with requests.Session() as session, tqdm(desc=self.filename, disable=not show_progress, **_BAR) as bar:
            session.headers.update(_HEADERS)
            try:
                if not any(self._attempt(session, part, home, bar) for _ in range(_MAX_ATTEMPTS)):
                    raise self._error(f"broke off {_MAX_ATTEMPTS} times")
            except OSError as error:
                raise DownloadError(f"{part.path} cannot be written ({error.strerror or error})") from error
        try:
            self._check(part.path, self.url, home)
            os.replace(part.path, target)
        finally:
            part.discard()

    def _attempt(self, session: requests.Session, part: _Part, home: Home, bar: tqdm[Any]) -> bool:
        """Append the missing bytes; return whether the file is complete, else another attempt can resume."""
        validator = part.validator(self.url)
        asked = {"Range": f"bytes={part.size}-", "If-Range": validator} if validator else {}
        with self._follow(session, asked) as response:
            headers, length = response.headers, response.headers.get("Content-Length", "")
            total = int(length) if re.fullmatch(r"\d{1,18}", length) else None
            chunked = headers.get("Transfer-Encoding", "").lower() == "chunked"
            if headers.get("Content-Encoding", "identity") != "identity":
                raise self._error("sent an encoding that was not requested")
            if validator and response.status_code in (206, 416):
                found = re.fullmatch(r"bytes (\d{1,18})-\d+/(\d{1,18})", headers.get("Content-Range", ""))
                same = headers.get("ETag", validator) == validator or not validator.startswith('"')
                if response.status_code == 416 or not same or not found or int(found[1]) != part.size:
                    part.discard()  # part of other content, or already complete
                    return False
                total = int(found[2])
            elif response.status_code != 200:
                raise self._error(f"answered {response.status_code} {response.reason}")
            elif headers.get("Content-Type", "").lower().startswith("text/html"):
                raise self._error("returned a web page, not the file")
            elif total is None and not chunked and self.expected_sha256(home) is None:
                raise self._error("does not give the file's length, so a missing end would go unnoticed")
            else:
                part.begin(self.url, headers.get("ETag", ""), headers.get("Last-Modified"))
            start = part.size
            try:
                self._receive(response, part, total, bar)
            except requests.RequestException as error:
                if part.size == start or not part.validator(self.url):
                    raise self._error(f"stopped ({_reason(error)})") from error
                return False
        return True

    def _receive(self, response: requests.Response, part: _Part, total: int | None, bar: tqdm[Any]) -> None:
        size, limit = part.size, self.max_bytes if self.size_bytes is None else self.size_bytes
        bound = f"at most {limit} bytes" if self.size_bytes is None else f"the {limit} bytes published"
        if total is not None and (total > limit or self.size_bytes not in (None, total)):
            part.discard()
            raise self._error(f"has {total} bytes, not {bound}")
        bar.reset(total)
        bar.update(size)
        with part.path.open("ab") as stream:
            for piece in response.iter_content(_PIECE_BYTES):
                size += len(piece)
                if size > limit:
                    break
                stream.write(piece)
                bar.update(len(piece))
        if size > limit or total not in (None, size):
            part.discard()
            raise self._error(f"sent {size} bytes, not {bound if size > limit else f'the {total} bytes announced'}")

    def _follow(self, session: requests.Session, headers: dict[str, str]) -> requests.Response:
        """The response after all redirects. Their bodies are not read: they may be of any length."""
        url = self.url
        for _ in range(_MAX_HOPS + 1):
            try:
                if not self._is_allowed(url):
                    raise self._error(f"redirects to {url}, which is not https")
                request = session.prepare_request(requests.Request("GET", url, headers=headers))
                # Proxies and certificates come from the environment.
                settings: Any = session.merge_environment_settings(url, {}, True, None, None)
                response = session.get_adapter(url).send(request, timeout=self.timeouts_s, **settings)
                if not response.is_redirect:
                    return response
                response.close()
                url = urljoin(url, response.headers["Location"])
            except (OSError, ValueError) as error:
                raise self._error(f"cannot be fetched ({_reason(error)})") from error
        raise self._error(f"redirects more than {_MAX_HOPS} times")

    def _error(self, what: str) -> DownloadError:
        return DownloadError(
            f"{self.url} {what}; try again, or download it by other means and pass it with --from FILE"
        )


class _Part:
    """A partial file, with the address and the validator of its content."""

    def __init__(self, target: Path) -> None:
        self.path, self._note = Path(f"{target}.part"), Path(f"{target}.part.json")

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def discard(self) -> None:
        self._note.unlink(missing_ok=True)  # first, so that the note never describes other bytes
        self.path.unlink(missing_ok=True)

    def begin(self, url: str, tag: str, date: str | None) -> None:
        self.discard()
        self.path.touch()
        # A weak ETag does not promise the same bytes.
        validator = tag if tag.startswith('"') else date
        self._note.write_text(json.dumps({"url": url, "validator": validator}) + "\n", encoding="utf-8")

    def validator(self, url: str) -> str | None:
        """The If-Range value to resume with; None if the download must restart."""
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
            usable = self.size and note["url"] == url and note["validator"].isprintable()
            return str(note["validator"]) if usable else None
        except (OSError, ValueError, RecursionError, TypeError, KeyError, AttributeError):
            return None  # unusable note


def _reason(error: BaseException) -> str:
    """The innermost cause; the message of requests is long and names internal objects."""
    while isinstance(inner := getattr(error, "reason", None) or next(iter(error.args), None), BaseException):
        error = inner
    text = inner if isinstance(inner, str) and len(error.args) < 2 else str(error)
    return re.sub(r"^\w*Connection(Pool)?\([^)]*\): ", "", text) or type(error).__name__
