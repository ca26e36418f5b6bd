"""The split between training and validation, by groups of pictures that show the same photo."""

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter

from pictures.copy_names import short_source, source_of, with_sources
from pictures.manifest import EXCLUDED, KEPT, PENDING, SKIPPED, TRAIN, VALIDATION, Picture, stand_ins, updated
from system.errors import UserError
from system.terminal import printable

_CHOICE = (
    "add pictures of other scenes, or use --group_similar False, with which the validation accuracy will be too high"
)
_FOLD = "fold "  # the start of what the manifest calls a fold


def draw_validation_groups(
    groups: Iterable[str], *, fraction: float, seed: int, sizes: Mapping[str, int] | None = None
) -> set[str]:
    """Returns the groups of one class that are used for validation, by their names: at least one, and never all.

    They have about `fraction` of the pictures. They are taken in the order of a hash of the seed and their name, except
    for those that are larger than what is still wanted. So the result does not depend on the order of listing, and if
    all groups are single pictures, a new name moves at most one other to the other side.

    Args:
        groups: their names.
        fraction: of the pictures.
        seed: another one gives other groups.
        sizes: the number of pictures of each group; without it, one each. If all are too large, the smallest is taken.
    """
    ranked = _ranked(groups, seed)
    size = {group: sizes[group] if sizes else 1 for group in ranked}
    total = sum(size.values())
    wanted = min(max(round(fraction * total), 1), total - 1)
    drawn = set()
    for group in ranked:
        if size[group] <= wanted:
            drawn.add(group)
            wanted -= size[group]
    return drawn or {min(ranked, key=lambda group: size[group])}


def draw_folds(groups: Iterable[str], *, folds: int, seed: int, sizes: Mapping[str, int]) -> dict[str, int]:
    """Returns the fold of each group of one class, from 1: parts with about as many pictures as each other.

    The largest group comes first, and each goes where there are the fewest pictures so far (Graham 1969, "Bounds on
    multiprocessing timing anomalies"). Groups of one size come in the order of a hash of the seed and their name.

    Args:
        groups: their names; at least as many as folds.
        folds: how many there are.
        seed: another one gives other folds.
        sizes: the number of pictures of each group.
    """
    totals = [0] * folds
    found = {}
    for group in sorted(_ranked(groups, seed), key=lambda group: -sizes[group]):
        index = totals.index(min(totals))
        totals[index] += sizes[group]
        found[group] = 1 + index
    return found


def _ranked(groups: Iterable[str], seed: int) -> list[str]:
    """Returns the groups in the order of a hash of the seed and their name."""
    return sorted(set(groups), key=lambda group: hashlib.sha256(os.fsencode(f"{seed}/{group}")).digest())


def assign_splits(pictures: Sequence[Picture], *, fraction: float, seed: int) -> list[Picture]:
    """Returns the pictures with their side of the split, which is that of their group.

    One picture of each photo is used for validation: the source itself, or the first copy if only copies remain. The
    others are excluded, so that every validation picture counts as one measurement. A group with pictures of several
    classes is used for training: its labels may contradict each other, and then nothing can be measured with it.

    Raises:
        UserError: a class has fewer than two groups of its own.
    """
    validating: set[str] = set()
    for class_name, sizes in _own_groups(pictures).items():
        if len(sizes) < 2:
            raise _too_few(class_name, len(sizes), pictures)
        validating |= draw_validation_groups(sizes, fraction=fraction, seed=seed, sizes=sizes)
    return _validate_with(pictures, {picture.path for picture in pictures if picture.group in validating})


