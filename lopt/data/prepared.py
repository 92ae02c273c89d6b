"""Where tensorflow-datasets keeps the sets that are prepared; read without importing it."""

import hashlib
import os
import re
from pathlib import Path

from lopt.base.errors import UserError


def data_dir() -> Path:
    """The folder of prepared sets: `$TFDS_DATA_DIR`, or tensorflow-datasets' own default."""
    return Path(os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets")


def find(name: str) -> Path | None:
    """The folder of the newest prepared version of a set, or None.

    Args:
      name: of the set, such as `mnist`, or of one of its configs, such as `lm1b/subwords8k`.

    Raises:
      UserError: if the name is not words joined by slashes, so that it stays in `data_dir`.
    """
    if not isinstance(name, str) or not re.fullmatch(_NAME, name):
        raise UserError(f"{name!r} is no name of a data set; write one such as lm1b/subwords8k")
    files = (data_dir() / name).glob("**/dataset_info.json")
    versions = [file.parent for file in files if re.fullmatch(r"[\d.]+", file.parent.name)]
    return max(versions, key=_version, default=None)


_NAME = r"\w[\w.+-]*(/\w[\w.+-]*)*"
"""Of a prepared set: no word begins with a dot."""


def require(name: str, meanwhile: str) -> Path:
    """The folder of a prepared set.

    Args:
      name: of the set.
      meanwhile: an embedded set, to use until this one is there.

    Raises:
      UserError: if it is not prepared, with the command that prepares it; as `find`.
    """
    folder = find(name)
    if folder is None:
        local = " --idx-dir=FOLDER_OF_IDX_FILES" if name in IDX_SETS else ""
        raise UserError(
            f"{name} is not prepared in {data_dir()}: run python -m lopt.data.prepare {name} "
            f"(it downloads){f', offline with{local}' if local else ''}; "
            f"meanwhile data='{meanwhile}' needs no download"
        )
    return folder


def identity(folder: Path) -> dict[str, str | int]:
    """What tells a prepared set from others of its name: its config, version, statistics and age.

    Args:
      folder: of the prepared version.
    """
    files = [folder / "dataset_info.json", folder / "features.json"]
    contents = b"".join(file.read_bytes() for file in files if file.exists())
    place = folder.relative_to(data_dir()).as_posix()
    written = files[0].stat().st_mtime_ns
    return {"set": place, "info": hashlib.sha256(contents).hexdigest(), "written": written}


IDX_SETS = ("fashion_mnist", "mnist", "kmnist")
"""The sets whose original files are in the IDX format, four files alike."""


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in folder.name.split(".") if part)
