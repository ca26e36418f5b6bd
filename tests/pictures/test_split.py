"""The split between training and validation, and which copies may be used."""

import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from pictures.copy_names import copy_name, source_of
from pictures.manifest import EXCLUDED, KEPT, PENDING, SKIPPED, TRAIN, VALIDATION, Picture
from pictures.split import (
    assign_folds,
    assign_splits,
    draw_folds,
    draw_validation_groups,
    exclude_unusable_copies,
    few_validate_lines,
    fingerprint,
    pictures_of_fold,
    with_part_of_training,
)
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


@pytest.mark.parametrize(
    ("sizes", "fraction", "pictures"),
    [
        ([1] * 10, 0.3, 3),
        ([10] * 10, 0.2, 20),
        ([5, 1, 1, 1, 1, 1], 0.5, 5),
        ([30, 1, 1, 1], 0.2, 3),  # the series is too large
        ([30, 20], 0.2, 20),  # both are too large
        ([30, 30], 0.2, 30),
        ([30, 1], 0.9, 1),  # never all
        ([3, 3], 0.01, 3),  # never none
    ],
)
def test_draw_validation_groups_counts_the_pictures_of_groups(sizes, fraction, pictures):
    groups = {f"ant/{number}": size for number, size in enumerate(sizes)}
    for seed in range(10):
        drawn = draw_validation_groups(groups, fraction=fraction, seed=seed, sizes=groups)
        assert sum(groups[group] for group in drawn) == pictures


def test_draw_validation_groups_passes_over_a_series_that_is_too_large():
    # In the order of test_draw_validation_groups_is_the_same_on_every_machine, without the first.
    drawn = draw_validation_groups(NAMES, fraction=0.3, seed=1)
    first = min(drawn, key=lambda name: hashlib.sha256(f"1/{name}".encode()).digest())
    sizes = dict.fromkeys(NAMES, 1) | {first: 20}
    assert draw_validation_groups(NAMES, fraction=0.1, seed=1, sizes=sizes) >= drawn - {first}
    assert first not in draw_validation_groups(NAMES, fraction=0.1, seed=1, sizes=sizes)


def test_draw_validation_groups_of_one_picture_each_is_as_without_sizes():
    for fraction in (0.01, 0.2, 0.5, 0.9):
        without = draw_validation_groups(NAMES, fraction=fraction, seed=1)
        assert draw_validation_groups(NAMES, fraction=fraction, seed=1, sizes=dict.fromkeys(NAMES, 1)) == without


# ---- assigning ----


def test_assign_splits_draws_by_the_seed():
    drawn = {f"ant/{number}.jpg" for number in (2, 8, 9)}  # as test_draw_validation_groups_is_the_same_on_every_machine
    split = assign_splits([*map(kept, NAMES)], fraction=0.3, seed=1)
    assert {picture.source for picture in split if picture.split == VALIDATION} == drawn


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
    copies = [kept(copy_name(name, SHA256, index)) for name in ("ant/a.jpg", "ant/b.jpg") for index in (2, 0, 1)]
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


def test_assign_splits_never_validates_with_a_picture_that_is_not_kept():
    pictures = [kept(f"ant/{name}") for name in ("a.jpg", "b.jpg")]
    skipped = [
        replace(picture, path=f"0/{picture.source}", status=SKIPPED) for picture in pictures
    ]  # the first by path
    split = assign_splits([*skipped, *pictures], fraction=0.5, seed=1)
    assert [picture.status for picture in split] == [SKIPPED, SKIPPED, KEPT, KEPT]


def test_assign_splits_forgets_the_side_of_a_picture_that_is_excluded():
    pictures = [
        replace(kept(name), split=TRAIN, source="ant/0.jpg", group=name[:5]) for name in ("ant/a.jpg", "ant/b.jpg")
    ]
    again = [replace(picture, path=f"{picture.path}.jpg") for picture in pictures]
    split = assign_splits([*pictures, *again], fraction=0.5, seed=1)
    assert sorted((picture.status, picture.split) for picture in split) == [
        (EXCLUDED, ""),
        (KEPT, TRAIN),
        (KEPT, TRAIN),
        (KEPT, VALIDATION),
    ]


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
    with pytest.raises(UserError, match="^class bee: no usable pictures .1 skipped.*empty.; at least two are needed"):
        assign_splits([*others, skipped], fraction=0.2, seed=1)
    with pytest.raises(UserError, match="^class bee: 1 usable picture; at least two are needed"):
        assign_splits([*others, kept("bee/a.jpg")], fraction=0.2, seed=1)
    with pytest.raises(UserError, match="^class bee: 1 usable picture .1 more show the same as others.; at least"):
        assign_splits([*others, kept("bee/a.jpg"), copies[0]], fraction=0.2, seed=1)


# ---- series of one scene ----


def series(class_name: str, *sizes: int, group: str = "") -> list[Picture]:
    """Returns groups of so many different pictures each; `group` names the first."""
    pictures = []
    for number, size in enumerate(sizes):
        own = [kept(f"{class_name}/{number}-{frame:02}.jpg") for frame in range(size)]
        name = group if group and number == 0 else own[0].source
        pictures += [replace(picture, photo=picture.source, group=name) for picture in own]
    return pictures


