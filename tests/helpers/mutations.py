"""Small valid picture files of every format, and damage to them.

`python -m tests.helpers.mutations FIRST COUNT PROGRESS_FILE` decodes damaged files in a process that may crash.
"""

import base64
import contextlib
import io
import json
import random
import struct
import sys
import warnings
import zlib
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
from PIL import Image, ImageOps

from pictures.decoding import UnreadableImage, decode_image

MAX_PIXELS = 10**6  # of damaged files, whose headers may declare any size
PNG = b"\x89PNG\r\n\x1a\n"
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")  # that are read; Pillow's names
MIN_SIDE = 32  # pixels; small enough that the large JPEGs are decoded at a fraction of their size

# scene(16, 24) at quality 75, written by `jpegtran -arithmetic`, because Pillow cannot.
ARITHMETIC_JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRofHh0aHBwgJC4nICIsIxwcKDcpLDAxNDQ0Hyc5PTgy"
    "PC4zNDL/2wBDAQkJCQwLDBgNDRgyIRwhMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjL/yQARCAAQABgD"
    "ASIAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwDSGU5E4hvZsJH4TxVU8moJBBPHf4KfvHDp6tkDenuM5YcpAGuKIeUnx8405zwm68Zz"
    "GDj1nX6j/bjgWtITmAmE3SrThKo7aZ+296PEJpMO/X4Dmhf0TdZql2okcfQJrrVzGDlo6uVniv8AUsFfLaog50S15DBeVSu3JoHRq4XE18b3juH/"
    "2Q=="
)


