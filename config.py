"""Every setting of every script, and nothing else.

Edit a default here, or override it for one run on the command line as `--name value`. The comment beside a setting is
also its `--help` text, and a comment on a line of its own is the title of the group below it. Each script takes the
settings that it uses:

    preprocessing.py  PictureConfig
    augment.py        AugmentConfig = PictureConfig + how many copies (the transforms themselves: augment.py)
    trainer.py        TrainConfig   = PictureConfig + the training
    predict.py        PredictConfig
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from system.errors import UserError
from system.terminal import printable
from system.validation import Between, LocalPath, OneOf, Validated, local_path

Pixels = Annotated[int, Between(16, 4096)]
Count = Annotated[int, Between(1, 1_000_000)]
BatchSize = Annotated[int, Between(1, 65536)]
Seed = Annotated[int, Between(0, 2**31 - 1)]
Megapixels = Annotated[float, Between(0.001, 10_000)]
Seconds = Annotated[float, Between(0, 86400)]
Gibibytes = Annotated[float, Between(0, 1e6)]
Probability = Annotated[float, Between(0, 1)]
Fraction = Annotated[float, Between(0, 0.9)]
ValidationFraction = Annotated[float, Between(0.01, 0.9)]
DropoutRate = Annotated[float, Between(0, 0.95)]
Folds = Annotated[int, Between(1, 20)]
WeightDecayRate = Annotated[float, Between(0, 100)]
LearningRate = Annotated[float, Between(1e-8, 10)]
Degrees = Annotated[float, Between(0, 180)]
UnknownRate = Annotated[float, Between(0, 0.5)]
ColorChannels = Annotated[int, OneOf((1, 3))]
Devices = Annotated[int, Between(0, 64)]
WorkerIndex = Annotated[int, Between(0, 999)]
Flag = Annotated[bool, OneOf((True, False))]  # takes a value, as in `--name False`
Loss = Annotated[str, OneOf(("softmax", "sigmoid"))]
PathName = Annotated[str, LocalPath()]
Precision = Annotated[str, OneOf(("auto", "float32", "bfloat16"))]

MIN_CLASSES, MAX_CLASSES = 2, 1000  # of a network
UNKNOWN = "unknown"  # what a picture of no class is called, so no class is

_FOLDERS = "raw_data", "augmented", "data_path", "model_save_name"


@dataclass(frozen=True, kw_only=True)
class ImageConfig(Validated):
    """The size and the color format of the images that a network reads."""

    # Pictures
    height: Pixels = 100  # Height of the images in pixels; pictures are resized to it.
    width: Pixels = 100  # Width of the images in pixels; pictures are resized to it.
    color_channels: ColorChannels = 3  # 3 for color (RGB), 1 for gray.

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of an image array: (height, width, color_channels)."""
        return self.height, self.width, self.color_channels

    @property
    def images_per_chunk(self) -> int:
        """How many images are passed between processes at a time, so that they take little memory: 1 to 16."""
        return max(1, min(16, 2**22 // (self.height * self.width)))


@dataclass(frozen=True, kw_only=True)
class DecodingConfig(Validated):
    """Which picture files are opened at all."""

    # Pictures
    max_megapixels: Megapixels = 200  # Larger pictures, in millions of pixels, are refused before they are decoded.

    @property
    def max_pixels(self) -> int:
        """Larger pictures are not decoded."""
        return round(self.max_megapixels * 10**6)


@dataclass(frozen=True, kw_only=True)
class PictureConfig(DecodingConfig, ImageConfig):
    """Which pictures to use, and what to make of them."""

    # Often needed
    raw_data: PathName = "rawdata"  # Folder of your pictures, one sub-folder per class. It is only read.
    # Pictures
    augmented: PathName = "augmented"  # Folder of the copies made by augment.py; they are used for training only.
    data_path: PathName = "data"  # Folder of the standardized images that training reads, and of manifest.csv.
    validation_split: ValidationFraction = 0.2  # Fraction of the photos of each class held out for validation.
    folds: Folds = 1  # Networks to train, each validated on another part of the photos; above 1, not validation_split.
    group_similar: Flag = True  # Keep pictures that look alike on one side of the split. False: only the same picture.
    seed: Seed = 1  # Determines the split, the copies, the initial weights and the order of the pictures.

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_folders(self)

    @property
    def max_pixels(self) -> int:
        # Stored images have the size of the config and must be readable themselves.
        return max(super().max_pixels, self.height * self.width)


@dataclass(frozen=True, kw_only=True)
class AugmentConfig(PictureConfig):
    """How many copies augment.py makes. The list of transforms is in augment.py."""

    # Often needed
    sample: Count = 3500  # Copies to make of each class, spread evenly over its training photos.
    mirror: Probability = 0.5  # Probability of mirroring a copy left-right. Set it to 0 if left and right matter.


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig(Validated):
    """Where trained networks are kept."""

    # Often needed
    model_save_name: PathName = "checkpoints"  # Folder of the checkpoints and of the TensorBoard logs.

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_folders(self)


@dataclass(frozen=True, kw_only=True)
class DeviceConfig(Validated):
    """How a network is computed."""

    # Device and memory
    precision: Precision = "auto"  # Number format of most layers; auto: bfloat16 if the hardware has it.


@dataclass(frozen=True, kw_only=True)
class TrainConfig(PictureConfig, CheckpointConfig, DeviceConfig):
    """One training run."""

    # Often needed
    epochs: Count = 300  # Maximum number of epochs: passes over the training pictures, rounded up to full batches.
    batch_size: BatchSize = 10  # Pictures per training step; above 10, at most as many as there are to train on.
    learning_rate: LearningRate = 0.001  # Step size of the Adam optimizer.

    # Network
    summary: bool = False  # Show the table of all layers.
    loss: Loss = "softmax"  # softmax: classes compete; sigmoid: each class is judged independently.

    # Random transforms
    random_mirror: Flag = True  # Train on mirror images too and average the predictions. False if left/right matters.
    random_shift: Fraction = 0.1  # Shift training pictures by up to this fraction of their width and height.
    random_rotation: Degrees = 10  # Rotate training pictures by up to this many degrees.
    random_zoom: Fraction = 0.15  # Stretch or shrink training pictures by up to this fraction.
    random_contrast: Fraction = 0.4  # Change the brightness and contrast of each color by up to this fraction.

    # Stopping and saving
    patience: Count = 30  # The learning rate falls after this many epochs without a lower validation cost.
    save_seconds: Seconds = 30  # Seconds between checkpoints; a kill loses about as much training.
    max_to_keep: Count = 4  # Number of newest checkpoints to keep; the best one is kept as well.
    learning_curve: Flag = False  # Train also on a quarter and on half of the pictures, to see whether more would help.
    tensorboard: Flag = True  # Write what TensorBoard shows: curves, pictures, heat maps, the graph.

    # Device and memory
    devices: Devices = 0  # GPUs to train on; 0: all that this machine has.
    workers: str = ""  # Several machines that train together: host:port of each, with commas. The first one saves.
    worker: WorkerIndex = 0  # Which of the workers this machine is, counted from 0.
    memory_gib: Gibibytes = 0  # GiB of images kept in memory; more are decoded when used. 0: a quarter of the memory.

    # Additions to the original (False or 0 switches one off)
    dropout: DropoutRate = 0.5  # Fraction of the values dropped in training before each fully connected layer.
    scale_input: Flag = True  # Scale pixels from 0..255 to -1..1 in the first layer.
    batch_normalization: Flag = True  # Normalize the output of each pooling layer over the batch.
    learning_rate_decay: Fraction = 0.3  # It falls to 0 in this fraction of the epochs before; 0: training just stops.
    mixup: Probability = 0.5  # Fraction of the batches in which pairs of pictures are mixed.
    weight_decay: WeightDecayRate = 0.3  # Each step shrinks the weights by this fraction of the learning rate.
    adapt_regularization: Flag = True  # Less dropout, transforms and mixup at the end if the training accuracy lags.
    average_weights: Flag = True  # Validate and keep the average of the weights over the last tenth of the run.
    balance_classes: Flag = True  # Give pictures of rare classes more weight, so that all classes count equally.
    unknown_rate: UnknownRate = 0.05  # Fraction of ordinary pictures that may be called unknown.

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.learning_curve and self.folds > 1:
            raise UserError(
                f"--learning_curve with --folds {self.folds}: would train {3 * self.folds} networks; use one of the two"
            )
        _check_readable_by_tensorflow(self.model_save_name)


@dataclass(frozen=True, kw_only=True)
class PredictConfig(CheckpointConfig, DecodingConfig):
    """What to predict with a trained network, and where the results go."""

    # Often needed
    images: tuple[str, ...] = ()  # Pictures, videos, folders, patterns such as *.jpg, or a camera such as 0; -: stdin.
    top: Count = 5  # Number of classes to show for each picture, best first.
    raw: bool = False  # Show the raw magnitudes instead of the scores.
    model_save_name: PathName = "checkpoints"  # Folder of the checkpoints, or a model file (.tflite).
    # Other tasks
    evaluate: PathName = ""  # Folder with one sub-folder per class: measure the accuracy on its pictures instead.
    watch: PathName = ""  # Folder to watch: predict every new picture in it, until Ctrl-C.
    export: PathName = ""  # New folder to write the network to, in formats that other programs can run.
    # Output files
    json: PathName = ""  # File to write all predictions to, as JSON; - writes a line for each to standard output.
    csv: PathName = ""  # File to write all predictions to, as a table; - writes it to standard output.
    html: PathName = ""  # File to write a report to, as a web page, with --evaluate. It must not exist yet.
    explain: PathName = ""  # Folder to write each picture to, with a heat map that shows where the network looks.
    sort: PathName = ""  # Folder to copy the pictures to, one sub-folder per predicted class.
    least_score: Probability = 0.0  # With --sort: pictures with a lower score, and unknown ones, go to unsure/.

    def __post_init__(self) -> None:
        super().__post_init__()
        names = tuple(local_path(name, setting="picture") for name in self.images)
        object.__setattr__(self, "images", names)


def _check_folders(config: Validated) -> None:
    """Raises UserError for a folder without a name, for folders inside each other, and for names of no use."""
    folders = {name: getattr(config, name) for name in _FOLDERS if hasattr(config, name)}
    if empty := [name for name, folder in folders.items() if not folder]:
        raise UserError(f"--{empty[0]} '': must be the name of a folder")
    real = {name: os.path.realpath(folder) for name, folder in folders.items()}  # a link may lead to itself
    for name, folder in folders.items():
        for other, outer in folders.items():
            if name != other and Path(real[name]).is_relative_to(real[other]):
                raise UserError(
                    f"--{name} {printable(folder)}: must not be --{other} ({printable(outer)}) or lie inside it"
                )


def _check_readable_by_tensorflow(folder: str) -> None:
    if set(folder) & set("*?[]"):
        raise UserError(f"--model_save_name {folder}: must not contain * ? [ ], which TensorFlow reads as a pattern")
    if not folder.isascii() and folder.encode(errors="ignore").decode() != folder:
        raise UserError(f"--model_save_name {printable(folder)}: must be UTF-8, in which TensorFlow writes names")
