"""Heat maps over images: where a network looks."""

from collections.abc import Callable

import cv2
import numpy as np

# Returns how much each part of an image speaks for a class, 0..1, as `Engine.heat_maps` does, which raises
# UserError if the network has none.
HeatMaps = Callable[[np.ndarray, np.ndarray], np.ndarray]

_OPACITY = 0.45  # of a heat map over its image


def overlay(image: np.ndarray, heat_map: np.ndarray) -> np.ndarray:
    """Returns an image under its heat map, from blue (0) to red (1): uint8 (height, width, 3).

    Args:
        image: uint8 (height, width, 3 or 1).
        heat_map: float (rows, columns), 0..1.
    """
    height, width = image.shape[:2]
    smooth = cv2.resize(heat_map.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    levels = np.clip(np.rint(smooth * 255), 0, 255).astype(np.uint8)
    heat = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    return cv2.addWeighted(np.broadcast_to(image, heat.shape), 1 - _OPACITY, heat, _OPACITY, 0)
