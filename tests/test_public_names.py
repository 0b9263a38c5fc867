"""Pins the public names: a change here changes the public interface and belongs in the changelog."""

from __future__ import annotations

import subprocess
import sys

import nonesuch.client
import nonesuch.engine


def test_the_engines_public_names() -> None:
    assert nonesuch.engine.__all__ == [
        "Artifact",
        "EncodeOptions",
        "Generator",
        "ImageRecord",
        "LayerGroup",
        "NonesuchError",
        "SessionOptions",
        "StyleMix",
        "encode_image",
    ]
    for name in nonesuch.engine.__all__:
        assert getattr(nonesuch.engine, name).__name__ == name


def test_importing_the_engine_costs_nothing_until_a_name_is_used() -> None:
    code = (
        "import sys, nonesuch.engine\n"
        "heavy = {'numpy', 'PIL', 'onnxruntime', 'torch', 'grpc', 'onnx'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "from nonesuch.engine import Generator\n"
        "heavy = {'onnxruntime', 'torch', 'grpc', 'onnx'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_client_does_not_import_the_engine() -> None:
    code = (
        "import sys, nonesuch.client\n"
        "heavy = {'numpy', 'PIL', 'onnxruntime', 'torch', 'nonesuch.engine'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
