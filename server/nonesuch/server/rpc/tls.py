"""TLS of the gRPC port: certificate and key from files, read again when they change: a renewal needs no restart."""

from __future__ import annotations

import threading
from pathlib import Path

import grpc
import structlog

from nonesuch.engine.errors import InvalidRequestError

from ..settings import TlsSettings

__all__ = ["server_credentials"]

_log = structlog.get_logger("nonesuch.server")


def server_credentials(tls: TlsSettings) -> grpc.ServerCredentials:
    """Credentials that follow their files; with a `client_ca` every client must show a certificate that it signed.

    Raises:
        InvalidRequestError: a file cannot be read, or is no PEM.
    """
    files = _Files(tls)
    return grpc.dynamic_ssl_server_credentials(
        files.configuration,
        files.changed,  # type: ignore[arg-type]  # None, too, is an answer: "keep what you have"
        require_client_authentication=tls.client_ca is not None,
    )


class _Files:
    """The files as they were read last."""

    def __init__(self, tls: TlsSettings) -> None:
        self._tls = tls
        self._lock = threading.Lock()  # handshakes ask from the transport's threads
        self._stamp = self._stamps()
        try:
            self.configuration = self._read()
        except ValueError as error:
            raise InvalidRequestError.of("tls", str(error)) from error

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """What is in the files now, if that is something new; None keeps what was. Asked at every handshake."""
        with self._lock:
            stamp = self._stamps()
            if stamp == self._stamp:
                return None
            self._stamp = stamp
            try:
                self.configuration = self._read()
            except ValueError as error:
                # Half of a renewal: the old pair goes on until the next change.
                _log.warning("certificate not taken", reason=str(error))
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
        """The configuration of the files.

        Raises:
            ValueError: one cannot be read or is no PEM; never quotes what is in it.
        """
        content = []
        for path in self._paths:
            try:
                data = path.read_bytes()
            except OSError as error:
                raise ValueError(f"{path} cannot be read ({error.strerror})") from error
            if b"-----BEGIN " not in data:
                raise ValueError(f"{path} is no PEM file")
            content.append(data)
        certificate, key, *client_ca = content
        return grpc.ssl_server_certificate_configuration([(key, certificate)], *client_ca)
