"""Generates the committed stubs beside the .proto files; with --check, says whether they are stale."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).parent
SOURCES = sorted(ROOT.glob("nonesuch/*/*.proto"))
STUBS = "nonesuch/*/*_pb2*.py*"


def generate(target: Path) -> list[Path]:
    """Write all stubs below `target` and return them; only files with a service get a _pb2_grpc module."""
    includes = [f"--proto_path={ROOT}"]
    services = [path for path in SOURCES if path.stem.endswith("_service")]
    for arguments, sources in (
        ([f"--python_out={target}", f"--pyi_out={target}"], SOURCES),
        ([f"--grpc_python_out={target}"], services),
    ):
        if protoc.main(["protoc", *includes, *arguments, *map(str, sources)]) != 0:
            sys.exit("protoc failed")
    return sorted(target.glob(STUBS))


def main() -> None:
    """Generate, or check."""
    if "--check" not in sys.argv:
        generate(ROOT)
        return
    with tempfile.TemporaryDirectory() as folder:
        fresh = {path.name: path.read_bytes() for path in generate(Path(folder))}
    committed = {path.name: path.read_bytes() for path in ROOT.glob(STUBS)}
    stale = sorted(name for name in fresh.keys() | committed.keys() if fresh.get(name) != committed.get(name))
    if stale:
        sys.exit(f"the stubs are stale: {', '.join(stale)}; run make proto and commit them")


if __name__ == "__main__":
    main()
