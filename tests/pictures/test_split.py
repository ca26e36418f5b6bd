"""The split between training and validation, and which copies may be used."""

import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from pictures.copy_names import copy_name, source_of
from pictures.manifest import EXCLUDED, KEPT, PENDING, SKIPPED, TRAIN, VALIDATION, Picture
from pictures.split import assign_splits, draw_validation_groups, exclude_unusable_copies, fingerprint
from system.errors import UserError

NAMES = [f"ant/{number}.jpg" for number in range(10)]
SHA256 = "0123456789abcdef" * 4
UUID = "123e4567-e89b-12d3-a456-426614174000"


def kept(name: str, folder: str = "rawdata") -> Picture:
    source = source_of(name)[0]
    return Picture(
        class_name=name.split("/")[0],
        source=source,
        group=source,
        stored=f"{name}.png",
        path=f"{folder}/{name}",
        status=KEPT,
    )


# ---- drawing ----


def test_draw_validation_groups_is_the_same_on_every_machine():
    # Python's own hash() differs from process to process.
    drawn = {"ant/2.jpg", "ant/8.jpg", "ant/9.jpg"}
    assert draw_validation_groups(NAMES, fraction=0.3, seed=1) == drawn
    assert draw_validation_groups(reversed(NAMES), fraction=0.3, seed=1) == drawn
    assert draw_validation_groups(NAMES * 3, fraction=0.3, seed=1) == drawn


def test_draw_validation_groups_depends_on_the_seed():
    drawn = {frozenset(draw_validation_groups(NAMES, fraction=0.3, seed=seed)) for seed in range(20)}
    assert len(drawn) > 10


@pytest.mark.parametrize(
    ("groups", "fraction", "drawn"),
    [
        (10, 0.2, 2),
        (10, 0.25, 2),  # Python rounds 2.5 to 2
        (10, 0.35, 4),
        (8, 0.2, 2),
        (100, 0.25, 25),
        (3, 0.5, 2),
        (2, 0.01, 1),  # never none
        (3, 0.01, 1),
        (10, 0.01, 1),
        (2, 0.9, 1),  # never all
        (3, 0.9, 2),
        (4, 0.9, 3),
        (10, 0.9, 9),
    ],
)
def test_draw_validation_groups_rounds_but_never_takes_none_or_all(groups, fraction, drawn):
    names = [f"ant/{number}" for number in range(groups)]
    assert len(draw_validation_groups(names, fraction=fraction, seed=1)) == drawn


def test_draw_validation_groups_moves_at_most_one_group_for_a_new_one():
    moved = set()
    for count in range(2, 60):
        names = [f"ant/{number}" for number in range(count)]
        before = draw_validation_groups(names, fraction=0.2, seed=1)
        after = draw_validation_groups([*names, "ant/new"], fraction=0.2, seed=1)
        moved.add(len(before ^ (after - {"ant/new"})))
    assert moved == {0, 1}


# ---- assigning ----


def test_assign_splits_is_stratified():
    pictures = [kept(f"{name}/{number}.jpg") for name, count in (("ant", 20), ("bee", 5)) for number in range(count)]
    split = assign_splits(pictures, fraction=0.2, seed=1)
    assert Counter((picture.class_name, picture.split) for picture in split) == {
        ("ant", TRAIN): 16,
        ("ant", VALIDATION): 4,
        ("bee", TRAIN): 4,
        ("bee", VALIDATION): 1,
    }
    assert [picture.path for picture in split] == [picture.path for picture in pictures]


def test_assign_splits_draws_for_each_class_separately():
    # If it ranked the file names only, 0.jpg would validate in both classes or in none.
    pictures = [kept(f"{name}/{number}.jpg") for name in ("ant", "bee") for number in range(40)]
    drawn = {"ant": set(), "bee": set()}
    for picture in assign_splits(pictures, fraction=0.5, seed=1):
        if picture.split == VALIDATION:
            drawn[picture.class_name].add(PurePosixPath(picture.path).name)
    assert drawn["ant"] != drawn["bee"]


def test_assign_splits_puts_copies_on_the_side_of_their_source():
    copies = [copy_name(name, SHA256, index) for name in NAMES for index in range(3)]
    pictures = [*map(kept, copies), *map(kept, NAMES)]  # the order of listing does not matter
    split = assign_splits(pictures, fraction=0.3, seed=1)
    validating = {picture.source for picture in split if picture.split == VALIDATION}
    assert (len(validating), len(split)) == (3, 40)
    for picture in split:
        if not picture.is_copy:
            assert picture.split == (VALIDATION if picture.source in validating else TRAIN)
        elif picture.source in validating:
            assert (picture.status, picture.split, picture.stored) == (EXCLUDED, "", "")
            assert picture.reason == f"shows the same as rawdata/{picture.source}, which is used for validation"
        else:
            assert (picture.status, picture.split) == (KEPT, TRAIN)


def test_assign_splits_validates_with_the_source_and_not_with_a_copy():
    # The copies come first by name.
    names = [name for letter in "yz" for name in (f"ant/ant_original_{letter}.jpg_{UUID}.jpg", f"ant/{letter}.jpg")]
    split = assign_splits([kept(name) for name in names], fraction=0.5, seed=1)
    (validating,) = (picture for picture in split if picture.split == VALIDATION)
    assert validating.path in ("rawdata/ant/y.jpg", "rawdata/ant/z.jpg")


