from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from nonesuch.engine.errors import PlanError
from nonesuch.engine.tensorrt.plan_folder import PlanFolder, StoredPlan

from .conftest import make_record, make_spec

PLAN = bytes(range(256)) * 40
CALLS = Path(__file__).parent / "plan_calls.py"


@pytest.fixture
def folder(tmp_path: Path) -> PlanFolder:
    return PlanFolder(tmp_path / "plans")


@pytest.fixture
def stored(folder: PlanFolder) -> StoredPlan:
    return folder.put("p", PLAN, make_record(PLAN))


def found(folder: PlanFolder) -> StoredPlan:
    plan = folder.get("p")
    assert plan is not None
    return plan


def test_a_stored_plan_is_found_and_read(folder: PlanFolder, stored: StoredPlan) -> None:
    assert found(folder) == stored
    assert found(folder).read() == PLAN
    assert found(folder).record == make_record(PLAN)
    assert sorted(path.name for path in folder.folder.iterdir()) == ["p.json", "p.plan"]


def test_a_missing_folder_has_no_plans(folder: PlanFolder, tmp_path: Path) -> None:
    assert folder.get("p") is None
    assert folder.names() == []
    assert list(folder.plans()) == []
    assert not folder.folder.exists()
    (tmp_path / "file").touch()
    assert PlanFolder(tmp_path / "file").get("p") is None


def test_plans_are_listed_by_name_and_replaced_whole(folder: PlanFolder, stored: StoredPlan) -> None:
    folder.put("a.b", PLAN[:10], make_record(PLAN[:10]))
    folder.put("p", PLAN[:20], make_record(PLAN[:20]))
    assert folder.names() == ["a.b", "p"]
    assert [plan.read() for plan in folder.plans()] == [PLAN[:10], PLAN[:20]]
    with pytest.raises(PlanError, match="is not the plan that was built"):
        stored.read()  # it has the hash of the earlier bytes
    folder.remove("p")
    folder.remove("p")
    assert folder.names() == ["a.b"]


@pytest.mark.parametrize("place", [0, len(PLAN) // 2, len(PLAN) - 1])
def test_one_flipped_bit_is_detected(folder: PlanFolder, stored: StoredPlan, place: int) -> None:
    data = bytearray(PLAN)
    data[place] ^= 1
    stored.path.write_bytes(data)
    with pytest.raises(PlanError, match=r"is not the plan that was built: .* delete it and build again"):
        found(folder).read()


@pytest.mark.parametrize("data", [b"", PLAN[:-1], PLAN + b"\0", PLAN * 2], ids=len)
def test_a_plan_of_another_length_is_detected(folder: PlanFolder, stored: StoredPlan, data: bytes) -> None:
    stored.path.write_bytes(data)
    with pytest.raises(PlanError, match=f"it has {len(data)} bytes, not {len(PLAN)}, or another"):
        found(folder).read()


@pytest.mark.parametrize(("field", "value"), [("plan_sha256", "0" * 64), ("plan_bytes", 5)])
def test_an_edited_record_is_detected(folder: PlanFolder, stored: StoredPlan, field: str, value: object) -> None:
    record = stored.path.with_suffix(".json")
    record.write_text(json.dumps(json.loads(record.read_bytes()) | {field: value}))
    with pytest.raises(PlanError, match="is not the plan that was built"):
        found(folder).read()


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b"[" * (1 << 20), b" " * ((1 << 20) + 1)], ids=len)
def test_a_damaged_record_is_reported_in_one_line(folder: PlanFolder, stored: StoredPlan, data: bytes) -> None:
    record = stored.path.with_suffix(".json")
    record.write_bytes(data)
    with pytest.raises(PlanError) as caught:
        folder.get("p")
    assert caught.value.message.startswith(str(record))
    assert "delete it and build again" in caught.value.message
    with pytest.raises(PlanError):
        list(folder.plans())


def test_a_record_that_is_a_folder_is_reported_in_one_line(folder: PlanFolder, stored: StoredPlan) -> None:
    record = stored.path.with_suffix(".json")
    record.unlink()
    record.mkdir()
    with pytest.raises(PlanError, match="cannot be read"):
        folder.get("p")


