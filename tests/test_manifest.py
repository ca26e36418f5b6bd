"""Lineage: which photograph a file shows, which side of the split it is on, and the file that holds it."""

import os
import re
from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from config import UserError
from manifest import (
    KEPT,
    LEFT_OUT,
    SKIPPED,
    TRAIN,
    VALIDATION,
    Picture,
    assign_splits,
    copy_name,
    read_manifest,
    source_of,
    validation_sources,
    write_manifest,
)

NAMES = [f"ant/{number}.jpg" for number in range(10)]
STAMP = "0123456789abcdef" * 4
UUID = "123e4567-e89b-12d3-a456-426614174000"


def kept(name: str, folder: str = "rawdata") -> Picture:
    source = source_of(name)[0]
    return Picture(
        class_name=name.split("/")[0],
        source=source,
        group=source,
        file=f"{name}.png",
        origin=f"{folder}/{name}",
        status=KEPT,
    )


def sides(pictures) -> dict[str, str]:
    return {picture.origin: picture.split for picture in pictures}


def test_a_draw_is_the_same_on_every_machine_and_in_every_process():
    # Worked out once and written down: Python's own hash() differs from process to process.
    assert validation_sources(NAMES, share=0.3, seed=1) == {"ant/2.jpg", "ant/8.jpg", "ant/9.jpg"}


def test_a_draw_does_not_depend_on_the_order_of_listing_nor_on_doubles():
    drawn = validation_sources(NAMES, share=0.3, seed=1)
    assert validation_sources(reversed(NAMES), share=0.3, seed=1) == drawn
    assert validation_sources(NAMES * 3, share=0.3, seed=1) == drawn


def test_another_seed_draws_others():
    draws = {frozenset(validation_sources(NAMES, share=0.3, seed=seed)) for seed in range(20)}
    assert len(draws) > 10


@pytest.mark.parametrize(
    ("sources", "share", "drawn"),
    [(10, 0.2, 2), (10, 0.25, 2), (10, 0.35, 4), (8, 0.2, 2), (100, 0.25, 25), (3, 0.5, 2)],  # Python rounds 2.5 to 2
)
def test_the_share_is_kept_as_exactly_as_whole_pictures_allow(sources, share, drawn):
    names = [f"ant/{number}" for number in range(sources)]
    assert len(validation_sources(names, share=share, seed=1)) == drawn


@pytest.mark.parametrize(("sources", "share"), [(2, 0.01), (2, 0.9), (3, 0.01), (10, 0.01)])
def test_never_none_is_drawn(sources, share):
    assert len(validation_sources(NAMES[:sources], share=share, seed=1)) == 1


@pytest.mark.parametrize(("sources", "drawn"), [(2, 1), (3, 2), (4, 3), (10, 9)])
def test_never_all_are_drawn(sources, drawn):
    assert len(validation_sources(NAMES[:sources], share=0.9, seed=1)) == drawn


def test_a_new_source_moves_at_most_one_other_to_the_other_side():
    moved = set()
    for count in range(2, 60):
        names = [f"ant/{number}" for number in range(count)]
        before = validation_sources(names, share=0.2, seed=1)
        after = validation_sources([*names, "ant/new"], share=0.2, seed=1)
        moved.add(len(before ^ (after - {"ant/new"})))
    assert moved == {0, 1}


def test_the_split_is_stratified():
    pictures = [kept(f"{name}/{number}.jpg") for name, count in (("ant", 20), ("bee", 5)) for number in range(count)]
    split = assign_splits(pictures, share=0.2, seed=1)
    drawn = [picture.class_name for picture in split if picture.split == VALIDATION]
    assert (drawn.count("ant"), drawn.count("bee")) == (4, 1)
    assert sum(picture.split == TRAIN for picture in split) == 20
    assert [picture.origin for picture in split] == [picture.origin for picture in pictures]


def test_the_classes_do_not_share_one_draw():
    # Were only the bare names ranked, 0.jpg would validate in both classes or in none.
    pictures = [kept(f"{name}/{number}.jpg") for name in ("ant", "bee") for number in range(40)]
    drawn = {"ant": set(), "bee": set()}
    for picture in assign_splits(pictures, share=0.5, seed=1):
        if picture.split == VALIDATION:
            drawn[picture.class_name].add(PurePosixPath(picture.origin).name)
    assert drawn["ant"] != drawn["bee"]


def test_copies_follow_their_source_and_never_validate_beside_it():
    copies = [copy_name(name, STAMP, number) for name in NAMES for number in range(3)]
    pictures = [*map(kept, copies), *map(kept, NAMES)]  # copies listed first are no more than copies
    split = assign_splits(pictures, share=0.3, seed=1)
    validating = {picture.source for picture in split if picture.split == VALIDATION}
    assert len(validating) == 3
    for picture in split:
        if not picture.is_copy:
            assert picture.split == (VALIDATION if picture.source in validating else TRAIN)
        elif picture.source in validating:
            assert (picture.status, picture.split, picture.file) == (LEFT_OUT, "", "")
            assert picture.reason == f"shows the same as rawdata/{picture.source}, which validates"
        else:
            assert (picture.status, picture.split) == (KEPT, TRAIN)


