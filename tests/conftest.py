"""Fixtures: small picture files, configs for them, and the scripts as a user runs them."""

import dataclasses
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from tests.helpers.browser import find_browser, open_browser
from tests.helpers.pictures import ROOT, write_picture, write_puzzling_pictures
from tests.helpers.processes import environment


@pytest.fixture(autouse=True)
def plain_precision():
    """Resets the precision after each test: a script that runs inside a test sets it for all later models."""
    yield
    if keras := sys.modules.get("keras"):
        keras.config.set_dtype_policy("float32")


@pytest.fixture(autouse=True, scope="session")
def usual_signals():
    """Resets signals that the tests were started to ignore, as in the background of a shell script or with nohup.

    The processes that the tests start would inherit that.
    """
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    if hasattr(signal, "SIGHUP"):
        usual[signal.SIGHUP] = signal.SIG_DFL
    ignored = [number for number in usual if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, usual[number])
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture
def rawdata(tmp_path: Path) -> Path:
    """Makes `rawdata/` with the classes ant (12 JPEGs) and bee (8 PNGs), easy to tell apart."""
    folder = tmp_path / "rawdata"
    for number in range(12):
        write_picture(folder / "ant" / f"ant{number:02d}.jpg", label=0, seed=number)
    for number in range(8):
        write_picture(folder / "bee" / f"bee{number:02d}.png", label=1, seed=number)
    return folder


@pytest.fixture
def settings_for(tmp_path: Path):
    """Returns a function that builds a config of any class: folders below tmp_path, and 16×16 pixels by default.

    Runs write nothing for TensorBoard by default, so that they are faster.
    """

    def build(config_class, **changes):
        folders = {name: str(tmp_path / name) for name in ("raw_data", "augmented", "data_path", "model_save_name")}
        folders["raw_data"] = str(tmp_path / "rawdata")
        settings = {**folders, "height": 16, "width": 16, "tensorboard": False, **changes}
        names = {field.name for field in dataclasses.fields(config_class)}
        return config_class(**{name: value for name, value in settings.items() if name in names})

    return build


@pytest.fixture
def script(tmp_path: Path):
    """Returns a function that runs a script in tmp_path, as a user does, and returns the finished process."""

    def run(name: str, *arguments: object) -> subprocess.CompletedProcess:
        command = [sys.executable, str(ROOT / name), *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, env=environment(COLUMNS="200"), capture_output=True, text=True)

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """Returns the folder with the checkpoints of a short run whose pictures were deleted since."""
    import trainer  # here, since most tests need no TensorFlow
    from config import TrainConfig

    folder = tmp_path_factory.mktemp("trained")
    for label, name in enumerate(("ant", "bee")):
        for number in range(10):
            write_picture(folder / "rawdata" / name / f"{number}.png", label=label, seed=number)
    names = ("augmented", "data_path", "model_save_name")
    folders = {name: str(folder / name) for name in names}
    config = TrainConfig(
        raw_data=str(folder / "rawdata"), height=16, width=16, epochs=10, random_mirror=False, **folders
    )
    assert trainer.main(config) == 0
    shutil.rmtree(folder / "rawdata")
    shutil.rmtree(folder / "data_path")
    return Path(config.model_save_name)


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory):
    """Returns the config of an uninterrupted run of 4 epochs, whose files every test may read."""
    import trainer  # here, since most tests need no TensorFlow
    from config import TrainConfig
    from tests.helpers.runs import BY_STEPS

    folder = tmp_path_factory.mktemp("whole")
    for number in range(12):
        write_picture(folder / "rawdata" / "ant" / f"{number}.jpg", label=0, seed=number)
    for number in range(8):
        write_picture(folder / "rawdata" / "bee" / f"{number}.png", label=1, seed=number)
    config = TrainConfig(
        raw_data=str(folder / "rawdata"),
        augmented=str(folder / "augmented"),
        data_path=str(folder / "data"),
        model_save_name=str(folder / "checkpoints"),
        height=16,
        width=16,
        epochs=4,
        save_seconds=1000,  # only at the start and at the end, also on a slow machine
        **BY_STEPS,
    )
    assert trainer.main(config) == 0
    return config


@pytest.fixture
def ask(trained, tmp_path, monkeypatch, capsys):
    """Returns a function that runs predict.py in an empty folder; it returns the exit code and the lines of output."""
    import predict
    from config import PredictConfig

    monkeypatch.chdir(tmp_path)

    def run(*images: str, network: Path = trained, **options) -> tuple[int, list[str], list[str]]:
        capsys.readouterr()
        code = predict.main(PredictConfig(images=tuple(map(str, images)), model_save_name=str(network), **options))
        out, err = capsys.readouterr()
        return code, out.splitlines(), err.splitlines()

    return run


@pytest.fixture(scope="module")
def browser():
    """Returns a running browser. Without one, the test is skipped."""
    with open_browser(find_browser()) as browser:
        yield browser


@pytest.fixture(scope="session")
def puzzled(tmp_path_factory, worker_id) -> Path:
    """Returns the folder with the checkpoints of a short run that makes mistakes, to be looked at in a browser.

    It is trained once for all processes of the tests.
    """
    find_browser()  # without one, nobody will look
    import trainer
    from config import TrainConfig

    shared = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    names = ("augmented", "data_path", "model_save_name", "raw_data")
    folders = {name: str(shared / "puzzled" / name) for name in names}
    checkpoints = Path(folders["model_save_name"])
    with FileLock(shared / "puzzled.lock"):
        if not (checkpoints / "report.txt").exists():
            write_puzzling_pictures(Path(folders["raw_data"]))
            assert trainer.main(TrainConfig(height=32, width=32, epochs=4, validation_split=0.4, **folders)) == 0
    return checkpoints
