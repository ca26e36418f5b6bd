"""Names the format of files that are not read, by their first bytes.

libmagic (python-magic) knows more formats, but needs a system library, and filetype and puremagic do not know what to
do about them, which is what users ask.
"""

import codecs
import re

FORMATS = ("JPEG", "PNG", "WebP", "AVIF", "HEIC", "GIF", "BMP", "TIFF", "PPM", "PGM", "PBM")  # that are read
NOT_A_PICTURE = "not a picture"  # part of the reason for files that have nothing to do with pictures, and of no other
SUFFIXES = {  # of their files
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".heic", ".heif"),
    *(".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"),
}
_HEAD = 4096  # bytes at the start that are looked at

_READABLE = f"{', '.join(FORMATS[:-1])} and {FORMATS[-1]} are read"
_CONVERT = f"convert it to PNG or JPEG ({_READABLE})"
_CAMERA = "convert it to JPEG with the program of the camera"
_UNPACK = "unpack it"
FRAMES = "save single frames of it as pictures"
_PAGES = "save its pages as pictures"
_DOWNLOAD = "the download failed; download the picture itself"

# (what a file starts with, or a pattern of its first bytes; its name; what to do)
_PICTURES: tuple[tuple[bytes, str, str], ...] = (
    # pictures
    (rb"\xff\x0a|\0{3}\x0cJXL \r\n\x87\n", "a JPEG XL picture", _CONVERT),
    (rb"\0{3}\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", "a JPEG 2000 picture", _CONVERT),
    (rb"\xff\xd8\xff\xf7", "a JPEG-LS picture", _CONVERT),
    (rb"II\xbc", "a JPEG XR picture", _CONVERT),
    (rb"8B[PB]S", "a Photoshop document", _CONVERT),
    (rb"gimp xcf", "a GIMP picture", _CONVERT),
    (rb"\0\0\x01\0[^\0]\0", "an icon (ICO)", _CONVERT),
    (rb"\0\0\x02\0[^\0]\0", "a mouse pointer (CUR)", _CONVERT),
    (rb"icns", "an icon (ICNS)", _CONVERT),
    (rb"DDS ", "a DDS texture", _CONVERT),
    (rb"v/1\x01", "an OpenEXR picture", _CONVERT),
    (rb"#\?(?:RADIANCE|RGBE)", "a Radiance HDR picture", _CONVERT),
    (rb"SIMPLE  =", "a FITS picture", _CONVERT),
    (rb".{128}DICM", "a DICOM picture", _CONVERT),
    (rb"P[Ff]\s", "a PFM picture", _CONVERT),
    (rb"P7\s", "a PAM picture", _CONVERT),
    (rb"qoif", "a QOI picture", _CONVERT),
    (rb"FLIF", "a FLIF picture", _CONVERT),
    (rb"BPG\xfb", "a BPG picture", _CONVERT),
    (rb"\x0a[\0\x02\x03\x04\x05]\x01[\x01\x02\x04\x08]", "a PCX picture", _CONVERT),
    (rb"\x01\xda[\0\x01][\x01\x02]", "an SGI picture", _CONVERT),
    (rb"\x59\xa6\x6a\x95", "a Sun raster picture", _CONVERT),
    (rb"\x8a[MJ]NG\r\n|\x8bJNG\r\n", "an MNG or JNG picture", _CONVERT),
    (rb"AT&TFORM", "a DjVu document", _PAGES),
    (rb"/\* XPM \*/", "an XPM picture", _CONVERT),
    (rb"#define \w+_width ", "an XBM picture", _CONVERT),
    (rb"\xd7\xcd\xc6\x9a|\x01\0{3}.{36} EMF", "a Windows metafile", _CONVERT),
    (rb"NRRD000", "an NRRD picture", _CONVERT),
    (rb".{344}n[i+]1\0", "a NIfTI picture", _CONVERT),
    (rb"ZISRAWFILE", "a CZI picture of a microscope", _CONVERT),
    (rb"\x70\0{3}.{4}\x2a", "a LIF picture of a microscope", _CONVERT),
    # raw files of cameras that are no TIFFs
    (rb"II\x2a\0.{4}CR", "a raw file of a camera (CR2)", _CAMERA),
    (rb"\0.{3}ftypcrx ", "a raw file of a camera (CR3)", _CAMERA),
    (rb"IIR[OS]|MMOR", "a raw file of a camera (ORF)", _CAMERA),
    (rb"FUJIFILMCCD-RAW", "a raw file of a camera (RAF)", _CAMERA),
    (rb"IIU\0", "a raw file of a camera (RW2)", _CAMERA),
    (rb"FOVb|\0MRM|II\x1a\0{3}HEAPCCDR", "a raw file of a camera", _CAMERA),
    # documents that contain pictures
    (rb"\s*%PDF", "a PDF document", _PAGES),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "a PostScript (EPS) document", _CONVERT),
    # archives
    (
        rb"PK\x03\x04.*\[Content_Types\]\.xml|PK\x03\x04.{26}mimetypeapplication/vnd\.oasis",
        "an Office document",
        _PAGES,
    ),
    (
        rb"PK\x03\x04.{26}mimetypeimage/openraster|PK\x03\x04.{26}mimetypeapplication/x-krita",
        "a Krita picture",
        _CONVERT,
    ),
    (rb"PK\x03\x04|PK\x05\x06", "a ZIP archive", _UNPACK),
    (rb"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (rb"\x1f\x8b", "a gzip archive", _UNPACK),
    (rb"BZh[1-9]1AY", "a bzip2 archive", _UNPACK),
    (rb"\xfd7zXZ\0", "an xz archive", _UNPACK),
    (rb"\x28\xb5\x2f\xfd", "a Zstandard archive", _UNPACK),
    (rb"MSCF\0", "a CAB archive", _UNPACK),
    (rb".{257}ustar", "a tar archive", _UNPACK),
    # videos
    (rb"\0.{3}ftyp(?:M4A|M4B|F4A)", "a sound recording", "move it away"),
    (rb"\0.{3}(?:ftyp|moov|mdat|wide|skip)", "a video (MP4 or MOV)", FRAMES),
    (rb"RIFF.{4}AVI ", "a video (AVI)", FRAMES),
    (rb"\x1a\x45\xdf\xa3", "a video (MKV or WebM)", FRAMES),
    (rb"\0\0\x01[\xba\xb3]|FLV\x01|\x30\x26\xb2\x75\x8e\x66\xcf\x11|\x47.{187}\x47.{187}\x47", "a video", FRAMES),
    # what stands for a picture that is elsewhere
    (rb"version https://git-lfs\.github\.com/spec/", "a Git LFS pointer, not the picture", "run git lfs pull"),
    (rb"[^\n]{0,200}/annex/objects/", "a git-annex pointer, not the picture", "run git annex get"),
    (rb"outs:\n- md5: ", "a DVC pointer, not the picture", "run dvc pull"),
    (rb"bplist00", "a placeholder of iCloud or a property list, not the picture", "download the picture itself"),
    (rb"L\0{3}\x01\x14\x02\0|\[InternetShortcut\]", "a shortcut, not the picture", "copy the picture itself"),
    (rb"data:image/|/9j/4|iVBORw0KGgo", "a picture as base64 text", "decode it with base64 -d"),
)
# A drawing may contain parts of a web page, and the other way round: what comes first decides.
_PAGE_OR_DRAWING = re.compile(
    rb"<(?:\w+:)?(?:(?P<svg>svg)|(?P<page>!doctype html|html|head|body|script|meta|error|fault|ServiceException\w*))\b",
    re.IGNORECASE,
)

