"""Checkpoints that are damaged, lost, of another make or hostile: noticed, named, never begun anew over."""

import errno
import json
import math
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from saving import (
    DESCRIPTION,
    FIELDS,
    calibrate_best,
    epoch_of,
    flip_a_bit,
    new_run,
    resumed,
    save_epochs,
    truncate,
    weights_file,
)

from checkpoint import (
    load_classifier,
    newest_run,
    read_tensors,
    write_tensors,
)
from config import UserError
from description import Description, read_description


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, Path.unlink], ids=["truncated", "flipped bit", "missing"])
def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_is_used(tmp_path, capsys, damage):
    save_epochs(*new_run(tmp_path), 0.1, 0.2, 0.3)
    damage(weights_file(tmp_path, 30))
    model, checkpoints = resumed(tmp_path)
    assert (epoch_of(model), checkpoints.step, len(checkpoints.history)) == (2, 20, 2)
    lines = capsys.readouterr().err.splitlines()
    if damage is Path.unlink:
        assert lines == []
    else:
        (line,) = lines
        assert line.startswith(f"{tmp_path / 'ckpt-30.safetensors'}: damaged (")


def test_whole_checkpoints_are_restored_without_a_word(tmp_path, capsys):
    save_epochs(*new_run(tmp_path), 0.1, 0.2)
    model, _ = resumed(tmp_path)
    assert epoch_of(model) == 2
    assert capsys.readouterr() == ("", "")


def test_nothing_but_damaged_checkpoints_is_an_error(tmp_path):
    save_epochs(*new_run(tmp_path), 0.1, 0.2)
    for number in (10, 20):
        truncate(weights_file(tmp_path, number))
    with pytest.raises(UserError, match="every checkpoint is damaged"):
        newest_run(tmp_path)


@pytest.mark.parametrize(
    ("lost", "left"),
    [(["best"], "model.json"), (["model.json"], "best"), ([], "model.json and best")],
    ids=["best", "description", "nothing else"],
)
def test_a_run_whose_checkpoints_are_gone_is_never_begun_anew(tmp_path, lost, left):
    save_epochs(*new_run(tmp_path), 0.1)
    for path in tmp_path.glob("ckpt-*"):
        path.unlink()
    for name in lost:
        shutil.rmtree(tmp_path / name) if name == "best" else (tmp_path / name).unlink()
    with pytest.raises(UserError, match=f"has {left}, but its checkpoints ckpt-\\* are gone; bring them back"):
        newest_run(tmp_path)


@pytest.mark.parametrize("damage", [truncate, Path.unlink], ids=["truncated", "missing"])
def test_a_damaged_description_is_written_anew_when_the_run_goes_on(tmp_path, damage):
    save_epochs(*new_run(tmp_path), 0.1)
    damage(tmp_path / "model.json")
    resumed(tmp_path)
    assert read_description(tmp_path) == DESCRIPTION


def test_a_description_of_another_network_is_not_believed(tmp_path):
    save_epochs(*new_run(tmp_path), 0.1)
    (tmp_path / "model.json").write_text(json.dumps({**FIELDS, "class_names": ["cat", "dog"]}))
    with pytest.raises(UserError, match="is not of the network that .*model.json describes"):
        load_classifier(tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tensors: tensors.pop("average/000"), "weights are not those of this network"),
        (lambda tensors: tensors.update({"average/000": np.zeros(3, np.float32)}), "not those of this network"),
        (lambda tensors: tensors.update({"average/099": np.zeros(3, np.float32)}), "not those of this network"),
        (lambda tensors: tensors.update({"average/000": tensors["average/000"].astype(float)}), "not those of this"),
        (lambda tensors: tensors.update({"history": np.zeros((1, 4))}), "cannot go on from it"),
        (lambda tensors: tensors.update({"history": np.zeros(5)}), "its history is none"),
        (lambda tensors: tensors.update({"history": np.full((1, 5), math.nan)}), "its history is none"),
        (lambda tensors: tensors.pop("history"), "its history is none"),
        (lambda tensors: tensors.pop("metrics"), "its running sums are none"),
        (lambda tensors: tensors.update({"metrics": np.zeros(99)}), "its running sums are none"),
        (lambda tensors: tensors.update({"metrics": np.zeros((1, 1))}), "its running sums are none"),
        (lambda tensors: tensors.update({"metrics": np.full(2, math.inf)}), "its running sums are none"),
    ],
)
def test_a_checkpoint_of_another_make_is_refused_in_one_line(tmp_path, change, reason):
    save_epochs(*new_run(tmp_path), 0.1)
    saved = newest_run(tmp_path)
    change(saved.tensors)
    write_tensors(saved.path, saved.tensors, DESCRIPTION)
    with pytest.raises(UserError, match=reason) as refused:
        resumed(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_checkpoint_of_another_name_is_not_believed(tmp_path, capsys):
    save_epochs(*new_run(tmp_path), 0.1, 0.2)
    (tmp_path / "ckpt-10.safetensors").rename(tmp_path / "ckpt-30.safetensors")
    assert newest_run(tmp_path).step == 20
    assert "ckpt-30.safetensors: damaged (it has another name than it was given)" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "goes_on"), [(errno.EIO, True), (errno.EACCES, False), (errno.ENFILE, False)])
