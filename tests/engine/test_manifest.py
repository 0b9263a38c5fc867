from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.errors import ArtifactError
from nonesuch.engine.manifest import FORMAT, Manifest

Change = Callable[[dict[str, Any]], None]


def refusal(data: bytes) -> str:
    with pytest.raises(ArtifactError) as caught:
        Manifest.decode(data, "here/manifest.json")
    assert "\n" not in caught.value.message
    assert caught.value.message.startswith("here/manifest.json")
    return caught.value.message


def test_a_manifest_survives_its_own_encoding(artifact: Artifact) -> None:
    data = artifact.manifest.encode()
    assert Manifest.decode(data, "m") == artifact.manifest
    assert Manifest.decode(data, "m").encode() == data


def test_unknown_fields_are_ignored(artifact: Artifact) -> None:
    content = json.loads(artifact.manifest.encode())
    content["from_the_future"] = {"a": [1, 2]}
    assert Manifest.decode(json.dumps(content).encode(), "m") == artifact.manifest


def test_a_newer_format_is_rejected_and_says_what_to_install(artifact: Artifact) -> None:
    content = json.loads(artifact.manifest.encode())
    content["format"] = FORMAT + 6
    message = refusal(json.dumps(content).encode())
    assert f"format {FORMAT + 6}" in message
    assert "install a newer nonesuch" in message
    # The fields of a newer format are not read, so they may be anything.
    assert "install a newer nonesuch" in refusal(b'{"format": 7, "files": 3}')


def test_an_older_format_is_rejected_and_says_to_export_again() -> None:
    message = refusal(json.dumps({"format": FORMAT - 1}).encode())
    assert f"format {FORMAT - 1}" in message
    assert "export the model again" in message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"not JSON",
        b"[]",
        b"null",
        b"{}",
        b'{"format": "1"}',
        b'{"format": 1.5}',
        b'{"format": true}',
        b'{"format": 1}',
        b"\xff\xfe{}",
        b'{"format": 1, "name": "\xff"}',
        b'{"format": 1, "x": ' + b"[" * 100_000,
    ],
)
def test_invalid_manifests_are_rejected_in_one_line(data: bytes) -> None:
    assert "export the model again" in refusal(data)


def test_every_field_is_required(artifact: Artifact) -> None:
    content = json.loads(artifact.manifest.encode())
    for field in content:
        without = {key: value for key, value in content.items() if key != field}
        assert field in refusal(json.dumps(without).encode())


def change_variant_file(name: str) -> Change:
    def change(content: dict[str, Any]) -> None:
        variant = content["variants"][0]
        content["files"][name] = content["files"].pop(variant["file"])
        variant["file"] = name

    return change


def set_field(name: str, value: object) -> Change:
    return lambda content: content.__setitem__(name, value)


@pytest.mark.parametrize(
    "change",
    [
        *(
            change_variant_file(name)
            for name in ("../synthesis.onnx", "/etc/passwd", "a/b", "a\\b", "C:x", "", ".hidden", "a\n", "x" * 129)
        ),
        lambda content: content["files"].pop("synthesis.onnx"),
        lambda content: content["files"].__setitem__("../x", "0" * 64),
        lambda content: content["files"].__setitem__("w_avg.npy", "0" * 63),
        lambda content: content["files"].__setitem__("w_avg.npy", "G" * 64),
        lambda content: content["variants"][0].__setitem__("sha256", "0" * 64),
        lambda content: content["variants"][0].__setitem__("output", "jpeg"),
        lambda content: content["ws_layout"].pop(),
        lambda content: content["ws_layout"].reverse(),
        set_field("variants", []),
        set_field("num_ws", 0),
        set_field("w_dim", -1),
        set_field("z_dim", 1 << 40),
        set_field("channels", 5),
        set_field("resolution", 1 << 20),
        set_field("name", ""),
        set_field("name", "two\nlines"),
        set_field("name", "a\0b"),
        set_field("name", "x" * 129),
        set_field("model_id", "abc"),
    ],
)
def test_invalid_values_are_rejected(artifact: Artifact, change: Change) -> None:
    content = json.loads(artifact.manifest.encode())
    change(content)
    assert "does not describe an artifact" in refusal(json.dumps(content).encode())
