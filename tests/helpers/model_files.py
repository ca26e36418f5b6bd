"""Networks for LiteRT, for tests of the files that hold them."""

from answers.conversion import convert
from answers.trained_network import TrainedNetwork
from model import generate_model
from network.backend import keras
from network.model_config import ModelConfig

_converted: dict[bytes, bytes] = {}


def tiny_flatbuffer(config: ModelConfig) -> bytes:
    """Returns a network with random weights for LiteRT. It is converted once for all tests of a process."""
    key = config.to_json()
    if key not in _converted:
        keras.utils.set_random_seed(1)
        _converted[key] = convert(TrainedNetwork(generate_model(config), config))
    return _converted[key]
