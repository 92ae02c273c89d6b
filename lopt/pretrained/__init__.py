"""Optimizers that come with the package, by name."""

from collections.abc import Mapping
from pathlib import Path

_FOLDER = Path(__file__).parent

PRETRAINED: Mapping[str, Path] = {f.stem: f for f in sorted(_FOLDER.glob("*.safetensors"))}
"""name -> file; `configs/pretrain/` makes each."""

__all__ = ["PRETRAINED"]