# (what a file starts with; its name): neither a picture nor a stand-in for one
_OTHERS: tuple[tuple[bytes, str], ...] = (
    (rb"\x93NUMPY", "a NumPy array"),
    (rb"\x89HDF\r\n|.{512}\x89HDF\r\n|CDF[\x01\x02\x05]", "an HDF5 or NetCDF file"),
    (rb"MATLAB 5\.0 MAT-file", "a MATLAB file"),
    (rb"\x80[\x02-\x05][\x95cK\]}(X]", "a Python pickle"),
    (rb"PAR1|ARROW1", "a Parquet or Arrow table"),
    (rb"SQLite format 3", "an SQLite database"),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document or Thumbs.db"),
    (rb"\{\\rtf", "an RTF document"),
    (rb"ID3|RIFF.{4}WAVE|fLaC|OggS|MThd|FORM.{4}AIF|\xff[\xfb\xf3\xf2]", "a sound recording"),
    (rb"MZ|\x7fELF|\xcf\xfa\xed\xfe|\xca\xfe\xba\xbe|#!", "a program"),
    (rb"\0\x05\x16\x07", "macOS data about another file (AppleDouble)"),
    (rb"\0{3}\x01Bud1", "a .DS_Store of macOS"),
)


class FormatNotRead(ValueError):
    """A file of a format that is not read; the message says which, and what to do."""


