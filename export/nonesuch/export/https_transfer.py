"""One file over HTTPS into a partial file: a resumable GET that is bounded in size and in silence.

Every hop is https with the certificate checked. A transfer that was cut goes on where it ended, if the server says by
a strong ETag or by Last-Modified that the content is still the same (RFC 9110, sections 13.1.5 and 14); else it starts
again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urljoin, urlsplit

import requests
from urllib3.exceptions import ReadTimeoutError

from nonesuch.engine import __version__
from nonesuch.engine.errors import DownloadError

from .download import Progress
from .partial_file import PartialFile
from .transfer_rules import TransferRules, is_allowed

__all__ = ["transfer"]

_PIECE_BYTES = 1 << 16
_MAX_HOPS = 5
_MAX_ATTEMPTS = 5
_WAY_OUT = "try again, or fetch it in another way and name the file with --from FILE"


def transfer(url: str, part: PartialFile, rules: TransferRules, progress: Progress | None) -> None:
    """Bring all of `url` into `part`, which is kept when the connection fails, for the next time.

    Raises:
        DownloadError: it cannot be had, or breaks the rules.
    """
    with _OneHop() as session:
        # The environment names proxies, which would ask in vain for loopback, and certificate bundles.
        session.trust_env = not rules.allow_loopback
        session.headers.update({"User-Agent": f"nonesuch/{__version__}", "Accept-Encoding": "identity"})
        attempt = _Attempt(session, url, part, rules)
        sizes = attempt.receive()
        for _ in sizes if progress is None else progress(sizes, urlsplit(url).path.rpartition("/")[2], attempt.total):
            pass


class _OneHop(requests.Session):
    """Leaves redirects alone: by itself it would read the body of each, however long, even if it follows none."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        return None


class _Attempt:
    """An open answer, and how to open the next one if it ends early."""

    def __init__(self, session: requests.Session, url: str, part: PartialFile, rules: TransferRules) -> None:
        self._session, self._url, self._part, self._rules = session, url, part, rules
        self.total: int | None = None  # bytes, of the whole file
        self._response = self._open()

    def receive(self) -> Iterator[int]:
        """Yield the size of each piece when it is written; what was there before comes first."""
        if self._part.size_bytes:
            yield self._part.size_bytes
        for attempt in range(_MAX_ATTEMPTS):
            before = self._part.size_bytes
            try:
                yield from self._receive_once()
                return
            except requests.RequestException as error:
                can_go_on = self._part.validator(self._url) is not None and self._part.size_bytes > before
                if not can_go_on or attempt == _MAX_ATTEMPTS - 1:
                    raise self._error(f"stopped ({self._reason(error)})") from error
            except OSError as error:
                raise DownloadError(f"{self._part.path} cannot be written ({error.strerror or error})") from error
            self._response = self._open()

    def _receive_once(self) -> Iterator[int]:
        size = self._part.size_bytes
        with self._response as response, self._part.append() as stream:
            for piece in response.iter_content(_PIECE_BYTES):
                size += len(piece)
                if size > self._limit:
                    self._part.discard()
                    raise self._error(f"is larger than the {self._limit} bytes that it may have")
                stream.write(piece)
                yield len(piece)
        if self.total is not None and size != self.total:
            self._part.discard()
            raise self._error(f"sent {size} bytes, not the {self.total} that it announced")

    @property
    def _limit(self) -> int:
        return self._rules.max_bytes if self._rules.exact_bytes is None else self._rules.exact_bytes

    def _open(self) -> requests.Response:
        """Ask for what is missing, and make the partial file fit the answer."""
        validator = self._part.validator(self._url)
        start = self._part.size_bytes
        headers = {"Range": f"bytes={start}-", "If-Range": validator} if validator else {}
        response = self._follow(headers)
        try:
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise self._error("answered with an encoding that was not asked for")
            if validator and response.status_code in (206, 416):
                same = response.headers.get("ETag", validator) == validator or not validator.startswith('"')
                found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
                if response.status_code == 206 and same and found and int(found[1]) == start:
                    self._check_total(int(found[2]))
                    return response
                # The rest of something else, or nothing more of it: from the start, then.
                response.close()
                self._part.discard()
                return self._open()
            if response.status_code != 200:
                raise self._error(f"answered {response.status_code} {response.reason}")
            length = response.headers.get("Content-Length", "")
            self._check_total(int(length) if re.fullmatch(r"\d{1,18}", length) else None)
            if self.total is None and self._rules.length_required:
                chunked = response.headers.get("Transfer-Encoding", "").lower() == "chunked"
                if not chunked:
                    raise self._error("does not say how long the file is, so nobody could tell if some is missing")
            self._begin(response)
        except BaseException:
            response.close()
            raise
        return response

    def _check_total(self, total: int | None) -> None:
        self.total = total
        if total is None:
            return
        if self._rules.exact_bytes is not None and total != self._rules.exact_bytes:
            self._part.discard()
            raise self._error(f"has {total} bytes, not the published {self._rules.exact_bytes}")
        if total > self._rules.max_bytes:
            self._part.discard()
            raise self._error(f"has {total} bytes, more than the {self._rules.max_bytes} that it may have")

    def _begin(self, response: requests.Response) -> None:
        tag = response.headers.get("ETag", "")
        # A weak ETag does not promise the same bytes, so a range cannot be asked for with it.
        validator = tag if tag.startswith('"') else response.headers.get("Last-Modified")
        try:
            self._part.begin(self._url, validator)
        except OSError as error:
            raise DownloadError(f"{self._part.path} cannot be written ({error.strerror or error})") from error

    def _follow(self, headers: dict[str, str]) -> requests.Response:
        url = self._url
        for _ in range(_MAX_HOPS + 1):
            if not is_allowed(url, allow_loopback=self._rules.allow_loopback):
                raise self._error(f"leads to {url}, which is not https")
            try:
                response = self._session.get(
                    url,
                    headers=headers,
                    stream=True,
                    allow_redirects=False,  # each hop is looked at here
                    timeout=(self._rules.connect_timeout_s, self._rules.read_timeout_s),
                )
            except (requests.RequestException, ValueError) as error:
                raise self._error(f"cannot be fetched ({self._reason(error)})") from error
            if not response.is_redirect:
                return response
            response.close()
            try:
                url = urljoin(url, response.headers["Location"])
            except ValueError:
                url = response.headers["Location"]  # no address at all, which is not https either
        raise self._error(f"leads on and on, more than {_MAX_HOPS} times")

    def _error(self, what: str) -> DownloadError:
        return DownloadError(f"{self._url} {what}; {_WAY_OUT}")

    def _reason(self, error: BaseException) -> str:
        """The innermost cause: what requests says of it is long and names its own objects."""
        while True:
            inner = getattr(error, "reason", None) or (error.args[0] if error.args else None)
            if isinstance(error, requests.ConnectTimeout):
                return f"no connection within {self._rules.connect_timeout_s:g} s"
            if isinstance(error, requests.ReadTimeout | ReadTimeoutError):
                return f"nothing came for {self._rules.read_timeout_s:g} s"
            if not isinstance(inner, BaseException):
                break
            error = inner
        text = inner if isinstance(inner, str) and len(error.args) < 2 else str(error)
        return re.sub(r"^\w*Connection(Pool)?\([^)]*\): ", "", text) or type(error).__name__