def test_a_plan_without_its_record_is_ignored(folder: PlanFolder, stored: StoredPlan) -> None:
    stored.path.with_suffix(".json").unlink()
    assert folder.get("p") is None
    assert folder.names() == []


def test_a_record_without_its_plan_says_what_is_missing(folder: PlanFolder, stored: StoredPlan) -> None:
    stored.path.unlink()
    with pytest.raises(PlanError, match=r"p\.plan cannot be read \(No such file or directory\); build the plan again"):
        found(folder).read()


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions of this kind are not Windows'")
@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
def test_a_folder_that_others_can_write_is_rejected(folder: PlanFolder, stored: StoredPlan, mode: int) -> None:
    folder.folder.chmod(mode)
    for use in (lambda: folder.get("p"), lambda: folder.put("q", PLAN, make_record(PLAN)), lambda: [*folder.plans()]):
        with pytest.raises(PlanError) as caught:
            use()
        assert caught.value.message.endswith(f"run: chmod go-w {folder.folder}")
    assert folder.names() == ["p"]
    folder.folder.chmod(mode & ~0o022)
    assert found(folder).read() == PLAN


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give folders away")
def test_a_folder_of_another_user_is_rejected(folder: PlanFolder, stored: StoredPlan) -> None:
    os.chown(folder.folder, 12345, 12345)
    with pytest.raises(PlanError, match="can be written by others"):
        folder.get("p")


def test_a_new_folder_is_private_with_any_umask(folder: PlanFolder) -> None:
    before = os.umask(0)
    try:
        folder.put("p", PLAN, make_record(PLAN))
    finally:
        os.umask(before)
    assert folder.folder.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.folder.iterdir())


def test_readers_see_a_whole_plan_or_none_while_it_is_replaced(folder: PlanFolder) -> None:
    plans = [bytes([value]) * (1 << 20) for value in range(2)]
    records = [make_record(plan) for plan in plans]
    hashes = {hashlib.sha256(plan).hexdigest() for plan in plans}
    done = threading.Event()

    def write() -> None:
        try:
            for index in range(60):
                folder.put("p", plans[index % 2], records[index % 2])
        finally:
            done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        for path in folder.folder.glob("*.plan"):
            seen.add(hashlib.sha256(path.read_bytes()).hexdigest())
        folder.get("p")  # a half-written record would raise PlanError
    writer.join(timeout=60)
    assert seen <= hashes
    assert seen


def test_reading_a_plan_marks_it_as_used_but_finding_it_does_not(folder: PlanFolder, stored: StoredPlan) -> None:
    os.utime(stored.path, (1000, 1000))
    found(folder)
    assert stored.path.stat().st_mtime == 1000
    found(folder).read()
    assert stored.path.stat().st_mtime > 1000


@pytest.mark.skipif(sys.platform == "win32", reason="limits of this kind are not Windows'")
@pytest.mark.parametrize(("size", "limit"), [(100_000, 50_000), (100, 200)], ids=["plan", "record"])
@pytest.mark.parametrize("before", [False, True], ids=["first", "replaced"])
def test_a_write_that_fails_is_one_line_and_leaves_nothing(
    folder: PlanFolder, size: int, limit: int, before: bool
) -> None:
    if before:
        folder.put("p", PLAN, make_record(PLAN))
    spec = msgspec.json.encode(make_spec()).decode()
    done = subprocess.run(
        [sys.executable, CALLS, "full", folder.folder, spec, str(size), str(limit)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.count("\n") == 1
    assert "cannot be written" in done.stdout
    assert "File too large" in done.stdout
    assert "make room" in done.stdout
    assert list(folder.folder.iterdir()) == []


def test_a_path_that_is_not_a_folder_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PlanError, match=r"cannot be written to .*/file "):
        PlanFolder(tmp_path / "file").put("p", PLAN, make_record(PLAN))
    with pytest.raises(PlanError, match=r"cannot be written .*Not a directory.* --into"):
        PlanFolder(tmp_path / "file" / "below").put("p", PLAN, make_record(PLAN))