def test_assign_splits_validates_with_all_pictures_of_a_series():
    pictures = series("ant", *[6] * 10)
    for seed in range(5):
        split = assign_splits(pictures, fraction=0.2, seed=seed)
        assert Counter(picture.split for picture in split) == {TRAIN: 48, VALIDATION: 12}
        sides = {(picture.group, picture.split) for picture in split}
        assert len(sides) == 10  # no group is on both


def test_assign_splits_excludes_only_copies_of_pictures_of_a_series():
    pictures = series("ant", 3, 3)
    again = replace(pictures[1], path="rawdata/ant/again.jpg")
    copy = replace(kept(copy_name("ant/0-02.jpg", SHA256, 0)), photo="ant/0-02.jpg", group=pictures[0].group)
    for seed in range(10):
        split = assign_splits([*pictures, again, copy], fraction=0.5, seed=seed)
        if split[0].split == VALIDATION:
            assert [picture.split for picture in split] == [VALIDATION] * 3 + [TRAIN] * 3 + [""] * 2
            assert [picture.status for picture in split[-2:]] == [EXCLUDED] * 2
            assert split[-1].reason == "shows the same as rawdata/ant/0-02.jpg, which is used for validation"
            break
    else:
        raise AssertionError("the first group never validated")


def test_assign_splits_names_the_choice_if_all_pictures_of_a_class_look_alike():
    with pytest.raises(UserError) as refusal:
        assign_splits([*series("ant", 1, 1), *series("bee", 40)], fraction=0.2, seed=1)
    assert str(refusal.value) == (
        "class bee: all 40 pictures look alike, so they would be on one side of the split between training and "
        "validation: add pictures of other scenes, or use --group_similar False, with which the validation accuracy "
        "will be too high"
    )
    mixed = [*series("ant", 30, group="ant/0"), *series("bee", 30, group="ant/0")]
    with pytest.raises(UserError, match="^class ant: all 30 pictures look alike, or like pictures of other"):
        assign_splits(mixed, fraction=0.2, seed=1)
    copies = [replace(picture, photo=picture.group) for picture in series("bee", 40)]  # of one photo
    with pytest.raises(UserError, match="^class bee: 1 usable picture .39 more show the same as others.; at least two"):
        assign_splits([*series("ant", 1, 1), *copies], fraction=0.2, seed=1)


@pytest.mark.parametrize(
    ("sizes", "line"),
    [
        ((57, 1, 1, 1), "class ant: 3 of 60 pictures validate instead of 12, since pictures that look alike are kept"),
        ((55, *[1] * 5), "class ant: 5 of 60 pictures validate instead of 12"),
        ((54, *[1] * 6), ""),  # half of 12
        ((20, 20, 20), ""),
        ((1,) * 60, ""),
    ],
)
def test_few_validate_lines_tell_of_less_than_half(sizes, line):
    pictures = [*series("ant", *sizes), *series("bee", *[1] * 10)]
    lines = few_validate_lines(assign_splits(pictures, fraction=0.2, seed=1), fraction=0.2)
    assert len(lines) == bool(line)
    assert "".join(lines).startswith(line)
    assert not line or "add pictures of other scenes, or use --group_similar False, with which" in lines[0]


def test_few_validate_lines_count_series_of_several_classes():
    pictures = [*series("ant", 50, *[1] * 5, group="ant/0"), *series("bee", 50, *[1] * 5, group="ant/0")]
    lines = few_validate_lines(assign_splits(pictures, fraction=0.2, seed=1), fraction=0.2)
    assert [line.split(",")[0] for line in lines] == [
        f"class {name}: 1 of 55 pictures validate instead of 11" for name in ("ant", "bee")
    ]


# ---- copies ----