def assign_folds(pictures: Sequence[Picture], *, folds: int, seed: int) -> list[Picture]:
    """Returns the pictures with the fold of their group as their split; see `pictures_of_fold`.

    A group with pictures of several classes is in no fold: it is used for training only.

    Raises:
        UserError: a class has fewer groups of its own than there are folds.
    """
    fold_of: dict[str, int] = {}
    own_groups = _own_groups(pictures)
    for class_name, sizes in own_groups.items():
        if len(sizes) < 2:
            raise _too_few(class_name, len(sizes), pictures)
    class_name, fewest = min(((name, len(sizes)) for name, sizes in own_groups.items()), key=lambda item: item[1])
    if fewest < folds:
        raise UserError(
            f"--folds {folds}: class {printable(class_name)} has only {fewest} pictures that look different, and each "
            f"fold needs one; use --folds {fewest} or less, or add pictures"
        )
    for sizes in own_groups.values():
        fold_of |= draw_folds(sizes, folds=folds, seed=seed, sizes=sizes)
    return [
        updated(p, split=fold_name(fold_of[p.group]) if p.group in fold_of else TRAIN) if p.status == KEPT else p
        for p in pictures
    ]


def fold_name(fold: int) -> str:
    """Returns what the manifest calls a fold, counted from 1."""
    return f"{_FOLD}{fold}"


def number_of_folds(pictures: Iterable[Picture]) -> int:
    """Returns the number of folds of these pictures; 0 if they are not divided into folds."""
    return len({picture.split for picture in pictures if picture.split.startswith(_FOLD)})


def pictures_of_fold(pictures: Sequence[Picture], fold: int) -> list[Picture]:
    """Returns the pictures as the network of a fold uses them: it validates on the fold and is trained on the others.

    As in `assign_splits`, one picture of each photo is used for validation, and the others of the fold are excluded.
    """
    return _validate_with(pictures, {picture.path for picture in pictures if picture.split == fold_name(fold)})


def with_part_of_training(pictures: Sequence[Picture], *, fraction: float, seed: int) -> list[Picture]:
    """Returns the pictures, of which only about this fraction of each class is trained on; the others are excluded.

    Groups stay together, at least one of each class is kept, and what a fraction keeps, a larger one keeps too.
    """
    groups_of: dict[str, dict[str, list[Picture]]] = defaultdict(lambda: defaultdict(list))
    for picture in pictures:
        if picture.status == KEPT and picture.split == TRAIN:
            groups_of[picture.class_name][picture.group].append(picture)
    trained: set[tuple[str, str]] = set()
    for class_name, groups in groups_of.items():
        sizes = {group: _count_photos(own) for group, own in groups.items()}
        wanted, count = fraction * sum(sizes.values()), 0
        for group in _ranked(groups, seed):
            if count and count + sizes[group] / 2 > wanted:
                break
            count += sizes[group]
            trained.add((class_name, group))
    reason = f"is not among the {100 * fraction:g} % that are trained on"
    return [
        replace(p, stored="", split="", status=EXCLUDED, reason=reason)
        if p.status == KEPT and p.split == TRAIN and (p.class_name, p.group) not in trained
        else p
        for p in pictures
    ]


def judged_paths(pictures: Sequence[Picture]) -> set[str]:
    """Returns the paths of the pictures that are used for validation, in one of the folds."""
    return set(_measured(picture for picture in pictures if picture.split.startswith(_FOLD)).values())


def _own_groups(pictures: Sequence[Picture]) -> dict[str, dict[str, int]]:
    """Returns the groups that have pictures of one class only, by class, each with its number of photos."""
    groups_of: dict[str, dict[str, list[Picture]]] = {picture.class_name: defaultdict(list) for picture in pictures}
    classes_of = defaultdict(set)
    for picture in pictures:
        if picture.status == KEPT:
            groups_of[picture.class_name][picture.group].append(picture)
            classes_of[picture.group].add(picture.class_name)
    return {
        class_name: {group: _count_photos(own) for group, own in groups.items() if len(classes_of[group]) == 1}
        for class_name, groups in groups_of.items()
    }


def _measured(pictures: Iterable[Picture]) -> dict[tuple[str, str], str]:
    """Returns the path of the picture that stands for each photo, by group and photo."""
    found: dict[tuple[str, str], str] = {}
    for picture in sorted(pictures, key=attrgetter("is_copy", "path")):
        if picture.status == KEPT:
            found.setdefault((picture.group, picture.photo), picture.path)
    return found


