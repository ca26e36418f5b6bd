"""One checkpoint file: what is written comes back, and any damage to it is noticed."""

import errno
import json
import os
import pickle
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from network.checkpoint_file import (
    _checksum,
    checkpoint_path,
    checkpoint_paths,
    is_checkpoint_name,
    network_folder,
    read_checkpoint,
    read_intact,
    step_of,
    write_checkpoint,
)
from network.model_config import VERSION
from system.errors import UserError
from tests.helpers.checkpoints import FIELDS, MODEL_CONFIG, write_first_version


def write_three(folder: Path) -> None:
    for step in (5, 10, 100):
        write_checkpoint(folder / f"ckpt-{step}.safetensors", {"average/a": np.full(3, step)}, MODEL_CONFIG)


def test_read_checkpoint_returns_what_was_written(tmp_path):
    path = tmp_path / "ckpt-7.safetensors"
    values = {
        "average/conv_1/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
        "average/conv_1/bias": np.array([0.5], np.float32),
        "averages/other": np.array(3),
        "history": np.zeros((0, 5)),
    }
    write_checkpoint(path, values, MODEL_CONFIG)
    found = read_checkpoint(path)
    assert (found.path, found.step, found.model_config) == (path, 7, MODEL_CONFIG)
    assert found.tensors.keys() == values.keys()
    for name, value in values.items():
        assert found.tensors[name].dtype == value.dtype
        np.testing.assert_array_equal(found.tensors[name], value)
    assert found.part("average").keys() == {"conv_1/kernel", "conv_1/bias"}
    assert found.part("average")["conv_1/bias"] == [0.5]


def test_write_checkpoint_stores_arrays_that_are_not_contiguous(tmp_path):
    path = tmp_path / "ckpt-7.safetensors"
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    values = {"fortran": np.asfortranarray(array), "transposed": array.T, "strided": array[:, ::2, ::-1]}
    write_checkpoint(path, values, MODEL_CONFIG)
    for name, value in values.items():
        np.testing.assert_array_equal(read_checkpoint(path).tensors[name], value)


def test_write_checkpoint_writes_what_safetensors_reads(tmp_path):
    tensors = {
        "bytes/of an odd number": np.arange(3, dtype=np.uint8),
        "words": np.arange(5, dtype=np.uint32),
        "weights/é": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "big end": np.arange(4, dtype=">f8"),
        "number": np.array(-7, np.int64),
        "nothing": np.zeros((0, 6)),
    }
    path = checkpoint_path(tmp_path, 3)
    write_checkpoint(path, tensors, MODEL_CONFIG)
    found = safetensors.numpy.load_file(path)
    for name, value in tensors.items():
        np.testing.assert_array_equal(found[name], value)
        assert found[name].dtype == value.dtype.newbyteorder("=")
        assert found[name].shape == value.shape
    content = path.read_bytes()
    (header,) = struct.unpack("<Q", content[:8])
    assert header % 8 == 0
    entries = json.loads(content[8 : 8 + header])
    for name, entry in entries.items():  # so that they can be used without a copy
        assert entry["data_offsets"][0] % found[name].itemsize == 0, name


def test_write_checkpoint_copies_no_tensor(tmp_path):
    weights = np.ones(2_000_000, np.float32)  # 8 MB
    tracemalloc.start()
    try:
        write_checkpoint(checkpoint_path(tmp_path, 3), {"weights": weights}, MODEL_CONFIG)
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


def test_read_checkpoint_notices_every_truncation_and_flipped_bit(tmp_path):
    path = tmp_path / "ckpt-7.safetensors"
    tensors = {"average/a": np.zeros((256, 1024), np.float32), "history": np.array([[0.5, 0.25, 0.1, 1, 2]])}
    write_checkpoint(path, tensors, MODEL_CONFIG)
    intact = path.read_bytes()
    header = len(intact) - 256 * 1024 * 4
    positions = [*range(0, header, 3), *range(header, len(intact), 4001), len(intact) - 1]
    rng = np.random.default_rng(0)
    for position in positions:
        flipped = bytearray(intact)
        flipped[position] ^= 1 << int(rng.integers(8))
        for damaged in (bytes(flipped), intact[:position]):
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match="incomplete|checksum"):
                read_checkpoint(path)
    assert len(positions) > 450