def test_exclude_unusable_copies_gives_the_reason():
    changed = hashlib.sha256(b"changed").hexdigest()
    originals = [
        replace(kept("ant/a.jpg"), sha256=SHA256, split=TRAIN, photo="ant/00.jpg", group="ant/0.jpg"),
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
    assert usable == replace(copies[0], photo="ant/00.jpg", group="ant/0.jpg", split=TRAIN)
    assert [picture.reason for picture in excluded] == [
        "its source is used for validation",
        "its source has changed since: run augment.py again",
        "its source is not among the pictures of its class",
        "its source is not among the pictures of its class",
        "its name is not that of a copy",
    ]
    assert {(picture.status, picture.stored, picture.split) for picture in excluded} == {(EXCLUDED, "", "")}


def test_exclude_unusable_copies_finds_a_source_with_a_long_name():
    source = replace(kept(f"ant/{'猫' * 85}"), sha256=SHA256, split=TRAIN)
    copy = replace(kept(copy_name(source.source, SHA256, 0), "augmented"), status=PENDING, group="")
    (usable,) = exclude_unusable_copies([copy], [source])
    assert usable == replace(copy, source=source.source, group=source.group, split=TRAIN)


def test_exclude_unusable_copies_knows_copies_of_other_tools():
    source = replace(kept("ant/a.jpg"), split=TRAIN)
    copy = replace(kept("ant/a_rot90.jpg", "augmented"), status=PENDING, group="")
    assert exclude_unusable_copies([copy], [source])[0].source == "ant/a.jpg"
    assert exclude_unusable_copies([copy], [])[0].reason == "its name is not that of a copy"


def test_exclude_unusable_copies_of_a_copy_that_stands_for_its_source():
    first = replace(kept("ant/a_jpg.rf.0123456789abcdef0123456789abcdef.jpg"), sha256=SHA256, split=TRAIN)
    other = replace(kept("ant/a_jpg.rf.1123456789abcdef0123456789abcdef.jpg"), sha256="f" * 64, split=TRAIN)
    copy = replace(kept(copy_name("ant/a.jpg", SHA256, 0), "augmented"), status=PENDING, group="")
    assert exclude_unusable_copies([copy], [other, first])[0].split == TRAIN


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


# ---- folds ----


def test_draw_folds_have_about_the_same_sizes_and_depend_on_the_seed():
    sizes = {"a": 5, "b": 4, "c": 3, "d": 2, "e": 1, "f": 1}
    folds = draw_folds(sizes, folds=2, seed=1, sizes=sizes)
    assert [sum(size for name, size in sizes.items() if folds[name] == fold) for fold in (1, 2)] == [8, 8]
    single = dict.fromkeys(NAMES, 1)
    drawn = draw_folds(NAMES, folds=3, seed=1, sizes=single)
    assert Counter(drawn.values()) == {1: 4, 2: 3, 3: 3}
    assert drawn == draw_folds(reversed(NAMES), folds=3, seed=1, sizes=single)
    assert drawn != draw_folds(NAMES, folds=3, seed=2, sizes=single)


def test_assign_folds_are_stratified_and_train_with_groups_of_several_classes():
    pictures = [kept(f"{name}/{number}.jpg") for name, count in (("ant", 9), ("bee", 6)) for number in range(count)]
    pictures += [replace(kept(f"{name}/both.jpg"), group="ant/both.jpg") for name in ("ant", "bee")]
    found = assign_folds(pictures, folds=3, seed=1)
    assert Counter((picture.class_name, picture.split) for picture in found) == {
        **{("ant", f"fold {fold}"): 3 for fold in (1, 2, 3)},
        **{("bee", f"fold {fold}"): 2 for fold in (1, 2, 3)},
        ("ant", TRAIN): 1,
        ("bee", TRAIN): 1,
    }


def test_assign_folds_names_the_most_folds_that_are_possible():
    pictures = [kept(f"{name}/{number}.jpg") for name, count in (("ant", 9), ("bee", 4)) for number in range(count)]
    assert {picture.split for picture in assign_folds(pictures, folds=4, seed=1)} == {f"fold {n}" for n in (1, 2, 3, 4)}
    with pytest.raises(UserError) as refused:
        assign_folds(pictures, folds=5, seed=1)
    assert str(refused.value) == (
        "--folds 5: class bee has only 4 pictures that look different, and each fold needs one; use --folds 4 or less, "
        "or add pictures"
    )


def test_pictures_of_fold_validate_once_and_train_in_the_other_folds():
    copies = [copy_name(name, SHA256, index) for name in NAMES for index in range(2)]
    pictures = assign_folds([*map(kept, NAMES), *map(kept, copies)], folds=2, seed=1)
    seen = Counter()
    for fold in (1, 2):
        rows = pictures_of_fold(pictures, fold)
        seen.update((picture.path, picture.split) for picture in rows if picture.status == KEPT)
        sides = [{row.group for row in rows if row.split == side} for side in (TRAIN, VALIDATION)]
        assert not sides[0] & sides[1] and len(sides[0] | sides[1]) == len(NAMES)
    trained = {(picture.path, TRAIN): 1 for picture in pictures}
    assert seen == trained | {(f"rawdata/{name}", VALIDATION): 1 for name in NAMES}  # a copy never validates


def test_with_part_of_training_is_nested_and_keeps_groups_and_validation():
    pictures = [kept(f"{name}/{number}.jpg") for name in ("ant", "bee") for number in range(20)]
    pictures += [kept(copy_name("ant/0.jpg", SHA256, 0))]
    split = assign_splits(pictures, fraction=0.2, seed=1)
    parts = [with_part_of_training(split, fraction=fraction, seed=1) for fraction in (0.25, 0.5)]
    quarter, half = ({row.path for row in rows if row.split == TRAIN} for rows in parts)
    assert quarter < half < {row.path for row in split if row.split == TRAIN}
    assert Counter(path.split("/")[1] for path in half if "augmented" not in path) == {"ant": 8, "bee": 8}
    for rows in parts:
        assert [row for row in rows if row.split == VALIDATION] == [row for row in split if row.split == VALIDATION]
        assert len({row.group for row in rows if row.status == KEPT}) == len(
            {row.group for row in split} - {row.group for row in rows if row.reason.startswith("is not among the")}
        )
