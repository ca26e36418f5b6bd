"""What is measured in the pixels of an image, to find pictures that are blank, dark, bright or blurred (checks.py).

Measured in the image that the network sees: blur that shrinking hides does no harm. The measures are well known and a
few lines each with OpenCV; CleanVision, which has similar ones, needs pandas, and decodes all pictures again.
"""

from typing import NamedTuple

import cv2
import numpy as np

_SHADOWS, _HIGHLIGHTS = 0.05, 0.99  # fractions of the pixels, as in CleanVision
_DECIMALS = 1  # that the measures keep; the sharpness keeps four
_MIN_VARIANCE = 1.0  # of the luma, by which that of the Laplacian is divided: less is the rounding of levels


class Quality(NamedTuple):
    """Measures of an image. Levels are 0 to 255."""

    brightness: float  # mean luma
    shadows: float  # the luma that 5 % of the pixels do not exceed
    highlights: float  # the luma that 99 % of the pixels do not exceed
    contrast: float  # standard deviation of the color channel in which it is largest
    colorfulness: float  # mean difference of the largest and the smallest color level of a pixel: 0 for gray
    sharpness: float  # variance of the Laplacian, divided by the variance of the luma: 0 to 20


def measure_quality(image: np.ndarray) -> Quality:
    """Returns the measures of an image, rounded.

    Args:
        image: uint8 (height, width, 3 or 1), RGB or gray.

    Algorithms: the variance of the Laplacian (Pech-Pacheco et al. 2000; LAPV of Pertuz et al. 2013, who compare it with
    35 others), here relative to the variance of the luma. Then it does not depend on contrast, which makes it fit for
    drawings and fog too.
    """
    channels = cv2.split(image)
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if len(channels) == 3 else channels[0]
    below = cv2.calcHist([gray], [0], None, [256], [0, 256]).ravel().cumsum()
    shadows, highlights = below.searchsorted([_SHADOWS * gray.size, _HIGHLIGHTS * gray.size]).tolist()
    mean, deviation = _mean_and_deviation(gray)
    laplacian = cv2.Laplacian(gray, cv2.CV_16S)
    variance = cv2.norm(laplacian, cv2.NORM_L2SQR) / gray.size - cv2.mean(laplacian)[0] ** 2
    return Quality(
        brightness=round(mean, _DECIMALS),
        shadows=float(shadows),
        highlights=float(highlights),
        contrast=round(max(_mean_and_deviation(channel)[1] for channel in channels), _DECIMALS),
        colorfulness=round(_colorfulness(*channels), _DECIMALS) if len(channels) == 3 else 0.0,
        sharpness=round(variance / max(deviation**2, _MIN_VARIANCE), 4),
    )


def _mean_and_deviation(channel: np.ndarray) -> tuple[float, float]:
    mean, deviation = cv2.meanStdDev(channel)
    return mean.item(), deviation.item()


def _colorfulness(red: np.ndarray, green: np.ndarray, blue: np.ndarray) -> float:
    largest, smallest = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    return cv2.mean(cv2.subtract(largest, smallest))[0]