@pytest.mark.parametrize(
    "content",
    [
        b"",
        (2**63).to_bytes(8, "little"),
        (2).to_bytes(8, "little") + b"{}",
        (100_000).to_bytes(8, "little") + b"[" * 100_000,
        (70).to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[9999999999999],"data_offsets":[0,0]}}    ',
        (70).to_bytes(8, "little") + b'{"a":{"dtype":"XX","shape":[0],"data_offsets":[0,0]}}                 ',
        pickle.dumps(print),
    ],
    ids=["empty", "long header", "no tensors", "deep", "huge shape", "unknown type", "pickle"],
)
def test_read_checkpoint_refuses_a_hostile_file(tmp_path, content, capsys):
    path = tmp_path / "ckpt-1.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="incomplete or not a checkpoint|checksum"):
        read_checkpoint(path)
    assert list(read_intact([path])) == []
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{path}: damaged (")
    assert line.isprintable()


def test_read_checkpoint_refuses_a_renamed_file(tmp_path):
    write_three(tmp_path)
    path = (tmp_path / "ckpt-10.safetensors").rename(tmp_path / "ckpt-30.safetensors")
    with pytest.raises(ValueError, match="^its name is not the one that it was saved under$"):
        read_checkpoint(path)


def test_read_checkpoint_refuses_a_file_without_its_step(tmp_path):
    path = tmp_path / "ckpt-0.safetensors"
    write_with(path, MODEL_CONFIG.to_json())
    with pytest.raises(ValueError, match="^its name is not the one that it was saved under$"):
        read_checkpoint(path)


def test_read_checkpoint_refuses_a_file_without_its_checksum(tmp_path):
    path = tmp_path / "ckpt-7.safetensors"
    path.write_bytes(safetensors.numpy.save({"step": np.array(7)}))
    with pytest.raises(ValueError, match="^its checksum does not match its content$"):
        read_checkpoint(path)


def test_read_checkpoint_refuses_the_first_version_in_one_line(tmp_path):
    path = write_first_version(tmp_path)
    with pytest.raises(UserError) as refused:
        read_checkpoint(path)
    assert str(refused.value) == (
        f"{path}: was saved by another version of this toolkit; train to a new folder with --model_save_name"
    )


def write_with(path: Path, model_config: bytes, **tensors: np.ndarray) -> None:
    """Writes a checkpoint whose checksum is right, with any model config."""
    tensors["model_config"] = np.frombuffer(model_config, np.uint8)
    path.write_bytes(safetensors.numpy.save({**tensors, "checksum": _checksum(tensors)}))


@pytest.mark.parametrize("content", [{"version": VERSION - 1, **FIELDS}, {"version": VERSION + 1}, {"format": "next"}])
def test_read_checkpoint_refuses_another_version_whatever_it_holds(tmp_path, content):
    path = tmp_path / "ckpt-7.safetensors"
    for tensors in ({"step": np.array(7)}, {"training_step": np.array([7.0])}):
        write_with(path, json.dumps(content).encode(), **tensors)
        with pytest.raises(UserError, match="ckpt-7.safetensors: was saved by another version of this toolkit; train"):
            read_checkpoint(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [(f'{{"version": {VERSION}}}', "missing entries: .*class_names"), ("[]", "not a JSON object"), ("{", "Expecting")],
)
def test_read_checkpoint_refuses_a_damaged_model_config(tmp_path, text, reason):
    path = tmp_path / "ckpt-7.safetensors"
    write_with(path, text.encode(), step=np.array(7))
    with pytest.raises(ValueError, match=reason):
        read_checkpoint(path)


@pytest.mark.parametrize(("number", "skipped"), [(errno.EIO, True), (errno.EACCES, False), (errno.ENFILE, False)])
def test_read_intact_skips_only_files_that_the_disk_cannot_read(tmp_path, monkeypatch, capsys, number, skipped):
    write_three(tmp_path)
    read_bytes = Path.read_bytes

    def fail(self):
        if self.name == "ckpt-10.safetensors":
            raise OSError(number, "no", str(self))
        return read_bytes(self)

    monkeypatch.setattr(Path, "read_bytes", fail)
    if skipped:
        assert [checkpoint.step for checkpoint in read_intact(checkpoint_paths(tmp_path))] == [100, 5]
        name = tmp_path / "ckpt-10.safetensors"
        assert capsys.readouterr().err == f"{name}: damaged (it cannot be read: no), skipped\n"
    else:
        with pytest.raises(OSError, match="ckpt-10"):
            list(read_intact(checkpoint_paths(tmp_path)))


def test_read_checkpoint_out_of_memory_is_an_error_of_the_system(tmp_path, monkeypatch):
    write_three(tmp_path)

    def fail(self):
        raise MemoryError

    monkeypatch.setattr(Path, "read_bytes", fail)
    path = tmp_path / "ckpt-5.safetensors"
    with pytest.raises(OSError, match=r"ckpt-5\.safetensors") as error:
        read_checkpoint(path)
    assert (error.value.errno, error.value.filename) == (errno.ENOMEM, str(path))
    assert error.value.strerror == os.strerror(errno.ENOMEM)


def test_checkpoint_paths_are_the_newest_first(tmp_path):
    write_three(tmp_path)
    (tmp_path / "ckpt-7.safetensors").mkdir()
    for name in ("ckpt-7.safetensors.part", "ckpt-x.safetensors", "ckpt-8.txt", "model.json"):
        (tmp_path / name).touch()
    assert [step_of(path) for path in checkpoint_paths(tmp_path)] == [100, 10, 5]


def test_is_checkpoint_name_is_true_for_files_of_the_toolkit_only():
    assert all(map(is_checkpoint_name, ("model.json", "ckpt-0.safetensors", "ckpt-123.safetensors")))
    assert not any(map(is_checkpoint_name, ("ckpt-.safetensors", "xckpt-1.safetensors", "ckpt-1.safetensors2", "a")))


@pytest.mark.parametrize("name", ["", "model.json", "ckpt-5.safetensors", "best", "best/ckpt-5.safetensors"])
def test_network_folder_is_found_by_the_names_in_it(tmp_path, name):
    (tmp_path / "model.json").touch()
    assert network_folder(tmp_path / name) == tmp_path


@pytest.mark.parametrize("name", ["other", "best/other", "best/best", "ckpt-5.txt", "best/deep/ckpt-5.safetensors"])
def test_network_folder_is_the_name_itself_if_it_is_another(tmp_path, name):
    (tmp_path / "model.json").touch()
    assert network_folder(tmp_path / name) == tmp_path / name


def test_network_folder_may_be_called_best(tmp_path):
    folder = tmp_path / "best"
    folder.mkdir()
    for name in ("model.json", "ckpt-5.safetensors", "best"):
        assert network_folder(folder / name) == folder / name  # nothing is there yet
    (folder / "model.json").touch()
    assert network_folder(folder) == folder
