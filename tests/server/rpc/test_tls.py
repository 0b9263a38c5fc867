"""TLS and mTLS with test certificates, and their renewal in a running server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from nonesuch.client import AsyncClient, RequestError, UnavailableError, tls_credentials
from nonesuch.engine.errors import InvalidRequestError
from nonesuch.server.rpc.tls import server_credentials
from nonesuch.server.settings import ServerSettings, TlsSettings

from ...conftest import RunServer


class Authority:
    """A certificate authority with files in a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(self.ca)
        self.folder = folder

    def issue(self, name: str, *identities: str, common_name: str | None = None) -> tuple[Path, Path]:
        issued = self.authority.issue_cert(*identities, common_name=common_name)
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.unlink(missing_ok=True)
        for blob in issued.cert_chain_pems:
            blob.write_to_path(certificate, append=True)
        issued.private_key_pem.write_to_path(key)
        return certificate, key


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours")


async def test_only_clients_that_trust_the_authority_can_connect(
    run_server: RunServer, authority: Authority, tmp_path: Path
) -> None:
    certificate, key = authority.issue("server", "127.0.0.1")
    other = Authority(tmp_path / "other")
    async with run_server(tls=TlsSettings(certificate=certificate, private_key=key)) as server:
        async with AsyncClient(server.address, credentials=tls_credentials(authority.ca)) as client:
            assert (await client.generate(seed=1)).data
            assert len([image async for image in client.stream(range(3))]) == 3
        for credentials in (tls_credentials(other.ca), None):
            async with AsyncClient(server.address, credentials=credentials, retries=False) as client:
                with pytest.raises(UnavailableError):
                    await client.generate(seed=1, deadline_s=10)


async def test_with_mtls_a_client_needs_a_certificate_and_is_counted_by_its_name(
    run_server: RunServer, authority: Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    certificate, key = authority.issue("server", "127.0.0.1")
    own, own_key = authority.issue("client", "client-7.example")
    strangers = Authority(tmp_path / "strangers")
    strange, strange_key = strangers.issue("client", "client-7.example")
    tls = TlsSettings(certificate=certificate, private_key=key, client_ca=authority.ca)
    async with run_server(tls=tls) as server:
        known = tls_credentials(authority.ca, certificate=own, private_key=own_key)
        async with AsyncClient(server.address, credentials=known) as client:
            assert (await client.generate(seed=1)).data
        log = capsys.readouterr()
        assert "client-7.example" in log.out + log.err
        unknown = tls_credentials(authority.ca, certificate=strange, private_key=strange_key)
        for credentials in (tls_credentials(authority.ca), unknown):
            async with AsyncClient(server.address, credentials=credentials, retries=False) as client:
                with pytest.raises(UnavailableError):
                    await client.generate(seed=1, deadline_s=10)


async def test_a_renewed_certificate_is_used_without_a_restart(
    run_server: RunServer, authority: Authority, tmp_path: Path
) -> None:
    certificate, key = authority.issue("server", "127.0.0.1")
    renewed = Authority(tmp_path / "renewed")
    new_certificate, new_key = renewed.issue("server", "127.0.0.1")
    options = (("grpc.use_local_subchannel_pool", 1),)  # a handshake for each channel

    async def serves(ca: Path) -> bool:
        credentials = grpc.ssl_channel_credentials(ca.read_bytes())
        async with grpc.aio.secure_channel(server.address, credentials, options=options) as channel:
            try:
                call: Any = channel.unary_unary("/nonesuch.v1.ModelService/ListModels")
                await call(b"", timeout=10)
            except grpc.aio.AioRpcError:
                return False
            return True

    async with run_server(tls=TlsSettings(certificate=certificate, private_key=key)) as server:
        async with AsyncClient(server.address, credentials=tls_credentials(authority.ca)) as running:
            await running.generate(seed=1)
            assert await serves(authority.ca)
            certificate.write_text("half of a renewal")
            assert await serves(authority.ca)  # the old pair stays in use
            os.replace(new_key, key)
            os.replace(new_certificate, certificate)
            assert await serves(renewed.ca)
            assert not await serves(authority.ca)
            assert (await running.generate(seed=1)).data  # open connections are kept


def test_invalid_files_are_named_and_never_quoted(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("server", "127.0.0.1")
    with pytest.raises(InvalidRequestError, match=r"none\.pem cannot be read"):
        server_credentials(TlsSettings(certificate=tmp_path / "none.pem", private_key=key))
    (tmp_path / "secret").write_text("a secret, not PEM")
    with pytest.raises(InvalidRequestError, match="secret is not a PEM file") as caught:
        server_credentials(TlsSettings(certificate=certificate, private_key=tmp_path / "secret"))
    assert "a secret" not in caught.value.message.replace(str(tmp_path), "")
    with pytest.raises(InvalidRequestError, match=r"tls\.private_key"):
        ServerSettings(tls={"certificate": str(certificate)})
    with pytest.raises(RequestError, match="go together"):
        tls_credentials(authority.ca, certificate=certificate)
    with pytest.raises(RequestError, match="cannot be read"):
        tls_credentials(tmp_path / "none.pem")
