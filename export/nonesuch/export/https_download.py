"""A file at an address: a GET over HTTPS that is bounded in size and in silence, and goes on where it was cut.

It goes on if the server says by a strong ETag or by Last-Modified that the content is still the same (RFC 9110,
sections 13.1.5 and 14), else it starts again. What has come is in NAME.part, its address and validator beside it.
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
    """A file at an https `url`; `allow_loopback`, for tests only, takes http://127.0.0.1 too.

    `timeouts_s` are the seconds until a connection must stand, and those that may pass without a byte.

    Raises:
        ValueError: the address is not https, or the name is not plain.
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

    def _bring(self, target: Path, home: Home, *, show_progress: bool) -> None:
        part = _Part(target)
        with requests.Session() as session, tqdm(desc=self.filename, disable=not show_progress, **_BAR) as bar:
            session.headers.update(_HEADERS)
            try:
                if not any(self._attempt(session, part, home, bar) for _ in range(_MAX_ATTEMPTS)):
                    raise self._error(f"was cut {_MAX_ATTEMPTS} times")
            except OSError as error:
                raise DownloadError(f"{part.path} cannot be written ({error.strerror or error})") from error
        try:
            self._check(part.path, self.url, home)
            os.replace(part.path, target)
        finally:
            part.discard()

    def _attempt(self, session: requests.Session, part: _Part, home: Home, bar: tqdm[Any]) -> bool:
        """Append what is missing; whether all is there now, or else it is worth going on."""
        validator = part.validator(self.url)
        asked = {"Range": f"bytes={part.size}-", "If-Range": validator} if validator else {}
        with self._follow(session, asked) as answer:
            headers, length = answer.headers, answer.headers.get("Content-Length", "")
            total = int(length) if re.fullmatch(r"\d{1,18}", length) else None
            chunked = headers.get("Transfer-Encoding", "").lower() == "chunked"
            if headers.get("Content-Encoding", "identity") != "identity":
                raise self._error("answered with an encoding that was not asked for")
            if validator and answer.status_code in (206, 416):
                found = re.fullmatch(r"bytes (\d{1,18})-\d+/(\d{1,18})", headers.get("Content-Range", ""))
                same = headers.get("ETag", validator) == validator or not validator.startswith('"')
                if answer.status_code == 416 or not same or not found or int(found[1]) != part.size:
                    part.discard()  # it is the start of something else, or all there is
                    return False
                total = int(found[2])
            elif answer.status_code != 200:
                raise self._error(f"answered {answer.status_code} {answer.reason}")
            elif headers.get("Content-Type", "").lower().startswith("text/html"):
                raise self._error("answered with a web page, not with the file")
            elif total is None and not chunked and self.expected_sha256(home) is None:
                raise self._error("does not say how long the file is, so nobody could tell if some is missing")
            else:
                part.begin(self.url, headers.get("ETag", ""), headers.get("Last-Modified"))
            start = part.size
            try:
                self._receive(answer, part, total, bar)
            except requests.RequestException as error:
                if part.size == start or not part.validator(self.url):
                    raise self._error(f"stopped ({_reason(error)})") from error
                return False
        return True

    def _receive(self, answer: requests.Response, part: _Part, total: int | None, bar: tqdm[Any]) -> None:
        size, limit = part.size, self.max_bytes if self.size_bytes is None else self.size_bytes
        bound = f"the {limit} bytes that it {'may' if self.size_bytes is None else 'must'} have"
        if total is not None and (total > limit or self.size_bytes not in (None, total)):
            part.discard()
            raise self._error(f"has {total} bytes, not {bound}")
        bar.reset(total)
        bar.update(size)
        with part.path.open("ab") as stream:
            for piece in answer.iter_content(_PIECE_BYTES):
                size += len(piece)
                if size > limit:
                    break
                stream.write(piece)
                bar.update(len(piece))
        if size > limit or total not in (None, size):
            part.discard()
            raise self._error(f"sent {size} bytes, not {bound if size > limit else f'the {total} that it announced'}")

    def _follow(self, session: requests.Session, headers: dict[str, str]) -> requests.Response:
        """The answer behind all redirects, whose bodies are not read: they could be of any length."""
        url = self.url
        for _ in range(_MAX_HOPS + 1):
            try:
                if not self._is_allowed(url):
                    raise self._error(f"leads to {url}, which is not https")
                request = session.prepare_request(requests.Request("GET", url, headers=headers))
                # The environment names proxies and certificates.
                settings: Any = session.merge_environment_settings(url, {}, True, None, None)
                answer = session.get_adapter(url).send(request, timeout=self.timeouts_s, **settings)
                if not answer.is_redirect:
                    return answer
                answer.close()
                url = urljoin(url, answer.headers["Location"])
            except (OSError, ValueError) as error:
                raise self._error(f"cannot be fetched ({_reason(error)})") from error
        raise self._error(f"leads on and on, more than {_MAX_HOPS} times")

    def _error(self, what: str) -> DownloadError:
        return DownloadError(f"{self.url} {what}; try again, or fetch it otherwise and name the file with --from FILE")


class _Part:
    """What has come so far, with the address and the validator of the content that it is the start of."""

    def __init__(self, target: Path) -> None:
        self.path, self._note = Path(f"{target}.part"), Path(f"{target}.part.json")

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def discard(self) -> None:
        self._note.unlink(missing_ok=True)  # first, so that no note ever describes other bytes
        self.path.unlink(missing_ok=True)

    def begin(self, url: str, tag: str, date: str | None) -> None:
        self.discard()
        self.path.touch()
        # A weak ETag does not promise the same bytes.
        validator = tag if tag.startswith('"') else date
        self._note.write_text(json.dumps({"url": url, "validator": validator}) + "\n", encoding="utf-8")

    def validator(self, url: str) -> str | None:
        """What to send as If-Range to go on; None: there is nothing to go on with."""
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
            usable = self.size and note["url"] == url and note["validator"].isprintable()
            return str(note["validator"]) if usable else None
        except (OSError, ValueError, RecursionError, TypeError, KeyError, AttributeError):
            return None  # whatever is there is of no use


def _reason(error: BaseException) -> str:
    """The innermost cause: what requests says of it is long and names its own objects."""
    while isinstance(inner := getattr(error, "reason", None) or next(iter(error.args), None), BaseException):
        error = inner
    text = inner if isinstance(inner, str) and len(error.args) < 2 else str(error)
    return re.sub(r"^\w*Connection(Pool)?\([^)]*\): ", "", text) or type(error).__name__
