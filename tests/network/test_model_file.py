"""model.tflite: what it holds, and that nothing else is accepted."""

import hashlib
import io
import json
import math
import random
import re
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from network.model_config import VERSION
from network.model_file import MODEL_FILE, ModelFile, pack_model_file, read_model_file, write_model_file
from system.errors import UserError
from tests.helpers.checkpoints import flip_a_bit, model_config
from tests.helpers.model_files import tiny_flatbuffer
from tests.helpers.processes import with_modules

CONFIG = model_config(class_names=["ant", "b\ne", "蜂"], random_mirror=False)


def pack(flatbuffer: bytes, **changes) -> ModelFile:
    values = {"step": 7, "source": "ab12", "calibrated": True, "max_distance": 2.5}
    return pack_model_file(flatbuffer, model_config=CONFIG, **{**values, **changes})


@pytest.fixture(scope="module")
def model() -> ModelFile:
    return pack(tiny_flatbuffer(CONFIG))


@pytest.fixture
def path(model, tmp_path) -> Path:
    write_model_file(tmp_path / MODEL_FILE, model)
    return tmp_path / MODEL_FILE


def reason_of(path: Path) -> str:
    """Returns why a file is refused, in one line."""
    with pytest.raises(UserError) as refused:
        read_model_file(path)
    found = re.fullmatch(
        rf"{path}: damaged, or not a network of this toolkit \((.+)\); name the folder .+", str(refused.value)
    )
    assert found and "\n" not in str(refused.value)
    return found[1]


@pytest.mark.parametrize("changes", [{}, {"max_distance": math.inf, "calibrated": False}])
def test_read_model_file_returns_what_was_written(model, tmp_path, changes):
    written = pack(model.content[: model.size], **changes)
    write_model_file(tmp_path / "other.tflite", written)
    assert read_model_file(tmp_path / "other.tflite") == written


