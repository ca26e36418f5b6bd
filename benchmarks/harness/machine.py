"""What the machine can do at most: the limit of a training step.

It is the larger of two times, because arithmetic and moving memory may overlap:

- its multiplications and additions at the rate of a large matrix product: forward once, backward once for the gradient
  of the weights and once for that of each layer's input, except for the first layer, whose input needs none;
- its bytes at the rate of a large streaming update: for every weight, Adam reads the gradient (4 bytes) and reads and
  writes the weight and two moments (24); forward and backward each read the weight once (8), and the gradient is
  written once (4).
"""

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2

from network.backend import keras, tf

_BYTES_PER_WEIGHT = 4 + 24 + 8 + 4
_WEIGHTS = 11_106_594
_MULTIPLY_ADDS = (  # for one picture of 100×100×3, forward, layer by layer
    100 * 100 * 5 * 5 * 3 * 16,
    50 * 50 * 4 * 4 * 16 * 32,
    25 * 25 * 3 * 3 * 32 * 64,
    10_816 * 1024,
    1024 * 2,
)


class Machine(NamedTuple):
    """What the machine can do, as measured."""

    name: str
    bandwidth: float  # bytes per second
    float32: float  # multiplications and additions per second
    bfloat16: float  # the same

    def limit(self, batch_size: int) -> tuple[float, float]:
        """Returns the least seconds that a training step can take: for arithmetic, and for moving memory."""
        operations = 2 * (3 * sum(_MULTIPLY_ADDS) - _MULTIPLY_ADDS[0]) * batch_size
        return operations / max(self.float32, self.bfloat16), _BYTES_PER_WEIGHT * _WEIGHTS / self.bandwidth

    def __str__(self) -> str:
        return (
            f"{self.name}; memory {self.bandwidth / 1e9:.1f} GB/s; matrix products float32 {self.float32 / 1e9:.0f}, "
            f"bfloat16 {self.bfloat16 / 1e9:.0f} GFLOP/s"
        )


def measure_machine() -> Machine:
    return Machine(_machine_name(), _bandwidth(), _matrix_rate(tf.float32), _matrix_rate(tf.bfloat16))


def has_gpu() -> bool:
    return bool(tf.config.list_physical_devices("GPU"))


def _machine_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    gpus = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    parts = [models[0] if models else platform.processor(), f"{os.cpu_count()} cores"]
    parts += [gpu.get("device_name", "GPU") for gpu in gpus]
    parts += [platform.system(), f"Python {platform.python_version()}", f"TensorFlow {tf.__version__}"]
    return ", ".join([*parts, f"Keras {keras.__version__}", f"OpenCV {cv2.__version__}"])


def _shortest(function: Callable[[], object], times: int) -> float:
    """Returns the shortest of several times in seconds, after a warm-up; other programs can only make it longer."""
    function()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _bandwidth() -> float:
    weight, first, second = (tf.Variable(tf.zeros(_WEIGHTS)) for _ in range(3))
    gradient = tf.zeros(_WEIGHTS)

    def update() -> None:
        tf.raw_ops.ResourceApplyAdam(
            var=weight.handle,
            m=first.handle,
            v=second.handle,
            grad=gradient,
            lr=0.001,
            beta1=0.9,
            beta2=0.999,
            beta1_power=0.9,
            beta2_power=0.999,
            epsilon=1e-7,
        )
        float(weight[0])  # waits for a GPU

    return 28 * _WEIGHTS / _shortest(update, 20)


def _matrix_rate(kind: tf.DType, side: int = 4096) -> float:
    matrix = tf.ones((side, side), kind)
    return 2 * side**3 / _shortest(lambda: float(tf.matmul(matrix, matrix)[0, 0]), 3)