def test_assign_splits_validates_with_one_copy_if_the_source_is_missing():
    copies = [kept(copy_name(name, SHA256, index)) for name in ("ant/a.jpg", "ant/b.jpg") for index in range(3)]
    split = assign_splits(copies, fraction=0.5, seed=1)
    validating = [picture for picture in split if picture.split == VALIDATION]
    assert [picture.path[-8:] for picture in validating] == ["0000.jpg"]  # the first copy
    others = [picture for picture in split if picture.source == validating[0].source and picture != validating[0]]
    assert [picture.status for picture in others] == [EXCLUDED] * 2
    assert sum(picture.split == TRAIN for picture in split) == 3


def test_assign_splits_ignores_skipped_pictures():
    skipped = [replace(kept(f"ant/bad{n}.jpg"), status=SKIPPED, stored="", reason="no picture") for n in range(8)]
    split = assign_splits([*skipped, kept("ant/a.jpg"), kept("ant/b.jpg")], fraction=0.2, seed=1)
    assert split[:8] == skipped
    assert sorted(picture.split for picture in split[8:]) == [TRAIN, VALIDATION]


def test_assign_splits_trains_with_a_group_of_several_classes():
    names = ["ant/a.jpg", "ant/b.jpg", "ant/c.jpg", "bee/a.jpg", "bee/b.jpg", "bee/c.jpg"]
    pictures = [replace(kept(name), group=name.replace("bee/a", "ant/a")) for name in names]
    for seed in range(20):
        split = {picture.path: picture.split for picture in assign_splits(pictures, fraction=0.5, seed=seed)}
        assert (split["rawdata/ant/a.jpg"], split["rawdata/bee/a.jpg"]) == (TRAIN, TRAIN)


def test_assign_splits_refuses_a_class_with_one_usable_source():
    skipped = replace(kept("bee/bad.jpg"), status=SKIPPED, reason="the file is empty")
    others = [kept("ant/a.jpg"), kept("ant/b.jpg")]
    copies = [kept(copy_name("bee/a.jpg", SHA256, index)) for index in range(3)]  # of one source
    with pytest.raises(UserError) as refusal:
        assign_splits([*others, kept("bee/a.jpg"), *copies, skipped], fraction=0.2, seed=1)
    assert str(refusal.value) == (
        "class bee: 1 usable picture (1 skipped, the first because: the file is empty) (3 more show the same as others)"
        "; at least two are needed, one for training and one for validation: add pictures or remove its folder"
    )
    with pytest.raises(UserError, match="^class bee: no usable pictures .1 skipped.*; at least two are needed"):
        assign_splits([*others, skipped], fraction=0.2, seed=1)


# ---- copies ----


def test_exclude_unusable_copies_gives_the_reason():
    changed = hashlib.sha256(b"changed").hexdigest()
    originals = [
        replace(kept("ant/a.jpg"), sha256=SHA256, split=TRAIN, group="ant/0.jpg"),
        replace(kept("ant/held.jpg"), sha256=SHA256, split=VALIDATION),
        replace(kept("ant/bad.jpg"), sha256=SHA256, status=SKIPPED),
    ]
    names = [
        copy_name("ant/a.jpg", SHA256, 0),
        copy_name("ant/held.jpg", SHA256, 0),
        copy_name("ant/a.jpg", changed, 0),
        copy_name("ant/bad.jpg", SHA256, 0),
        copy_name("ant/missing.jpg", SHA256, 0),
        "ant/a.jpg",  # not a copy
    ]
    copies = [replace(kept(name, "augmented"), status=PENDING, group="") for name in names]
    usable, *excluded = exclude_unusable_copies(copies, originals)
    assert usable == replace(copies[0], group="ant/0.jpg", split=TRAIN)
    assert [picture.reason for picture in excluded] == [
        "its source is used for validation",
        "its source has changed since: run augment.py again",
        "its source is not among the pictures of its class",
        "its source is not among the pictures of its class",
        "its name is not that of a copy",
    ]
    assert {(picture.status, picture.stored, picture.split) for picture in excluded} == {(EXCLUDED, "", "")}


def test_exclude_unusable_copies_keeps_skipped_ones():
    skipped = replace(kept(copy_name("ant/a.jpg", SHA256, 0), "augmented"), status=SKIPPED)
    assert exclude_unusable_copies([skipped], []) == [skipped]


# ---- fingerprint ----


def test_fingerprint_depends_on_pictures_classes_and_split_only():
    picture = replace(kept("ant/a.jpg"), sha256=SHA256, split=TRAIN)
    same = replace(picture, pixels=5, reason="any", perceptual_hash="ab")
    assert fingerprint([picture]) == fingerprint([same])
    changes = {"stored": "ant/b.png", "class_name": "bee", "split": VALIDATION, "sha256": "cd"}
    others = [replace(picture, **{name: value}) for name, value in changes.items()]
    assert len({fingerprint(pictures) for pictures in ([], [picture], *([other] for other in others))}) == 6
