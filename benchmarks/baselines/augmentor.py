"""A program: Augmentor's own pipeline, in threads, with the operations and probabilities of augment.py.

`python -m benchmarks.baselines.augmentor RAW_DATA OUTPUT COUNT`

Augmentor rounds its probabilities to one decimal, so some operations are performed a little more often than ours; and
it transforms whole pictures, where ours are reduced to about twice the size they are trained at.
"""

import sys

import Augmentor


def make_copies(raw_data: str, output: str, count: int) -> None:
    pipeline = Augmentor.Pipeline(raw_data, output)
    pipeline.flip_left_right(0.5)
    pipeline.black_and_white(0.1)
    pipeline.gaussian_distortion(0.4, grid_width=7, grid_height=6, magnitude=6, corner="bell", method="in")
    pipeline.rotate(0.3, max_left_rotation=10, max_right_rotation=10)
    pipeline.skew(0.4, 0.5)
    pipeline.skew_tilt(0.6, 0.8)
    pipeline.skew_left_right(0.5, 0.8)
    pipeline.sample(count)


if __name__ == "__main__":
    make_copies(sys.argv[1], sys.argv[2], int(sys.argv[3]))
