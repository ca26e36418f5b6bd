"""The split between training and validation, by groups of pictures that show the same photo."""

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter

from pictures.copy_names import short_source, source_of, with_sources
from pictures.manifest import EXCLUDED, KEPT, PENDING, SKIPPED, TRAIN, VALIDATION, Picture, stand_ins, updated
from system.errors import UserError
from system.terminal import printable

_CHOICE = (
    "add pictures of other scenes, or use --group_similar False, with which the validation accuracy will be too high"
)


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
    ranked = sorted(set(groups), key=lambda group: hashlib.sha256(os.fsencode(f"{seed}/{group}")).digest())
    size = {group: sizes[group] if sizes else 1 for group in ranked}
    total = sum(size.values())
    wanted = min(max(round(fraction * total), 1), total - 1)
    drawn = set()
    for group in ranked:
        if size[group] <= wanted:
            drawn.add(group)
            wanted -= size[group]
    return drawn or {min(ranked, key=lambda group: size[group])}


def assign_splits(pictures: Sequence[Picture], *, fraction: float, seed: int) -> list[Picture]:
    """Returns the pictures with their side of the split, which is that of their group.

    One picture of each photo is used for validation: the source itself, or the first copy if only copies remain. The
    others are excluded, so that every validation picture counts as one measurement. A group with pictures of several
    classes is used for training: its labels may contradict each other, and then nothing can be measured with it.

    Raises:
        UserError: a class has fewer than two groups of its own.
    """
    groups_of: dict[str, dict[str, list[Picture]]] = {picture.class_name: defaultdict(list) for picture in pictures}
    classes_of = defaultdict(set)
    for picture in pictures:
        if picture.status == KEPT:
            groups_of[picture.class_name][picture.group].append(picture)
            classes_of[picture.group].add(picture.class_name)
    validating: set[str] = set()
    for class_name, groups in groups_of.items():
        sizes = {group: _count_photos(own) for group, own in groups.items() if len(classes_of[group]) == 1}
        if len(sizes) < 2:
            raise _too_few(class_name, len(sizes), pictures)
        validating |= draw_validation_groups(sizes, fraction=fraction, seed=seed, sizes=sizes)
    measured: dict[tuple[str, str], str] = {}  # group and photo → path of the picture that stands for it
    for picture in sorted(pictures, key=attrgetter("is_copy", "path")):
        if picture.status == KEPT and picture.group in validating:
            measured.setdefault((picture.group, picture.photo), picture.path)

    def assign(picture: Picture) -> Picture:
        if picture.status != KEPT:
            return picture
        if picture.group not in validating:
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
    """Returns copies with their source and its group; excluded unless that exists, is unchanged and for training."""
    kept = [picture for picture in originals if picture.status == KEPT]
    sources = stand_ins(kept)
    sources = {short_source(source): picture for source, picture in sources.items()} | sources

    def check(copy: Picture) -> Picture:
        source = sources.get(copy.source)
        if not copy.is_copy:
            reason = "its name is not that of a copy"
        elif source is None:
            reason = "its source is not among the pictures of its class"
        elif source.split != TRAIN:
            reason = "its source is used for validation"
        elif not source.sha256.startswith(source_of(copy.path)[1]):
            reason = "its source has changed since: run augment.py again"
        else:
            return replace(copy, source=source.source, photo=source.photo, group=source.group, split=TRAIN)
        return replace(copy, stored="", status=EXCLUDED, reason=reason)

    return [check(copy) if copy.status == PENDING else copy for copy in with_sources(copies, kept)]


def fingerprint(pictures: Sequence[Picture]) -> str:
    """Returns a sha256 over the pictures, their classes and their split: a resumed run must have the same one."""
    rows = [(picture.stored, picture.class_name, picture.split, picture.sha256) for picture in pictures]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()
