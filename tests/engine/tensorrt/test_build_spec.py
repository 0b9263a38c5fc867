from __future__ import annotations

import platform
import subprocess
import sys

import msgspec
import pytest

from nonesuch.engine.artifact import Artifact
from nonesuch.engine.cuda_driver import Gpu
from nonesuch.engine.tensorrt.batch_profile import make_profiles
from nonesuch.engine.tensorrt.build_spec import BuildSpec, TensorSpec, this_platform
from nonesuch.engine.tensorrt.library import Library
from nonesuch.engine.tensorrt.plan_request import PlanRequest

from .conftest import OTHER_VALUES, make_spec

T4 = Gpu(0, "Tesla T4", 75, 40)
FIELDS = [field.name for field in msgspec.structs.fields(BuildSpec)]


def test_every_field_has_another_value_to_try() -> None:
    assert list(OTHER_VALUES) == FIELDS


@pytest.mark.parametrize("field", FIELDS)
def test_the_key_changes_with_every_field(field: str) -> None:
    assert getattr(make_spec(), field) != OTHER_VALUES[field]
    assert make_spec(**{field: OTHER_VALUES[field]}).key != make_spec().key


def test_the_key_depends_on_the_content_and_is_a_valid_file_name() -> None:
    assert make_spec().key == make_spec().key
    assert len({make_spec(**{field: value}).key for field, value in OTHER_VALUES.items()}) == len(OTHER_VALUES)
    assert set(make_spec().key) <= set("0123456789abcdef")
    assert len(make_spec().key) == 64


@pytest.mark.parametrize("field", [field.name for field in msgspec.structs.fields(TensorSpec)])
def test_the_key_changes_with_everything_about_a_tensor(field: str) -> None:
    other = {"name": "w", "shape": (8, 16), "dtype": "float16"}[field]
    inputs = (msgspec.structs.replace(make_spec().inputs[0], **{field: other}),)
    assert make_spec(inputs=inputs).key != make_spec().key


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_the_key_is_the_same_in_every_process(hash_seed: str) -> None:
    code = (
        "import sys, msgspec\n"
        "from nonesuch.engine.tensorrt.build_spec import BuildSpec\n"
        "print(msgspec.json.decode(sys.argv[1], type=BuildSpec).key)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, msgspec.json.encode(make_spec()).decode()],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": hash_seed},
        timeout=60,
    )
    assert done.stdout.strip() == make_spec().key


def test_the_key_survives_json() -> None:
    for field, value in OTHER_VALUES.items():
        spec = make_spec(**{field: value})
        assert msgspec.json.decode(msgspec.json.encode(spec), type=BuildSpec) == spec


@pytest.mark.parametrize(
    ("changes", "target"),
    [
        ({}, "ampere+"),
        ({"sms": (86,)}, "sm86"),
        ({"sms": (86, 89)}, "sm86-sm89"),
        ({"gpu": T4.name, "gpu_sm": 75, "gpu_multiprocessors": 40}, "sm75"),
    ],
)
def test_the_short_name_of_the_target(changes: dict[str, object], target: str) -> None:
    assert make_spec(**changes).target == target


@pytest.mark.parametrize(
    ("changes", "runs", "does_not"),
    [
        # NVIDIA's documentation of TensorRT-RTX plans without a target: Ampere, Ada and Blackwell.
        ({}, (80, 86, 89, 120, 121), (70, 75, 87, 90, 100, 110)),
        ({"sms": (86, 89)}, (86, 89), (75, 80, 87, 120)),
        ({"sms": (75,)}, (75,), (70, 80, 86)),
    ],
)
def test_the_gpus_of_a_plan_built_ahead_of_time(
    changes: dict[str, object], runs: tuple[int, ...], does_not: tuple[int, ...]
) -> None:
    spec = make_spec(**changes)
    assert [sm for sm in (*runs, *does_not) if spec.runs_on(Gpu(0, "any", sm, 10))] == list(runs)


def test_a_plan_built_on_a_gpu_only_runs_on_the_same_model() -> None:
    spec = make_spec(gpu=T4.name, gpu_sm=T4.sm, gpu_multiprocessors=T4.multiprocessors)
    assert spec.runs_on(T4)
    assert spec.runs_on(Gpu(3, "Tesla T4", 75, 40))
    assert not spec.runs_on(Gpu(0, "Quadro RTX 4000", 75, 40))
    assert not spec.runs_on(Gpu(0, "Tesla T4", 86, 40))
    assert not spec.runs_on(Gpu(0, "Tesla T4", 75, 20))  # a part of a GPU, such as a virtual GPU


def test_the_spec_of_a_variant_matches_the_manifest(artifact: Artifact, rtx: Library) -> None:
    manifest = artifact.manifest
    variant = artifact.variant("onnxruntime")
    spec = PlanRequest(rtx, artifact, variant, (4, 1, 2, 2), sms=(89, 86)).spec
    assert (spec.backend, spec.library_version, spec.platform) == ("tensorrt-rtx", rtx.version, this_platform())
    assert (spec.model_id, spec.graph, spec.graph_sha256) == (manifest.model_id, variant.file, variant.sha256)
    assert spec.inputs == (TensorSpec("ws", (manifest.num_ws, manifest.w_dim), "float32"),)
    assert spec.output == TensorSpec("image", (32, 32, 3), "uint8")
    assert (spec.sms, spec.batch_sizes, spec.profiles) == ((86, 89), (1, 2, 4), make_profiles((1, 2, 4)))
    assert (spec.gpu, spec.gpu_sm, spec.gpu_multiprocessors) == (None, None, None)
    # The order of targets and sizes does not matter.
    assert PlanRequest(rtx, artifact, variant, (1, 2, 4), sms=(86, 89)).spec.key == spec.key


def test_the_platform_is_this_machine_s() -> None:
    system, _, machine = this_platform().partition("-")
    assert (system, machine) == (platform.system().lower(), platform.machine().lower())