def scene(height: int = 32, width: int = 40, seed: int = 0) -> np.ndarray:
    """Returns an image like a photo: soft colors, a hard edge and fine grain. uint8 (height, width, 3)."""
    rng = np.random.default_rng(seed)
    soft = cv2.resize(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    pixels = soft.astype(int) + rng.normal(0, 5, soft.shape).round().astype(int)
    pixels[height // 3 : height // 2, width // 4 :] += 60
    return pixels.clip(0, 255).astype(np.uint8)


def file_of(image: Image.Image | np.ndarray, kind: str = "PNG", **options) -> bytes:
    """Returns the content of a picture file, as Pillow or, for HEIF, pillow-heif writes it."""
    data = io.BytesIO()
    if kind == "HEIF":
        pillow_heif.from_pillow(image if isinstance(image, Image.Image) else Image.fromarray(image)).save(
            data, **options
        )
        return data.getvalue()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(data, kind, **options)
    return data.getvalue()


def samples() -> dict[str, bytes]:
    """Returns a valid picture file for every format and its main kinds, by name."""
    photo = Image.fromarray(scene())
    other = Image.fromarray(scene(seed=1))
    transparent = photo.copy()
    transparent.putalpha(Image.fromarray(scene(seed=2)[..., 0]))
    exif = Image.Exif()
    exif[0x0112] = 6
    animation = {"save_all": True, "append_images": [other]}
    gray_16_bits = np.asarray(photo.convert("L")).astype(np.uint16) * 257
    gray_12_bits = gray_16_bits // 16
    plain = " ".join(map(str, scene().flat)).encode()
    return {
        "JPEG": file_of(photo, "JPEG", quality=90),
        "JPEG, progressive": file_of(photo, "JPEG", progressive=True),
        "JPEG, arithmetic": ARITHMETIC_JPEG,
        "JPEG, gray": file_of(photo.convert("L"), "JPEG"),
        "JPEG, CMYK": file_of(photo.convert("CMYK"), "JPEG"),
        "JPEG, EXIF": file_of(photo, "JPEG", exif=exif),
        "JPEG, large": file_of(scene(240, 320), "JPEG", restart_marker_rows=1),
        "JPEG, large, progressive": file_of(scene(240, 320), "JPEG", progressive=True),
        "MPO": file_of(photo, "MPO", **animation),
        "PNG": file_of(photo, "PNG"),
        "PNG, palette": file_of(photo.quantize(64), "PNG", transparency=3),
        "PNG, alpha": file_of(transparent, "PNG", exif=exif),
        "PNG, 16 bits": file_of(gray_16_bits, "PNG"),
        "PNG, 12 bits": file_of(gray_12_bits, "PNG"),
        "APNG": file_of(photo, "PNG", **animation),
        "WebP": file_of(photo, "WEBP"),
        "WebP, lossless": file_of(photo, "WEBP", lossless=True),
        "WebP, alpha": file_of(transparent, "WEBP", exif=exif),
        "WebP, animated": file_of(photo, "WEBP", **animation),
        "GIF": file_of(photo, "GIF"),
        "GIF, animated": file_of(photo.quantize(16), "GIF", transparency=2, disposal=2, **animation),
        "BMP": file_of(photo, "BMP"),
        "BMP, palette": file_of(photo.quantize(16), "BMP"),
        "TIFF": file_of(photo, "TIFF", exif=exif),
        "TIFF, LZW": file_of(photo, "TIFF", compression="tiff_lzw"),
        "TIFF, deflate": file_of(photo, "TIFF", compression="tiff_adobe_deflate"),
        "TIFF, PackBits": file_of(photo, "TIFF", compression="packbits"),
        "TIFF, JPEG": file_of(photo, "TIFF", compression="jpeg"),
        "TIFF, fax": file_of(photo.convert("1"), "TIFF", compression="group4"),
        "TIFF, 16 bits": file_of(gray_16_bits, "TIFF"),
        "TIFF, 12 bits": file_of(gray_12_bits, "TIFF", compression="tiff_lzw"),
        "AVIF": file_of(photo, "AVIF"),
        "AVIF, alpha": file_of(transparent, "AVIF"),
        "PBM": file_of(photo.convert("1"), "PPM"),
        "PGM": file_of(photo.convert("L"), "PPM"),
        "PGM, 12 bits": file_of(gray_12_bits, "PPM"),
        "PPM": file_of(photo, "PPM"),
        "PPM, plain": b"P3\n# a comment\n40 32\n255\n%b\n" % plain,
        "HEIC": file_of(photo, "HEIF"),
        "HEIC, alpha": file_of(transparent, "HEIF"),
        "HEIC, grid": file_of(photo, "HEIF", tile_size=16),
    }


def chunk(kind: bytes, content: bytes) -> bytes:
    """Returns one chunk of a PNG, with its checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(size: tuple[int, int], bits: int, color: int, rows: bytes, *extra: bytes) -> bytes:
    """Returns a PNG of (width, height) with these raw rows, each of which starts with a zero byte."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, color, 0, 0, 0))
    return PNG + header + b"".join(extra) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(
    size: tuple[int, int], bits: int, interpretation: int, strip: bytes, *, order: str = "<", start: int = 0, **tags
) -> bytes:
    """Returns a TIFF of (width, height), not compressed, in one strip, or one for each color if t284=(2,).

    Args:
        size: (width, height).
        bits: per sample.
        interpretation: the value of tag 262, such as 1 for gray and 2 for RGB.
        strip: the samples.
        order: "<" or ">", as in `struct`; the numbers in `strip` must have the same.
        start: where its directory stands in the file to which this is appended, as a further page without a header.
        tags: other tags by their number, such as t338=(1,). `following` is where the directory of the next page stands.
    """
    following = tags.pop("following", 0)
    samples = {2: 3, 5: 4, 6: 3, 8: 3}.get(interpretation, 1) + len(tags.get("t338", ()))
    entries = {256: size[:1], 257: size[1:], 258: (bits,) * samples, 259: (1,), 262: (interpretation,)}
    entries |= {277: (samples,), 278: size[1:], **{int(tag[1:]): values for tag, values in tags.items()}}
    where, length = (324, 325) if 322 in entries else (273, 279)  # tiles or strips
    planes = samples if entries.get(284) == (2,) else 1  # each color in a strip of its own, or all in one
    entries |= {where: (0,) * planes, length: (len(strip) // planes,) * planes}
    shorts = {258, 259, 262, 277, 284, 320, 338, 339, 530}  # 16 bits each; sizes and positions take 32
    outside_at = (start or 8) + 2 + 12 * len(entries) + 4
    values = {t: struct.pack(f"{order}{len(v)}{'H' if t in shorts else 'I'}", *v) for t, v in entries.items()}
    strip_at = outside_at + sum(len(v) for v in values.values() if len(v) > 4)
    strips = range(strip_at, strip_at + planes * (len(strip) // planes), max(1, len(strip) // planes))
    values[where] = struct.pack(f"{order}{planes}I", *strips)
    table, outside = b"", b""
    for tag, packed in sorted(values.items()):
        value = packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack(order + "I", outside_at + len(outside))
        outside += packed if len(packed) > 4 else b""
        table += struct.pack(order + "HHI", tag, 3 if tag in shorts else 4, len(entries[tag])) + value
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    count, next_page = struct.pack(order + "H", len(entries)), struct.pack(order + "I", following)
    return (b"" if start else head) + count + table + next_page + outside + strip


def reduced_first(*, below: bool = False, order: str = "<") -> bytes:
    """Returns a TIFF of scene() whose first page is a red copy of 4 × 3 pixels.

    The scene is the second page, or stands in a directory below the first one.
    """
    link = {"t330": (1,)} if below else {"following": 1}
    at = len(tiff((4, 3), 8, 2, bytes(36), order=order, t254=(1,), **link))
    link = {"t330": (at,)} if below else {"following": at}
    first = tiff((4, 3), 8, 2, bytes((255, 0, 0)) * 12, order=order, t254=(1,), **link)
    return first + tiff((40, 32), 8, 2, scene().tobytes(), order=order, start=at, t254=(0,))


def bombs(width: int = 60_000, height: int = 60_000) -> dict[str, bytes]:
    """Returns files of less than a kilobyte whose headers declare this size, or the largest of the format."""
    small = Image.new("RGB", (16, 16), (9, 99, 200))
    still = {kind: file_of(small, kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "AVIF", "HEIF")}
    late = file_of(small, "JPEG", progressive=True)
    lossless, animated = (
        file_of(small, "WEBP", lossless=True),
        file_of(small, "WEBP", save_all=True, append_images=[Image.new("RGB", (16, 16))]),
    )
    wide, high = min(width, 16_383), min(height, 16_383)  # the largest WebP, except for the canvas of an animation
    ispe, heif_ispe = (still[kind].index(b"ispe") + 8 for kind in ("AVIF", "HEIF"))
    sizes = struct.pack("<HH", width, height)
    # A GIF whose only frame is larger than its screen and has to be cleared after it was shown.
    frame = b"GIF89a\x10\0\x10\0\x80\0\0" + bytes(6) + b"!\xf9\x04\x08\0\0\0\0," + bytes(4) + sizes + b"\0\2\2\x4c\1\0;"

    def at(data: bytes, start: int, field: bytes) -> bytes:
        return data[:start] + field + data[start + len(field) :]

    return {
        "PNG": PNG + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + still["PNG"][33:],
        "JPEG": at(still["JPEG"], still["JPEG"].index(b"\xff\xc0") + 5, struct.pack(">HH", height, width)),
        "JPEG, progressive": at(late, late.index(b"\xff\xc2") + 5, struct.pack(">HH", height, width)),
        "GIF": at(still["GIF"], 6, sizes),
        "GIF, frame": frame,
        "BMP": at(still["BMP"], 18, struct.pack("<ii", width, height)),
        "TIFF": tiff((width, height), 8, 2, b"abc"),
        "TIFF, LZW": tiff((width, height), 8, 2, b"abc", t259=(5,)),
        "TIFF, tile": tiff((16, 16), 8, 2, b"abc", t259=(5,), t322=(width,), t323=(height,)),
        "WebP": at(still["WEBP"], 26, struct.pack("<HH", wide, high)),
        "WebP, lossless": at(lossless, 21, struct.pack("<I", (wide - 1) | (high - 1) << 14 | lossless[24] >> 4 << 28)),
        "WebP, animated": at(animated, 24, (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")),
        "AVIF": at(still["AVIF"], ispe, struct.pack(">II", min(width, 16_384), min(height, 16_384))),
        "HEIC": at(still["HEIF"], heif_ispe, struct.pack(">II", width, height)),
        **{f"P{kind}": b"P%d %d %d 1 0" % (kind, width, height) for kind in range(1, 7)},
    }


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Returns the same file, damaged in one to three places."""
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        _damage(damaged, rng)
    if damaged.startswith(PNG) and rng.random() < 0.5:  # otherwise the checksums would reveal nearly all damage
        damaged = with_checksums(damaged)
    return bytes(damaged)


def _damage(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data) + 1) if rng.random() < 0.7 else rng.randrange(min(len(data), 100) + 1)
    stop = min(len(data), start + rng.choice((1, 1, 2, 4, 16, 64)))
    match rng.randrange(8):
        case 0 if start < len(data):
            data[start] ^= 1 << rng.randrange(8)
        case 1 if start < len(data):
            data[start] = rng.randrange(256)
        case 2:
            del data[start:stop]
        case 3:
            data[start:start] = rng.randbytes(stop - start)
        case 4:
            data[start:start] = data[start:stop]
        case 5:
            del data[start:]
        case 6:
            data[start:stop] = bytes(stop - start)
        case _:  # a number in a header
            number = rng.choice((0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF))
            field = struct.pack(rng.choice("<>") + "I", number)[: rng.choice((1, 2, 4))]
            data[start : start + len(field)] = field


def with_checksums(png: bytes) -> bytearray:
    """Returns a PNG with correct checksums, as far as its chunks can be found."""
    result, position = bytearray(png[:8]), 8
    while position + 12 <= len(png):
        length = int.from_bytes(png[position : position + 4])
        if position + 12 + length > len(png):
            break
        result += chunk(png[position + 4 : position + 8], png[position + 8 : position + 8 + length])
        position += 12 + length
    return result + png[position:]


def by_pillow(data: bytes) -> np.ndarray:
    """Returns a picture as Pillow shows it, upright and on white, computed independently of `decode_image`.

    Returns float (height, width, 3), 0..255. Raises what Pillow raises.
    """
    if data[4:8] == b"ftyp" and b"hei" in data[:40]:
        image, scaled = pillow_heif.open_heif(io.BytesIO(data)).to_pillow(), True
        white_is_zero = False
    else:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            scaled = image.format == "PPM" and image.tile[0].codec_name == "ppm"  # by the level of white in the file
            white_is_zero = getattr(image, "tag_v2", {}).get(262) == 0
            image.load()
            with contextlib.suppress(Exception):  # a broken EXIF block
                image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(int)
        bits = 16 if scaled else next(bits for bits in (8, 10, 12, 14, 16) if levels.max() < 2**bits)
        gray = levels * 256 // 2**bits
        return np.dstack([255 - gray if white_is_zero else gray] * 3).astype(float)
    pixels = np.asarray((image.convert("RGB") if image.mode == "LAB" else image).convert("RGBA")).astype(float)
    alpha = pixels[..., 3:] / 255
    return pixels[..., :3] * alpha + 255 * (1 - alpha)


def judge(data: bytes) -> str:
    """Returns "accepted", "refused", or what is wrong: pixels of a wrong shape, a bad message, an error of Pillow."""
    try:
        pixels = decode_image(data, mode="RGB", min_side=MIN_SIDE, max_pixels=MAX_PIXELS)
    except UnreadableImage as error:
        return "refused" if str(error).isprintable() and str(error) else f"bad message: {error!r}"
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        return f"wrong array: {pixels.dtype} {pixels.shape}"
    try:
        by_pillow(data)
        if data.startswith(PNG):
            with Image.open(io.BytesIO(data)) as image:
                image.verify()
    except Exception as error:
        return f"accepted, but Pillow raises {error!r}"
    return "accepted"


def campaign(first: int, count: int, note) -> Counter:
    """Judges `count` damaged files, numbered from `first`. Calls `note` with each number before its file is decoded.

    Returns:
        the number of files by (format, verdict); a verdict that is wrong contains the number of its file.
    """
    files = list(samples().items())
    verdicts = Counter()
    for number in range(first, first + count):
        name, data = files[number % len(files)]
        note(number)
        verdict = judge(mutated(data, random.Random(number)))
        verdicts[name, verdict if verdict in ("accepted", "refused") else f"{number}: {verdict}"] += 1
    return verdicts


def main(first: int, count: int, progress: str) -> None:
    """Prints the results of a campaign as JSON. The file `progress` contains the number of the current input."""
    warnings.simplefilter("ignore")
    with Path(progress).open("w") as log:

        def note(number: int) -> None:
            log.seek(0)
            log.write(f"{number:9}")
            log.flush()

        verdicts = campaign(first, count, note)
    print(json.dumps([[name, verdict, times] for (name, verdict), times in verdicts.items()]))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