def _validate_with(pictures: Sequence[Picture], held_out: Collection[str]) -> list[Picture]:
    """Returns the pictures with their side of the split, if those with these paths are not trained on."""
    measured = _measured(picture for picture in pictures if picture.path in held_out)

    def assign(picture: Picture) -> Picture:
        if picture.status != KEPT:
            return picture
        if picture.path not in held_out:
            return updated(picture, split=TRAIN)
        representative = measured[picture.group, picture.photo]
        if picture.path == representative:
            return updated(picture, split=VALIDATION)
        reason = f"shows the same as {representative}, which is used for validation"
        return replace(picture, stored="", split="", status=EXCLUDED, reason=reason)

    return [assign(picture) for picture in pictures]


def _too_few(class_name: str, groups: int, pictures: Sequence[Picture]) -> UserError:
    own = [picture for picture in pictures if picture.class_name == class_name]
    kept = [picture for picture in own if picture.status == KEPT]
    if _are_similar(kept, pictures):
        others = "" if groups == 1 else ", or like pictures of other classes"
        return UserError(
            f"class {printable(class_name)}: all {_count_photos(kept):,} pictures look alike{others}, so they would be "
            f"on one side of the split between training and validation: {_CHOICE}"
        )
    skipped = [picture for picture in own if picture.status == SKIPPED]
    same = len(kept) - groups
    why = f" ({len(skipped)} skipped, the first because: {printable(skipped[0].reason)})" if skipped else ""
    why += f" ({same} more show the same as others)" if same > 0 else ""
    return UserError(
        f"class {printable(class_name)}: {groups or 'no'} usable picture{'' if groups == 1 else 's'}{why}; "
        "at least two are needed, one for training and one for validation: add pictures or remove its folder"
    )


def few_validate_lines(pictures: Sequence[Picture], *, fraction: float) -> list[str]:
    """Returns one line for each class of which less than half the fraction validates because pictures look alike."""
    classes = defaultdict(list)
    for picture in pictures:
        if picture.status == KEPT:
            classes[picture.class_name].append(picture)
    lines = []
    for class_name, own in sorted(classes.items()):
        photos = _count_photos(own)
        wanted, validating = round(fraction * photos), sum(picture.split == VALIDATION for picture in own)
        if 2 * validating < wanted and _are_similar(own, pictures):
            lines.append(
                f"class {printable(class_name)}: {validating:,} of {photos:,} pictures validate instead of {wanted:,}, "
                f"since pictures that look alike are kept on one side of the split: {_CHOICE}"
            )
    return lines


def _count_photos(pictures: Iterable[Picture]) -> int:
    return len({(picture.group, picture.photo) for picture in pictures})


def _are_similar(own: Sequence[Picture], pictures: Sequence[Picture]) -> bool:
    """Returns whether one of the groups of a class has several photos, perhaps of several classes."""
    groups = {picture.group for picture in own}
    return _count_photos(p for p in pictures if p.status == KEPT and p.group in groups) > len(groups)


def exclude_unusable_copies(copies: Sequence[Picture], originals: Sequence[Picture]) -> list[Picture]:
    """Returns copies with their source, its group and its split; excluded unless it exists, is unchanged and trains."""
    kept = [picture for picture in originals if picture.status == KEPT]
    sources = stand_ins(kept)
    sources = {short_source(source): picture for source, picture in sources.items()} | sources

    def check(copy: Picture) -> Picture:
        source = sources.get(copy.source)
        if not copy.is_copy:
            reason = "its name is not that of a copy"
        elif source is None:
            reason = "its source is not among the pictures of its class"
        elif source.split == VALIDATION:
            reason = "its source is used for validation"
        elif not source.sha256.startswith(source_of(copy.path)[1]):
            reason = "its source has changed since: run augment.py again"
        else:
            return replace(copy, source=source.source, photo=source.photo, group=source.group, split=source.split)
        return replace(copy, stored="", status=EXCLUDED, reason=reason)

    return [check(copy) if copy.status == PENDING else copy for copy in with_sources(copies, kept)]


def fingerprint(pictures: Sequence[Picture]) -> str:
    """Returns a sha256 over the pictures, their classes and their split: a resumed run must have the same one."""
    rows = [(picture.stored, picture.class_name, picture.split, picture.sha256) for picture in pictures]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()
