"""The network that LiteRT computes, which threads can share."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from answers.engine import Engine
from answers.predictions import BATCH_SIZE
from network.model_file import pack_model_file
from system.errors import UserError
from tests.helpers.checkpoints import MODEL_CONFIG
from tests.helpers.model_files import tiny_flatbuffer


def images(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, *MODEL_CONFIG.shape), np.uint8)


@pytest.fixture(scope="module")
def engine() -> Engine:
    values = {"step": 7, "source": "", "calibrated": True, "max_distance": 1.0}
    return Engine(pack_model_file(tiny_flatbuffer(MODEL_CONFIG), model_config=MODEL_CONFIG, **values))


@pytest.mark.parametrize("count", [1, BATCH_SIZE - 1, BATCH_SIZE, BATCH_SIZE + 1, 2 * BATCH_SIZE + 1])
def test_predict_does_not_depend_on_the_number_of_images(engine, count):
    found = engine.predict(images(count))
    assert [len(values) for values in found[:4]] == [count] * 4
    alone = [engine.predict(image[None]).logits[0] for image in images(count)[-3:]]
    np.testing.assert_allclose(found.logits[-3:], alone, atol=1e-5)
    classes = np.arange(count) % 2
    maps = engine.heat_maps(images(count), classes)
    np.testing.assert_allclose(maps[-1], engine.heat_maps(images(count)[-1:], classes[-1:])[0], atol=1e-5)


def test_outputs_have_the_types_that_other_programs_see(engine):
    logits, scores, distances, _ = engine.outputs(images(3))
    assert {values.dtype for values in (logits, scores, distances)} == {np.dtype(np.float32)}
    assert (logits.shape, scores.shape, distances.shape) == ((3, 2), (3, 2), (3,))


def test_predict_is_the_same_from_many_threads(engine):
    given = [images(count) for count in range(1, 25)]
    expected = [engine.predict(some).logits for some in given]
    with ThreadPoolExecutor(8) as threads:
        for found, alone in zip(threads.map(engine.predict, given * 3), expected * 3, strict=True):
            np.testing.assert_allclose(found.logits, alone, atol=1e-5)


def test_engine_says_in_one_line_that_litert_cannot_compute(engine):
    model = engine.model
    damaged = bytearray(model.content)
    damaged[8:2000] = bytes(1992)
    with pytest.raises(UserError, match=r"^LiteRT cannot compute this network \(.+\); train it again$"):
        Engine(model._replace(content=bytes(damaged)))
