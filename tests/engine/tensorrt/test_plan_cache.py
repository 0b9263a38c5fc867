from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from nonesuch.engine.errors import BackendError, PlanError
from nonesuch.engine.home import Home
from nonesuch.engine.machine import machine_id
from nonesuch.engine.tensorrt.build_spec import BuildSpec
from nonesuch.engine.tensorrt.plan_cache import LIMIT_VARIABLE, PlanCache
from nonesuch.engine.tensorrt.plan_record import PlanRecord

from .conftest import OTHER_VALUES, make_record, make_spec

SIZE = 10_000


class Builder:
    """Builds plans of random bytes, and counts the builds."""

    def __init__(self, spec: BuildSpec, size: int = SIZE) -> None:
        self.spec, self.size, self.built = spec, size, 0

    def __call__(self) -> tuple[bytes, PlanRecord]:
        self.built += 1
        data = os.urandom(self.size)
        return data, make_record(data, self.spec)


def plan_files(home: Home) -> list[str]:
    return sorted(path.name for path in home.root.rglob("*") if path.is_file() and path.suffix != ".lock")


def age(cache: PlanCache, *specs: BuildSpec) -> None:
    """Make the plans old, the first one the oldest."""
    for index, spec in enumerate(specs):
        found = cache.find(spec)
        assert found is not None
        os.utime(found.path, (1000 + index, 1000 + index))


def present(cache: PlanCache, *specs: BuildSpec) -> list[bool]:
    return [cache.find(spec) is not None for spec in specs]


def test_a_plan_is_built_once(home: Home) -> None:
    cache, build = PlanCache(home), Builder(make_spec())
    assert cache.find(make_spec()) is None
    assert not home.root.exists()
    first = cache.get(make_spec(), build)
    again = PlanCache(home).get(make_spec(), build)
    assert build.built == 1
    assert again == first == cache.find(make_spec())
    assert first.read() == again.read()
    assert first.path == home.machine_cache("a" * 64, machine_id()) / "plans" / f"{make_spec().key}.plan"


@pytest.mark.parametrize("field", [name for name in OTHER_VALUES if name != "schema"])
def test_a_spec_that_differs_anywhere_is_another_plan(home: Home, field: str) -> None:
    cache, build = PlanCache(home), Builder(make_spec())
    first = cache.get(make_spec(), build)
    other = make_spec(**{field: OTHER_VALUES[field]})
    build_other = Builder(other)
    assert cache.get(other, build_other).path != first.path
    assert (build.built, build_other.built) == (1, 1)
    assert present(cache, make_spec(), other) == [True, True]


def test_replace_always_builds(home: Home) -> None:
    cache, build = PlanCache(home), Builder(make_spec())
    first = cache.get(make_spec(), build, replace=True).read()
    second = cache.get(make_spec(), build, replace=True)
    assert build.built == 2
    assert second.read() != first
    assert cache.get(make_spec(), build).read() == second.read()
    second.path.with_suffix(".json").write_bytes(b"damaged")
    assert cache.get(make_spec(), build, replace=True).read() != first
    assert build.built == 3


def test_a_build_that_fails_leaves_nothing_and_the_lock_free(home: Home) -> None:
    def fail() -> tuple[bytes, PlanRecord]:
        raise BackendError("no such kernel")

    cache = PlanCache(home, lock_timeout_s=0.1)
    with pytest.raises(BackendError, match="no such kernel"):
        cache.get(make_spec(), fail)
    assert plan_files(home) == []
    assert cache.get(make_spec(), Builder(make_spec())).record.plan_bytes == SIZE


def test_a_plan_whose_file_is_gone_is_built_again(home: Home) -> None:
    cache, build = PlanCache(home), Builder(make_spec())
    cache.get(make_spec(), build).path.unlink()
    assert cache.find(make_spec()) is None
    assert cache.get(make_spec(), build).read()
    assert build.built == 2


@pytest.mark.parametrize("size", [0, SIZE - 1])
def test_a_damaged_plan_is_rejected_and_says_what_to_do(home: Home, size: int) -> None:
    cache, build = PlanCache(home), Builder(make_spec())
    plan = cache.get(make_spec(), build)
    plan.path.write_bytes(plan.read()[:size])
    with pytest.raises(PlanError, match="delete it and build again"):
        cache.get(make_spec(), build).read()
    plan.path.unlink()
    assert cache.get(make_spec(), build).read()


def test_the_record_of_another_plan_is_detected(home: Home) -> None:
    cache, other = PlanCache(home), make_spec(tf32=False)
    plan = cache.get(make_spec(), Builder(make_spec()))
    swapped = cache.get(other, Builder(other))
    for suffix in (".plan", ".json"):
        os.replace(swapped.path.with_suffix(suffix), plan.path.with_suffix(suffix))
    with pytest.raises(PlanError, match="has the record of another plan; delete it and build again"):
        cache.find(make_spec())


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions of this kind are not Windows'")
def test_a_cache_that_others_can_write_is_rejected(home: Home) -> None:
    cache, build = PlanCache(home), Builder(make_spec())
    cache.get(make_spec(), build).path.parent.chmod(0o777)
    for replace in (False, True):
        with pytest.raises(PlanError, match="chmod go-w"):
            cache.get(make_spec(), build, replace=replace)


