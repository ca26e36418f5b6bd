"""One checkpoint: a file of named arrays with a checksum. Needs no TensorFlow.

Its format, safetensors (https://github.com/huggingface/safetensors), contains nothing that could be executed.
"""

import errno
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from network.model_config import MODEL_CONFIG, ModelConfig, other_version, read_model_config
from system.errors import UserError
from system.files import write_atomically
from system.terminal import printable

BEST = "best"  # sub-folder of the weights of the best epoch

_NAME = re.compile(r"ckpt-(\d+)\.safetensors")


class Checkpoint(NamedTuple):
    """The content of a checkpoint whose checksum was right."""

    path: Path
    step: int  # training steps so far
    checksum: str  # in hexadecimal digits
    model_config: ModelConfig
    tensors: dict[str, np.ndarray]  # by <part>/<path of the variable>, such as average/conv_1/kernel

    def part(self, name: str) -> dict[str, np.ndarray]:
        """Returns the tensors of one part, without its name."""
        prefix = f"{name}/"
        return {key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)}


def checkpoint_path(folder: Path, step: int) -> Path:
    return folder / f"ckpt-{step}.safetensors"


def is_checkpoint_name(name: str) -> bool:
    """Returns whether a file of this name in a folder of checkpoints is written by this toolkit."""
    return name == MODEL_CONFIG or bool(_NAME.fullmatch(name))


def member_folder(folder: Path, fold: int) -> Path:
    """Returns the folder, below that of an ensemble, of the network that validates on a fold, counted from 1."""
    return folder / f"fold-{fold}"


def member_folders(folder: Path) -> list[Path]:
    """Returns the folders of the networks of an ensemble that exist, in their order; none for a single network."""
    found: list[Path] = []
    while (member_folder(folder, len(found) + 1) / MODEL_CONFIG).is_file():
        found.append(member_folder(folder, len(found) + 1))
    return found


def is_ensemble(folder: Path) -> bool:
    """Returns whether there is an ensemble in a folder, or the beginning of one."""
    return bool(member_folders(folder)) and not checkpoint_paths(folder)


def network_folder(folder: Path) -> Path:
    """Returns the folder of checkpoints for a name that may also be that of a file in it, or of its folder best/."""
    if (folder / MODEL_CONFIG).exists():
        return folder
    inner = folder.parent if is_checkpoint_name(folder.name) else folder
    if inner.name in ("", ".."):  # the current folder, which has no name here
        inner = inner.resolve()
    outer = inner.parent if inner.name == BEST else inner
    return outer if (outer / MODEL_CONFIG).exists() else folder


def require_own_folder(folder: Path) -> None:
    """Raises UserError if a folder of checkpoints would be confused with a part of another one."""
    for outer in folder.absolute().parents:
        if (outer / MODEL_CONFIG).exists() and (checkpoint_paths(outer) or member_folders(outer)):
            raise UserError(
                f"--model_save_name {printable(folder)}: is a part of {printable(outer)}; use another folder"
            )
    if folder.name == BEST:
        raise UserError(f"--model_save_name {printable(folder)}: {BEST} is a part of each network; use another name")


def step_of(path: Path) -> int:
    """Returns the number of training steps in the name of a checkpoint."""
    match = _NAME.fullmatch(path.name)
    assert match
    return int(match[1])


def checkpoint_paths(folder: Path) -> list[Path]:
    """Returns the checkpoints in a folder, newest first."""
    found = (path for path in folder.glob("ckpt-*") if _NAME.fullmatch(path.name) and path.is_file())
    return sorted(found, key=step_of, reverse=True)


def write_checkpoint(path: Path, tensors: dict[str, np.ndarray], model_config: ModelConfig) -> str:
    """Writes a checkpoint and returns its checksum. After a crash or a power cut there is a complete file or none."""
    metadata = {
        "step": np.array(step_of(path)),
        "model_config": np.frombuffer(model_config.to_json(), np.uint8),
    }
    tensors = {**tensors, **metadata}
    tensors["checksum"] = _checksum(tensors)
    write_atomically(path, *_serialize(tensors))
    return tensors["checksum"].tobytes().hex()


