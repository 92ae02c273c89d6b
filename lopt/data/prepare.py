"""Prepare a set of tensorflow-datasets, from the network or from its original files.

python -m lopt.data.prepare mnist
python -m lopt.data.prepare fashion_mnist --idx-dir=/usr/share/datasets/fashion-mnist
"""

import gzip
import io
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from lopt.base.errors import UserError, suggest, user_errors
from lopt.data.tfds import IDX_SETS, data_dir, import_tfds
from lopt.runs.commands import ArgumentParser, run_plain

_WHAT = "Prepare a set of tensorflow-datasets, from the network or from its original files."

_FILES = {"train": "train", "test": "t10k"}  # split -> how its two IDX files begin
_BYTES = 0x08  # the type of an IDX file's numbers

_MOST_TIMES, _AT_LEAST = 100, 2**20
"""How much larger a gzipped file may become: images of clothes do by five, digits by ten."""


def prepare(name: str, folder: Path) -> Path:
    """Have tensorflow-datasets download and prepare a set; returns the folder of the version."""
    tfds = import_tfds()
    local = "--idx-dir takes the original files" if name in IDX_SETS else ""
    with user_errors(f"{name} cannot be downloaded and prepared", fix=local):
        try:
            builder = tfds.builder(name, data_dir=str(folder))
        except tfds.core.DatasetNotFoundError as error:
            known = tfds.list_builders(with_community_datasets=False)
            hint = suggest(name, known).partition(" valid:")[0]
            hint = hint if hint.startswith("did") else "tfds.list_builders() has the names"
            raise UserError(f"tensorflow-datasets has no set {name!r}; {hint}") from error
        builder.download_and_prepare()
    return Path(builder.data_dir)


def prepare_from_idx(name: str, idx_dir: Path, folder: Path) -> Path:
    """Write a set's original four IDX files, gzipped or not, as a data set of tensorflow-datasets.

    The set's own builder writes it, with its features and version; only the download is left out.
    A set that is prepared already is refused. Returns the folder of the version.
    """
    if name not in IDX_SETS:
        raise UserError(f"{name!r} has no IDX files; {suggest(name, IDX_SETS)}")
    arrays = {split: _read_split(idx_dir, stem) for split, stem in _FILES.items()}
    tfds = import_tfds()
    original: Any = tfds.builder_cls(name)

    class FromIdx(original, skip_registration=True):  # type: ignore[call-arg]
        name = original.name

        def _split_generators(self, manager: Any) -> dict[str, Iterator]:
            del manager
            return {split: _records(*pair) for split, pair in arrays.items()}

    builder = FromIdx(data_dir=str(folder))
    if Path(builder.data_dir).exists():
        raise UserError(f"{name} is prepared in {builder.data_dir}; remove it to prepare it again")
    builder.download_and_prepare()
    return Path(builder.data_dir)


def read_idx(file: Path) -> UInt8[np.ndarray, "..."]:
    """The array of bytes in an IDX file, gzipped or not.

    The file has two zero bytes, a type, the number of axes, the size of each axis as a big-endian
    32-bit integer, and then the numbers, the last axis fastest.
    """
    if not file.exists():
        raise UserError(f"there is no {file.name} in {file.parent}")
    with user_errors(f"cannot read {file}"):
        content = _unpacked(file.read_bytes())
    if len(content) < 4 or content[:3] != bytes([0, 0, _BYTES]):
        raise UserError(f"{file} is no IDX file of bytes")
    axes = content[3]
    with user_errors(f"{file} is damaged"):
        shape = struct.unpack_from(f">{axes}I", content, 4)
        return np.frombuffer(content[4 + 4 * axes :], np.uint8).reshape(shape)


def _unpacked(content: bytes) -> bytes:
    """The contents of a gzip file; those of any other as they are."""
    if content[:2] != b"\x1f\x8b":
        return content
    most = _MOST_TIMES * len(content) + _AT_LEAST
    with gzip.open(io.BytesIO(content)) as unpacked:
        found = unpacked.read(most + 1)
    if len(found) > most:
        raise ValueError(f"damaged: more than {_MOST_TIMES} times larger unpacked")
    return found


def main(arguments: Sequence[str]) -> None:
    """Prepare the set that the command line names, and print where it is."""
    parser = ArgumentParser(prog="python -m lopt.data.prepare", description=_WHAT)
    parser.add_argument("name", help="of the set, such as fashion_mnist")
    parser.add_argument("--idx-dir", type=Path, help="folder of the original IDX files")
    parser.add_argument("--data-dir", type=Path, default=data_dir(), help="by default %(default)s")
    given = parser.parse_args(arguments)
    if given.idx_dir is None:
        print(f"downloading {given.name}; without a network this gives up after some minutes")
        folder = prepare(given.name, given.data_dir)
    else:
        folder = prepare_from_idx(given.name, given.idx_dir, given.data_dir)
    print(f"{given.name} is prepared in {folder}")
    if given.data_dir.resolve() != data_dir().resolve():
        print(f"export TFDS_DATA_DIR={given.data_dir} so that it is found there")


def _read_split(idx_dir: Path, stem: str) -> tuple[Any, Any]:
    images = read_idx(_existing(idx_dir, f"{stem}-images-idx3-ubyte"))
    labels = read_idx(_existing(idx_dir, f"{stem}-labels-idx1-ubyte"))
    if images.shape != (len(labels), 28, 28):
        raise UserError(
            f"the IDX files {stem}-* in {idx_dir} do not belong together: images of shape "
            f"{images.shape}, {labels.size} labels"
        )
    return images[..., None], labels


def _existing(idx_dir: Path, name: str) -> Path:
    plain = idx_dir / name
    return plain if plain.exists() else idx_dir / f"{name}.gz"


def _records(images: Any, labels: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        yield i, {"image": image, "label": int(label)}


if __name__ == "__main__":
    run_plain(main)