def test_a_read_only_home_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PlanError, match=r"cannot be written \(Not a directory\); set NONESUCH_HOME"):
        PlanCache(Home(tmp_path / "file")).get(make_spec(), Builder(make_spec()))


def test_the_least_recently_used_plan_is_evicted_first(home: Home) -> None:
    cache = PlanCache(home, limit_bytes=3 * SIZE)
    specs = [make_spec(workspace_mib=number) for number in range(1, 5)]
    for spec in specs[:3]:
        cache.get(spec, Builder(spec))
    age(cache, *specs[:3])
    used = cache.find(specs[0])
    assert used is not None
    used.read()
    cache.get(specs[3], Builder(specs[3]))
    assert present(cache, *specs) == [True, False, True, True]
    assert not list(home.root.rglob(f"{specs[1].key}.plan"))
    cache.get(specs[1], Builder(specs[1], 2 * SIZE))
    assert present(cache, *specs) == [False, True, False, True]


def test_a_new_plan_is_never_evicted(home: Home) -> None:
    cache = PlanCache(home, limit_bytes=SIZE)
    small, large = make_spec(workspace_mib=1), make_spec(workspace_mib=2)
    cache.get(small, Builder(small))
    age(cache, small)
    assert cache.get(large, Builder(large, 5 * SIZE)).read()
    assert present(cache, small, large) == [False, True]
    assert PlanCache(home, limit_bytes=0).get(small, Builder(small)).read()
    assert present(cache, small, large) == [True, False]


def test_plans_of_other_models_are_evicted_but_not_those_of_other_machines(home: Home) -> None:
    cache = PlanCache(home, limit_bytes=2 * SIZE)
    specs = [make_spec(model_id=letter * 64) for letter in "abc"]
    elsewhere = home.machine_cache("a" * 64, "another-one") / "plans" / "x.plan"
    elsewhere.parent.mkdir(parents=True)
    elsewhere.write_bytes(bytes(5 * SIZE))
    os.utime(elsewhere, (1, 1))
    for spec in specs[:2]:
        cache.get(spec, Builder(spec))
    age(cache, specs[1], specs[0])
    cache.get(specs[2], Builder(specs[2]))
    assert present(cache, *specs) == [True, False, True]
    assert elsewhere.exists()


def test_a_hit_evicts_nothing(home: Home) -> None:
    specs = [make_spec(workspace_mib=number) for number in (1, 2)]
    for spec in specs:
        PlanCache(home).get(spec, Builder(spec))
    cache = PlanCache(home, limit_bytes=1)
    for spec in specs:
        cache.get(spec, Builder(spec))
    assert present(cache, *specs) == [True, True]


def test_the_limit_comes_from_the_environment(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, "1")
    cache, specs = PlanCache(home), [make_spec(workspace_mib=number) for number in (1, 2)]
    for spec in specs:
        cache.get(spec, Builder(spec, 600 << 10))
    assert present(cache, *specs) == [False, True]
    monkeypatch.setenv(LIMIT_VARIABLE, "")
    PlanCache(home).get(specs[0], Builder(specs[0], 600 << 10))
    assert present(cache, *specs) == [True, True]


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "8 GiB", "x", "²", "9" * 5000, " "], ids=lambda text: text[:8])
def test_an_invalid_limit_is_rejected(home: Home, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, text)
    with pytest.raises(PlanError, match=f"{LIMIT_VARIABLE} is .*; set it to a number of MiB, or unset it"):
        PlanCache(home)


def test_timings_are_kept_for_each_gpu_and_version(home: Home) -> None:
    t4 = {"gpu": "NVIDIA T4/x", "gpu_sm": 75, "gpu_multiprocessors": 40}
    specs = [
        make_spec(**t4),
        make_spec(**t4 | {"gpu": "NVIDIA A4000", "gpu_sm": 86}),
        make_spec(**t4 | {"gpu_multiprocessors": 20}),
        make_spec(**t4, library_version="10.3.0"),
        make_spec(**t4, backend="tensorrt"),
    ]
    cache = PlanCache(home, limit_bytes=1)
    for index, spec in enumerate(specs):
        assert cache.read_timings(spec) is None
        cache.write_timings(spec, bytes([index]))
    assert [cache.read_timings(spec) for spec in specs] == [bytes([index]) for index in range(len(specs))]
    # Other graphs and batch sizes on the same GPU have kernels in common.
    assert cache.read_timings(msgspec.structs.replace(specs[0], graph_sha256="f" * 64, tf32=False)) == b"\0"
    cache.write_timings(specs[0], b"newer")
    assert cache.read_timings(specs[0]) == b"newer"
    cache.get(specs[0], Builder(specs[0]))
    assert cache.read_timings(specs[1]) == b"\1"


def test_timings_that_cannot_be_stored_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = PlanCache(Home(tmp_path / "file"))
    cache.write_timings(make_spec(), b"x")
    assert cache.read_timings(make_spec()) is None