def _serialize(tensors: dict[str, np.ndarray]) -> list[bytes | memoryview]:
    """Returns the content of a safetensors file (its format is described at the address above), in parts.

    safetensors' `save` takes twice the memory, and ends the process if there is not enough. Its `save_file` has a
    temporary file of its own, which a kill would leave behind.
    """
    header, values, end = {}, [], 0
    for name, value in sorted(tensors.items(), key=lambda item: -item[1].itemsize):  # so that all are aligned
        start, end = end, end + value.nbytes
        dtype = {"f": "F", "i": "I", "u": "U"}[value.dtype.kind] + str(8 * value.itemsize)
        header[name] = {"dtype": dtype, "shape": value.shape, "data_offsets": (start, end)}
        values.append(value.astype(value.dtype.newbyteorder("<"), copy=False).reshape(-1).view(np.uint8).data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return [len(text).to_bytes(8, "little"), text, *values]


def read_checkpoint(path: Path) -> Checkpoint:
    """Returns a checkpoint; its checksum is verified before anything in it is used.

    Raises:
        ValueError: it is damaged or not a checkpoint of this toolkit; the message is the reason.
        UserError: another version of this toolkit has written it.
        OSError: it may be intact but cannot be read, because of permissions or memory.
    """
    try:
        return parse_checkpoint(path.read_bytes(), path)
    except OSError as error:
        if error.errno == errno.EIO:
            raise ValueError(f"it cannot be read: {error.strerror}") from None
        raise
    except MemoryError:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM), os.fspath(path)) from None


def parse_checkpoint(content: bytes, path: Path) -> Checkpoint:
    """Returns the checkpoint with the content of a file. See `read_checkpoint`."""
    try:
        tensors = safetensors.numpy.load(content)
    except (SafetensorError, ValueError, LookupError, TypeError) as error:
        raise ValueError(f"it is incomplete or not a checkpoint: {error}") from None
    checksum = tensors.pop("checksum", np.zeros(0))
    if not np.array_equal(checksum, _checksum(tensors)):
        raise ValueError("its checksum does not match its content")
    if "model_config" not in tensors:
        raise other_version(path)
    model_config = ModelConfig.from_json(tensors.pop("model_config").tobytes(), path=path)
    if not np.array_equal(tensors.pop("step", np.zeros(0)), step_of(path)):
        raise ValueError("its name is not the one that it was saved under")
    return Checkpoint(path, step_of(path), checksum.tobytes().hex(), model_config, tensors)


def read_intact(paths: Iterable[Path]) -> Iterator[Checkpoint]:
    """Yields the checkpoints that are intact, and names the damaged ones on stderr."""
    for path in paths:
        try:
            yield read_checkpoint(path)
        except ValueError as error:
            print(f"{printable(path)}: damaged ({printable(str(error))}), skipped", file=sys.stderr)


def trained_paths(folder: Path) -> list[Path]:
    """Returns the checkpoints to predict with: first that of the best epoch, then the newest ones."""
    return [path for path in (*checkpoint_paths(folder / BEST), *checkpoint_paths(folder)) if step_of(path)]


def read_best(folder: Path) -> Checkpoint:
    """Returns the checkpoint to predict with: that of the best epoch, or the newest if no epoch is finished.

    Raises:
        UserError: there is no intact checkpoint, or it does not belong to model.json.
    """
    model_config = read_model_config(folder)
    paths = trained_paths(folder)
    for checkpoint in read_intact(paths):
        if checkpoint.model_config != model_config:
            path, other = printable(checkpoint.path), printable(folder / MODEL_CONFIG)
            raise UserError(
                f"{path}: belongs to a different network than {other}; bring back the two that belong together"
            )
        return checkpoint
    if paths:
        raise UserError(f"{printable(folder)}: every checkpoint is damaged; train to a new folder")
    raise UserError(f"{printable(folder)}: training has not saved any weights yet; run trainer.py to its end")


def stored_checksum(path: Path) -> str:
    """Returns the checksum in a checkpoint, in hexadecimal digits, or "" if it cannot be read; the rest is not read."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return file.get_tensor("checksum").tobytes().hex()
    except (SafetensorError, OSError, ValueError):
        return ""


def _checksum(tensors: dict[str, np.ndarray]) -> np.ndarray:
    """Returns the SHA-256 over names, types, shapes and values: uint8 (32,)."""
    names = sorted(tensors)
    digest = hashlib.sha256(repr([(name, tensors[name].dtype.str, tensors[name].shape) for name in names]).encode())
    for name in names:
        digest.update(np.ascontiguousarray(tensors[name]).data)
    return np.frombuffer(digest.digest(), np.uint8)
