"""Which file a network is read from, and when it is built."""

import contextlib
import dataclasses
import shutil
from pathlib import Path

import pytest

from answers import loading
from answers.loading import load_engine
from network.model_file import MODEL_FILE, pack_model_file, read_model_file, write_model_file
from system import resources
from system.errors import UserError
from tests.helpers.checkpoints import (
    MODEL_CONFIG,
    calibrate_best,
    checkpoint_file,
    flip_a_bit,
    model_config,
    new_run,
    save_epochs,
    truncate,
)
from tests.helpers.model_files import tiny_flatbuffer


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """Returns the checkpoints of a run whose best network is calibrated, with its model file."""
    folder = tmp_path_factory.mktemp("saved")
    save_epochs(*new_run(folder), 0.9, 0.5)
    calibrate_best(folder)
    load_engine(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "network"))


def test_load_engine_reads_the_model_file_without_a_word(folder, capfd):
    engine = load_engine(folder)
    assert (engine.step, engine.calibrated, engine.max_distance) == (10, True, 5.5)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["", "best", "best/ckpt-10.safetensors", "model.json", MODEL_FILE])
def test_load_engine_takes_the_folder_or_anything_in_it(folder, name):
    assert load_engine(folder / name).step == 10


def test_load_engine_takes_a_model_file_alone_under_any_name(folder, tmp_path):
    (tmp_path / "alone").mkdir()
    path = Path(shutil.copy(folder / MODEL_FILE, tmp_path / "alone" / "from a friend.tflite"))
    assert load_engine(path).model_config == MODEL_CONFIG
    path.rename(tmp_path / "alone" / MODEL_FILE)
    assert load_engine(tmp_path / "alone").step == 10


