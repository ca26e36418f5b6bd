"""manifest.csv."""

import os
import re
from dataclasses import replace
from pathlib import PurePosixPath, PureWindowsPath

import pytest

from config import ImageConfig
from pictures.manifest import (
    KEPT,
    PENDING,
    TRAIN,
    Picture,
    class_names,
    is_inside,
    normalized,
    read_manifest,
    shape_text,
    stand_ins,
    write_manifest,
)
from system.errors import UserError

SHA256 = "0123456789abcdef" * 4
COLUMNS = (
    "stored,class,source,photo,group,split,sha256,perceptual_hash,status,reason,note,path,pixels,width,height,format,"
    "camera,brightness,shadows,highlights,contrast,colorfulness,sharpness,remarks,shape,stored_sha256,grouped"
)
HEADER = f"{COLUMNS}\n".encode()
VALUES = b"a,b,c,d,e,f,g,h,i,j,k,l,123,1,1,m,n,1,2,3,4,5,0.5,o,p,q,0"
HEADER_OF_VERSION_1 = (
    b"file,class,source,group,split,sha256,perceptual_hash,status,reason,origin,size,modified,shape,group_bits\n"
)

HEADER_OF_VERSION_2 = (
    b"stored,class,source,group,split,sha256,perceptual_hash,status,reason,path,size,modified,shape,grouped\n"
)


def kept(name: str, folder: str = "rawdata") -> Picture:
    class_name = name.split("/")[0]
    path = f"{folder}/{name}"
    return Picture(stored=f"{name}.png", class_name=class_name, source=name, group=name, path=path, status=KEPT)


@pytest.mark.parametrize(
    ("path", "is_copy"),
    [
        ("rawdata/ant/a.jpg", False),
        ("/some/where/ant/a.jpg", False),
        ("augmented/ant/a.jpg_augmented_01234567_0001.jpg", True),
    ],
)
def test_picture_knows_whether_it_is_a_copy(path, is_copy):
    assert Picture(class_name="ant", source="ant/a.jpg", path=path).is_copy is is_copy


@pytest.mark.parametrize(
    "name",
    [
        "plain.jpg",
        "comma, semicolon; and tab\t.jpg",
        "\"quoted\" and 'single'.jpg",
        "two\nlines.jpg",
        "carriage\rreturn.jpg",
        " space at both ends ",
        "Grüße-日本.jpg",
        os.fsdecode(b"latin\xe9.jpg"),  # not UTF-8
        "=1+1.jpg",
    ],
)
def test_read_manifest_gives_what_was_written(name, tmp_path):
    picture = Picture(
        stored=f"ant/{name}.png",
        class_name="ant",
        source=f"ant/{name}",
        split=TRAIN,
        sha256=SHA256,
        status=KEPT,
        reason=f"because of {name}",
        path=f"rawdata/ant/{name}",
        note=f"note of {name}",
        pixels=123,
        width=41,
        height=3,
        format="JPEG",
        camera="Canon, EOS",
        brightness=100.5,
        sharpness=0.0123,
        remarks="dark; small",
        shape="100x100x3",
        stored_sha256=SHA256,
        grouped=1,
    )
    other = Picture(class_name="bee", source="bee/b", path="rawdata/bee/b")
    write_manifest(tmp_path / "manifest.csv", [picture, other])
    assert read_manifest(tmp_path / "manifest.csv") == [picture, other]


def test_write_manifest_makes_a_table_with_the_documented_columns(tmp_path):
    path = tmp_path / "manifest.csv"
    write_manifest(path, [replace(kept("ant/a.jpg"), split=TRAIN, sha256="ab12", stored_sha256="cd", pixels=5)])
    assert path.read_text(encoding="utf-8").splitlines() == [
        COLUMNS,
        "ant/a.jpg.png,ant,ant/a.jpg,,ant/a.jpg,train,ab12,,kept,,,rawdata/ant/a.jpg,5,0,0,,,0.0,0.0,0.0,0.0,0.0,0.0,,,cd,0",
    ]


def test_write_manifest_leaves_a_file_with_the_same_content_alone(tmp_path):
    path = tmp_path / "manifest.csv"
    write_manifest(path, [kept("ant/a.jpg")])
    inode = path.stat().st_ino
    write_manifest(path, [kept("ant/a.jpg")])
    assert path.stat().st_ino == inode
    write_manifest(path, [kept("ant/b.jpg")])
    assert path.stat().st_ino != inode


@pytest.mark.parametrize(
    ("name", "on_posix", "on_windows"),
    [
        ("ant/a.png", True, True),
        ("A: good/a.png", True, False),  # a drive
        ("ant/a\\..\\b.png", True, False),
        ("ant\\a.png", True, True),
        ("\\\\server\\share\\a.png", True, False),
        ("\\a.png", True, False),
        ("/a.png", False, False),
        ("ant/../a.png", False, False),
        ("..", False, False),
        ("ant/..a..", True, True),
    ],
)
def test_is_inside_by_the_rules_of_each_system(name, on_posix, on_windows):
    assert is_inside(name, system=PurePosixPath) is on_posix
    assert is_inside(name, system=PureWindowsPath) is on_windows


