"""TLS for the clients: PEM files -> channel credentials."""

from __future__ import annotations

import os
from pathlib import Path

import grpc

from .errors import RequestError

_Path = str | os.PathLike[str]


def tls_credentials(
    ca: _Path | None = None, *, certificate: _Path | None = None, private_key: _Path | None = None
) -> grpc.ChannelCredentials:
    """Credentials of a client for a server with TLS.

    Args:
        ca: PEM file of the authority that signed the server's certificate; None: gRPC's default authorities.
        certificate: PEM file of the client's own chain, for servers that require one (mTLS).
        private_key: PEM file of the key of `certificate`; required with it.

    Raises:
        RequestError: a certificate without a key, a key without a certificate, or a file that cannot be read.
    """
    if (certificate is None) != (private_key is None):
        raise RequestError.of("tls_certificate", "a certificate and its private key go together; give both")
    return grpc.ssl_channel_credentials(
        root_certificates=_read(ca, "tls_ca"),
        private_key=_read(private_key, "tls_private_key"),
        certificate_chain=_read(certificate, "tls_certificate"),
    )


def _read(path: _Path | None, field: str) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise RequestError.of(field, f"{os.fspath(path)} cannot be read ({error.strerror}); give a PEM file") from error