def test_load_engine_takes_another_file_in_the_folder_of_a_run_as_it_is(folder, capsys):
    old = Path(shutil.copy(folder / MODEL_FILE, folder / "old.TFLITE"))
    (folder / MODEL_FILE).unlink()
    assert load_engine(old).step == 10
    assert not (folder / MODEL_FILE).exists()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.tflite", "none.tflite: no such file; name a folder of checkpoints or a .tflite file"),
        ("text.bin", "text.bin: damaged, or not a network of this toolkit (a part of it is missing or damaged); "),
        ("ckpt-7.safetensors", "ckpt-7.safetensors: no trained network here; "),
        (".", ".: no trained network here; try --model_save_name friend.tflite"),
    ],
)
def test_load_engine_refuses_names_without_a_network(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for existing in ("text.bin", "ckpt-7.safetensors", "friend.tflite"):
        Path(existing).write_text("text")
    with pytest.raises(UserError) as refused:
        load_engine(Path(name))
    assert str(refused.value).startswith(message)


def is_built(folder: Path, capsys) -> bool:
    """Loads the network; returns whether its model file was made again, and said so, and was kept."""
    before = (folder / MODEL_FILE).read_bytes() if (folder / MODEL_FILE).exists() else b""
    load_engine(folder)
    lines = capsys.readouterr().err.splitlines()
    built = f"predict.py: {folder / MODEL_FILE}: is built from the best weights once, with TensorFlow ..." in lines
    assert built == ((folder / MODEL_FILE).read_bytes() != before)
    load_engine(folder)
    assert capsys.readouterr().err == ""  # the second time it is there
    return built


def test_load_engine_builds_a_missing_model_file_once(folder, capsys):
    (folder / MODEL_FILE).unlink()
    assert is_built(folder, capsys)


def test_load_engine_builds_the_model_file_again_after_better_weights(saved, tmp_path, capsys):
    model, checkpoints = new_run(tmp_path)
    save_epochs(model, checkpoints, 0.5)
    assert is_built(tmp_path, capsys)
    save_epochs(model, checkpoints, 0.9)
    assert is_built(tmp_path, capsys)
    assert load_engine(tmp_path).step == 20
    calibrate_best(tmp_path)  # the same weights, but other answers
    assert is_built(tmp_path, capsys)
    assert load_engine(tmp_path).calibrated


def test_load_engine_builds_a_damaged_model_file_again(folder, capsys):
    flip_a_bit(folder / MODEL_FILE)
    load_engine(folder)
    first, second = capsys.readouterr().err.splitlines()
    path, reason = folder / MODEL_FILE, "its checksum does not match its content"
    assert first == f"predict.py: {path}: damaged, or not a network of this toolkit ({reason})"
    assert second.endswith("is built from the best weights once, with TensorFlow ...")
    read_model_file(folder / MODEL_FILE)


def test_load_engine_uses_a_model_file_that_cannot_be_kept(folder, capsys):
    (folder / MODEL_FILE).unlink()
    (folder / f".{MODEL_FILE}.part").mkdir()  # where it would be written
    assert load_engine(folder).step == 10
    assert not (folder / MODEL_FILE).exists()
    line = capsys.readouterr().err.splitlines()[-1]
    assert line == f"predict.py: {folder / MODEL_FILE}: cannot be kept (Is a directory), so it will be built again"


def test_load_engine_needs_no_checkpoints(folder):
    shutil.rmtree(folder / "best")
    for path in folder.glob("ckpt-*"):
        path.unlink()
    assert load_engine(folder).step == 10


def made(folder: Path, **changes) -> bytes:
    """Writes a model file of random weights in place of the one in a folder; returns its content."""
    values = {"model_config": MODEL_CONFIG, "source": "", "calibrated": False, "max_distance": 1.0}
    model = pack_model_file(tiny_flatbuffer(MODEL_CONFIG), **{"step": 10, **values, **changes})
    write_model_file(folder / MODEL_FILE, model)
    return model.content


def test_load_engine_keeps_a_calibrated_model_file_without_best_weights(folder, capsys):
    before = (folder / MODEL_FILE).read_bytes()
    shutil.rmtree(folder / "best")
    assert (load_engine(folder).step, checkpoint_file(folder, 20).exists()) == (10, True)
    assert (folder / MODEL_FILE).read_bytes() == before
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("step", "is_current"), [(19, False), (20, True)])
def test_model_file_of_a_first_epoch_is_current_until_newer_weights(step, is_current, folder):
    shutil.rmtree(folder / "best")
    made(folder, step=step)
    assert (loading._current_model_file(folder) is not None) == is_current


def test_load_engine_does_not_replace_the_model_file_of_another_network(saved, folder, monkeypatch, capsys):
    monkeypatch.setattr("answers.conversion.build_model_file", lambda _: read_model_file(saved / MODEL_FILE))
    other = made(folder, model_config=model_config(seed=2))
    assert load_engine(folder).model_config == MODEL_CONFIG
    assert (folder / MODEL_FILE).read_bytes() == other
    assert capsys.readouterr().err == (
        f"predict.py: {folder / MODEL_FILE}: belongs to another network than model.json; until you move it away, "
        "one is built each time ...\n"
    )


@pytest.mark.parametrize("content", [b"{", b"{}", model_config(class_names=["cat", "dog"]).to_json()])
def test_load_engine_takes_a_named_model_file_whatever_is_beside_it(content, folder):
    (folder / "model.json").write_bytes(content)
    assert load_engine(folder / MODEL_FILE).step == 10


def test_load_engine_finds_the_folder_of_the_current_folder(folder, monkeypatch):
    monkeypatch.chdir(folder / "best")
    for name in (".", "ckpt-10.safetensors"):
        assert load_engine(Path(name)).step == 10


def test_load_engine_refuses_a_checkpoint_that_is_not_the_best(folder):
    assert load_engine(folder / "ckpt-10.safetensors").step == 10  # the same weights
    with pytest.raises(UserError) as refused:
        load_engine(folder / "ckpt-20.safetensors")
    assert str(refused.value) == (
        f"{folder / 'ckpt-20.safetensors'}: its weights are not the best ones, which are of step 10 and are used for "
        f"all predictions; name the folder: --model_save_name {folder}"
    )


