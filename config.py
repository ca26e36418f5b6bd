"""Every setting of every script, each checked once.

Edit a default here, or override it for one run on the command line as `--name value`. The comment beside a setting is
also its `--help` text. A script accepts the settings it uses and no others:

    preprocessing.py  PictureConfig
    augment.py        AugmentConfig = PictureConfig + the transforms
    trainer.py        TrainConfig   = PictureConfig + the training
    predict.py        PredictConfig
"""

import contextlib
import errno
import io
import math
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

import tyro

# The exit codes of all scripts.
DONE = 0
SOME_PICTURES_FAILED = 1
REFUSED = 2  # a setting, a file or a folder has to be mended first
INTERRUPTED = 130  # Ctrl-C; 128 + the signal's number, as shells count


class UserError(ValueError):
    """Something that its user can mend. Shown as one line that says what, where and how; never as a traceback."""


class Between(NamedTuple):
    """Limits of a number, both included."""

    low: float
    high: float

    def admits(self, value: float) -> bool:
        return math.isfinite(value) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"from {self.low:g} to {self.high:g}"


class OneOf(tuple):
    """The only values a setting may have."""

    def admits(self, value: Any) -> bool:
        return value in self

    def __str__(self) -> str:
        return " or ".join(map(str, self))


LOSSES = "softmax", "sigmoid"
PRECISIONS = "auto", "float32", "bfloat16"

