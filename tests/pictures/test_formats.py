"""Files of formats that are not read are called by their names."""

import codecs
import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from pictures.decoding import NotAPicture, UnreadableImage, decode_image
from pictures.formats import FORMATS, NOT_A_PICTURE, name_content, name_format
from tests.helpers.mutations import file_of, scene
from tests.helpers.pictures import ROOT


def reason_of(data: bytes) -> tuple[str, bool]:
    """Returns why a file is refused, and whether it counts as no picture of any kind."""
    with pytest.raises(UnreadableImage) as refusal:
        decode_image(data, mode="RGB", min_side=32, max_pixels=10**6)
    assert str(refusal.value).isprintable()
    return str(refusal.value), isinstance(refusal.value, NotAPicture)


def zip_of(*names: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in names:
            archive.writestr(name, "application/vnd.oasis.opendocument.text" if name == "mimetype" else "content")
    return data.getvalue()


def tar_of(name: str) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return data.getvalue()


def media(brand: bytes, box: bytes = b"ftyp") -> bytes:
    return struct.pack(">I4s4sI", 16, box, brand, 0) + bytes(range(64))


PHOTO = Image.fromarray(scene())
PICTURES = {
    "JPEG XL": (b"\xff\x0a\xfa\x7f\x01", "convert it to PNG or JPEG"),
    "JPEG XL, boxed": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(20), "is a JPEG XL picture"),
    "JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(20), "is a JPEG 2000 picture"),
    "JPEG 2000, codestream": (b"\xff\x4f\xff\x51" + bytes(20), "is a JPEG 2000 picture"),
    "JPEG-LS": (b"\xff\xd8\xff\xf7\0\x0b" + bytes(20) + b"\xff\xd9", "is a JPEG-LS picture"),
    "JPEG XR": (b"II\xbc\x01" + bytes(20), "is a JPEG XR picture"),
    "PSD": (b"8BPS\0\1" + bytes(20), "is a Photoshop document"),
    "XCF": (b"gimp xcf v011\0" + bytes(20), "is a GIMP picture"),
    "ICO": (file_of(PHOTO, "ICO"), "is an icon (ICO)"),
    "CUR": (b"\0\0\2\0\1\0" + bytes(40), "is a mouse pointer"),
    "ICNS": (b"icns\0\0\1\0", "is an icon (ICNS)"),
    "TGA": (file_of(PHOTO, "TGA"), "is a TGA picture"),
    "DDS": (file_of(PHOTO, "DDS"), "is a DDS texture"),
    "EXR": (b"v/1\1\2\0\0\0", "is an OpenEXR picture"),
    "HDR": (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n", "is a Radiance HDR picture"),
    "FITS": (b"SIMPLE  =                    T / file", "is a FITS picture"),
    "DICOM": (bytes(128) + b"DICM\2\0", "is a DICOM picture"),
    "PFM": (b"PF\n2 2\n-1.0\n" + bytes(48), "is a PFM picture"),
    "PAM": (b"P7\nWIDTH 2\n", "is a PAM picture"),
    "QOI": (b"qoif" + bytes(20), "is a QOI picture"),
    "PCX": (file_of(PHOTO, "PCX"), "is a PCX picture"),
    "SGI": (file_of(PHOTO, "SGI"), "is an SGI picture"),
    "XBM": (file_of(PHOTO.convert("1"), "XBM"), "is an XBM picture"),
    "MNG": (b"\x8aMNG\r\n\x1a\n", "is an MNG or JNG picture"),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is an SVG drawing: convert it to PNG or JPEG"),
    "SVG with a head": (b"<?xml version='1.0'?>\n<!-- made by hand -->\n<svg:svg/>", "is an SVG drawing"),
    "SVG with a script": (b"<svg><script>move()</script></svg>", "is an SVG drawing"),
    "CR2": (b"II*\0\x10\0\0\0CR\2\0" + bytes(99), "is a raw file of a camera (CR2): convert it to JPEG"),
    "CR3": (media(b"crx "), "is a raw file of a camera (CR3)"),
    "ORF": (b"IIRO\x08\0\0\0", "is a raw file of a camera (ORF)"),
    "RAF": (b"FUJIFILMCCD-RAW 0201", "is a raw file of a camera (RAF)"),
    "RW2": (b"IIU\0\x18\0\0\0", "is a raw file of a camera (RW2)"),
    "PDF": (b"%PDF-1.7\n", "is a PDF document: save its pages as pictures"),
    "EPS": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is a PostScript (EPS) document"),
    "EPS with a preview": (b"\xc5\xd0\xd3\xc6" + bytes(30), "is a PostScript (EPS) document"),
    "DjVu": (b"AT&TFORM\0\0\0\1DJVU", "is a DjVu document"),
    "DOCX": (zip_of("[Content_Types].xml", "word/document.xml"), "is an Office document"),
    "ODT": (zip_of("mimetype", "content.xml"), "is an Office document"),
    "ZIP": (zip_of("cat.jpg"), "is a ZIP archive: unpack it"),
    "RAR": (b"Rar!\x1a\7\1\0", "is a RAR archive"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\4", "is a 7z archive"),
    "gzip": (gzip.compress(b"picture"), "is a gzip archive"),
    "tar": (tar_of("cat.jpg"), "is a tar archive"),
    "MP4": (media(b"isom"), "is a video (MP4 or MOV): save single frames of it as pictures"),
    "MOV": (media(b"qt  "), "is a video (MP4 or MOV)"),
    "old MOV": (media(b"\0\0\0\0", b"moov"), "is a video (MP4 or MOV)"),
    "AVI": (b"RIFF\x24\0\0\0AVI LIST", "is a video (AVI)"),
    "MKV": (b"\x1a\x45\xdf\xa3\x9fB\x86\x81\1", "is a video (MKV or WebM)"),
    "MPEG": (b"\0\0\1\xba\x44", "is a video"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "run git lfs pull"),
    "git-annex": (b"/annex/objects/SHA256E-s12345--4d7a.jpg\n", "run git annex get"),
    "DVC": (b"outs:\n- md5: 4d7a\n  size: 12345\n", "run dvc pull"),
    "iCloud": (b"bplist00\xd6\1\2", "is a placeholder of iCloud"),
    "shortcut": (b"L\0\0\0\1\x14\2\0\0\0\0\0", "is a shortcut"),
    "base64": (b"data:image/jpeg;base64,/9j/4AAQSkZJRg==", "is a picture as base64 text"),
    "web page": (b"<!DOCTYPE html><html><body>404 Not found</body></html>", "is a web page, not the picture: the down"),
    "web page in capitals": (b"\n\n<HTML><HEAD><TITLE>Sign in</TITLE>", "is a web page"),
    "web page with a logo": (b"<!doctype html><svg></svg>", "is a web page"),
    "error of a cloud": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "is a web page"),
    "zeros": (bytes(5000), "contains only zeros: copying or downloading it failed"),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_decode_image_names_formats_that_are_not_read(kind):
    data, message = PICTURES[kind]
    reason, is_no_picture = reason_of(data)
    assert message in reason
    assert not is_no_picture and NOT_A_PICTURE not in reason
    assert reason == name_format(data)


ARRAY = io.BytesIO()
np.save(ARRAY, np.zeros(9))
RECORD = struct.pack("<QI", 5, 123) + b"image" + struct.pack("<I", 456)
OTHERS = {
    "text": (b"a letter, not a picture\n" * 20, "is text, not a picture"),
    "label of YOLO": (b"0 0.5 0.5 0.25 0.3\n", "is text"),
    "one letter": (b"x", "is text"),
    "text in UTF-8": ("Übung macht den Meister, 猫 auch".encode(), "is text"),
    "long text in UTF-8": (("a" + "猫" * 3000).encode(), "is text"),
    "text in UTF-16": ("Übung".encode("utf-16"), "is text"),
    "text in Latin-1": ("Das ist eine Übung von vielen in diesem Heft".encode("latin-1"), "is text"),
    "CSV": (b"name,label\na.jpg,cat\n", "is text"),
    "JSON": (json.dumps({"images": []}).encode(), "is JSON, not a picture"),
    "JSON, list": (b"\n[1, 2]", "is JSON"),
    "label of Pascal VOC": (b"<annotation><folder>cats</folder></annotation>", "is XML, not a picture"),
    "NPY": (ARRAY.getvalue(), "is a NumPy array, not a picture"),
    "HDF5": (b"\x89HDF\r\n\x1a\n", "is an HDF5 or NetCDF file"),
    "MATLAB": (b"MATLAB 5.0 MAT-file, Platform: GLNXA64", "is a MATLAB file"),
    "pickle": (pickle.dumps({"data": [1, 2]}), "is a Python pickle"),
    "TFRecord": (RECORD * 3, "is a TFRecord file"),
    "SQLite": (b"SQLite format 3\0", "is an SQLite database"),
    "Thumbs.db": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an Office document or Thumbs.db"),
    "MP3": (b"ID3\4\0\0", "is a sound recording"),
    "WAV": (b"RIFF\x24\0\0\0WAVEfmt ", "is a sound recording"),
    "Python program": (b"#!/usr/bin/env python3\n", "is a program"),
    "AppleDouble": (b"\0\5\x16\7\0\2\0\0Mac OS X", "macOS data about another file"),
    "noise": (bytes(range(1, 256)), "not a picture, or of an unknown format (JPEG, PNG, WebP"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_decode_image_tells_files_that_are_no_pictures_apart(kind):
    data, message = OTHERS[kind]
    reason, is_no_picture = reason_of(data)
    assert message in reason
    assert is_no_picture and NOT_A_PICTURE in reason
    assert reason == name_content(data)
    assert name_format(data) == ""


@pytest.mark.parametrize(
    "data",
    [file_of(PHOTO, kind)[:cut] for kind, cut in [("PNG", 20), ("GIF", 11), ("TIFF", 30), ("AVIF", 100), ("WEBP", 20)]],
)
def test_decode_image_does_not_take_a_damaged_picture_for_something_else(data):
    reason, is_no_picture = reason_of(data)
    assert reason.startswith("cannot be decoded: ")
    assert not is_no_picture


def test_formats_are_those_of_the_documentation():
    assert f"Read are {', '.join(FORMATS[:-1])} and {FORMATS[-1]}." in (ROOT / "docs/reliability.md").read_text()
    assert f"{', '.join(FORMATS[:-4])}, TIFF or PPM, of any size" in (ROOT / "README.md").read_text()


def test_formats_are_all_read():
    kinds = {"WebP": "WEBP", "HEIC": "HEIF", "PGM": "PPM", "PBM": "PPM"}
    for name in FORMATS:
        image = PHOTO.convert({"PGM": "L", "PBM": "1"}.get(name, "RGB"))
        data = file_of(image, kinds.get(name, name))
        assert decode_image(data, mode="L", min_side=32, max_pixels=10**6).shape == (32, 40)


# ---- limits ----


def records_of(*lengths: int) -> bytes:
    """Returns TFRecords: length, its checksum, content, its checksum."""
    return b"".join(struct.pack("<QI", length, 1) + b"\1" * length + b"\2" * 4 for length in lengths)


@pytest.mark.parametrize(
    ("data", "is_tfrecord"),
    [
        (records_of(0), True),
        (records_of(1, 5, 2), True),
        (records_of(1, 5, 2)[:-1], False),
        (records_of(*[3] * 9) + b"\xff" * 3, False),
        (records_of(*[3] * 10) + b"\xff" * 3, True),  # the first ten decide
        (records_of(*[3] * 10) + b"\xff" * 20, True),
        (records_of(*[3] * 10)[:-1], False),
    ],
)
def test_name_content_knows_a_sequence_of_records(data, is_tfrecord):
    assert (name_content(data) == f"is a TFRecord file, {NOT_A_PICTURE}") == is_tfrecord


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (codecs.BOM_UTF16_LE + "a\tb\r\nc".encode("utf-16-le"), "is text"),
        (codecs.BOM_UTF16_BE + "abc".encode("utf-16-be")[:-1], "is text"),  # a part of a letter at the end
        (b"plain\x00text", NOT_A_PICTURE),
        ("caf\u00e9".encode()[:-1], "is text"),
        (b"1234567890\x80", "is text"),  # less than a tenth in another encoding than UTF-8
        (b"123456789\x80", NOT_A_PICTURE),
        (codecs.BOM_UTF8 + b' {"a": 1}', "is JSON"),
        (b"X{}", "is text"),
        (b"X<a/>", "is text"),
        (b"RIFF\n\n\n\nWAVEfmt ", "is a sound recording"),
    ],
)
def test_name_content_tells_text_from_other_files(data, kind):
    assert name_content(data).startswith(f"{kind}, ")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (bytes(5), "contains only zeros: copying or downloading it failed"),
        (b"XXXX", ""),
        (b"X<html>", ""),
        (codecs.BOM_UTF8 + b"\r\n\t<html>", "is a web page, not the picture: "),
        (b"RIFF\n\n\n\nAVI LIST", "is a video (AVI): "),
    ],
)
def test_name_format_goes_by_the_first_bytes(data, name):
    assert name_format(data).startswith(name) and bool(name_format(data)) == bool(name)
