"""TensorFlow and Keras load quietly, with the same settings everywhere, or end with a message that helps."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from network import backend
from network.backend import keras, own_settings, reason_of
from tests.helpers.pictures import ROOT

# Builds and trains a small network, and prints a hash of its weights and logits.
TRAIN = """
import hashlib, os
import numpy as np
from config import TrainConfig
from network.backend import keras
from network.device import configure_device
from tests.helpers.checkpoints import MODEL_CONFIG
from model import generate_model
from training.compiling import compile_model

configure_device("float32")
keras.utils.set_random_seed(1)
model = generate_model(MODEL_CONFIG)
compile_model(model, TrainConfig(), count=20)
images = np.random.default_rng(1).integers(0, 256, (20, 16, 16, 3), np.uint8)
history = model.fit(images, np.eye(2)[np.arange(20) % 2], epochs=2, batch_size=10, shuffle=False, verbose=0)
digest = hashlib.sha256(model.predict_on_batch(images).tobytes())
for weight in model.get_weights():
    digest.update(weight.tobytes())
print(len(history.epoch), model.input_shape, digest.hexdigest(), os.environ.get("KERAS_BACKEND"))
"""
HOSTILE_SETTINGS = {
    "image_data_format": "channels_first",
    "floatx": "float16",
    "epsilon": 0.5,
    "backend": "torch",
    "nnx_enabled": True,
}
HOSTILE_VARIABLES = {
    "KERAS_BACKEND": "numpy",
    "KERAS_MAX_EPOCHS": "1",
    "KERAS_MAX_STEPS_PER_EPOCH": "1",
    "KERAS_NNX_ENABLED": "true",
    "TF_USE_LEGACY_KERAS": "1",
    "TF_FUNCTION_JIT_COMPILE_DEFAULT": "true",
    "TF_JIT_COMPILE_REWRITE": "1",
}


def run(code: str, cwd: Path, *, path: Path = ROOT, **variables: str | None) -> subprocess.CompletedProcess:
    """Runs Python code in a folder, with some environment variables changed, or removed if they are None."""
    environment = {**os.environ, "PYTHONPATH": f"{path}{os.pathsep}{ROOT}", **variables}
    environment = {name: value for name, value in environment.items() if value is not None}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120
    )


@pytest.fixture(scope="module")
def plain_result(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("plain")
    done = run(TRAIN, folder, HOME=str(folder), KERAS_BACKEND=None, KERAS_HOME=None)
    assert done.returncode == 0, done.stderr
    return done.stdout.rpartition(" ")[0]


def names_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_plain_training_is_what_the_others_are_compared_with(plain_result):
    assert plain_result.startswith("2 (None, 16, 16, 3) ")


def test_settings_in_keras_json_do_not_matter(tmp_path, plain_result):
    settings = tmp_path / ".keras" / "keras.json"
    settings.parent.mkdir()
    settings.write_text(json.dumps(HOSTILE_SETTINGS))
    done = run(TRAIN, tmp_path, HOME=str(tmp_path), KERAS_BACKEND=None, KERAS_HOME=None)
    assert (done.stdout.rpartition(" ")[0], done.stderr) == (plain_result, "")
    assert json.loads(settings.read_text()) == HOSTILE_SETTINGS


def test_environment_variables_of_keras_do_not_matter(tmp_path, plain_result):
    done = run(TRAIN, tmp_path, **HOSTILE_VARIABLES)
    assert (done.stdout.rpartition(" "), done.stderr) == ((plain_result, " ", "numpy\n"), "")


@pytest.mark.parametrize("text", ["[]", '{"backend": "nonsense"}'])
def test_broken_keras_json_is_not_read(tmp_path, text):
    (tmp_path / "keras.json").write_text(text)
    done = run("import network.backend", tmp_path, KERAS_HOME=str(tmp_path), KERAS_MAX_EPOCHS="many")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("home", ["~", "new"])
def test_backend_makes_no_file_whatever_the_home_folder_is(tmp_path, home):
    (tmp_path / "~").mkdir()  # where Keras would put a folder if it were given this name
    (tmp_path / "new").mkdir()
    home = str(tmp_path / home) if home == "new" else home
    done = run("import network.backend", tmp_path, HOME=home, KERAS_HOME=None)
    assert (done.returncode, done.stderr) == (0, "")
    assert names_below(tmp_path) == {"~", "new"}


def test_backend_makes_no_file_for_a_user_without_a_home_folder(tmp_path):
    (tmp_path / "~").mkdir()
    # As for a user number without an entry in the list of users, which containers have.
    code = "import os.path, pwd\ndef getpwuid(number): raise KeyError(number)\npwd.getpwuid = getpwuid\n"
    done = run(f"{code}assert os.path.expanduser('~') == '~'\nimport network.backend", tmp_path, HOME=None)
    assert (done.returncode, done.stderr) == (0, "")
    assert names_below(tmp_path) == {"~"}


def test_backend_sets_what_an_earlier_import_of_keras_has_changed(tmp_path):
    code = (
        "import os; os.environ['KERAS_BACKEND'] = 'tensorflow'\nimport keras\n"
        "keras.config.set_image_data_format('channels_first'); keras.config.set_floatx('float64')\n"
        "keras.config.set_epsilon(0.5); keras.config.set_max_epochs(1); keras.config.set_max_steps_per_epoch(1)\n"
        "import network.backend\n"
        "print(keras.config.image_data_format(), keras.config.floatx(), keras.config.epsilon(),\n"
        "      keras.config.max_epochs(), keras.config.max_steps_per_epoch())"
    )
    assert run(code, tmp_path).stdout == "channels_last float32 1e-07 None None\n"


def test_keras_runs_on_tensorflow_here():
    assert (keras.config.backend(), keras.config.image_data_format()) == ("tensorflow", "channels_last")


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="oneDNN is for x86")
@pytest.mark.parametrize(("value", "expected"), [(None, "1"), ("0", "0")])
def test_backend_uses_onednn_unless_the_user_does_not_want_it(tmp_path, value, expected):
    code = "import os; import network.backend; print(os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    done = run(code, tmp_path, TF_ENABLE_ONEDNN_OPTS=value)
    assert (done.stdout, done.stderr) == (f"{expected}\n", "")


def test_own_settings_leave_the_environment_as_it_was(monkeypatch):
    monkeypatch.setenv("KERAS_HOME", "/somewhere")
    monkeypatch.setenv("KERAS_ANYTHING_NEW", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    before = dict(os.environ)
    with pytest.raises(RuntimeError), own_settings():
        changed = {name: os.environ.get(name) for name in ("KERAS_ANYTHING_NEW", "KERAS_BACKEND", "KERAS_HOME")}
        assert changed == {"KERAS_ANYTHING_NEW": None, "KERAS_BACKEND": "tensorflow", "KERAS_HOME": backend.__file__}
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"  # a choice of the user
        raise RuntimeError
    assert dict(os.environ) == before


# ---- an installation that fails ----


def write_package(folder: Path, name: str, code: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(f"import os\nos.write(2, b'noise of {name}\\n')\n{code}")


@pytest.fixture
def packages(tmp_path) -> Path:
    """Returns a folder with a Keras that does nothing, so that only TensorFlow has to be added."""
    folder = tmp_path / "packages"
    folder.mkdir()
    write_package(folder, "keras", "from unittest.mock import Mock\nconfig = Mock()\n")
    return folder


def test_backend_is_quiet_if_all_goes_well(tmp_path, packages):
    write_package(packages, "tensorflow", "")
    done = run("import network.backend; print('done')", tmp_path, path=packages)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


@pytest.mark.parametrize("code", ["os.abort()", "import signal; os.kill(os.getpid(), signal.SIGILL)", "os._exit(1)"])
def test_backend_shows_what_tensorflow_says_as_it_dies(tmp_path, packages, code):
    write_package(packages, "tensorflow", f"os.write(2, b'compiled to use AVX instructions\\n')\n{code}")
    done = run("import network.backend; print('done')", tmp_path, path=packages)
    assert done.returncode != 0
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[:3] == ["noise of keras", "noise of tensorflow", "compiled to use AVX instructions"]
    assert lines[3:] == [backend._LAST_WORDS]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            "raise ImportError('libcudart.so: cannot open shared object file')",
            "libcudart.so: cannot open shared object",
        ),
        ("import missing_package", "No module named 'missing_package'"),
        ("raise TypeError('Descriptors cannot be created directly.\\nIf this call…')", "Descriptors cannot be created"),
    ],
)
def test_backend_ends_in_one_line_if_tensorflow_cannot_be_imported(tmp_path, packages, code, reason):
    write_package(packages, "tensorflow", code)
    command = [sys.executable, str(ROOT / "trainer.py")]
    environment = {**os.environ, "PYTHONPATH": str(packages)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    *noise, line = done.stderr.splitlines()
    assert noise == ["noise of keras", "noise of tensorflow"]
    assert line.startswith(f"trainer.py: TensorFlow cannot be loaded ({reason}")
    assert line.endswith("install it again with: pip install --force-reinstall -r requirements.txt")


def test_backend_asks_for_the_environment_if_tensorflow_is_not_there(tmp_path, packages):
    hidden = "import sys; sys.modules['tensorflow'] = None\nimport network.backend"
    done = run(hidden, tmp_path, path=packages)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("; activate the environment, or run pip install -r requirements.txt")


@pytest.mark.parametrize("error", ["ImportError('libtensorflow_cc.so.2: failed to map segment')", "MemoryError()"])
def test_backend_names_the_memory_if_that_is_why_tensorflow_fails(tmp_path, packages, error):
    write_package(packages, "tensorflow", f"raise {error}")
    done = run("import network.backend", tmp_path, path=packages)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("); give it more memory: check `ulimit -v`")


def test_backend_shows_no_noise_after_ctrl_c(tmp_path, packages):
    write_package(packages, "tensorflow", "raise KeyboardInterrupt")
    done = run("import network.backend", tmp_path, path=packages)
    assert "KeyboardInterrupt" in done.stderr
    assert "noise of" not in done.stderr


def test_reason_of_finds_the_cause_in_a_message_of_tensorflow():
    text = (
        "Traceback (most recent call last):\n  File 'x.py', line 1, in f\n    from y import *\nImportError: no libz.so"
    )
    error = ImportError(f"{text}\n\nFailed to load the native TensorFlow runtime.")
    assert reason_of(error) == "ImportError: no libz.so"
    assert reason_of(ImportError("")) == "ImportError"
