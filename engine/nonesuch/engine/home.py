"""The folder of everything that nonesuch downloads and makes: `$NONESUCH_HOME`, or the platform's data folder.

downloads/                     files as fetched, by name; known_hashes.json has the hashes of the first download
checkpoints/<model id>/        converted weights: model.safetensors + config.json
artifacts/<name>/              exported models, ready to run
cache/<model id>/<machine id>/ files for one machine: engines, tuning
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs


@dataclass(frozen=True)
class Home:
    """The folder tree of one user; folders are created on the first write."""

    root: Path

    @classmethod
    def default(cls) -> Home:
        """`$NONESUCH_HOME`, else the platform's folder for application data."""
        override = os.environ.get("NONESUCH_HOME")
        return cls(Path(override).expanduser() if override else platformdirs.user_data_path("nonesuch"))

    @property
    def downloads(self) -> Path:
        """Fetched files."""
        return self.root / "downloads"

    @property
    def checkpoints(self) -> Path:
        """Converted weights, one folder per model id."""
        return self.root / "checkpoints"

    @property
    def artifacts(self) -> Path:
        """Exported models, one folder per name."""
        return self.root / "artifacts"

    @property
    def machine_caches(self) -> Path:
        """Machine-specific files, one folder per model id."""
        return self.root / "cache"

    def machine_cache(self, model_id: str, machine_id: str) -> Path:
        """The files of one model on one machine."""
        return self.machine_caches / model_id / machine_id