Pixels = Annotated[int, Between(16, 4096)]
Count = Annotated[int, Between(1, 1_000_000)]
Megapixels = Annotated[float, Between(0.001, 10_000)]
Probability = Annotated[float, Between(0, 1)]
Strength = Annotated[float, Between(0.01, 1)]
Share = Annotated[float, Between(0, 0.9)]
ValidationShare = Annotated[float, Between(0.01, 0.9)]
Switch = Annotated[bool, tyro.conf.FlagConversionOff]  # given as `--name False`, like every other setting


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Refuses impossible values, whoever builds it."""

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, kw_only=True)
class DecodingConfig(Checked):
    """Which picture files are opened at all."""

    max_megapixels: Megapixels = 200  # Larger pictures, in millions of pixels, are refused before they are decoded.


@dataclass(frozen=True, kw_only=True)
class PictureConfig(DecodingConfig):
    """Which pictures, and what is made of them."""

    raw_data: str = "rawdata"  # Folder of your pictures, one sub-folder a class. It is only ever read.
    augmented: str = "augmented"  # Folder of the copies that augment.py makes; they are only trained on.
    data_path: str = "data"  # Folder of the standardised pictures that training reads, and their manifest.csv.
    height: Pixels = 100  # Height in pixels that every picture is brought to.
    width: Pixels = 100  # Width in pixels that every picture is brought to.
    color_channels: Annotated[int, OneOf((1, 3))] = 3  # 3 for colour (RGB), 1 for grey.
    validation_split: ValidationShare = 0.2  # Share of each class's photographs kept back to validate.
    near_duplicate_bits: Annotated[int, Between(0, 16)] = 8  # Bits, of 64, by which hashes of near-duplicates differ.
    seed: Annotated[int, Between(0, 2**31 - 1)] = 1  # Decides the split, the copies, the first weights and the order.


@dataclass(frozen=True, kw_only=True)
class AugmentConfig(PictureConfig):
    """The copies that augment.py makes: every transform has a probability (0 switches it off) and a strength.

    A bat may be mirrored left-right but never turned over, so nothing here turns a picture over. What carries letters
    may not even be mirrored: a mirrored S is no S. Set `mirror` to 0 for such classes.
    """

    sample: Count = 3500  # Copies to make of each class, spread evenly over its training photographs.
    mirror: Probability = 0.5  # Probability of mirroring left-right. Set it to 0 where pictures carry letters.
    black_and_white: Probability = 0.1  # Probability of reducing to pure black and white.
    black_and_white_threshold: Annotated[int, Between(1, 255)] = 128  # Grey level from which a pixel becomes white.
    gaussian_distortion: Probability = 0.4  # Probability of an elastic distortion, strongest in the middle.
    gaussian_distortion_columns: Annotated[int, Between(2, 16)] = 7  # Columns of its grid.
    gaussian_distortion_rows: Annotated[int, Between(2, 16)] = 6  # Rows of its grid.
    gaussian_distortion_magnitude: Annotated[int, Between(1, 100)] = 6  # Shift of its grid points, in half pixels.
    rotate: Probability = 0.3  # Probability of a rotation.
    rotate_degrees: Annotated[int, Between(1, 15)] = 10  # Largest rotation, in degrees to either side.
    skew: Probability = 0.4  # Probability of a perspective skew to any side or corner.
    skew_magnitude: Strength = 0.5  # Largest shift of a corner, as a share of the longer side.
    skew_tilt: Probability = 0.6  # Probability of a tilt forwards, backwards, left or right.
    skew_tilt_magnitude: Strength = 0.8  # Largest shift of a corner, as a share of the longer side.
    skew_left_right: Probability = 0.5  # Probability of a tilt left or right.
    skew_left_right_magnitude: Strength = 0.8  # Largest shift of a corner, as a share of the longer side.


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig(Checked):
    """Where trained networks are kept."""

    model_save_name: str = "checkpoints"  # Folder of the checkpoints and of what TensorBoard shows.


@dataclass(frozen=True, kw_only=True)
class DeviceConfig(Checked):
    """How a network is computed."""

    precision: Annotated[str, OneOf(PRECISIONS)] = "auto"  # Of the arithmetic; auto is bfloat16 where hardware has it.


@dataclass(frozen=True, kw_only=True)
class TrainConfig(PictureConfig, CheckpointConfig, DeviceConfig):
    """One training run."""

    epochs: Count = 300  # Upper bound: passes over the training pictures.
    batch_size: Annotated[int, Between(1, 65536)] = 10  # Pictures per training step.
    learning_rate: Annotated[float, Between(1e-8, 10)] = 0.001  # Adam's step size.
    patience: Count = 30  # Stop after so many epochs without a better validation accuracy.
    balance_classes: Switch = True  # Let pictures of rare classes count more, so that every class counts alike.
    scale_input: Switch = True  # Bring pixels from 0..255 to -1..1 as the network's first layer.
    batch_normalization: Switch = True  # Normalise each pooled convolution over the batch.
    loss: Annotated[str, OneOf(LOSSES)] = "softmax"  # Weighs classes against each other; sigmoid judges each by itself.
    dropout: Annotated[float, Between(0, 0.95)] = 0.5  # Share of the values dropped before each fully connected layer.
    random_mirror: Switch = True  # Train on mirror images too, and average the answers to both. Not for letters.
    random_shift: Share = 0.1  # Move training pictures by up to this share of their sides.
    random_rotation: Annotated[float, Between(0, 180)] = 10  # Turn training pictures by up to so many degrees.
    random_zoom: Share = 0.15  # Stretch and shrink training pictures by up to this share.
    random_contrast: Share = 0.4  # Change light and contrast of each colour by up to this share.
    average_weights: Switch = True  # Validate and keep the average of the weights over the last tenth of the run.
    unknown_rate: Annotated[float, Between(0, 0.5)] = 0.05  # Share of ordinary pictures that may be called unknown.
    memory_gib: Annotated[float, Between(0, 1e6)] = 2.0  # GiB of pictures kept decoded; more are decoded at every use.
    save_seconds: Annotated[float, Between(0, 86400)] = 30  # Seconds between saves: about what a kill costs at most.
    max_to_keep: Count = 4  # How many of the newest checkpoints are kept; the best one is kept besides.


@dataclass(frozen=True, kw_only=True)
class PredictConfig(CheckpointConfig, DeviceConfig, DecodingConfig):
    """What to ask a trained network."""

    images: tyro.conf.Positional[tuple[str, ...]] = ()  # Pictures, folders of pictures or patterns such as *.jpg.
    raw: bool = False  # Show the raw magnitudes instead of the scores; given without a value.
    evaluate: str = ""  # Instead: say how right the network is on this folder, which has one sub-folder a class.
    json: str = ""  # File to write every prediction to, as JSON. It must not exist yet.
    csv: str = ""  # File to write every prediction to, as a table. It must not exist yet.


_FOLDERS = ("raw_data", "augmented", "data_path", "model_save_name")


def _check(config: Any) -> None:
    """Raises UserError for a value of the wrong type or outside its limits, and for folders inside each other."""
    for name, hint in get_type_hints(type(config), include_extras=True).items():
        kind, *limits = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        value = getattr(config, name)
        if kind in (int, float, bool, str):
            right = type(value) is kind or (kind is float and type(value) is int)
            if not right:
                raise UserError(f"--{name} {value!r}: must be of type {kind.__name__}")
        for limit in limits:
            if isinstance(limit, Between | OneOf) and not limit.admits(value):
                raise UserError(f"--{name} {value}: must be {limit}")
    folders = {name: getattr(config, name) for name in _FOLDERS if hasattr(config, name)}
    for name, folder in folders.items():
        if not folder:
            raise UserError(f"--{name} '': must name a folder")
        if name == "model_save_name" and set(folder) & set("*?[]"):
            raise UserError(f"--{name} {folder}: must not contain any of * ? [ ], which TensorFlow takes for a pattern")
        for other, outer in folders.items():
            if name != other and Path(folder).resolve().is_relative_to(Path(outer).resolve()):
                raise UserError(f"--{name} {folder}: must not be --{other} ({outer}) or lie inside it")


ConfigT = TypeVar("ConfigT")


def read_command_line(config_class: type[ConfigT], description: str, arguments: Sequence[str] | None = None) -> ConfigT:
    """Builds a config from the command line.

    Raises:
        UserError: an unknown name, a wrong type or an impossible value, in one line.
        SystemExit: with code 0, after printing `--help`.
    """
    messages = io.StringIO()

    def parse() -> ConfigT:
        return tyro.cli(
            config_class,
            description=description,
            args=arguments,
            use_underscores=True,
            config=(tyro.conf.FlagCreatePairsOff,),
        )

    try:
        with contextlib.redirect_stderr(messages):
            return parse()
    except SystemExit as stop:
        if stop.code in (None, 0):
            raise
    # The message was cut to the width of the terminal: have it once more, on lines that are long enough.
    messages = io.StringIO()
    with contextlib.redirect_stderr(messages), contextlib.suppress(SystemExit), _columns(10_000):
        parse()
    raise UserError(_one_line(messages.getvalue()))


@contextlib.contextmanager
def _columns(width: int) -> Iterator[None]:
    former = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(width)
    try:
        yield
    finally:
        del os.environ["COLUMNS"]
        os.environ.update({"COLUMNS": former} if former else {})


def _one_line(boxed: str) -> str:
    """tyro's message without its frame and the help text it repeats: what went wrong, and which names were meant."""
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m|[╭╮╰╯│─]", " ", boxed).split())
    text = re.sub(r"^.*?(Error parsing (\w+: )?|(?=Unrecognized options: |Missing value|Required options))", "", text)
    text = re.sub(r" Argument helptext: .*| For full helptext, .*", "", text)
    text = text.replace("Invalid choice invalid choice", "invalid choice")
    text = re.sub(r"invalid literal for int\(\) with base 10: (\S+)", r"\1 is not a whole number", text)
    text = re.sub(r"could not convert string to float: (\S+)", r"\1 is not a number", text)
    meant = " and ".join(sorted(re.findall(r"(?:Perhaps you meant|Arguments similar to --\S+): (--\S+)", text)))
    text = re.sub(r" (Perhaps you meant|Arguments similar to).*", f" - perhaps you meant {meant}?", text)
    return f"{text} (--help lists every setting)"