def test_model_file_has_the_names_of_the_classes_for_other_programs(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["labels.txt", "network.json"]
        assert archive.read("labels.txt").decode() == "ant\nb\\ne\n蜂\n"
        assert json.loads(archive.read("network.json"))["model_config"]["class_names"] == ["ant", "b\ne", "蜂"]


def test_model_files_of_equal_networks_are_equal(model):
    assert pack(model.content[: model.size]).content == model.content


def test_read_model_file_refuses_a_file_that_is_cut_anywhere(model, path):
    size = len(model.content)
    for length in (0, 1, 100, size // 2, model.size, model.size + 10, size - 30, size - 1):
        path.write_bytes(model.content[:length])
        assert reason_of(path)


def test_read_model_file_refuses_a_changed_bit(path):
    flip_a_bit(path)
    assert reason_of(path) == "its checksum does not match its content"


def test_read_model_file_refuses_files_of_other_kinds(model, path):
    path.write_bytes(b"\x89PNG\r\n" + bytes(1000))
    assert reason_of(path) == "a part of it is missing or damaged"
    path.write_bytes(model.content[: model.size])  # as another program writes it
    assert reason_of(path) == "a part of it is missing or damaged"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("labels.txt", "ant\nbee\n")
    assert reason_of(path) == "a part of it is missing or damaged"


def test_read_model_file_asks_for_a_file_if_there_is_none(tmp_path):
    with pytest.raises(
        UserError, match=r"none\.tflite: no such file; name a folder of checkpoints or a \.tflite file$"
    ):
        read_model_file(tmp_path / "none.tflite")
    with pytest.raises(
        UserError, match=r": is not a file of a network; name a folder of checkpoints or a \.tflite file$"
    ):
        read_model_file(tmp_path)


def forged(model: ModelFile, flatbuffer: bytes | None = None, **changes) -> bytes:
    """Returns a model file with another description, whose checksums are right."""
    flatbuffer = model.content[: model.size] if flatbuffer is None else flatbuffer
    with zipfile.ZipFile(io.BytesIO(model.content)) as archive:
        description = json.loads(archive.read("network.json"))
        labels = archive.read("labels.txt")
    description |= {"bytes": len(flatbuffer), "sha256": hashlib.sha256(flatbuffer).hexdigest(), **changes}
    content = io.BytesIO()
    content.write(flatbuffer)
    with zipfile.ZipFile(content, "a") as archive:
        archive.writestr("labels.txt", labels)
        archive.writestr("network.json", json.dumps(description))
    return content.getvalue()


@pytest.mark.parametrize(
    "changes",
    [
        {"max_distance": "far"},
        {"max_distance": -1},
        {"max_distance": True},
        {"step": math.nan},
        {"bytes": 10},
        {"sha256": None},
        {"model_config": {"version": VERSION}},
        {"model_config": []},
    ],
    ids=str,
)
def test_read_model_file_refuses_a_forged_description(model, path, changes):
    path.write_bytes(forged(model))
    assert read_model_file(path).step == 7
    path.write_bytes(forged(model, **changes))
    assert reason_of(path)


def test_read_model_file_refuses_the_size_of_another_network(model, path):
    other = json.loads(model_config(height=32, class_names=CONFIG.class_names).to_json())
    path.write_bytes(forged(model, model_config=other))
    assert reason_of(path) == "its images have another size than network.json says"


def test_read_model_file_refuses_another_version(model, path):
    remedy = "get the version of this toolkit that wrote it, or ask for a newer file"
    for changes in ({"version": 2}, {"model_config": {**json.loads(CONFIG.to_json()), "version": 4}}):
        path.write_bytes(forged(model, **changes))
        with pytest.raises(UserError, match=f"was saved by another version of this toolkit; {remedy}$"):
            read_model_file(path)


@pytest.mark.parametrize("names", [["ant", "bee"], ["ant", "b\ne", "moth", "蜂"]])
def test_read_model_file_refuses_other_numbers_of_classes(names, path):
    values = {"step": 7, "source": "ab12", "calibrated": True, "max_distance": 2.5}
    other = model_config(class_names=names, random_mirror=False)
    write_model_file(path, pack_model_file(tiny_flatbuffer(CONFIG), model_config=other, **values))
    assert reason_of(path) == "its outputs have another number of classes than network.json says"


def test_read_model_file_refuses_labels_that_contradict_it(model, path):
    path.write_bytes(model.content.replace("蜂\n".encode(), "蟻\n".encode()))
    assert reason_of(path) == "a part of it is missing or damaged"  # the checksum of the archive
    other = json.loads(CONFIG.to_json()) | {"class_names": ["ant", "b\ne", "蟻"]}
    path.write_bytes(forged(model, model_config=other))
    assert reason_of(path) == "labels.txt and network.json have different names of classes"


def test_read_model_file_names_a_wrong_setting_as_in_the_file(model, path):
    path.write_bytes(forged(model, model_config=json.loads(CONFIG.to_json()) | {"height": -1}))
    assert reason_of(path).startswith("height -1: must be ")


def test_read_model_file_refuses_a_class_called_unknown(model, path):
    path.write_bytes(forged(model, model_config=json.loads(CONFIG.to_json()) | {"class_names": ["ant", "unknown"]}))
    assert reason_of(path) == "class_names: 'unknown' cannot be the name of a class folder"


def test_read_model_file_ignores_what_follows_it(model, path):
    path.write_bytes(model.content + b"more")
    assert read_model_file(path).step == 7


_USE_ALL = """
import sys
from pathlib import Path
import numpy as np
from answers.loading import load_engine
from system.errors import UserError
for path in Path(sys.argv[1]).glob("*.tflite"):
    try:
        engine = load_engine(path)
        engine.predict(np.zeros((2, *engine.model_config.shape), np.uint8))
    except UserError:
        print("refused")
    else:
        print("used")
"""


def test_forged_networks_are_refused_or_used_without_a_crash(model, tmp_path):
    """Random damage whose checksum is right, most of it where the structure is."""
    rng, original = random.Random(1), model.content[: model.size]
    for number in range(100):
        flatbuffer = bytearray(original)
        for _ in range(rng.choice((1, 2, 4))):
            position = rng.choice((rng.randrange(min(3000, len(original))), -1 - rng.randrange(10_000)))
            flatbuffer[position] = rng.choice((0, 255, rng.randrange(256)))
        (tmp_path / f"{number}.tflite").write_bytes(forged(model, bytes(flatbuffer)))
    command = [sys.executable, "-c", _USE_ALL, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, env=with_modules(), timeout=120)
    assert done.returncode == 0, done.stderr
    results = Counter(done.stdout.splitlines())
    assert results.total() == 100
    assert min(results["refused"], results["used"]) > 20