def name_format(data: bytes) -> str:
    """Returns the format of a file and what to do, such as "is a PDF document: save its pages as pictures".

    Only for pictures of formats that are not read, and for files that contain pictures or stand for one. Returns "" for
    all others.
    """
    head = data[:_HEAD]
    name, advice = _first_match(head)
    if name:
        return f"is {name}: {advice}"
    if data.endswith(b"TRUEVISION-XFILE.\0"):
        return f"is a TGA picture: {_CONVERT}"
    if not head.strip(b"\0"):
        return "contains only zeros: copying or downloading it failed"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        first = _PAGE_OR_DRAWING.search(head)
        if first and first.lastgroup == "svg":
            return f"is an SVG drawing: {_CONVERT}"
        if first:
            return f"is a web page, not the picture: {_DOWNLOAD}"
    return ""


def is_video(data: bytes) -> bool:
    """Returns whether a file is a video of a known format. HEIC and AVIF, which start like MP4, are to be excluded."""
    return _first_match(data[:_HEAD])[1] == FRAMES


def _first_match(head: bytes) -> tuple[str, str]:
    """Returns the name and the advice for files that start like this, or empty texts."""
    found = ((name, advice) for pattern, name, advice in _PICTURES if re.match(pattern, head, re.DOTALL))
    return next(found, ("", ""))


def name_content(data: bytes) -> str:
    """Returns what a file is that has nothing to do with pictures, such as "is text, not a picture"."""
    head = data[:_HEAD]
    for pattern, name in _OTHERS:
        if re.match(pattern, head, re.DOTALL):
            return f"is {name}, {NOT_A_PICTURE}"
    if _is_tfrecord(data):
        return f"is a TFRecord file, {NOT_A_PICTURE}"
    if not _is_text(head):
        return f"{NOT_A_PICTURE}, or of an unknown format ({_READABLE})"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    kind = "JSON" if start in (b"{", b"[") else "XML" if start == b"<" else "text"
    return f"is {kind}, {NOT_A_PICTURE}"


def _is_text(head: bytes) -> bool:
    """Returns whether the start of a file is text in UTF-8, UTF-16 or a Western encoding."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return head.decode("utf-16", "replace").replace("\n", "").replace("\r", "").replace("\t", "").isprintable()
    if re.search(rb"[\0-\x08\x0e-\x1a\x1c-\x1f\x7f]", head):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # incremental, since the last letter may be cut
    except UnicodeDecodeError:
        return sum(byte > 127 for byte in head) < len(head) / 10
    return True


def _is_tfrecord(data: bytes) -> bool:
    """Returns whether a file is a sequence of records, each after its length and a checksum of that."""
    position, records = 0, 0
    while position + 16 <= len(data) and records < 10:
        position += 16 + int.from_bytes(data[position : position + 8], "little")
        records += 1
    return records > 0 and (position == len(data) or (records == 10 and position < len(data)))
