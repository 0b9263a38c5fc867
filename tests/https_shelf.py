"""A real server of one file on loopback that can misbehave."""

from __future__ import annotations

import os
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock


class Shelf(ThreadingHTTPServer):
    """Serves `content` at every path; the attributes configure its behaviour."""

    daemon_threads = True

    def __init__(self, content: bytes, certificate: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = content
        self.scheme = "https" if certificate else "http"
        self.etag: str | None = '"first"'
        self.last_modified: str | None = None
        self.ranges = True  # honours Range
        self.if_range = True  # and If-Range
        self.length = True  # sends Content-Length
        self.chunked = False
        self.encoding: str | None = None
        self.kind: str | None = None  # Content-Type
        self.moved = 0  # offset of ranges from the request
        self.free = threading.Event()  # answers wait for it
        self.free.set()
        self.status: int | None = None
        self.location: str | None = None
        self.endless_redirect = False  # its body never comes
        self.cuts: list[int] = []  # bytes after which the next answers end early
        self.stalls: list[int] = []  # bytes after which the next answers stall
        self.asked: list[Message] = []  # the headers of each request
        self.sent = 0
        self.ended = threading.Event()
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}/net.pkl"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors: in many tests the client disconnects."""

    @contextmanager
    def running(self) -> Iterator[Shelf]:
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            with mock.patch.dict(os.environ, NO_PROXY="127.0.0.1"):
                yield self
        finally:
            self.ended.set()
            self.free.set()
            self.shutdown()
            thread.join()
            self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Shelf

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        shelf = self.server
        shelf.asked.append(self.headers)
        shelf.free.wait()
        if shelf.location is not None and self.path == "/net.pkl":
            self._answer(302, {"Location": shelf.location, "Content-Length": "9" if shelf.endless_redirect else "0"})
            if shelf.endless_redirect:
                shelf.ended.wait()
            return None
        if shelf.status is not None:
            return self._answer(shelf.status, {"Content-Length": "0"})
        optional = {"Content-Type": shelf.kind, "Content-Encoding": shelf.encoding}
        optional |= {"ETag": shelf.etag, "Last-Modified": shelf.last_modified}
        headers = {key: value for key, value in optional.items() if value is not None}
        start, total = 0, len(shelf.content)
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = not shelf.if_range or self.headers.get("If-Range") in (None, shelf.etag, shelf.last_modified)
        if asked and shelf.ranges and same:
            start = int(asked[1]) + shelf.moved
            if start >= total:
                return self._answer(416, headers | {"Content-Range": f"bytes */{total}", "Content-Length": "0"})
            headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
        if shelf.chunked:
            headers["Transfer-Encoding"] = "chunked"
        elif shelf.length:
            headers["Content-Length"] = str(total - start)
        else:
            self.close_connection = True
        self._answer(206 if "Content-Range" in headers else 200, headers)
        return self._send(shelf.content[start:])

    def _answer(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()

    def _send(self, body: bytes) -> None:
        shelf = self.server
        cut = shelf.cuts.pop(0) if shelf.cuts else None
        stall = shelf.stalls.pop(0) if shelf.stalls else None
        for at in range(0, len(body[:cut][:stall]), 1 << 14):
            piece = body[:cut][:stall][at : at + (1 << 14)]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if shelf.chunked else piece)
            shelf.sent += len(piece)
        if stall is not None:
            shelf.ended.wait()
        if cut is not None or stall is not None:
            self.close_connection = True
        elif shelf.chunked:
            self.wfile.write(b"0\r\n\r\n")