def test_the_source_itself_validates_though_copies_sort_before_it():
    names = [name for letter in "yz" for name in (f"ant/ant_original_{letter}.jpg_{UUID}.jpg", f"ant/{letter}.jpg")]
    split = assign_splits([kept(name) for name in names], share=0.5, seed=1)
    (validating,) = (picture for picture in split if picture.split == VALIDATION)
    assert validating.origin in ("rawdata/ant/y.jpg", "rawdata/ant/z.jpg")


def test_of_a_source_that_is_gone_one_copy_validates_and_the_others_are_left_out():
    copies = [kept(copy_name(name, STAMP, number)) for name in ("ant/a.jpg", "ant/b.jpg") for number in range(3)]
    split = assign_splits(copies, share=0.5, seed=1)
    validating = [picture for picture in split if picture.split == VALIDATION]
    assert [picture.origin[-8:] for picture in validating] == ["0000.jpg"]  # the first of its copies
    others = [picture for picture in split if picture.source == validating[0].source and picture != validating[0]]
    assert [picture.status for picture in others] == [LEFT_OUT] * 2
    assert sum(picture.split == TRAIN for picture in split) == 3


def test_what_was_not_kept_is_on_no_side_and_counts_for_nothing():
    skipped = [replace(kept(f"ant/bad{n}.jpg"), status=SKIPPED, file="", reason="no picture") for n in range(8)]
    split = assign_splits([*skipped, kept("ant/a.jpg"), kept("ant/b.jpg")], share=0.2, seed=1)
    assert split[:8] == skipped
    assert sorted(picture.split for picture in split[8:]) == [TRAIN, VALIDATION]


def test_a_class_with_one_usable_source_is_refused_with_the_reason():
    skipped = replace(kept("bee/bad.jpg"), status=SKIPPED, reason="the file is empty")
    others = [kept("ant/a.jpg"), kept("ant/b.jpg")]
    copies = [kept(copy_name("bee/a.jpg", STAMP, number)) for number in range(3)]  # of one source, so one source
    with pytest.raises(
        UserError,
        match="^class bee: 1 usable picture .1 skipped.*the file is empty. .3 more show the same.*at least two",
    ):
        assign_splits([*others, kept("bee/a.jpg"), *copies, skipped], share=0.2, seed=1)
    with pytest.raises(UserError, match="^class bee: no usable pictures .1 skipped.*add pictures or remove"):
        assign_splits([*others, skipped], share=0.2, seed=1)


@pytest.mark.parametrize(
    ("name", "source", "stamp"),
    [
        ("ant/a.jpg", "ant/a.jpg", ""),
        ("ant/deep/er/a.jpg", "ant/deep/er/a.jpg", ""),
        ("ant/a.jpg_augmented_0123abcd_0007.jpg", "ant/a.jpg", "0123abcd"),
        ("ant/deep/a.b.png_augmented_0123abcd_12345.jpg", "ant/deep/a.b.png", "0123abcd"),
        (f"ant/ant_original_a.jpg_{UUID}.jpg", "ant/a.jpg", ""),  # as plain Augmentor names them
        (f"ant/my_ants_original_a b.JPG_{UUID}.JPEG", "ant/a b.JPG", ""),
        (f"ant/output/ant_original_a.jpg_{UUID}.jpg", "ant/a.jpg", ""),  # where plain Augmentor puts them
        (f"ant/deep/output/deep_original_a.jpg_{UUID}.jpg", "ant/deep/a.jpg", ""),
        (f"ant/output/ant_original_ant_original_a.jpg_{UUID}.jpg_{UUID}.jpg", "ant/a.jpg", ""),  # a copy of a copy
        (f"ant/ant_original_a.jpg_{UUID}.jpg_augmented_0123abcd_0007.jpg", "ant/a.jpg", "0123abcd"),
        ("ant/output/a.jpg", "ant/output/a.jpg", ""),
        ("ant/output/a.jpg_augmented_0123abcd_0007.jpg", "ant/output/a.jpg", "0123abcd"),
        # Ordinary names, however much they look like those of copies:
        ("ant/augmented_0123abcd_0007.jpg", "ant/augmented_0123abcd_0007.jpg", ""),
        ("ant/a_augmented_0123abcd_0007.png", "ant/a_augmented_0123abcd_0007.png", ""),
        ("ant/a_augmented_0123ABCD_0007.jpg", "ant/a_augmented_0123ABCD_0007.jpg", ""),
        ("ant/a_augmented_0123abc_0007.jpg", "ant/a_augmented_0123abc_0007.jpg", ""),
        ("ant/the_original_a.jpg", "ant/the_original_a.jpg", ""),
        (f"ant/a_{UUID}.jpg", f"ant/a_{UUID}.jpg", ""),
        ("ant_original_x/a.jpg", "ant_original_x/a.jpg", ""),
    ],
)
def test_a_name_tells_its_source(name, source, stamp):
    assert source_of(name) == (source, stamp)


