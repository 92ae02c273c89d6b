"""Any image classification or text set of tensorflow-datasets, by name.

tensorflow-datasets is an extra (`pip install -e '.[tfds]'` in a checkout), imported when a set is
first read; afterwards its preprocessed arrays are in the cache.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from lopt.base.archive import Arrays
from lopt.base.checks import require_positive
from lopt.base.errors import UserError
from lopt.data.cache import cached
from lopt.data.corpus import Corpus
from lopt.data.dataset import Dataset
from lopt.data.images import preprocess, standardize
from lopt.data.text import split

_CHUNK = 1000  # examples that are decoded at once
_NAME = r"\w[\w.+-]*(/\w[\w.+-]*)*"  # of a prepared set: no word begins with a dot

IDX_SETS = ("fashion_mnist", "mnist", "kmnist")
"""The sets whose original files are in the IDX format, four files alike."""


def tfds_images(
    dataset: str, side: int | None = None, grey: bool = False, examples: int | None = None
) -> Dataset:
    """An image classification set of tensorflow-datasets.

    Args:
      dataset: its name, such as `cifar10`.
      side: of the square that images are averaged down to; by default they keep their size.
      grey: whether colours become grey values.
      examples: the most that are loaded of each split; by default all.

    Returns:
      Inputs standardized by the training split; the held-out split is the set's test split, or
      its validation split, or the last tenth of its training split.

    Raises:
      UserError: if the set is not prepared, has no images with labels or images of several sizes,
        or the side does not fit; if tensorflow-datasets is not installed.
    """
    if examples is not None:
        require_positive(dataset, examples=examples)
    folder = _require(dataset, "digits")
    arguments = {**_identity(folder), "side": side, "grey": grey, "examples": examples}
    arrays = cached(dataset, arguments, lambda: _images(dataset, folder, side, grey, examples))
    return Dataset.of(
        (arrays["x_train"], arrays["y_train"]),
        (arrays["x_test"], arrays["y_test"]),
        int(arrays["classes"]),
        f"{dataset} {folder.name} of tensorflow-datasets",
    )


def tfds_text(dataset: str, size: int = 10_000_000, tokens: str = "bytes") -> Corpus:
    """A text set of tensorflow-datasets: the examples of its training split, one a line.

    Args:
      dataset: its name, such as `lm1b`.
      size: characters that are loaded, at most; the last tenth of them is held out.
      tokens: a name in `lopt.data.TOKENIZERS`, with arguments.

    Raises:
      UserError: if the set is not prepared or has no text; if tensorflow-datasets is not
        installed.
    """
    require_positive(dataset, size=size)
    folder = _require(dataset, "text")
    arguments = {**_identity(folder), "size": size}
    arrays = cached(dataset, arguments, lambda: _text(dataset, folder, size))
    whole = arrays["utf8"].tobytes().decode()
    return split(whole, tokens, f"{dataset} {folder.name} of tensorflow-datasets")


def import_tfds() -> ModuleType:
    """tensorflow-datasets, which leaves accelerators to JAX."""
    try:
        import tensorflow as tf
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UserError(
            f"this needs tensorflow-datasets ({error}); in a checkout of lopt: "
            "pip install -e '.[tfds]'"
        ) from error
    tf.config.set_visible_devices([], "GPU")
    tfds.disable_progress_bar()
    return tfds


def data_dir() -> Path:
    """The folder of prepared sets: `$TFDS_DATA_DIR`, or tensorflow-datasets' own default."""
    return Path(os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets")


def find(name: str) -> Path | None:
    """The folder of the newest prepared version of a set, `mnist` or `lm1b/subwords8k`, or None.

    A name that is not words joined by slashes is refused, so that it stays in `data_dir`.
    """
    if not isinstance(name, str) or not re.fullmatch(_NAME, name):
        raise UserError(f"{name!r} is no name of a data set; write one such as lm1b/subwords8k")
    files = (data_dir() / name).glob("**/dataset_info.json")
    versions = [file.parent for file in files if re.fullmatch(r"[\d.]+", file.parent.name)]
    return max(versions, key=_version, default=None)


def _require(name: str, meanwhile: str) -> Path:
    """The folder of a prepared set; `meanwhile` is an embedded one to use until it is there."""
    folder = find(name)
    if folder is None:
        local = " --idx-dir=FOLDER_OF_IDX_FILES" if name in IDX_SETS else ""
        raise UserError(
            f"{name} is not prepared in {data_dir()}: run python -m lopt.data.prepare {name} "
            f"(it downloads){f', offline with{local}' if local else ''}; "
            f"meanwhile data='{meanwhile}' needs no download"
        )
    return folder


def _identity(folder: Path) -> dict[str, str | int]:
    """Config, version, statistics and age of a set, which tell it from others of its name."""
    files = [folder / "dataset_info.json", folder / "features.json"]
    contents = b"".join(file.read_bytes() for file in files if file.exists())
    place = folder.relative_to(data_dir()).as_posix()
    written = files[0].stat().st_mtime_ns
    return {"set": place, "info": hashlib.sha256(contents).hexdigest(), "written": written}


def _images(
    dataset: str, folder: Path, side: int | None, grey: bool, examples: int | None
) -> Arrays:
    builder = import_tfds().builder_from_directory(str(folder))
    image, label = _image_and_label(dataset, builder.info)
    train, test = (
        _read(builder, split, image, label, examples) for split in _splits(builder.info.splits)
    )
    x_train, x_test = (preprocess(x, side, grey) for x in (train[0], test[0]))
    x_train, x_test = standardize(x_train, x_test)
    return {
        "x_train": x_train,
        "y_train": train[1],
        "x_test": x_test,
        "y_test": test[1],
        "classes": np.asarray(builder.info.features[label].num_classes),
    }


def _image_and_label(dataset: str, info: Any) -> tuple[str, str]:
    image, label = info.supervised_keys or ("image", "label")
    features = dict(info.features)
    shape: tuple[int, ...] = getattr(features.get(image), "shape", ())
    if (
        len(shape) != 3
        or shape[-1] not in (1, 3)
        or not hasattr(features.get(label), "num_classes")
    ):
        raise UserError(f"{dataset} is no image classification set; take another one")
    if None in shape:
        raise UserError(f"{dataset} has images of several sizes; take a set that has one")
    return image, label


def _splits(names: Any) -> tuple[str, str]:
    for held_out in ("test", "validation"):
        if held_out in names:
            return "train", held_out
    return "train[:90%]", "train[90%:]"


def _read(
    builder: Any, split: str, image: str, label: str, examples: int | None
) -> tuple[np.ndarray, np.ndarray]:
    data = builder.as_dataset(split=split, shuffle_files=False)
    data = data.take(examples) if examples else data
    batches = list(data.batch(_CHUNK).as_numpy_iterator())
    images, labels = (np.concatenate([b[key] for b in batches]) for key in (image, label))
    return images, labels


def _text(dataset: str, folder: Path, size: int) -> Arrays:
    builder = import_tfds().builder_from_directory(str(folder))
    features = builder.info.features
    key = next((k for k, f in features.items() if type(f).__name__ == "Text"), None)
    if key is None:
        raise UserError(f"{dataset} has no text; take another set")

    def lines() -> Iterator[bytes]:
        data = builder.as_dataset(split="train", shuffle_files=False).batch(_CHUNK)
        for batch in data.as_numpy_iterator():
            yield from batch[key]

    parts: list[str] = []
    length = 0
    for line in lines():
        parts.append(line.decode(errors="replace"))
        length += len(parts[-1]) + 1
        if length >= size:
            break
    return {"utf8": np.frombuffer("\n".join(parts)[:size].encode(), np.uint8)}


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in folder.name.split(".") if part)