def test_only_what_the_disk_cannot_read_is_passed_over(tmp_path, monkeypatch, number, goes_on):
    save_epochs(*new_run(tmp_path), 0.1, 0.2)
    read = Path.read_bytes

    def failing(self):
        if self.name == "ckpt-20.safetensors":
            raise OSError(number, "no", str(self))
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", failing)
    if goes_on:
        assert newest_run(tmp_path).step == 10
    else:
        with pytest.raises(OSError, match="ckpt-20"):
            newest_run(tmp_path)


def test_a_description_cannot_have_more_allocated_than_its_file_is_long(tmp_path):
    save_epochs(*new_run(tmp_path), 0.1)
    huge = Description(**{**FIELDS, "height": 4096, "width": 4096})  # 68 GB of weights
    write_tensors(tmp_path / "ckpt-10.safetensors", newest_run(tmp_path).tensors, huge)
    (tmp_path / "model.json").write_bytes(huge.as_json())
    shutil.rmtree(tmp_path / "best")
    for read in (newest_run, load_classifier):
        with pytest.raises(UserError, match="every checkpoint is damaged"):
            read(tmp_path)


def test_every_truncation_and_every_flipped_bit_of_a_checkpoint_is_noticed(tmp_path):
    description = Description(**{**FIELDS, "class_names": ["a", "b"]})
    path = tmp_path / "ckpt-7.safetensors"
    tensors = {"average/000": np.zeros((256, 1024), np.float32), "history": np.array([[0.5, 0.25, 0.1, 1, 2]])}
    write_tensors(path, tensors, description)
    whole = path.read_bytes()
    assert read_tensors(path).tensors.keys() == tensors.keys()
    header = len(whole) - 256 * 1024 * 4
    places = [*range(0, header, 3), *range(header, len(whole), 4001), len(whole) - 1]
    random = np.random.default_rng(0)
    for place in places:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << int(random.integers(8))
        for damaged in (bytes(flipped), whole[:place]):
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match="whole|checksum"):
                read_tensors(path)
    assert len(places) > 450


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
    ids=["empty", "long header", "nothing", "deep", "huge shape", "type", "pickle"],
)
def test_a_hostile_checkpoint_is_refused_in_one_line(tmp_path, content, capsys):
    (tmp_path / "ckpt-1.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="every checkpoint is damaged"):
        newest_run(tmp_path)
    (line,) = capsys.readouterr().err.splitlines()
    assert "damaged" in line


def test_best_weights_that_are_gone_are_told_of_and_the_newest_answer(tmp_path, capsys):
    save_epochs(*new_run(tmp_path), 0.9, 0.5)
    shutil.rmtree(tmp_path / "best")
    resumed(tmp_path)
    assert "best: the weights of the best epoch are gone; the newest stand in" in capsys.readouterr().err
    assert epoch_of(load_classifier(tmp_path)[0]) == 2


def test_a_damaged_best_checkpoint_does_not_keep_a_whole_run_from_answering(tmp_path, capsys):
    save_epochs(*new_run(tmp_path), 0.9, 0.5)
    truncate(weights_file(tmp_path / "best", 10))
    assert epoch_of(load_classifier(tmp_path)[0]) == 2
    assert str(tmp_path / "best" / "ckpt-10") in capsys.readouterr().err


def test_nothing_that_could_be_executed_is_stored(tmp_path):
    save_epochs(*new_run(tmp_path), 0.5)
    calibrate_best(tmp_path)
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert names == ["best/ckpt-10.safetensors", "ckpt-10.safetensors", "model.json"]
    for path in tmp_path.rglob("ckpt-*"):
        data = path.read_bytes()
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        assert {tensor["dtype"] for tensor in header.values()} <= {"F32", "F64", "I64", "U8", "U32", "I32"}
