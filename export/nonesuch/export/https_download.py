"""A catalogue file that is published at an address: fetched over HTTPS, with its hash checked or recorded.

Publishers of checkpoints seldom name a hash. Where there is none, the first content that is used is recorded in
`known_hashes.json` and any other is refused from then on, so a file that is exchanged later is noticed.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from nonesuch.engine.errors import DownloadError
from nonesuch.engine.home import Home

from .download import Progress, copy_at_hand, locked_target, sha256_of
from .known_hashes import KnownHashes
from .partial_file import PartialFile
from .transfer_rules import TransferRules, is_allowed

__all__ = ["MAX_BYTES", "HttpsFile"]

MAX_BYTES = 2 << 30
"""What a file may have if its size was not published: several times the largest known StyleGAN checkpoint."""


@dataclass(frozen=True)
class HttpsFile:
    """One file at one address.

    Attributes:
        filename: its name in the home's downloads; a plain name.
        url: https.
        size_bytes: as published, else None.
        sha256: as published (hex), else None.
        max_bytes: refused if it is larger.
        connect_timeout_s: seconds until a connection must stand.
        read_timeout_s: seconds that may pass without a byte.
        allow_loopback: for tests only: http://127.0.0.1 will do.

    Raises:
        ValueError: the address is not https, or the name is not plain.
    """

    filename: str
    url: str
    size_bytes: int | None = None
    sha256: str | None = None
    max_bytes: int = MAX_BYTES
    connect_timeout_s: float = 20.0
    read_timeout_s: float = 60.0
    allow_loopback: bool = False

    def __post_init__(self) -> None:
        if not is_allowed(self.url, allow_loopback=self.allow_loopback):
            raise ValueError(f"{self.url} is not an https address")
        if Path(self.filename).name != self.filename or self.filename in ("", ".."):
            raise ValueError(f"{self.filename!r} is not a plain file name")

    def describe(self) -> str:
        """The address."""
        return self.url

    def expected_sha256(self, home: Home) -> str | None:
        """The published hash, else the one recorded here on first use, else None.

        Raises:
            DownloadError: the record is damaged.
        """
        return self.sha256 or KnownHashes(home.downloads).get(self.filename)

    def at_hand(self, home: Home) -> Path | None:
        """The file in the home if it is there with the published or recorded hash, else None.

        Raises:
            DownloadError: the record of hashes is damaged.
        """
        path = home.downloads / self.filename
        if not path.is_file():
            return None
        expected = self.expected_sha256(home)
        return path if expected is not None and sha256_of(path) == expected else None

    def fetch(self, home: Home, source: Path | None, progress: Progress | None) -> Path:
        """Make sure that it is in the home; `progress` wraps the sizes of the pieces.

        What came before the connection failed is kept beside it as `.part`, and gone on with the next time.

        Raises:
            DownloadError: it cannot be had, or is not what was published or recorded.
        """
        from .https_transfer import transfer  # brings requests, which listing the catalogue does not need

        with locked_target(home, self.filename) as target:
            if self.at_hand(home):
                return target
            part = PartialFile(target)
            if source is not None:
                with tempfile.TemporaryDirectory(prefix=".fetching-", dir=home.downloads) as staging:
                    copied = copy_at_hand(source, Path(staging) / self.filename, self.max_bytes)
                    self._keep(copied, target, str(source), KnownHashes(home.downloads))
                part.discard()
                return target
            transfer(self.url, part, self._rules(home), progress)
            try:
                self._keep(part.path, target, self.url, KnownHashes(home.downloads))
            finally:
                part.discard()
            return target

    def _rules(self, home: Home) -> TransferRules:
        return TransferRules(
            max_bytes=self.max_bytes,
            exact_bytes=self.size_bytes,
            length_required=self.expected_sha256(home) is None,
            connect_timeout_s=self.connect_timeout_s,
            read_timeout_s=self.read_timeout_s,
            allow_loopback=self.allow_loopback,
        )

    def _keep(self, fetched: Path, target: Path, origin: str, known: KnownHashes) -> None:
        """Move a whole file to its place if its content is right."""
        size, found = fetched.stat().st_size, sha256_of(fetched)
        if self.size_bytes is not None and size != self.size_bytes:
            raise DownloadError(
                f"{origin} is not the published {self.filename}: it has {size} bytes, not {self.size_bytes}; "
                "it was not kept"
            )
        if self.sha256 is not None and found != self.sha256:
            raise DownloadError(
                f"{origin} is not the published {self.filename}: its sha256 is {found[:12]}…, not "
                f"{self.sha256[:12]}…; it was not kept; a right copy can be named with --from FILE"
            )
        if self.sha256 is None:
            recorded = known.get(self.filename)
            if recorded is not None and found != recorded:
                raise DownloadError(
                    f"{origin} is not the {self.filename} that was first used here: its sha256 is {found[:12]}…, not "
                    f"{recorded[:12]}…; it was not kept; name the former with --from FILE, or take its entry out of "
                    f"{known.path} to accept the new one"
                )
            if recorded is None:
                # Before the file appears, so that none is ever there without its record.
                known.record(self.filename, found, origin)
        os.replace(fetched, target)
