"""PBM, PGM and PPM files (P1 to P6), which many research data sets consist of.

Pillow reads them too, but levels other than 0..255 and 0..65535 in a loop in Python: a second for a megapixel.
"""

import re
import warnings

import numpy as np

# What stands between the numbers of the header: white space and comments.
_GAP = rb"[ \t\n\v\f\r](?:[ \t\n\v\f\r]|#[^\n\r]*[\n\r])*"
_SIZE = re.compile(rb"P([1-6])%b([0-9]{1,10})%b([0-9]{1,10})" % (_GAP, _GAP))
_MAXVAL = re.compile(rb"%b([0-9]{1,10})" % _GAP)
_WHITE_SPACE = b" \t\n\v\f\r"
_COMMENT = re.compile(rb"#[^\n\r]*")


def declared_size(pnm: bytes) -> tuple[int, int] | None:
    """Returns width and height from the header, None if this is no such file."""
    header = _SIZE.match(pnm)
    return (int(header[2]), int(header[3])) if header else None


def read_pnm(pnm: bytes) -> tuple[np.ndarray, int]:
    """Returns the levels of the first picture of a file, and the level of white.

    Returns:
        levels: array of integers (height, width, 1 or 3), gray or RGB.
        white: the level of white, 1..65535.

    Raises:
        ValueError: it is damaged.
    """
    header = _SIZE.match(pnm)
    size = declared_size(pnm)
    if not header or not size or 0 in size:
        raise ValueError("a broken header")
    kind, white, start = int(header[1]), 1, header.end()
    if kind not in (1, 4):
        if not (maxval := _MAXVAL.match(pnm, start)):
            raise ValueError("a broken header")
        white, start = int(maxval[1]), maxval.end()
    if not 0 < white <= 65535:
        raise ValueError("its maxval is not between 1 and 65535")
    if pnm[start : start + 1] not in {bytes([byte]) for byte in _WHITE_SPACE}:
        raise ValueError("a broken header or a truncated file")
    shape = size[1], size[0], 3 if kind in (3, 6) else 1
    if kind == 1:
        return _plain_bits(pnm[start:], shape), 1
    if kind == 4:
        return _packed_bits(pnm[start + 1 :], shape), 1
    if kind in (2, 3):
        levels = _plain_levels(pnm[start:], shape)
    else:
        kind_of_level, rows = np.dtype(np.uint8 if white < 256 else ">u2"), memoryview(pnm)[start + 1 :]
        whole = len(rows) // kind_of_level.itemsize * kind_of_level.itemsize
        levels = _enough(np.frombuffer(rows[:whole], kind_of_level), shape)
    if levels.max() > white:
        raise ValueError("a level is above its maxval")
    return levels, white


def _enough(values: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Returns the first values in this shape. Raises ValueError if they are too few."""
    count = shape[0] * shape[1] * shape[2]
    if values.size < count:
        raise ValueError("the file is truncated")
    return values[:count].reshape(shape)


def _plain_bits(text: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """Returns the digits of a P1 file, which need no space between them, as levels; 1 is black."""
    digits = np.frombuffer(_COMMENT.sub(b"", text).translate(None, _WHITE_SPACE), np.uint8)
    levels = ord("1") - _enough(digits, shape)
    if levels.max() > 1:
        raise ValueError("a pixel is neither 0 nor 1")
    return levels


def _packed_bits(rows: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """Returns the bits of a P4 file, whose rows start at whole bytes, as levels; 1 is black."""
    height, width, _ = shape
    packed = _enough(np.frombuffer(rows, np.uint8), (height, -(-width // 8), 1))
    return 1 - np.unpackbits(packed[..., 0], axis=1, count=width)[..., np.newaxis]


def _plain_levels(text: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """Returns the numbers of a P2 or P3 file."""
    count = shape[0] * shape[1] * shape[2]
    text = _COMMENT.sub(b"", text)
    is_space = np.isin(np.frombuffer(text, np.uint8), np.frombuffer(_WHITE_SPACE, np.uint8))
    # Counted before, since `fromstring` returns arbitrary numbers for those that are missing.
    if np.count_nonzero(is_space[:-1] & ~is_space[1:]) < count:
        raise ValueError("the file is truncated")
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        try:
            levels = np.fromstring(text, np.int32, count=count, sep=" ")
        except (DeprecationWarning, ValueError):  # by versions of NumPy before and after 2.3
            raise ValueError("a level is not a number") from None
    if levels.min() < 0:
        raise ValueError("a level is negative")
    return levels.reshape(shape)
