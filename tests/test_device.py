"""Which precision a network is computed in, and on what."""

import os
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import device
from device import has_bfloat16, set_up
from model import generate_model

no_gpu = pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="TensorFlow can use a GPU here")


@no_gpu
@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot use NVIDIA GPUs")
def test_an_nvidia_gpu_that_cannot_be_used_is_told_with_the_command_that_mends_it(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert set_up("float32").endswith("-m pip install -r requirements-cuda.txt")


@no_gpu
@pytest.mark.skipif(Path("/proc/driver/nvidia/version").exists(), reason="there is an NVIDIA GPU")
def test_without_an_nvidia_gpu_none_is_mentioned(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert set_up("float32") == f"CPU with {os.cpu_count()} cores; float32"


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
def test_a_processor_is_asked_for_bfloat16(tmp_path, flags, expected):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor : 0\nflags : {flags}\n")
    assert has_bfloat16([], cpuinfo) is expected


def test_where_the_system_does_not_describe_its_processor_there_is_no_bfloat16(tmp_path):
    assert not has_bfloat16([], tmp_path / "cpuinfo")


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [([(7, 5)], False), ([(8, 0)], True), ([(9, 0), (8, 6)], True), ([(9, 0), (7, 0)], False), ([None], False)],
)
def test_gpus_from_ampere_on_have_bfloat16_whatever_the_processor(tmp_path, capabilities, expected):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags : avx512_bf16")
    gpus = [{"compute_capability": capability} if capability else {} for capability in capabilities]
    assert has_bfloat16(gpus, cpuinfo) is expected


def network() -> keras.Model:
    return generate_model(
        height=16,
        width=16,
        color_channels=3,
        classes=2,
        scale_input=True,
        batch_normalization=True,
        dropout=0.5,
        random_mirror=True,
    )


def test_bfloat16_computes_the_layers_and_leaves_weights_and_answers_in_float32():
    assert set_up("bfloat16").partition(";")[2].startswith(" bfloat16")
    model = network()
    assert {str(weight.dtype) for weight in model.weights} == {"float32"}
    computed = {layer.name: layer.compute_dtype for layer in model.layers if layer.weights}
    assert {computed.pop(name) for name in ("fully_connected_1", "logits")} == {"float32"}
    assert set(computed.values()) == {"bfloat16"}
    assert model.output.dtype == "float32"


@pytest.mark.parametrize(("has", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_is_bfloat16_where_the_hardware_has_it(monkeypatch, has, expected):
    monkeypatch.setattr(device, "has_bfloat16", lambda *_: has)
    assert set_up("auto").partition("; ")[2].split(";")[0] == expected
    assert keras.config.dtype_policy().compute_dtype == expected


def test_both_precisions_give_nearly_the_same_answers_with_the_same_weights():
    pictures = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), np.uint8)
    answers = []
    for precision in ("float32", "bfloat16"):
        set_up(precision)
        keras.utils.set_random_seed(1)
        model = network()
        model.get_layer("logits").kernel.assign(keras.random.normal((1024, 2), seed=1))
        answers.append(model.predict_on_batch(pictures))
    assert not np.array_equal(*answers)
    assert np.abs(answers[0] - answers[1]).max() < 0.03 * np.abs(answers[0]).max()
