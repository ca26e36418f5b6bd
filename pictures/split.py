"""The split between training and validation, by groups of pictures that show the same photo."""

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from pictures.copy_names import source_of
from pictures.manifest import EXCLUDED, KEPT, PENDING, SKIPPED, TRAIN, VALIDATION, Picture, updated
from system.errors import UserError
from system.terminal import printable


def draw_validation_groups(groups: Iterable[str], *, fraction: float, seed: int) -> set[str]:
    """Returns the groups of one class that are used for validation, by their names: at least one, and never all.

    They are ranked by a hash of the seed and their name, so the result does not depend on the order of listing, and a
    new name moves at most one other to the other side.
    """
    ranked = sorted(set(groups), key=lambda group: hashlib.sha256(os.fsencode(f"{seed}/{group}")).digest())
    count = min(max(round(fraction * len(ranked)), 1), len(ranked) - 1)
    return set(ranked[:count])


def assign_splits(pictures: Sequence[Picture], *, fraction: float, seed: int) -> list[Picture]:
    """Returns the pictures with their side of the split: all of a group for training, or one of it for validation.

    That one is a source itself, or the first copy if only copies remain. The others of its group are excluded, so that
    every validation picture counts as one measurement. A group with pictures of several classes is used for training:
    its labels contradict each other, so nothing can be measured with it.

    Raises:
        UserError: a class has fewer than two groups of its own.
    """
    groups_of: dict[str, dict[str, list[Picture]]] = {picture.class_name: defaultdict(list) for picture in pictures}
    classes_of = defaultdict(set)
    for picture in pictures:
        if picture.status == KEPT:
            groups_of[picture.class_name][picture.group].append(picture)
            classes_of[picture.group].add(picture.class_name)
    representatives: dict[str, str] = {}  # validation group → path of the picture that stands for it
    for class_name, groups in groups_of.items():
        own = [group for group in groups if len(classes_of[group]) == 1]
        if len(own) < 2:
            raise _too_few(class_name, len(own), pictures)
        for group in draw_validation_groups(own, fraction=fraction, seed=seed):
            representatives[group] = min(groups[group], key=lambda picture: (picture.is_copy, picture.path)).path

    def assign(picture: Picture) -> Picture:
        if picture.status != KEPT:
            return picture
        if picture.group not in representatives:
            return updated(picture, split=TRAIN)
        representative = representatives[picture.group]
        if picture.path == representative:
            return updated(picture, split=VALIDATION)
        reason = f"shows the same as {representative}, which is used for validation"
        return replace(picture, stored="", split="", status=EXCLUDED, reason=reason)

    return [assign(picture) for picture in pictures]


def _too_few(class_name: str, groups: int, pictures: Sequence[Picture]) -> UserError:
    own = [picture for picture in pictures if picture.class_name == class_name]
    skipped = [picture for picture in own if picture.status == SKIPPED]
    same = sum(picture.status == KEPT for picture in own) - groups
    why = f" ({len(skipped)} skipped, the first because: {printable(skipped[0].reason)})" if skipped else ""
    why += f" ({same} more show the same as others)" if same > 0 else ""
    return UserError(
        f"class {printable(class_name)}: {groups or 'no'} usable picture{'' if groups == 1 else 's'}{why}; "
        "at least two are needed, one for training and one for validation: add pictures or remove its folder"
    )


def exclude_unusable_copies(copies: Sequence[Picture], originals: Sequence[Picture]) -> list[Picture]:
    """Returns copies with the group of their source; excluded unless that exists, is unchanged and for training."""
    sources = {picture.source: picture for picture in originals if picture.status == KEPT and not picture.is_copy}

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
            return replace(copy, group=source.group, split=TRAIN)
        return replace(copy, stored="", status=EXCLUDED, reason=reason)

    return [check(copy) if copy.status == PENDING else copy for copy in copies]


def fingerprint(pictures: Sequence[Picture]) -> str:
    """Returns a sha256 over the pictures, their classes and their split: a resumed run must have the same one."""
    rows = [(picture.stored, picture.class_name, picture.split, picture.sha256) for picture in pictures]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()