_MENDS = {
    errno.ENOSPC: "free some space on that disk",
    errno.EDQUOT: "free some space on that disk",
    errno.EFBIG: "use a disk that takes files of this size",
    errno.EIO: "look after that disk",
    errno.EROFS: "make that disk writable",
    errno.EACCES: "give yourself the right to it",
    errno.EPERM: "give yourself the right to it",
    errno.EEXIST: "move it away or name another folder",
    errno.ENOTDIR: "move the file away that is in its way",
    errno.ENOMEM: "make more memory free",
}


def _system_error(error: OSError) -> str:
    """An operating system's error on one line: what, where, and how to mend it where that is known."""
    if not error.strerror:
        return str(error)
    where = f"{error.filename!r}: " if error.filename else ""  # the quotes and escapes keep it on one line
    mend = _MENDS.get(error.errno)
    return f"{where}{error.strerror}" + (f"; {mend} and run the same command again" if mend else "")


def run(main: Callable[[ConfigT], int], config_class: type[ConfigT], description: str | None) -> None:
    """Runs a script: command line → config → `main(config)` → exit code.

    What a user can mend ends in one line on stderr and exit code 2; so does an operating system's error, such as that
    of a full disk. Ctrl-C ends with 130. Anything else is a defect of ours and keeps its traceback.
    """
    script = Path(sys.argv[0]).name
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # names may have letters that the terminal has not
    warnings.filterwarnings("ignore", module=r"PIL\.")  # remarks on oddities of files that can be read all the same
    try:
        code = main(read_command_line(config_class, (description or "").strip().partition("\n")[0]))
    except UserError as error:
        print(f"{script}: {error}", file=sys.stderr)
        code = REFUSED
    except OSError as error:
        print(f"{script}: {_system_error(error)}", file=sys.stderr)
        code = REFUSED
    except KeyboardInterrupt:
        print(f"\n{script}: interrupted", file=sys.stderr)
        code = INTERRUPTED
    sys.exit(code)