@pytest.mark.parametrize("source", ["ant/a.jpg", "ant/a\nb.png", "ant/sub/x_augmented_y.jpg", "ant/ä,\"'.jpg"])
def test_the_name_of_a_copy_leads_back_to_its_source(source):
    assert source_of(copy_name(source, STAMP, 12345)) == (source, "01234567")


def test_copies_are_numbered_with_four_digits_so_that_they_sort():
    assert copy_name("ant/a.jpg", STAMP, 7) == "ant/a.jpg_augmented_01234567_0007.jpg"


@pytest.mark.parametrize(
    ("origin", "is_copy"),
    [
        ("rawdata/ant/a.jpg", False),
        ("/some/where/ant/a.jpg", False),
        ("augmented/ant/a.jpg_augmented_01234567_0001.jpg", True),
    ],
)
def test_a_picture_knows_whether_it_is_a_copy(origin, is_copy):
    assert Picture(class_name="ant", source="ant/a.jpg", origin=origin).is_copy is is_copy


@pytest.mark.parametrize(
    "name",
    [
        "plain.jpg",
        "comma, semicolon; and tab\t.jpg",
        "\"quoted\" and 'single'.jpg",
        "two\nlines.jpg",
        "carriage\rreturn.jpg",
        " blank at both ends ",
        "Grüße-日本.jpg",
        os.fsdecode(b"latin\xe9.jpg"),  # not UTF-8
        "=1+1.jpg",
    ],
)
def test_a_manifest_is_read_as_it_was_written(name, tmp_path):
    picture = Picture(
        file=f"ant/{name}.png",
        class_name="ant",
        source=f"ant/{name}",
        split=TRAIN,
        sha256=STAMP,
        status=KEPT,
        reason=f"because of {name}",
        origin=f"rawdata/ant/{name}",
        size=123,
        modified=1_700_000_000_123_456_789,
        shape="100x100x3",
    )
    other = Picture(class_name="bee", source="bee/b", origin="rawdata/bee/b")
    write_manifest(tmp_path / "manifest.csv", [picture, other])
    assert read_manifest(tmp_path / "manifest.csv") == [picture, other]


def test_a_manifest_is_a_table_with_the_promised_columns(tmp_path):
    path = tmp_path / "manifest.csv"
    write_manifest(path, [replace(kept("ant/a.jpg"), split=TRAIN, sha256="ab12", size=5, modified=6)])
    head, row = path.read_text(encoding="utf-8").splitlines()
    assert head.split(",")[:7] == ["file", "class", "source", "group", "split", "sha256", "perceptual_hash"]
    assert row.split(",")[:7] == ["ant/a.jpg.png", "ant", "ant/a.jpg", "ant/a.jpg", "train", "ab12", ""]


@pytest.mark.parametrize("file", ["../outside.png", "ant/../../outside.png", "/etc/outside.png", "ant/.."])
def test_a_manifest_that_names_a_file_outside_its_folder_is_refused(file, tmp_path):
    path = tmp_path / "manifest.csv"
    write_manifest(path, [replace(kept("ant/a.jpg"), file=file)])
    with pytest.raises(UserError, match=f"outside its folder: {re.escape(file)}$"):
        read_manifest(path)


def test_a_name_with_two_dots_in_it_is_inside(tmp_path):
    picture = replace(kept("ant/a..b.jpg"), file="ant/..a..b.jpg.png")
    write_manifest(tmp_path / "manifest.csv", [picture])
    assert read_manifest(tmp_path / "manifest.csv") == [picture]


@pytest.mark.parametrize(
    "content",
    [
        b"name,label\na.jpg,1\n",
        b"a.jpg\nb.jpg\n",
        b"file,class,source,split,sha256,status,reason,origin,size,modified,shape\na,b,c,d,e,f,g,h,many,0,k\n",
        b"file,class,source,split,sha256,status,reason,origin,size,modified,shape\na,b,c\n",
        b"file,class,source,split,sha256,status,reason,origin,size,modified,shape\na,b,c,d,e,f,g,h,1,2,k,more\n",
        b"\x89PNG\r\n\x1a\n\x00\x00",
        b"",
    ],
    ids=["other columns", "a list", "no number", "a short row", "a long row", "a picture", "empty"],
)
def test_a_table_of_another_kind_is_refused_in_one_line(content, tmp_path):
    path = tmp_path / "manifest.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"manifest\.csv: not a manifest of this version; move its folder away$"):
        read_manifest(path)


def test_a_manifest_of_before_is_refused(tmp_path):
    path = tmp_path / "manifest.csv"
    write_manifest(path, [Picture(class_name="ant", source="ant/1.png", origin="rawdata/ant/1.png")])
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line.rpartition(",")[0] for line in lines))
    with pytest.raises(UserError, match="not a manifest of this version"):
        read_manifest(path)
