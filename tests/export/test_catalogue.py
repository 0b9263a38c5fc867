from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from nonesuch.engine.errors import CheckpointError, ModelNotFoundError
from nonesuch.export.catalogue import CATALOGUE, DEFAULT_MODEL, find_entry
from nonesuch.export.download import PackageFile
from nonesuch.export.families import FAMILIES, find_family
from nonesuch.export.https_download import HttpsFile

PACKAGES = [entry.name for entry in CATALOGUE.values() if isinstance(entry.file, PackageFile)]
PUBLIC = [entry.name for entry in CATALOGUE.values() if isinstance(entry.file, HttpsFile)]


def test_an_unknown_name_is_refused_in_one_line() -> None:
    with pytest.raises(ModelNotFoundError, match=r"^no model 'no such model' in the catalogue") as caught:
        find_entry("no such model")
    assert "\n" not in caught.value.message


def test_an_unknown_family_error_lists_the_families() -> None:
    with pytest.raises(CheckpointError, match=f"'biggan' cannot be exported; there are {', '.join(FAMILIES)}"):
        find_family("biggan")


def test_the_default_is_in_the_catalogue() -> None:
    assert find_entry(DEFAULT_MODEL).name == DEFAULT_MODEL
    assert find_entry(DEFAULT_MODEL).tried


def test_every_file_is_a_package_or_an_https_file() -> None:
    assert {*PACKAGES, *PUBLIC} == {*CATALOGUE}


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_every_entry_is_found_by_its_name_and_has_terms(name: str) -> None:
    entry = find_entry(name)
    assert entry.name == name
    assert entry.terms
    assert entry.licence


@pytest.mark.parametrize("name", PACKAGES)
def test_every_package_is_pinned_to_one_file(name: str) -> None:
    entry = find_entry(name)
    assert isinstance(entry.file, PackageFile)
    assert entry.family in FAMILIES
    assert re.fullmatch("[0-9a-f]{64}", str(entry.file.sha256))
    assert entry.file.filename.endswith(".whl")
    assert entry.file.requirement == f"{entry.file.package}=={entry.file.version}"


def test_the_default_model_is_a_package() -> None:
    assert isinstance(find_entry(DEFAULT_MODEL).file, PackageFile)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_checkpoint_has_an_https_address_and_a_supported_family(name: str) -> None:
    entry = find_entry(name)
    assert isinstance(entry.file, HttpsFile)
    address = urlsplit(entry.file.url)
    assert address.scheme == "https"
    assert address.hostname
    assert not address.username
    assert not entry.file.allow_loopback
    assert Path(entry.file.filename).name == entry.file.filename
    assert entry.file.sha256 is None or re.fullmatch("[0-9a-f]{64}", entry.file.sha256)
    assert entry.family in FAMILIES
    assert f"{entry.resolution}x{entry.resolution}" in entry.summary
    assert urlsplit(entry.card).scheme == "https"


def test_no_two_entries_share_a_file() -> None:
    """All downloads of a home are in one folder, by file name."""
    assert [name for name, n in Counter(entry.file.filename for entry in CATALOGUE.values()).items() if n > 1] == []
    assert [url for url, n in Counter(entry.file.describe() for entry in CATALOGUE.values()).items() if n > 1] == []


def test_the_default_models_terms_are_non_commercial() -> None:
    terms = find_entry(DEFAULT_MODEL).terms
    for words in ("Apache-2.0", "NVIDIA", "CC BY-NC-SA 4.0", "non-commercial"):
        assert words in terms
