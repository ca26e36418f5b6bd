"""What a run needs is known before it starts."""

import os
import subprocess
import sys

import pytest

from config import TrainConfig
from model import generate_model
from network.backend import tf
from system import resources
from system.errors import UserError
from tests.helpers.checkpoints import model_config
from tests.helpers.pictures import ROOT, write_picture
from tests.helpers.processes import with_modules
from training import resources as training_resources
from training.resources import need_of_run, require_resources

WEIGHTS = 293_602  # of model_config(): 1,216 + 8,224 + 18,496 + 448 + 263,168 + 2,050


def sketch(**changes):
    with tf.Graph().as_default():
        return generate_model(model_config(**changes))


def need(config: TrainConfig, *, count: int = 20, workers: int = 1, **changes):
    return need_of_run(sketch(**changes), config, count=count, workers=workers)


def test_need_of_disk_is_that_of_all_checkpoints_and_a_new_one(settings_for):
    # A checkpoint: weights, average and two moments; the best weights before each of them, and the model file.
    assert need(settings_for(TrainConfig)).disk == (5 * (4 + 1) + 1) * 4 * WEIGHTS
    assert need(settings_for(TrainConfig, max_to_keep=1)).disk == (2 * (4 + 1) + 1) * 4 * WEIGHTS


def test_need_of_disk_counts_no_checkpoint_that_is_never_written(settings_for):
    # Two epochs of two steps, after each of which Python is in control once: at most 4 checkpoints, 2 of them best.
    assert need(settings_for(TrainConfig, max_to_keep=1000, epochs=2)).disk == (4 * 4 + 2 + 1) * 4 * WEIGHTS


def test_need_of_memory_grows_with_the_weights(settings_for):
    config = settings_for(TrainConfig, batch_size=1, memory_gib=1e-6)
    # With twice the height, fully_connected_1 has 256 more inputs.
    growth = need(config, height=32).memory - need(config).memory
    assert growth == pytest.approx(256 * 1024 * 60, rel=0.05)


def test_need_of_memory_grows_with_the_batch(settings_for):
    small, large = (need(settings_for(TrainConfig, batch_size=size, memory_gib=1e-6)).memory for size in (10, 1010))
    # The outputs of all layers in float32, and the images in bytes (two times: MirrorViews passes them on).
    values = 16 * 16 * 3 + 16 * 16 * 16 + 3 * 8 * 8 * 16 + 8 * 8 * 32 + 3 * 4 * 4 * 32 + 4 * 4 * 64 + 4 * 2 * 2 * 64
    values += 256 + 3 * 1024 + 2 + 2
    image = 16 * 16 * 3
    assert large - small == pytest.approx(1000 * (1.25 * (4 * values + 2 * image) + os.cpu_count() * image), rel=0.02)


def test_need_of_memory_is_that_of_a_part_of_the_batch_if_there_are_several_workers(settings_for):
    batch_of = {size: settings_for(TrainConfig, batch_size=size, memory_gib=1e-6) for size in (100, 34, 33)}
    assert need(batch_of[100], workers=3).memory == need(batch_of[34]).memory > need(batch_of[33]).memory


def test_need_of_memory_includes_pictures_only_if_they_stay_in_memory(settings_for):
    def memory(count: int, memory_gib: float) -> int:
        return need(settings_for(TrainConfig, memory_gib=memory_gib), count=count).memory

    assert memory(1000, 2) - memory(10, 2) == 990 * 16 * 16 * 3
    assert memory(1000, 1e-6) == memory(10, 1e-6)


def test_network_of_a_graph_takes_no_memory():
    before = resources.used_memory()
    weights = sum(weight.shape.num_elements() for weight in sketch(height=2048, width=2048).weights)
    assert weights > 4e9
    assert resources.used_memory() - before < 300e6


