"""What others can run: formats that answer like the engine, and a model card whose programs run."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from answers import export as export_module
from answers import export_formats
from answers.conversion import ConvertedNetwork
from answers.engine import Engine
from answers.export import SAMPLES, Comparison, Export, Exported, clear_changes, export, format_export
from answers.loading import load_engine
from answers.predictions import outputs_of
from answers.trained_network import TrainedNetwork
from model import generate_model
from network.backend import keras, tf
from network.model_file import read_model_file
from system.errors import UserError
from tests.helpers.checkpoints import model_config
from tests.helpers.pictures import ROOT
from tests.helpers.processes import with_modules

ALL = ["README.md", "labels.txt", "model.onnx", "model.tflite", "model_float16.tflite", "saved_model"]
HAS_ONNX = all(map(importlib.util.find_spec, ("tf2onnx", "onnxruntime")))
needs_onnx = pytest.mark.skipif(not HAS_ONNX, reason="tf2onnx and onnxruntime are not installed")
EXACT = ["model.tflite", "saved_model", pytest.param("model.onnx", marks=needs_onnx)]


def noise(count: int, *shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def save_network(folder: Path, *, calibrated: bool, **changes) -> Path:
    """Saves a network with random weights in a folder of checkpoints, with its model file."""
    keras.utils.set_random_seed(1)
    config = model_config(**changes)
    network = TrainedNetwork(generate_model(config), config, step=7)
    if calibrated:
        images = noise(60, *config.shape)
        labels = np.arange(40) % len(config.class_names)
        network.calibrate(training=images, validation=images[:40], labels=labels, unknown_rate=0.1)
    folder.mkdir()
    (folder / "model.json").write_bytes(config.to_json())
    ConvertedNetwork(network).save(folder)
    return folder


def write_report(folder: Path, source: str) -> None:
    ant, bee = ({"precision": value, "recall": None, "f1": None, "support": 20} for value in (0.75, None))
    counts = {"train": 80, "validation": 20, "copies": 30, "skipped": 0, "excluded": 0}
    figures = {
        "pictures": 40,
        "correct": 30,
        "accuracy": 0.75,
        "accuracy_interval_95": [0.598, 0.858],
        "balanced_accuracy": 0.7,
        "expected_calibration_error": 0.0512,
        "unknown": 2,
        "classes": {"ant_1": ant, "b|ee": bee},
    }
    report = {"source": source, "report": figures, "data": {"classes": {"ant_1": counts, "b|ee": counts}}}
    (folder / "report.json").write_text(json.dumps(report))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "checkpoints"
    save_network(folder, calibrated=True, class_names=["ant_1", "b|ee"])
    write_report(folder, load_engine(folder).model.source)
    return folder


@pytest.fixture(scope="module")
def engine(checkpoints) -> Engine:
    return load_engine(checkpoints)


@pytest.fixture(scope="module")
def exported(checkpoints, engine) -> tuple[Path, Export]:
    """Returns the folder of an export of the network, and what was written."""
    folder = checkpoints.parent / "exported"
    return folder, export(engine, checkpoints, folder, [*noise(3, 16, 16, 3)])


def outputs_in_other_program(path: Path, images: np.ndarray) -> tuple[np.ndarray, ...]:
    """Returns raw, scores and distance as computed by the library of a format alone."""
    if path.suffix == ".tflite":
        run = Interpreter(str(path)).get_signature_runner("serving_default")
        return outputs_of(lambda batch: run(images=batch), images)
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path))
        return tuple(session.run(["raw", "scores", "distance"], {"images": images}))
    run = tf.saved_model.load(str(path / "1")).signatures["serving_default"]
    return outputs_of(lambda batch: run(images=tf.constant(batch)), images)


def test_export_writes_all_formats_and_nothing_else(exported):
    folder, found = exported
    names = [name for name in ALL if HAS_ONNX or name != "model.onnx"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert sorted(row.name for row in found.formats) == names[2:]
    assert found.refused == []
    assert sorted(path.name for path in folder.parent.iterdir()) == ["checkpoints", "exported"]
    assert (folder / "labels.txt").read_text() == "ant_1\nb|ee\n"


@pytest.mark.parametrize("name", EXACT)
def test_formats_answer_like_the_engine(name, exported, engine):
    images = noise(70, 16, 16, 3, seed=5)  # more than a batch
    for found, expected in zip(
        outputs_in_other_program(exported[0] / name, images)[:3], engine.outputs(images)[:3], strict=True
    ):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_formats_of_an_unusual_network_answer_like_the_engine(tmp_path):
    changes = {"color_channels": 1, "loss": "sigmoid", "random_mirror": False, "height": 20, "scale_input": False}
    folder = save_network(tmp_path / "checkpoints", calibrated=False, batch_normalization=False, **changes)
    engine, images = load_engine(folder), noise(5, 20, 16, 1)
    found = export(engine, folder, tmp_path / "out", [*images])
    assert found.refused == []
    expected = engine.outputs(images)
    for row in found.formats:
        tolerance = {"rtol": 0.01, "atol": 0.01} if "float16" in row.name else {"rtol": 1e-4, "atol": 1e-4}
        for own, other in zip(
            outputs_in_other_program(tmp_path / "out" / row.name, images)[:3], expected[:3], strict=True
        ):
            np.testing.assert_allclose(own, other, **tolerance)
    card = (tmp_path / "out" / "README.md").read_text()
    assert '.convert("L")' in card
    assert "is_unknown = False" in card
    assert "No picture is called unknown" in card
    assert "not calibrated" in card


def test_float16_file_has_half_the_size_and_is_a_model_file(exported, engine):
    folder, found = exported
    sizes = {row.name: row.size for row in found.formats}
    assert sizes["model_float16.tflite"] < 0.6 * sizes["model.tflite"]
    rounded = load_engine(folder / "model_float16.tflite")
    assert rounded.max_distance == engine.max_distance
    images = noise(5, 16, 16, 3)
    np.testing.assert_allclose(rounded.predict(images).scores, engine.predict(images).scores, atol=0.01)


def test_copy_of_the_model_file_is_equal_to_the_byte(exported, checkpoints):
    assert (exported[0] / "model.tflite").read_bytes() == (checkpoints / "model.tflite").read_bytes()
    assert exported[1].formats[0].raw_difference == 0


# ---- the model card ----


def programs(folder: Path) -> dict[str, str]:
    """Returns the programs in a model card, by the format."""
    card = (folder / "README.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^### .*?`(.*?)`.*?```python\n(.*?)```", card, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("name", [*EXACT, "model_float16.tflite"])
def test_program_of_the_model_card_runs(name, exported, engine, monkeypatch, capsys):
    folder, _ = exported
    monkeypatch.chdir(folder)
    for image in noise(4, 16, 16, 3, seed=3):
        Image.fromarray(image).save("picture.jpg", format="PNG")  # without loss
        namespace: dict = {}
        exec(programs(folder)[name], namespace)
        found = engine.predict(image[None])
        label = "unknown" if found.unknown[0] else ["ant_1", "b|ee"][found.predicted[0]]
        assert capsys.readouterr().out.startswith(f"{label} [")
        np.testing.assert_allclose(namespace["scores"], found.scores[0], atol=0.01)
    Path("picture.jpg").unlink()


def test_programs_of_the_model_card_are_short(exported):
    found = programs(exported[0])
    assert sorted(found) == sorted(row.name for row in exported[1].formats)
    assert all(len(program.splitlines()) <= 18 for program in found.values())


def test_model_card_says_how_well_the_network_does(exported):
    card = (exported[0] / "README.md").read_text()
    assert card.startswith("# ant\\_1 or b\\|ee?\n")
    assert "Measured on 40 validation pictures" in card
    assert "| accuracy | 75.0 % (30 correct; 95 % interval 59.8 % to 85.8 %) |" in card
    assert "fraction correct | 5.1 % |" in card
    assert "| called unknown | 5.0 % |" in card
    assert "| ant\\_1 | 80 (with 30 copies) | 20 | 75.0 % | – |" in card


def test_model_card_says_what_goes_in_and_comes_out(exported, engine):
    card = (exported[0] / "README.md").read_text()
    assert "uint8 (count, 16, 16, 3), from 0 to 255, red, green and blue" in card
    assert "| `conv_1` | 16×16×16 | 1,216 |" in card
    assert f"its distance is above {engine.max_distance}" in card


@pytest.mark.parametrize("content", [b"", b"[]", b'{"source": "of other weights"}'])
def test_report_of_other_weights_is_not_used(content, checkpoints, engine, tmp_path):
    (tmp_path / "report.json").write_bytes(content)
    assert export_module._read_report(tmp_path, engine) is None
    assert export_module._read_report(checkpoints, engine)["report"]["correct"] == 30


# ---- what is not exported ----


def test_export_of_a_model_file_alone_is_a_copy_of_it(exported, tmp_path):
    path = exported[0] / "model.tflite"
    found = export(load_engine(path), path, tmp_path / "out", [*noise(2, 16, 16, 3)])
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["README.md", "labels.txt", "model.tflite"]
    assert found.notes == ["the other formats are made from checkpoints; to get them, name their folder"]
    assert "not known here" in (tmp_path / "out" / "README.md").read_text()


def test_export_of_a_model_file_needs_no_tensorflow(exported, tmp_path):
    code = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from answers.loading import load_engine; from answers.export import export\n"
        "path = Path(sys.argv[1]); export(load_engine(path), path, Path('out'), [np.zeros((16, 16, 3), np.uint8)])\n"
        "print({'tensorflow', 'scipy', 'rich'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, str(exported[0] / "model.tflite")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=with_modules())
    assert (done.returncode, done.stdout, done.stderr) == (0, "set()\n", "")


def test_formats_that_fail_are_named_and_not_kept(checkpoints, engine, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise UserError("gives other answers")

    monkeypatch.setattr(Comparison, "exact", refuse)
    monkeypatch.setattr(export_formats, "convert", refuse)
    monkeypatch.setattr(export_formats, "_ONNX_PACKAGES", ("tf2onnx_that_is_missing", "onnxruntime"))
    found = export(engine, checkpoints, tmp_path / "out", [*noise(1, 16, 16, 3)])
    assert [row.name for row in found.formats] == ["model.tflite"]
    assert found.refused == ["model_float16.tflite: gives other answers", "saved_model: gives other answers"]
    (note,) = found.notes
    assert note == "model.onnx is left out; to get it too: pip install tf2onnx_that_is_missing onnxruntime"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["README.md", "labels.txt", "model.tflite"]
    assert list(programs(tmp_path / "out")) == ["model.tflite"]


@needs_onnx
def test_network_that_onnx_cannot_express_is_refused_in_one_line(checkpoints, engine, monkeypatch):
    import tf2onnx

    def fail(*_, **__):
        raise ValueError("no such operator\nTraceback")

    monkeypatch.setattr(tf2onnx.convert, "from_function", fail)
    exporter = export_formats.Exporter(checkpoints, Comparison(engine, noise(1, 16, 16, 3)))
    with pytest.raises(UserError, match=r"cannot compute this network \(no such operator\)$"):
        exporter._write_onnx(checkpoints / "never.onnx", "")


def test_export_refuses_a_folder_that_exists(checkpoints, engine, tmp_path):
    with pytest.raises(UserError, match="exists already and is not overwritten; use another folder"):
        export(engine, checkpoints, tmp_path, [*noise(1, 16, 16, 3)])
    assert list(tmp_path.iterdir()) == []


def test_export_refuses_to_compare_on_no_picture(checkpoints, engine, tmp_path):
    with pytest.raises(UserError, match="name some that can be read"):
        export(engine, checkpoints, tmp_path / "out", [])
    assert list(tmp_path.iterdir()) == []


def test_export_refuses_weights_that_are_newer_than_the_engine(checkpoints, engine, tmp_path):
    older = Engine(engine.model._replace(source="of older weights"))
    with pytest.raises(
        UserError, match="its intact weights are not those of model.tflite; while a trainer is running, run"
    ):
        export(older, checkpoints, tmp_path / "out", [*noise(1, 16, 16, 3)])
    assert list(tmp_path.iterdir()) == []


def test_interrupted_export_leaves_nothing(checkpoints, engine, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        assert [path.name.startswith(".out.") for path in tmp_path.iterdir()] == [True]
        raise KeyboardInterrupt

    monkeypatch.setattr(export_formats, "convert", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(engine, checkpoints, tmp_path / "out", [*noise(1, 16, 16, 3)])
    assert list(tmp_path.iterdir()) == []


# ---- the comparison ----


def test_exact_format_may_differ_by_rounding_only(engine, tmp_path):
    images = noise(2, 16, 16, 3)
    comparison, (logits, scores, distances, _) = Comparison(engine, images), engine.outputs(images)
    assert np.abs(logits).max() < 1
    (tmp_path / "file").write_bytes(bytes(1000))

    def compare(difference: float) -> Exported:
        return comparison.exact(
            tmp_path / "file", lambda _: {"raw": logits + difference, "scores": scores, "distance": distances}
        )

    row = compare(9e-5)
    assert row.raw_difference == pytest.approx(9e-5, rel=0.01)
    assert (row.name, row.size, row.score_difference) == ("file", 1000, 0)
    for difference in (1.1e-4, np.nan):
        with pytest.raises(UserError, match="other raw magnitudes than predict.py"):
            compare(difference)


@pytest.mark.parametrize(("second", "changes"), [(0.49, 0), (0.481, 0), (0.479, 1), (0.1, 1)])
def test_rounding_may_change_the_class_only_if_two_are_close(second, changes):
    scores = np.array([[0.5, second, 0.01], [0.9, 0.1, 0.0]])
    logits = np.array([[2.0, 3.0, 0.0], [5.0, 1.0, 0.0]])
    expected = np.array([[3.0, 2.0, 0.0], [5.0, 1.0, 0.0]])
    assert clear_changes(logits, expected, scores) == changes
    assert clear_changes(expected, expected, scores) == 0


def test_float16_that_changes_answers_is_refused(engine, exported, monkeypatch):
    monkeypatch.setattr(export_module, "clear_changes", lambda *_: 2)
    with pytest.raises(UserError, match="gives 2 pictures clearly another class than predict.py"):
        Comparison(engine, noise(1, 16, 16, 3)).rounded(exported[0] / "model_float16.tflite")


def test_format_export_aligns_a_table():
    formats = [Exported("model.tflite", 44_745_897, 0.0, 0.0), Exported("saved_model", 900_000, 1.23e-6, 4.5e-8)]
    assert format_export(Export(formats, [], [], 10)) == [
        "                        largest difference of",
        "format            size  raw magnitudes  scores",
        "model.tflite   44.7 MB               0       0",
        "saved_model     0.9 MB           1e-06   4e-08",
        "compared with predict.py on 10 pictures; README.md says how to use each format",
    ]


def test_samples_are_pictures_of_this_project():
    assert SAMPLES == ROOT / "samples" / "unseen"
    assert len(list(SAMPLES.glob("*.jpg"))) > 5


def test_structure_of_the_float16_file_is_checked(exported):
    assert read_model_file(exported[0] / "model_float16.tflite").step == 7
