"""What TensorFlow computes on, and in which precision."""

import contextlib
import logging
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from network.backend import keras, tf
from system.errors import UserError
from system.files import use_own_temporary_folder
from system.terminal import plural

_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}  # of processors that multiply bfloat16 numbers in hardware
_BFLOAT16_CAPABILITY = (8, 0)  # of GPUs that do: Ampere and later


def configure_device(precision: str, devices: int = 0) -> str:
    """Sets the precision of all networks built from now on, and lets TensorFlow take GPU memory only as needed.

    Args:
        devices: number of GPUs to use, at most; 0 for all.
        precision: "float32"; "bfloat16", in which all layers but the fully connected ones are computed, while
            weights, loss and outputs stay float32; or "auto", which is bfloat16 if the hardware supports it.

    Returns:
        the device and the precision, to be shown to the user.

    Raises:
        UserError: there are fewer GPUs.
    """
    use_own_temporary_folder()
    gpus = tf.config.list_physical_devices("GPU")
    if devices > len(gpus):
        found = plural(len(gpus), "GPU")
        raise UserError(f"--devices {devices}: TensorFlow finds {found} on this machine; use fewer, or 0 for all")
    if devices:
        gpus = gpus[:devices]
        tf.config.set_visible_devices(gpus, "GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    if precision == "auto":
        precision = "bfloat16" if has_bfloat16(details, Path("/proc/cpuinfo")) else "float32"
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    names = [detail.get("device_name", "GPU") for detail in details] or [f"CPU, {os.cpu_count()} cores"]
    return f"{', '.join(names)}, {precision}{'' if gpus else _unused_gpu()}"


def trainable_devices() -> list[str]:
    """Returns the devices that can train copies of a network: all GPUs that may be used or, without any, the CPU.

    TensorFlow can be told that the CPU is several devices, as tests do.
    """
    if gpus := tf.config.get_visible_devices("GPU"):
        return [f"GPU:{index}" for index in range(len(gpus))]
    (cpu,) = tf.config.get_visible_devices("CPU")
    return [f"CPU:{index}" for index in range(len(tf.config.get_logical_device_configuration(cpu) or [cpu]))]


def has_bfloat16(gpus: list[dict], cpuinfo: Path) -> bool:
    """Returns whether the device has bfloat16 in hardware; elsewhere it is emulated and slower than float32.

    Args:
        gpus: TensorFlow's details of the GPUs. If there are none, the processor decides.
        cpuinfo: Linux's description of the processor. Other systems have none; TensorFlow does not use bfloat16 there.
    """
    if gpus:
        return all(gpu.get("compute_capability", (0, 0)) >= _BFLOAT16_CAPABILITY for gpu in gpus)
    return cpuinfo.is_file() and not _BFLOAT16_FLAGS.isdisjoint(cpuinfo.read_text(errors="replace").split())


def clear_session() -> None:
    """Lets Keras forget the networks of this process, so that their memory is free.

    The next one is trained as in a new process, with the precision of the run.
    """
    policy = keras.config.dtype_policy()
    keras.backend.clear_session()
    keras.config.set_dtype_policy(policy)
    tf.config.experimental.enable_tensor_float_32_execution(True)  # which `in_float32` switches off
    tf.get_logger().addFilter(_is_not_about_retracing)


def _is_not_about_retracing(record: logging.LogRecord) -> bool:
    """Returns False for TensorFlow's warning that functions are traced too often, as they are for several networks."""
    return "tf.function retracing" not in record.getMessage()


def use_processor() -> None:
    """Lets TensorFlow compute on the processor only, and leave the memory of GPUs to others."""
    use_own_temporary_folder()
    if tf.config.list_physical_devices("GPU"):
        tf.config.set_visible_devices([], "GPU")


@contextlib.contextmanager
def in_float32() -> Iterator[None]:
    """Lets networks that are built in the block compute in float32, as LiteRT does, whatever the precision of the run.

    From then on, GPUs compute float32 with all of its bits, and not with the 10 bits of TF32.
    """
    tf.config.experimental.enable_tensor_float_32_execution(False)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


@contextlib.contextmanager
def raises_memory_error() -> Iterator[None]:
    """Turns TensorFlow's error about too little memory, of the processor or a GPU, into Python's MemoryError."""
    try:
        yield
    except tf.errors.OpError as error:
        # The libraries of GPUs report it as an internal or unknown error.
        if isinstance(error, tf.errors.ResourceExhaustedError) or "out of memory" in str(error).lower():
            raise MemoryError from error
        raise


def _unused_gpu() -> str:
    """Returns what to do about a GPU that TensorFlow does not see; nothing if there is none, or the user hid it."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return ""
    if not (shutil.which("nvidia-smi") or Path("/proc/driver/nvidia/version").exists()):
        return ""
    remedy = f"run {sys.executable} -m pip install -r requirements-cuda.txt"
    if platform.system() != "Linux":
        remedy = "run this under Linux or WSL2, which TensorFlow needs for GPUs"
    return f"; there is an NVIDIA GPU that TensorFlow cannot use; {remedy}"
