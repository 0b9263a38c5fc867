"""TLS of the gRPC port: certificate and key from files, which are reloaded when they change."""

from __future__ import annotations

import threading
from pathlib import Path

import grpc
import structlog

from nonesuch.engine.errors import InvalidRequestError

from ..settings import TlsSettings

_log = structlog.get_logger("nonesuch.server")


def server_credentials(tls: TlsSettings) -> grpc.ServerCredentials:
    """Credentials that reload their files; with `client_ca`, every client must show a certificate signed by it.

    Raises:
        InvalidRequestError: a file cannot be read, or is not PEM.
    """
    files = _Files(tls)
    return grpc.dynamic_ssl_server_credentials(
        files.configuration,
        files.changed,  # type: ignore[arg-type]  # None means no change
        require_client_authentication=tls.client_ca is not None,
    )


class _Files:
    """The files and their last content."""

    def __init__(self, tls: TlsSettings) -> None:
        self._tls = tls
        self._lock = threading.Lock()  # handshakes run in the transport's threads
        self._stamp = self._stamps()
        try:
            self.configuration = self._read()
        except ValueError as error:
            raise InvalidRequestError.of("tls", str(error)) from error

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """The new configuration if the files have changed, otherwise None. Called at every handshake."""
        with self._lock:
            stamp = self._stamps()
            if stamp == self._stamp:
                return None
            self._stamp = stamp
            try:
                self.configuration = self._read()
            except ValueError as error:
                # A renewal in progress: keep the old pair until the next change.
                _log.warning("certificate not renewed", reason=str(error))
                return None
            _log.info("certificate renewed", file=str(self._tls.certificate))
            return self.configuration

    @property
    def _paths(self) -> list[Path]:
        tls = self._tls
        return [tls.certificate, tls.private_key, *([tls.client_ca] if tls.client_ca else [])]

    def _stamps(self) -> list[tuple[int, int, int]]:
        stamps = []
        for path in self._paths:
            try:
                status = path.stat()
            except OSError:
                stamps.append((0, 0, 0))
            else:
                stamps.append((status.st_mtime_ns, status.st_size, status.st_ino))
        return stamps

    def _read(self) -> grpc.ServerCertificateConfiguration:
        """Read the files.

        Raises:
            ValueError: a file cannot be read or is not PEM; its content is never quoted.
        """
        content = []
        for path in self._paths:
            try:
                data = path.read_bytes()
            except OSError as error:
                raise ValueError(f"{path} cannot be read ({error.strerror})") from error
            if b"-----BEGIN " not in data:
                raise ValueError(f"{path} is not a PEM file")
            content.append(data)
        certificate, key, *client_ca = content
        return grpc.ssl_server_certificate_configuration([(key, certificate)], *client_ca)
