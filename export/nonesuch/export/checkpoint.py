"""A converted checkpoint: tensors under our own names, and a config that describes the network.

Data flow: a foreign file -> `formats/*` -> `Checkpoint` -> `graphs/*` (ONNX) and `reference/*` (PyTorch).
On disk it is `model.safetensors` + `config.json` in a folder named by the model id, so a checkpoint is converted once,
and the PyTorch reference finds an artifact's weights.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as safetensors_load
from safetensors.numpy import save as safetensors_save

from nonesuch.engine.errors import CheckpointError
from nonesuch.engine.home import Home

TENSORS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"


@dataclass(frozen=True)
class Checkpoint:
    """Weights of one network under canonical names.

    Attributes:
        config: JSON-able description; `family` names the builder, the rest is the family's own.
        tensors: float32 arrays by canonical name (docs/formats.md lists them per family).
    """

    config: Mapping[str, Any]
    tensors: Mapping[str, NDArray[np.float32]]

    @property
    def family(self) -> str:
        """The network family, as in `graphs` and `reference`."""
        return str(self.config["family"])

    @property
    def model_id(self) -> str:
        """sha256 (hex) over config and tensors in name order: the identity of the weights, not of any graph."""
        digest = hashlib.sha256(json.dumps(dict(self.config), sort_keys=True).encode())
        for name in sorted(self.tensors):
            array = np.asarray(self.tensors[name], dtype="<f4", order="C")
            digest.update(f"\n{name} {array.shape}\n".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    def tensor(self, name: str, *shape: int) -> NDArray[np.float32]:
        """The tensor of that name and shape.

        Raises:
            CheckpointError: it does not exist, or has another shape.
        """
        array = self.tensors.get(name)
        if array is None:
            raise CheckpointError(f"the checkpoint has no tensor {name!r}; it does not fit family {self.family!r}")
        if shape != array.shape:
            raise CheckpointError(f"tensor {name!r} has shape {array.shape}, the network needs {shape}")
        return array

    def save(self, folder: Path) -> None:
        """Write to `folder` in one step; an existing folder stays as it is."""
        if folder.exists():
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".converting-", dir=folder.parent))
        try:
            tensors = {name: np.asarray(array, dtype=np.float32, order="C") for name, array in self.tensors.items()}
            (staging / TENSORS_FILE).write_bytes(safetensors_save(tensors))
            (staging / CONFIG_FILE).write_text(json.dumps(dict(self.config), indent=2, sort_keys=True) + "\n")
            os.replace(staging, folder)
        except OSError:
            if not folder.exists():  # else another writer was first, with the same content
                raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    @classmethod
    def load(cls, folder: Path) -> Checkpoint:
        """Read what `save` wrote.

        Raises:
            CheckpointError: files are missing or damaged.
        """
        try:
            config = json.loads((folder / CONFIG_FILE).read_text())
            tensors = safetensors_load((folder / TENSORS_FILE).read_bytes())
        except (
            OSError,
            ValueError,
            RecursionError,
            SafetensorError,
            KeyError,
        ) as error:  # KeyError: dtypes that NumPy lacks
            raise CheckpointError(f"no readable converted checkpoint in {folder} ({error})") from error
        if not isinstance(config, dict) or "family" not in config:
            raise CheckpointError(f"{folder / CONFIG_FILE} does not name a network family")
        for name, array in tensors.items():
            if array.dtype != np.float32:
                raise CheckpointError(f"{folder / TENSORS_FILE}: tensor {name!r} is {array.dtype}, expected float32")
        return cls(config=config, tensors=tensors)

    @staticmethod
    def folder(home: Home, model_id: str) -> Path:
        """The folder of the converted checkpoint of that model id."""
        return home.checkpoints / model_id
