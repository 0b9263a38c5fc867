from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from defusedxml import ElementTree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nonesuch.engine.errors import CheckpointError
from nonesuch.engine.home import Home
from nonesuch.export.catalogue import find_entry
from nonesuch.export.checkpoint import Checkpoint
from nonesuch.export.formats.random_face import read_random_face_wheel
from nonesuch.export.graphs.mapping import build_mapping
from nonesuch.export.graphs.mobilestylegan import build_synthesis
from nonesuch.export.graphs.synthesis_builder import VariantOptions

WriteWheel = Callable[[Path, Mapping[str, bytes]], Path]
NETWORKS = ["MappingNetwork", "SynthesisNetwork"]
FACES_ID = "f5132428b0e018100500e7c2fe4b02faca58b8f2d496924eb6f44cb0007e08e8"


def refusal(wheel: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_random_face_wheel(wheel)
    assert caught.value.message.startswith(wheel.name)
    assert "\n" not in caught.value.message
    return caught.value.message


def edited(xml: bytes, edit: Callable[[Any], None]) -> bytes:
    root = ElementTree.fromstring(xml)
    edit(root)
    return bytes(ElementTree.tostring(root))


def test_the_tiny_model_comes_back_bit_for_bit(
    checkpoint: Checkpoint, wheel_members: dict[str, bytes], write_wheel: WriteWheel, tmp_path: Path
) -> None:
    found = read_random_face_wheel(write_wheel(tmp_path / "tiny.whl", wheel_members))
    assert found.config == checkpoint.config
    assert set(found.tensors) == set(checkpoint.tensors)
    for name, array in checkpoint.tensors.items():
        np.testing.assert_array_equal(found.tensors[name], array, err_msg=name)
    assert found.model_id == checkpoint.model_id


def test_constants_are_found_by_position_and_not_by_name(
    checkpoint: Checkpoint,
    wheel_members: dict[str, bytes],
    write_wheel: WriteWheel,
    disguise_ir: Callable[[bytes], bytes],
    tmp_path: Path,
) -> None:
    members = {name: disguise_ir(data) if name.endswith("xml") else data for name, data in wheel_members.items()}
    assert all(members[f"{network}.xml"] != wheel_members[f"{network}.xml"] for network in NETWORKS)
    assert read_random_face_wheel(write_wheel(tmp_path / "tiny.whl", members)).model_id == checkpoint.model_id


def test_an_invalid_zip_is_refused(tmp_path: Path, wheel_members: dict[str, bytes], write_wheel: WriteWheel) -> None:
    path = tmp_path / "some.whl"
    whole = write_wheel(tmp_path / "whole.whl", wheel_members).read_bytes()
    for data in (b"", b"garbage", b"PK\x03\x04" + b"\0" * 100, whole[: len(whole) // 2], whole[100:]):
        path.write_bytes(data)
        assert "cannot be read as a wheel" in refusal(path)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    assert "download it again" in refusal(tmp_path / "nowhere.whl")
    assert "cannot be read as a wheel" in refusal(tmp_path)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("suffix", ["xml", "bin"])
def test_a_missing_member_is_named(
    tmp_path: Path, wheel_members: dict[str, bytes], write_wheel: WriteWheel, network: str, suffix: str
) -> None:
    members = {name: data for name, data in wheel_members.items() if name != f"{network}.{suffix}"}
    message = refusal(write_wheel(tmp_path / "some.whl", members))
    assert f"{network}.{suffix}" in message
    assert "is not the random-face wheel" in message


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.9])
def test_truncated_constants_are_refused(
    tmp_path: Path, wheel_members: dict[str, bytes], write_wheel: WriteWheel, network: str, kept: float
) -> None:
    data = wheel_members[f"{network}.bin"]
    members = wheel_members | {f"{network}.bin": data[: int(kept * len(data))]}
    assert "the file is truncated, download it again" in refusal(write_wheel(tmp_path / "some.whl", members))


def test_damaged_compression_is_one_line(
    tmp_path: Path, wheel_members: dict[str, bytes], write_wheel: WriteWheel
) -> None:
    path = write_wheel(tmp_path / "some.whl", wheel_members)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("random_face/data/SynthesisNetwork.xml").header_offset + 80
    for position in range(start, start + 400, 7):
        data = bytearray(whole)
        data[position] ^= 0xFF
        path.write_bytes(data)
        assert "cannot be read as a wheel" in refusal(path)


def test_an_oversized_member_is_not_read(
    tmp_path: Path, wheel_members: dict[str, bytes], write_wheel: WriteWheel
) -> None:
    path = write_wheel(tmp_path / "some.whl", wheel_members)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        info = zipfile.ZipInfo("random_face/data/MappingNetwork.xml")
        info.compress_type = zipfile.ZIP_DEFLATED
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr(info, bytes(257 << 20))
    assert "the limit is" in refusal(path)


@pytest.mark.parametrize("network", NETWORKS)
def test_an_ir_of_something_else_is_refused(
    tmp_path: Path, wheel_members: dict[str, bytes], write_wheel: WriteWheel, network: str
) -> None:
    for xml in (b"<net version='10'/>", b"<net version='99'/>", b"junk", b"<!DOCTYPE net><net version='10'/>"):
        members = wheel_members | {f"{network}.xml": xml}
        assert network in refusal(write_wheel(tmp_path / "some.whl", members))


def test_exchanged_networks_are_refused(
    tmp_path: Path, wheel_members: dict[str, bytes], write_wheel: WriteWheel
) -> None:
    exchanged = dict(zip(reversed(NETWORKS), NETWORKS, strict=True))
    members = {f"{exchanged[name[:-4]]}{name[-4:]}": data for name, data in wheel_members.items()}
    refusal(write_wheel(tmp_path / "some.whl", members))


def test_another_slope_is_refused(tmp_path: Path, wheel_members: dict[str, bytes], write_wheel: WriteWheel) -> None:
    slope, other = np.float32(0.2).tobytes(), np.float32(0.25).tobytes()
    for network in NETWORKS:
        data = wheel_members[f"{network}.bin"].replace(slope, other)
        members = wheel_members | {f"{network}.bin": data}
        assert "expected 0.2" in refusal(write_wheel(tmp_path / "some.whl", members))


def test_weights_that_are_not_finite_are_refused(
    tmp_path: Path, wheel_members: dict[str, bytes], checkpoint: Checkpoint, write_wheel: WriteWheel
) -> None:
    bias = checkpoint.tensors["synthesis.to_img.bias"].tobytes()
    data = wheel_members["SynthesisNetwork.bin"]
    assert data.count(bias) == 1
    members = wheel_members | {"SynthesisNetwork.bin": data.replace(bias, b"\xff" * len(bias))}
    assert "not finite" in refusal(write_wheel(tmp_path / "some.whl", members))


def test_a_lost_styled_layer_is_refused(
    tmp_path: Path, wheel_members: dict[str, bytes], write_wheel: WriteWheel
) -> None:
    def unstyle(root: Any) -> None:
        matmul = [node for node in root.iterfind("layers/layer") if node.get("type") == "MatMul"][2]
        matmul.set("type", "Sigmoid")

    xml = edited(wheel_members["SynthesisNetwork.xml"], unstyle)
    message = refusal(write_wheel(tmp_path / "some.whl", wheel_members | {"SynthesisNetwork.xml": xml}))
    assert "found 7 styled layers; MobileStyleGAN has 3 for each block and 2 more" in message


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_any_other_graph_is_a_checkpoint_or_a_checkpoint_error(
    data: st.DataObject, tmp_path: Path, wheel_members: dict[str, bytes], write_wheel: WriteWheel
) -> None:
    """Damage layers, edges, types and shapes: the only error raised is CheckpointError."""
    network = data.draw(st.sampled_from(NETWORKS))

    def damage(root: Any) -> None:
        layers, edges = root.find("layers"), root.find("edges")
        for _ in range(data.draw(st.integers(1, 3))):
            layer = layers[data.draw(st.integers(0, len(layers) - 1))]
            match data.draw(st.sampled_from(["edge", "layer", "type", "shape"])):
                case "edge":
                    edges.remove(edges[data.draw(st.integers(0, len(edges) - 1))])
                case "layer":
                    layers.remove(layer)
                    for edge in [e for e in edges if layer.get("id") in (e.get("from-layer"), e.get("to-layer"))]:
                        edges.remove(edge)
                case "type":
                    kinds = sorted({other.get("type") for other in layers})
                    layer.set("type", data.draw(st.sampled_from(kinds)))
                case "shape":
                    size = int(layer.find("data").get("size", "0"))
                    layer.find("data").set("shape", data.draw(st.sampled_from(["", "1", str(size // 4), "0"])))

    xml = edited(wheel_members[f"{network}.xml"], damage)
    path = write_wheel(tmp_path / "some.whl", wheel_members | {f"{network}.xml": xml})
    with suppress(CheckpointError):
        found = read_random_face_wheel(path)
        build_mapping(found)
        build_synthesis(found, VariantOptions())


@pytest.mark.faces
def test_the_real_wheel_is_converted(faces_home: Home) -> None:
    entry = find_entry("faces")
    found = entry.read(faces_home.downloads / entry.file.filename)
    assert found.config == {
        "family": "mobilestylegan",
        "z_dim": 512,
        "w_dim": 512,
        "mapping_layers": 8,
        "channels": [512, 512, 512, 512, 512, 256, 128, 64],
        "resolution": 1024,
        "img_channels": 3,
    }
    assert found.model_id == FACES_ID
    assert all(array.dtype == np.float32 for array in found.tensors.values())


@pytest.mark.faces
def test_the_real_wheel_is_read_with_any_names_and_order(
    faces_home: Home, write_wheel: WriteWheel, disguise_ir: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    with zipfile.ZipFile(faces_home.downloads / find_entry("faces").file.filename) as archive:
        names = [f"{network}.{suffix}" for network in NETWORKS for suffix in ("xml", "bin")]
        members = {name: archive.read(f"random_face/data/{name}") for name in names}
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as archive:  # stored: compressing 40 MB takes seconds
        for name, content in members.items():
            content = disguise_ir(content) if name.endswith(".xml") else content
            archive.writestr(f"random_face/data/{name}", content)
    assert read_random_face_wheel(tmp_path / "other.whl").model_id == FACES_ID
