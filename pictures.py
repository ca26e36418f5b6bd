"""From bytes to pixels: the one way in, for training and for prediction."""

import contextlib
import io

import cv2
import numpy as np
from PIL import Image, ImageOps

_BACKGROUND = (255, 255, 255)  # what shows through transparent pixels: white, as on a page
_NO_FILTER = cv2.IMWRITE_PNG_FILTER_NONE
# Large JPEGs are decoded at no less than so many times the final size. It changes photographs by one grey level on
# average; at twice the final size it would be 0.2 and take twice as long.
_DECODED = 1.5


def standard_image(data: bytes, *, height: int, width: int, color_channels: int) -> np.ndarray:
    """Decodes a picture file and stretches it to one size.

    `data` is the whole content of a JPEG, PNG, WebP, BMP, GIF, TIFF… file; `color_channels` is 3 for RGB, 1 for grey.

    Returns:
        uint8 array (height, width, color_channels), 0..255, upright by its EXIF orientation, the first frame of an
        animation, transparent parts on white. A picture that has the right size already keeps its very pixels.

    Raises:
        ValueError: it is damaged or no picture; the message says why, on one line.
    """
    mode = "RGB" if color_channels == 3 else "L"
    pixels = decode_image(data, mode=mode, least=round(_DECODED * max(height, width)))
    # Averaging areas is right for shrinking, and interpolating for enlarging; each axis may need either.
    shrunk = cv2.resize(
        pixels, (min(width, pixels.shape[1]), min(height, pixels.shape[0])), interpolation=cv2.INTER_AREA
    )
    return cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, color_channels)


def decode_image(data: bytes, *, mode: str, least: int) -> np.ndarray:
    """Decodes a picture file, upright and in its own proportions.

    Pillow decodes, because it refuses the truncated files that OpenCV fills with grey. Large JPEGs are decoded at
    1/2, 1/4 or 1/8 of their size, which costs a fraction, but with no side below `least` pixels.

    Returns:
        uint8 array (rows, columns, 3) for mode "RGB", (rows, columns) for mode "L".

    Raises:
        ValueError: it is damaged or no picture; the message says why, on one line.
    """
    if not data:
        raise ValueError("the file is empty")
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.draft(None, (least, least))
            image.load()
            _turn_upright(image)
            return np.asarray(_flatten(image, mode))
    except Image.UnidentifiedImageError:
        raise ValueError("not a picture, or of an unknown format") from None
    except Exception as error:  # decoders of damaged files raise nearly anything: SyntaxError, struct.error, KeyError…
        raise ValueError(f"cannot be decoded: {' '.join(str(error).split()) or type(error).__name__}") from None


def _turn_upright(image: Image.Image) -> None:
    with contextlib.suppress(Exception):  # a broken EXIF block says nothing of the pixels, which are whole
        ImageOps.exif_transpose(image, in_place=True)


def _flatten(image: Image.Image, mode: str) -> Image.Image:
    """Any of Pillow's pixel formats → "RGB" or "L", 8 bits a channel."""
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip to white: keep its upper 8 bits
        image = Image.fromarray((np.asarray(image).astype(np.int64).clip(0, 65535) // 256).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        page = Image.new("RGBA", image.size, (*_BACKGROUND, 255))
        image = Image.alpha_composite(page, image)
    return image if image.mode == mode else image.convert(mode)


def encode_png(pixels: np.ndarray) -> bytes:
    """uint8 array (rows, columns, 1 or 3), RGB → a PNG file's content.

    Its pixels are not compressed: photographs become only a third smaller by it, and take ten times as long to write
    and, in every training run, to read.
    """
    colors = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.shape[2] == 3 else pixels
    done, data = cv2.imencode(".png", colors, [cv2.IMWRITE_PNG_COMPRESSION, 0, cv2.IMWRITE_PNG_FILTER, _NO_FILTER])
    assert done
    return data.tobytes()
