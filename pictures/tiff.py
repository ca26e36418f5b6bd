"""TIFF files: which of their pages is the picture, and which of its bands.

Pillow opens the first page and knows fixed combinations of tags. tifffile knows all of TIFF, but fills what is missing
in damaged files with zeros, and decompresses little without a large second package.
"""

import contextlib
import io
import struct
from collections.abc import Iterator
from typing import NamedTuple

from PIL import TiffImagePlugin
from PIL.ExifTags import Base

from pictures.formats import FormatNotRead

PREFIXES = tuple(TiffImagePlugin.PREFIXES)
_BIGTIFF, _BIG_ENDIAN_BIGTIFF = b"II+\0", b"MM\0+"
_MAX_PAGES = 100  # that are looked at
_COLORS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3}  # bands by photometric interpretation: gray, RGB, palette, CMYK…
_CAMERA_RAW = (32803, 34892)  # photometric interpretations: the mosaic of a sensor, before or after it is filled
_ALPHA = (1, 2, 999)  # meanings of an extra band; the last is that of Corel Draw


class Page(TiffImagePlugin.TiffImageFile):
    """One page, opened with more combinations of tags than Pillow knows."""

    deep_rawmode = ""  # see pictures/levels.py; empty for 8 bits per level
    white_is_zero = False  # and Pillow does not invert it
    ignores_bands = False
    largest = 0  # level that the file declares

    tile: list  # of tiles whose `args` are tuples

    def _setup(self) -> None:
        """Completes the tags before Pillow interprets them, and the raw modes afterwards."""
        tags = self.tag_v2
        bits, interpretation = tags.get(Base.BitsPerSample, (1,)), tags.get(Base.PhotometricInterpretation, 0)
        extra = self._complete_extra_bands()
        self.largest = 4095 if max(bits) == 12 else max(_tuple(tags.get(Base.MaxSampleValue, 0)))
        if interpretation == 0 and max(bits) > 8:
            self.white_is_zero = tags.get(Base.PhotometricInterpretation) == 0  # and not missing
            tags[Base.PhotometricInterpretation] = 1
        is_gray_and_other = _COLORS.get(interpretation) == 1 and bits == (16, 16) and extra and not self._has_planes()
        if is_gray_and_other:  # as four bands of 8 bits
            tags[Base.PhotometricInterpretation], tags[Base.SamplesPerPixel] = 2, 4
            tags[Base.BitsPerSample], tags[Base.ExtraSamples] = (8,) * 4, (2,)
        super()._setup()
        order = "N" if self.use_load_libtiff else "L" if tags.prefix == b"II" else "B"
        rawmode = self.tile[0].args[0]
        if is_gray_and_other:
            self.deep_rawmode = {0: "LX", 1: "La"}.get(extra[0], "LA") + ";16" + order
        elif self._has_raw_planes() and max(bits) == 16:  # which Pillow takes for 8 bits
            self.deep_rawmode = f"{self.mode};16{order}"
        elif self.mode.startswith("I;16") or (";16" in rawmode and not rawmode.startswith("CMYK")):
            self.deep_rawmode = rawmode

    def _complete_extra_bands(self) -> tuple[int, ...]:
        """Returns the meanings of the bands after the colors, written to the tags also if the file does not say them.

        Planes without a meaning are taken out.
        """
        tags = self.tag_v2
        bits, extra = tags.get(Base.BitsPerSample, (1,)), tags.get(Base.ExtraSamples, ())
        samples = tags.get(Base.SamplesPerPixel, len(bits))
        if samples > TiffImagePlugin.MAX_SAMPLESPERPIXEL:
            raise SyntaxError("too many bands")  # before Pillow logs it
        colors = _COLORS.get(tags.get(Base.PhotometricInterpretation, 0)) or samples
        extra = (*extra, *[0] * (samples - colors - len(extra)))
        if extra and extra[0] not in _ALPHA:
            extra = (0,) * len(extra)
        if extra:
            tags[Base.ExtraSamples] = extra
        self.ignores_bands = any(meaning not in _ALPHA for meaning in extra)
        if self._has_raw_planes() and extra and not any(extra):
            for tag in (Base.StripOffsets, Base.TileOffsets):
                if tag in tags:
                    tags[tag] = tags[tag][: len(tags[tag]) * colors // samples]
            tags[Base.BitsPerSample], tags[Base.SamplesPerPixel] = bits[:colors], colors
            del tags[Base.ExtraSamples]
            if colors == 1:
                tags[Base.PlanarConfiguration] = 1
            return ()
        return extra

    def _has_raw_planes(self) -> bool:
        """Returns whether each color stands in a plane of its own, not compressed."""
        return self._has_planes() and self.tag_v2.get(Base.Compression, 1) == 1

    def _has_planes(self) -> bool:
        return self.tag_v2.get(Base.PlanarConfiguration, 1) == 2

    def use_rawmode(self, rawmode: str) -> None:
        """Makes `load` read the pixels as if they were stored in another raw mode.

        Raises:
            ValueError: they stand in compressed planes, of which libtiff returns only the upper bytes.
        """
        if self._has_raw_planes():
            self.tile = [tile._replace(args=(tile.args[0][0] + rawmode[-4:], *tile.args[1:])) for tile in self.tile]
        elif self._has_planes() and rawmode != self.deep_rawmode:
            advice = "save it without compression or with the colors of a pixel side by side"
            raise ValueError(f"only the upper 8 of 16 bits can be read from compressed planes of colors: {advice}")
        else:
            self.tile = [tile._replace(args=(rawmode, *tile.args[1:])) for tile in self.tile]


def open_page(tiff: bytes) -> Page:
    """Returns the first page of a TIFF, or its largest if the first is only a reduced copy.

    Scanners and cameras put a reduced copy first, and the picture on the next page or in a directory below.

    Raises:
        FormatNotRead: no page is read; the reason is about the largest one.
    """
    if tiff.startswith(_BIG_ENDIAN_BIGTIFF):
        raise FormatNotRead("is a big-endian BigTIFF, which is not read: save it as TIFF")
    first = next(_directories(tiff), None)
    if first is None or first.is_full:
        return _open(tiff, first)
    pages = [first, *_directories(tiff)]
    full = sorted((page for page in pages if page.is_full), key=lambda page: page.area, reverse=True)
    problem = None
    for page in full or [max(pages, key=lambda page: page.area)]:
        try:
            return _open(_with_first(tiff, page.offset), page)
        except (FormatNotRead, SyntaxError) as error:
            problem = problem or error
    assert problem
    raise problem


def has_more_pages(tiff: bytes) -> bool:
    """Returns whether there are several pages of full size, such as those of a fax."""
    pages = (page for page in _directories(tiff, below=False) if page.is_full)
    return next(pages, None) is not None and next(pages, None) is not None


def _open(tiff: bytes, directory: "_Directory | None") -> Page:
    try:
        return Page(io.BytesIO(tiff))
    except (SyntaxError, OSError, KeyError):
        if directory:
            raise FormatNotRead(directory.problem()) from None
        raise


class _Directory(NamedTuple):
    """What the tags say of one page."""

    offset: int
    area: int
    is_full: bool  # neither a reduced copy nor a mask
    interpretation: int
    samples: int
    bits: int

    @classmethod
    def of(cls, tags: TiffImagePlugin.ImageFileDirectory_v2, offset: int) -> "_Directory":
        bits = _tuple(tags.get(Base.BitsPerSample, 1))
        return cls(
            offset=offset,
            area=tags.get(Base.ImageWidth, 0) * tags.get(Base.ImageLength, 0),
            is_full=not tags.get(Base.NewSubfileType, 0) & 0b101 and tags.get(Base.SubfileType, 1) != 2,
            interpretation=tags.get(Base.PhotometricInterpretation, 0),
            samples=tags.get(Base.SamplesPerPixel, len(bits)),
            bits=max(bits),
        )

    def problem(self) -> str:
        """Returns why a page that Pillow does not open is not read."""
        if self.interpretation in _CAMERA_RAW:
            return "is a raw file of a camera, which is not read: convert it to JPEG with the program of the camera"
        bands = "1 band" if self.samples == 1 else f"{self.samples} bands"
        advice = "save it with 1 band (gray) or 3 (red, green, blue) of 8 or 16 bits"
        return f"is a TIFF of {bands} of {self.bits} bits in an arrangement that is not read: {advice}"


def _directories(tiff: bytes, *, below: bool = True) -> Iterator[_Directory]:
    """Yields all pages and, if `below`, what is in the directories below them; it stops where they are broken."""
    header, file = tiff[: 16 if tiff.startswith(_BIGTIFF) else 8], io.BytesIO(tiff)
    seen: set[int] = set()
    with contextlib.suppress(Exception):
        offsets = [TiffImagePlugin.ImageFileDirectory_v2(header).next]
        while offsets and len(seen) < _MAX_PAGES:
            offset = offsets.pop(0)
            if not offset or offset in seen:
                continue
            seen.add(offset)
            tags = TiffImagePlugin.ImageFileDirectory_v2(header)
            file.seek(offset)
            tags.load(file)
            yield _Directory.of(tags, offset)
            offsets += [*(_tuple(tags.get(Base.SubIFDs, ())) if below else ()), tags.next]


def _with_first(tiff: bytes, offset: int) -> bytes:
    """Returns the file with the header pointing to another page."""
    order = "<" if tiff.startswith(b"II") else ">"
    is_big = tiff.startswith(_BIGTIFF)
    start, pointer = (8, struct.pack("<Q", offset)) if is_big else (4, struct.pack(order + "I", offset))
    return tiff[:start] + pointer + tiff[start + len(pointer) :]


def _tuple(value) -> tuple:
    return value if isinstance(value, tuple) else (value,)
