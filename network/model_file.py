"""`model.tflite`: a trained network as one file that LiteRT runs, with all that its answers need. Needs no TensorFlow.

Behind the network itself, a FlatBuffer, follows a ZIP archive, as in TensorFlow Lite's own format for labels
(https://ai.google.dev/edge/litert/conversion/tensorflow/metadata). `unzip -l model.tflite` lists it:

labels.txt    the names of the classes, in the order of the outputs
network.json  the model config, the limit for unknown pictures, and the checksum of the FlatBuffer
"""

import hashlib
import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

from network.model_config import ModelConfig, other_version
from network.model_structure import check_structure
from system.errors import UserError
from system.files import write_atomically
from system.terminal import printable

MODEL_FILE, FLOAT16_FILE = "model.tflite", "model_float16.tflite"
LABELS = "labels.txt"
VERSION = 1  # of the format of network.json

_DESCRIPTION = "network.json"
_MAX_BYTES = 2**31  # of a FlatBuffer
_MAX_DESCRIPTION = 2**22  # bytes of network.json, and of labels.txt
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the same for all, so that equal networks are equal files
_REMEDY = "name the folder of its checkpoints, or get the file again"
_OTHER_VERSION = "get the version of this toolkit that wrote it, or ask for a newer file"


class ModelFile(NamedTuple):
    """The content of a model file that is intact."""

    content: bytes  # all of it, which LiteRT takes as it is
    size: int  # bytes of the FlatBuffer, which comes first
    model_config: ModelConfig
    step: int  # training steps of its weights
    source: str  # checksum of the checkpoint that it was made from
    calibrated: bool  # whether the scores are
    max_distance: float  # pictures farther from the training pictures are unknown
    float16: bool  # whether its weights are rounded to float16


def pack_model_file(
    flatbuffer: bytes,
    *,
    model_config: ModelConfig,
    step: int,
    source: str,
    calibrated: bool,
    max_distance: float,
    float16: bool = False,
) -> ModelFile:
    """Returns the model file of a network for LiteRT; the values are those of `ModelFile`."""
    description = {
        "version": VERSION,
        "bytes": len(flatbuffer),
        "sha256": hashlib.sha256(flatbuffer).hexdigest(),
        "step": step,
        "source": source,
        "calibrated": calibrated,
        "max_distance": max_distance if math.isfinite(max_distance) else None,
        "float16": float16,
        "model_config": json.loads(model_config.to_json()),
    }
    content = io.BytesIO()
    content.write(flatbuffer)
    with zipfile.ZipFile(content, "a") as archive:
        for name, text in ((LABELS, labels_of(model_config)), (_DESCRIPTION, json.dumps(description, indent=1))):
            archive.writestr(zipfile.ZipInfo(name, _ZIP_DATE), text.encode())
    return ModelFile(
        content=content.getvalue(),
        size=len(flatbuffer),
        model_config=model_config,
        step=step,
        source=source,
        calibrated=calibrated,
        max_distance=max_distance,
        float16=float16,
    )


def labels_of(model_config: ModelConfig) -> str:
    """Returns the names of the classes, one on each line, in the order of the outputs."""
    return "".join(f"{printable(name)}\n" for name in model_config.class_names)


def write_model_file(path: Path, model: ModelFile) -> None:
    """Writes a model file. After a crash or a power cut there is a complete file or none."""
    write_atomically(path, model.content)


def read_model_file(path: Path) -> ModelFile:
    """Returns the content of a model file; its checksum and its structure are verified before it is used.

    Raises:
        UserError: there is none, it is damaged, it is not from this toolkit, or another version has written it.
    """
    if not path.is_file():
        problem = "is not a file of a network" if path.exists() else "no such file"
        raise UserError(f"{printable(path)}: {problem}; name a folder of checkpoints or a .tflite file")
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError("it is too large")
        content = path.read_bytes()
        return _parse(content, path)
    except (UserError, OSError, MemoryError):
        raise
    except Exception as error:  # the parsers of ZIP, JSON and FlatBuffers raise many kinds of them
        reason = printable(str(error))[:200] if type(error) is ValueError else "a part of it is missing or damaged"
        raise UserError(f"{printable(path)}: damaged, or not a network of this toolkit ({reason}); {_REMEDY}") from None


def _parse(content: bytes, path: Path) -> ModelFile:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if max(archive.getinfo(name).file_size for name in (LABELS, _DESCRIPTION)) > _MAX_DESCRIPTION:
            raise ValueError(f"{LABELS} or {_DESCRIPTION} is too large")
        labels = archive.read(LABELS).decode()
        description: dict[str, Any] = json.loads(archive.read(_DESCRIPTION))
    if not isinstance(description, dict) or description.get("version") != VERSION:
        raise other_version(path, _OTHER_VERSION)
    try:
        model_config = ModelConfig.from_json(json.dumps(description["model_config"]).encode(), path=path)
    except UserError:
        raise other_version(path, _OTHER_VERSION) from None
    if labels != labels_of(model_config):
        raise ValueError(f"{LABELS} and {_DESCRIPTION} have different names of classes")
    size = int(_number(description["bytes"]))
    if hashlib.sha256(memoryview(content)[:size]).hexdigest() != description["sha256"]:
        raise ValueError("its checksum does not match its content")
    check_structure(content, shape=model_config.shape, classes=len(model_config.class_names))
    max_distance = description["max_distance"]
    return ModelFile(
        content=content,
        size=size,
        model_config=model_config,
        step=int(_number(description["step"])),
        source=str(description["source"]),
        calibrated=bool(description["calibrated"]),
        max_distance=math.inf if max_distance is None else _number(max_distance),
        float16=bool(description["float16"]),
    )


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError(f"{value!r} is not a number from 0")
    return value