def test_load_engine_keeps_an_intact_file_if_the_best_weights_are_damaged(folder, capsys):
    before = (folder / MODEL_FILE).read_bytes()
    truncate(checkpoint_file(folder / "best", 10))
    engine = load_engine(folder)
    assert (engine.step, engine.calibrated) == (10, True)
    assert (folder / MODEL_FILE).read_bytes() == before
    assert capsys.readouterr().err.endswith(
        "ckpt-10.safetensors: damaged; model.tflite, which is intact, is used as it is\n"
    )


def test_load_engine_builds_from_other_weights_if_the_best_are_damaged(folder, capsys):
    (folder / MODEL_FILE).unlink()
    truncate(checkpoint_file(folder / "best", 10))
    assert load_engine(folder).step == 20
    assert "ckpt-10.safetensors: damaged" in capsys.readouterr().err


def test_load_engine_refuses_a_model_json_of_another_network(folder):
    (folder / "model.json").write_bytes(model_config(class_names=["cat", "dog"]).to_json())
    with pytest.raises(UserError, match="belongs to a different network than .*model.json; bring back the two"):
        load_engine(folder)


def test_load_engine_loads_no_tensorflow_if_there_is_nothing_to_build(tmp_path, capsys):
    with pytest.raises(UserError, match="no trained network here"):
        load_engine(tmp_path)
    _, checkpoints = new_run(tmp_path)
    checkpoints.save()
    with pytest.raises(UserError, match="not saved any weights yet"):
        load_engine(tmp_path)
    assert capsys.readouterr().err == ""


def test_load_engine_refuses_a_model_file_of_another_size_of_images(tmp_path):
    other = dataclasses.replace(MODEL_CONFIG, height=20)
    values = {"step": 7, "source": "", "calibrated": True, "max_distance": 1.0}
    model = pack_model_file(tiny_flatbuffer(MODEL_CONFIG), model_config=other, **values)
    write_model_file(tmp_path / "x.tflite", model)
    with pytest.raises(UserError, match="its images have another size"):
        load_engine(tmp_path / "x.tflite")


def test_load_engine_checks_the_memory_before_it_reads_a_large_file(folder, monkeypatch):
    size = (folder / MODEL_FILE).stat().st_size
    monkeypatch.setattr(loading, "_LARGE", size)
    monkeypatch.setattr(resources, "memory_left", lambda: (0, 0))
    assert load_engine(folder).step == 10
    monkeypatch.setattr(loading, "_LARGE", size - 1)
    with pytest.raises(UserError, match="its container or `ulimit` allows .+; use a larger machine$"):
        load_engine(folder)
    monkeypatch.setattr(resources, "memory_left", lambda: (3 * size, 3 * size))
    assert load_engine(folder).step == 10


def test_load_engine_checks_the_memory_before_it_builds(folder, monkeypatch):
    (folder / MODEL_FILE).unlink()
    size = checkpoint_file(folder / "best", 10).stat().st_size
    monkeypatch.setattr(resources, "memory_left", lambda: (15 * size - 1, 0))
    with pytest.raises(UserError, match="its container or `ulimit` allows .+; use a larger machine$"):
        load_engine(folder)
    assert not (folder / MODEL_FILE).exists()


def test_load_engine_takes_what_another_process_has_built_meanwhile(saved, folder, monkeypatch, capsys):
    (folder / MODEL_FILE).unlink()

    @contextlib.contextmanager
    def locked_by_another(path, *, wait):
        assert (path, wait) == (folder / "best", True)
        shutil.copy(saved / MODEL_FILE, folder)
        yield

    monkeypatch.setattr(loading, "locked", locked_by_another)
    assert load_engine(folder).step == 10
    assert capsys.readouterr().err == ""
