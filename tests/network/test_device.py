"""Which precision a network is computed in, and on what."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from model import generate_model
from network import device
from network.backend import keras, tf
from network.device import configure_device, has_bfloat16, raises_memory_error, trainable_devices
from system.errors import UserError
from tests.helpers.checkpoints import MODEL_CONFIG

no_gpu = pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="TensorFlow can use a GPU here")


@pytest.fixture
def nvidia_tool(tmp_path, monkeypatch):
    """Puts a program `nvidia-smi` on the PATH, as a machine with an NVIDIA GPU has it."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


@no_gpu
@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot use NVIDIA GPUs")
@pytest.mark.usefixtures("nvidia_tool")
def test_configure_device_says_how_to_enable_an_unused_nvidia_gpu(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert configure_device("float32").endswith("-m pip install -r requirements-cuda.txt")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # one GPU of several
    assert configure_device("float32").endswith("-m pip install -r requirements-cuda.txt")


@no_gpu
@pytest.mark.usefixtures("nvidia_tool")
@pytest.mark.parametrize("hidden", ["", "-1"])
def test_configure_device_says_nothing_about_gpus_that_the_user_hid(hidden, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert configure_device("float32") == f"CPU, {os.cpu_count()} cores, float32"


@no_gpu
@pytest.mark.skipif(Path("/proc/driver/nvidia/version").exists(), reason="there is an NVIDIA GPU")
def test_configure_device_mentions_no_gpu_if_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert configure_device("float32") == f"CPU, {os.cpu_count()} cores, float32"


class ThreeGpus:
    """Replaces TensorFlow's settings of devices by those of a machine with three GPUs."""

    def __init__(self) -> None:
        self.visible = ["gpu a", "gpu b", "gpu c"]
        self.growing: list[str] = []
        self.experimental = self

    def list_physical_devices(self, kind: str) -> list[str]:
        return ["gpu a", "gpu b", "gpu c"] if kind == "GPU" else []

    def set_visible_devices(self, devices: list[str], kind: str) -> None:
        self.visible = devices

    def get_visible_devices(self, kind: str) -> list[str]:
        return self.visible

    def set_memory_growth(self, gpu: str, grows: bool) -> None:
        self.growing.append(gpu)

    def get_device_details(self, gpu: str) -> dict:
        return {"device_name": gpu.upper(), "compute_capability": (9, 0)}


@pytest.mark.parametrize(("devices", "used"), [(0, "abc"), (1, "a"), (2, "ab"), (3, "abc")])
def test_devices_limits_the_gpus_that_are_used(devices, used, monkeypatch):
    gpus = ThreeGpus()
    monkeypatch.setattr(device, "tf", SimpleNamespace(config=gpus))
    assert configure_device("float32", devices) == f"{', '.join(f'GPU {name.upper()}' for name in used)}, float32"
    assert gpus.visible == gpus.growing == [f"gpu {name}" for name in used]
    assert trainable_devices() == [f"GPU:{index}" for index in range(len(used))]


def test_more_devices_than_there_are_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(device, "tf", SimpleNamespace(config=ThreeGpus()))
    with pytest.raises(UserError) as refused:
        configure_device("float32", 4)
    problem = "--devices 4: TensorFlow finds 3 GPUs on this machine"
    assert str(refused.value) == f"{problem}; use fewer, or 0 for all"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu avx512f avx512_bf16 sse2", True),
        ("fpu amx_bf16 amx_tile", True),
        ("fpu avx2 avx512f", False),
        ("fpu not_avx512_bf16", False),
        ("", False),
    ],
)
def test_has_bfloat16_reads_the_flags_of_the_processor(tmp_path, flags, expected):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor : 0\nflags : {flags}\n")
    assert has_bfloat16([], cpuinfo) is expected


def test_has_bfloat16_is_false_without_a_description_of_the_processor(tmp_path):
    assert not has_bfloat16([], tmp_path / "cpuinfo")


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [([(7, 5)], False), ([(8, 0)], True), ([(9, 0), (8, 6)], True), ([(9, 0), (7, 0)], False), ([None], False)],
)
def test_has_bfloat16_is_true_for_gpus_from_ampere_on(tmp_path, capabilities, expected):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags : avx512_bf16")
    gpus = [{"compute_capability": capability} if capability else {} for capability in capabilities]
    assert has_bfloat16(gpus, cpuinfo) is expected


def test_bfloat16_leaves_weights_and_logits_in_float32():
    assert ", bfloat16" in configure_device("bfloat16")
    model = generate_model(MODEL_CONFIG)
    assert {str(weight.dtype) for weight in model.weights} == {"float32"}
    computed = {layer.name: layer.compute_dtype for layer in model.layers if layer.weights}
    assert {computed.pop(name) for name in ("fully_connected_1", "logits")} == {"float32"}
    assert set(computed.values()) == {"bfloat16"}
    assert model.output.dtype == "float32"


@pytest.mark.parametrize(("has", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_precision_is_bfloat16_if_the_hardware_has_it(monkeypatch, has, expected):
    monkeypatch.setattr(device, "has_bfloat16", lambda *_: has)
    assert configure_device("auto").split(";")[0].endswith(f", {expected}")
    assert keras.config.dtype_policy().compute_dtype == expected


def test_both_precisions_give_nearly_the_same_logits():
    images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), np.uint8)
    logits = []
    for precision in ("float32", "bfloat16"):
        configure_device(precision)
        keras.utils.set_random_seed(1)
        model = generate_model(MODEL_CONFIG)
        model.get_layer("logits").kernel.assign(keras.random.normal((1024, 2), seed=1))
        logits.append(model.predict_on_batch(images))
    assert not np.array_equal(*logits)
    assert np.abs(logits[0] - logits[1]).max() < 0.03 * np.abs(logits[0]).max()


def test_raises_memory_error_for_a_tensor_that_exceeds_the_memory():
    with pytest.raises(MemoryError), raises_memory_error():
        tf.zeros([2**50])


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            tf.errors.InternalError(None, None, "CUDA_ERROR_OUT_OF_MEMORY: out of memory"),
            MemoryError,
        ),
        (tf.errors.UnknownError(None, None, "OOM: Out of memory while trying to allocate"), MemoryError),
        (tf.errors.InternalError(None, None, "no kernel image"), tf.errors.InternalError),
        (ValueError("out of memory"), ValueError),
    ],
)
def test_raises_memory_error_only_for_errors_about_memory(error, expected):
    with pytest.raises(expected), raises_memory_error():
        raise error