def test_normalized_composes_letters_and_leaves_other_bytes():
    assert normalized("cafe\u0301 \udce9") == "caf\u00e9 \udce9"


@pytest.mark.parametrize("stored", ["../outside.png", "ant/../../outside.png", "/etc/outside.png", "ant/.."])
def test_read_manifest_refuses_a_file_outside_its_folder(stored, tmp_path):
    path = tmp_path / "manifest.csv"
    write_manifest(path, [replace(kept("ant/a.jpg"), stored=stored)])
    with pytest.raises(UserError, match=f"names a file outside its folder: {re.escape(stored)}$"):
        read_manifest(path)


def test_read_manifest_accepts_two_dots_inside_a_name(tmp_path):
    picture = replace(kept("ant/a..b.jpg"), stored="ant/..a..b.jpg.png")
    write_manifest(tmp_path / "manifest.csv", [picture])
    assert read_manifest(tmp_path / "manifest.csv") == [picture]


@pytest.mark.parametrize(
    "content",
    [
        b"name,label\na.jpg,1\n",
        b"a.jpg\nb.jpg\n",
        HEADER + VALUES.replace(b"123", b"many") + b"\n",
        HEADER + VALUES.replace(b"0.5", b"half") + b"\n",
        HEADER + b"a,b,c\n",
        HEADER + VALUES + b",more\n",
        HEADER.replace(b"source,", b""),
        HEADER_OF_VERSION_1 + b"a,b,c\n",
        HEADER_OF_VERSION_1 + b"a,b,c,d,e,f,g,h,i,j,5,6,m,8,more\n",
        b"\x89PNG\r\n\x1a\n\x00\x00",
        b"",
    ],
    ids=[
        "other columns",
        "a list",
        "not a number",
        "not a fraction",
        "a short row",
        "a long row",
        "a column less",
        "a short row of version 1",
        "a long row of version 1",
        "a picture",
        "empty",
    ],
)
def test_read_manifest_refuses_other_files_in_one_line(content, tmp_path):
    path = tmp_path / "manifest.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"manifest\.csv: is not a manifest of this version; move its folder away$"):
        read_manifest(path)


@pytest.mark.parametrize(
    "header",
    [
        HEADER_OF_VERSION_1,
        HEADER_OF_VERSION_1.replace(b"file,", b"stored,")
        .replace(b"origin", b"path")
        .replace(b"group_bits", b"grouped"),
        HEADER_OF_VERSION_1.replace(b"file,", b"stored,")
        .replace(b"origin", b"path")
        .replace(b"size", b"something new"),
    ],
    ids=["1", "2", "a later one"],
)
def test_read_manifest_makes_all_rows_of_another_version_pending(header, tmp_path, capsys):
    path = tmp_path / "manifest.csv"
    row = b"ant/a.jpg.png,ant,ant/a.jpg,ant/a.jpg,train,ab12,00ff,kept,,rawdata/ant/a.jpg,5,6,100x100x3,8\n"
    path.write_bytes(header + row)
    assert read_manifest(path) == [
        Picture(stored="ant/a.jpg.png", class_name="ant", source="ant/a.jpg", path="rawdata/ant/a.jpg", status=PENDING)
    ]
    assert capsys.readouterr().out == (
        f"{path}: was written by another version of this toolkit; all images are made again\n"
    )


def test_read_manifest_takes_the_mark_that_spreadsheets_write(tmp_path):
    path = tmp_path / "manifest.csv"
    write_manifest(path, [kept("ant/a.jpg")])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_manifest(path) == [kept("ant/a.jpg")]


def test_read_manifest_of_an_earlier_version_refuses_outside_files_too(tmp_path):
    path = tmp_path / "manifest.csv"
    path.write_bytes(HEADER_OF_VERSION_1 + b"../a.png,ant,ant/a.jpg,,,,,kept,,rawdata/ant/a.jpg,5,6,100x100x3,8\n")
    with pytest.raises(UserError, match="outside its folder"):
        read_manifest(path)


def test_class_names_are_sorted_and_unique():
    assert class_names([kept("bee/1.jpg"), kept("ant/1.jpg"), kept("bee/2.jpg")]) == ["ant", "bee"]


def test_stand_ins_are_the_sources_or_else_their_first_copies():
    source, copies = kept("ant/b.jpg"), [replace(kept("ant/b.jpg"), path=f"0/{name}.jpg") for name in "21"]
    assert stand_ins([*copies, source]) == {"ant/b.jpg": source}
    assert stand_ins([*copies, kept("ant/a.jpg")]) == {"ant/b.jpg": copies[1], "ant/a.jpg": kept("ant/a.jpg")}


def test_shape_text_is_height_width_channels():
    assert shape_text(ImageConfig(height=20, width=30, color_channels=1)) == "20x30x1"
