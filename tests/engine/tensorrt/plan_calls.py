"""Runs in separate processes of the tests of plans, which wait for each other, are killed, or run out of disk.

python plan_calls.py get HOME SPEC CALLS      -> sha256 of the plan; a build adds its pid to CALLS and waits for a line
python plan_calls.py killed HOME SPEC RENAMES -> a build that is killed in place of the RENAMES-th file of the plan
python plan_calls.py full FOLDER SPEC BYTES LIMIT -> a plan of BYTES written where no file may be larger than LIMIT
"""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from nonesuch.engine.errors import PlanError
from nonesuch.engine.home import Home
from nonesuch.engine.tensorrt.build_spec import BuildSpec
from nonesuch.engine.tensorrt.plan_cache import PlanCache
from nonesuch.engine.tensorrt.plan_folder import PlanFolder
from nonesuch.engine.tensorrt.plan_record import Numerics, PlanRecord


def record_of(spec: BuildSpec, data: bytes) -> PlanRecord:
    numerics = Numerics(status="not run", note="a test")
    return PlanRecord.of(spec, data, created="2026-11-25T10:00:00+00:00", build_s=1.0, numerics=numerics)


def get(home: str, spec_json: str, calls: str) -> None:
    spec = msgspec.json.decode(spec_json, type=BuildSpec)

    def build() -> tuple[bytes, PlanRecord]:
        with Path(calls).open("a") as file:
            file.write(f"{os.getpid()}\n")
        print("building", flush=True)
        sys.stdin.readline()
        data = os.urandom(100_000)  # two builds never give the same bytes
        return data, record_of(spec, data)

    print("requesting", flush=True)
    plan = PlanCache(Home(Path(home))).get(spec, build)
    print(hashlib.sha256(plan.read()).hexdigest())


def killed(home: str, spec_json: str, renames: str) -> None:
    spec, rename, left = msgspec.json.decode(spec_json, type=BuildSpec), os.replace, int(renames)

    def replace(source: str, target: Path) -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        rename(source, target)

    def build() -> tuple[bytes, PlanRecord]:
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        os.replace = replace  # type: ignore[assignment]  # os.replace takes any paths
        data = os.urandom(100_000)
        return data, record_of(spec, data)

    PlanCache(Home(Path(home))).get(spec, build)


def full(folder: str, spec_json: str, size: str, limit: str) -> None:
    data = bytes(int(size))
    record = record_of(msgspec.json.decode(spec_json, type=BuildSpec), data)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write then fails, as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    try:
        PlanFolder(Path(folder)).put("p", data, record)
    except PlanError as error:
        print(error.message)


if __name__ == "__main__":
    calls: dict[str, Callable[..., None]] = {"get": get, "killed": killed, "full": full}
    calls[sys.argv[1]](*sys.argv[2:])