def test_require_resources_says_what_a_run_needs(settings_for):
    said = require_resources(sketch(), settings_for(TrainConfig), count=20)
    words = said.split()
    assert words[:2] == ["needs", "about"]
    assert 0.2 < float(words[2]) < 5  # depends on what this process has loaded
    assert " ".join(words[3:]) == "GB of memory, up to 31 MB of disk for checkpoints"


def test_require_resources_refuses_more_memory_than_there_is(settings_for):
    with pytest.raises(UserError, match="or `ulimit` allows .* smaller --height and --width, --batch"):
        require_resources(sketch(height=4096, width=4096), settings_for(TrainConfig), count=20)


@pytest.mark.parametrize(("missing", "is_refused"), [(0, False), (1, True)])
def test_require_resources_refuses_more_weights_than_a_model_file_holds(settings_for, monkeypatch, missing, is_refused):
    monkeypatch.setattr(training_resources, "_MAX_WEIGHTS", 4 * WEIGHTS - missing)
    if is_refused:
        with pytest.raises(UserError, match="the network would have 1 MB of weights, and 1 MB fit into the file"):
            require_resources(sketch(), settings_for(TrainConfig), count=20)
    else:
        assert require_resources(sketch(), settings_for(TrainConfig), count=20)


def test_require_resources_counts_what_a_run_has_stored_already(settings_for, tmp_path, monkeypatch):
    config = settings_for(TrainConfig)
    free = type("Usage", (), {"free": 20_000_000})  # 31 MB are needed in all
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda _: free)
    with pytest.raises(UserError, match=r"needs 31 MB more of disk, but only 20 MB are free; free some"):
        require_resources(sketch(), config, count=20)
    best = tmp_path / "model_save_name" / "best"
    best.mkdir(parents=True)
    (best / "ckpt-1.safetensors").write_bytes(bytes(4_000_000))
    (best.parent / "ckpt-2.safetensors").write_bytes(bytes(8_000_000))
    require_resources(sketch(), config, count=20)


@pytest.mark.skipif(sys.platform != "linux", reason="the estimate was fitted on Linux")
@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="a GPU has memory of its own")
def test_need_of_memory_is_about_what_a_run_takes(tmp_path):
    for label, name in enumerate(("ant", "bee")):
        for number in range(10):
            write_picture(tmp_path / "rawdata" / name / f"{number}.png", label=label, seed=number)
    settings = ["--height", "64", "--width", "64", "--epochs", "2", "--save_seconds", "0"]
    # Not with getrusage, which counts the memory of the process that started it too.
    code = "import runpy, sys\nsys.argv.pop(0)\ntry:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
    code += "finally:\n    print(open('/proc/self/status').read())"
    command = [sys.executable, "-c", code, ROOT / "trainer.py", *settings]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=with_modules(), timeout=300)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    (needed,) = (float(words[2]) * 1e9 for words in lines if words[:2] == ["needs", "about"])
    (taken,) = (int(words[1]) * 1024 for words in lines if words[:1] == ["VmHWM:"])
    assert needed == pytest.approx(taken, rel=0.25)


def test_trainer_refuses_a_network_that_exceeds_the_machine(script, tmp_path):
    for label, name in enumerate(("ant", "bee")):
        for number in range(2):
            write_picture(tmp_path / "rawdata" / name / f"{number}.png", label=label, seed=number)
    done = script("trainer.py", "--height", 2048, "--width", 2048, "--batch_size", 2)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("trainer.py: needs about 2")
    assert len(done.stderr.splitlines()) == 1
    assert not list((tmp_path / "checkpoints").glob("*.*s*"))  # no checkpoint, no model.json


def test_folds_need_the_disk_of_all_networks_and_of_the_file_with_all(settings_for):
    one, five, curve = (
        need(settings_for(TrainConfig, **changes)).disk for changes in ({}, {"folds": 5}, {"learning_curve": True})
    )
    # Of each finished network a checkpoint of four values for each weight, the best weights, and those for LiteRT.
    assert five - one == (4 * 6 + 2 * 5) * 4 * WEIGHTS
    assert curve - one == 2 * 6 * 4 * WEIGHTS
