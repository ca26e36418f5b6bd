"""Names of copies: which source photo a file shows, judged by its name, and how we name copies ourselves.

Names of augment.py, Augmentor and Roboflow are unmistakable. Those of other tools look like ordinary names, so they
count only if the source is there too, or if all names of a class fit: IMG_2_1.jpg and cat_flip.jpg may be photos.
"""

import hashlib
import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from pictures.manifest import Picture, updated
from system.files import MAX_NAME_BYTES

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_COPY_NAMES = (
    re.compile(  # of augment.py
        r"(?P<source>.+)_augmented_(?P<digits>[0-9a-f]{8})_\d+\.jpg(?P<stored>\.png)?", re.DOTALL
    ),
    re.compile(rf".+?_original_(?P<source>.+)_{_UUID}\.\w+?(?P<stored>\.png)?", re.DOTALL),  # of Augmentor itself
    re.compile(r"(?P<source>.+)\.rf\.[0-9A-Za-z]{16,40}\.\w+?(?P<stored>\.png)?", re.DOTALL),  # of Roboflow
)
_IMAGE_SUFFIX = r"jpe?g|png|bmp|gif|webp|tiff?|heic|heif|avif|ppm|pgm"
_ROBOFLOW_SUFFIX = re.compile(rf"_({_IMAGE_SUFFIX})$", re.IGNORECASE)  # a.jpg becomes a_jpg.rf.<digits>.jpg
_STEM = re.compile(rf"(?P<stem>.+?)\.(?:{_IMAGE_SUFFIX})(?:\.png)?", re.IGNORECASE | re.DOTALL)

# In names of copies from scripts that use imgaug, Albumentations, torchvision or OpenCV: cat1_aug_3, cat1_rot90.
_SEPARATOR = r"[ _.\-]"
_NUMBERS = rf"(?:{_SEPARATOR}*\d+(?:deg)?)?(?:{_SEPARATOR}+\d+(?:deg)?)*"
_AXIS = r"(?:h|v|x|y|lr|ud|horizontal(?:ly)?|vertical(?:ly)?|left|right)"
_AUGMENTED = r"aug(?:mented|mentation)?"
_FLIPPED = rf"(?:{_AXIS}{_SEPARATOR}?)?(?:flip(?:ped)?|mirror(?:ed)?)(?:{_SEPARATOR}?{_AXIS})?"
_ROTATED = rf"rot(?:ated?|ation)?(?:{_SEPARATOR}?(?:left|right|cw|ccw))?"
_CHANGED = (
    rf"(?:resized{_SEPARATOR}?)?crop(?:ped)?|(?:gauss(?:ian)?|motion|median|box){_SEPARATOR}?(?:noise|blur)|nois[ey]"
    r"|blur(?:red)?|bright(?:ness|er|en(?:ed)?)?|dark(?:er|en(?:ed)?)?|contrast|brightnesscontrast|gamma"
    rf"|hue(?:{_SEPARATOR}?saturation(?:value)?)?|saturation|sat|colou?r{_SEPARATOR}?jitter|jitter|gr[ae]y(?:scale)?"
    r"|invert(?:ed)?|sharp(?:en(?:ed)?)?|equalized?|clahe|posterized?|solarized?|autocontrast|cutout|(?:coarse)?dropout"
    rf"|salt{_SEPARATOR}?(?:and{_SEPARATOR}?)?pepper|eras(?:e|ed|ing)|shear(?:ed)?|shift(?:ed)?|scaled?|zoom(?:ed)?"
    r"|resized?|transposed?|elastic(?:transform)?|(?:grid|optical)?distort(?:ed|ion)?|warp(?:ed)?|perspective"
    r"|skew(?:ed)?|affine|translat(?:ed?|ion)|shiftscalerotate|transform(?:ed)?|jpeg|compress(?:ed|ion)?"
    r"|copy|duplicate|dup|kopie|copie|copia"
)
_ANY_CHANGE = (
    rf"(?:(?:random|center){_SEPARATOR}?)?(?:{_AUGMENTED}|{_FLIPPED}|{_ROTATED}|{_CHANGED})"
    rf"(?:{_SEPARATOR}[xy])?{_NUMBERS}"
)
_FLAGS = re.IGNORECASE | re.DOTALL
_CHANGED_STEM = re.compile(rf"(?P<stem>.+?){_SEPARATOR}+{_ANY_CHANGE}", _FLAGS)
_BESIDE_SOURCE = (
    _CHANGED_STEM,
    re.compile(rf"(?:copy of|{_ANY_CHANGE}){_SEPARATOR}+(?P<stem>.+)", _FLAGS),
    re.compile(r"(?P<stem>.+)_0_\d{1,7}", _FLAGS),  # of Keras's ImageDataGenerator for one picture
)
_COPY_STEM = re.compile(
    rf"(?P<stem>.+?){_SEPARATOR}+(?:{_AUGMENTED}|{_FLIPPED}|{_ROTATED}){_NUMBERS}", _FLAGS
)  # the words that hardly occur in the names of photos
_KERAS = re.compile(r"(?P<stem>(?P<prefix>.*)_(?P<index>0|[1-9]\d*))_(?P<number>0|[1-9]\d{0,6})", re.DOTALL)

_MAX_SOURCE_BYTES = MAX_NAME_BYTES - len("_augmented_01234567_1000000.jpg.png")  # in data/, .png is appended


# ---- names that we write ----


def copy_name(source: str, sha256: str, index: int) -> str:
    """Returns the name of a copy by augment.py: it has the name of the source and the start of its sha256."""
    return f"{short_source(source)}_augmented_{sha256[:8]}_{index:04d}.jpg"


def short_source(source: str) -> str:
    """Returns a source as it stands in the names of its copies: shorter if its name is very long."""
    folder, _, last = source.rpartition("/")
    return f"{folder}/{short_name(last, _MAX_SOURCE_BYTES)}"


def short_name(name: str, max_bytes: int) -> str:
    """Returns a file name of at most `max_bytes` bytes, without folders.

    It is the name itself if that fits. Otherwise it is its beginning, "~", the first 8 hexadecimal digits of the
    SHA-256 of the whole name, and the file suffix unless that is long. Characters are not split.
    """
    encoded = os.fsencode(name)
    if len(encoded) <= max_bytes:
        return name
    suffix = os.fsencode(os.path.splitext(name)[1])  # noqa: PTH122 - a PurePath would treat some names as folders
    end = b"~" + hashlib.sha256(encoded).hexdigest()[:8].encode() + (suffix if len(suffix) <= 8 else b"")
    cut = max_bytes - len(end)
    while cut and encoded[cut] & 0xC0 == 0x80:  # in the middle of a character of UTF-8
        cut -= 1
    return os.fsdecode(encoded[:cut] + end)


# ---- names of one file ----


def source_of(name: str) -> tuple[str, str]:
    """Returns the source photo of a file, judged by its name alone.

    Args:
        name: <class>/<name>, below `rawdata/` or `augmented/`.

    Returns:
        <class>/<name> of the source, which is the file itself unless its name is that of a copy; and the first 8 digits
        of the sha256 that the source had when the copy was made, or "" if the name does not tell.
    """
    folder, _, last = name.rpartition("/")
    for pattern in _COPY_NAMES:
        if match := pattern.fullmatch(last):
            source = _ROBOFLOW_SUFFIX.sub(r".\1", match["source"]) if ".rf." in last else match["source"]
            source += match["stored"] or ""  # in data/ every name has .png appended
            digits = match.groupdict().get("digits", "")
            if not digits and folder.endswith("/output"):  # where Augmentor puts its copies
                folder = folder.removesuffix("/output")
            original, _ = source_of(f"{folder}/{source}")  # the source may be a copy itself
            return original, digits
    return name, ""


# ---- names among others ----


def with_sources(pictures: Sequence[Picture], others: Iterable[Picture] = ()) -> list[Picture]:
    """Returns pictures with the sources that names of other tools tell, judged by the names of all of them.

    `others` are pictures that may be sources too.
    """
    listed = [*pictures, *others]
    sources = sources_among({picture.source for picture in listed if not picture.is_copy})
    return [updated(picture, source=sources.get(picture.source, picture.source)) for picture in pictures]


def sources_among(names: Iterable[str]) -> dict[str, str]:
    """Returns the sources of those names, as <class>/<name>, that are names of copies, given all the others."""
    classes = defaultdict(list)
    for name in sorted(names):
        classes[name.partition("/")[0]].append(name)
    found: dict[str, str] = {}
    for own in classes.values():
        sources = _beside_their_source(own)
        rest = [name for name in own if name not in sources]
        for more in (_numbered_by_keras(rest), _of_shared_stems(rest)):
            sources |= {name: source for name, source in more.items() if name not in sources}
        found |= {name: _first_source(name, sources) for name in sources}
    return found


def _first_source(name: str, sources: dict[str, str]) -> str:
    """Returns the source of the source, and so on."""
    seen = {name}
    while (source := sources.get(name, name)) not in seen:
        seen.add(source)
        name = source
    return name


def _stem_of(name: str) -> str:
    match = _STEM.fullmatch(name)
    return match["stem"] if match else name


def _beside_their_source(names: Sequence[str]) -> dict[str, str]:
    """Returns the sources of names such as cat1_flip.jpg, if there is a cat1.jpg in the folder or the one above."""
    named: dict[str, str] = {}
    for name in names:
        named.setdefault(_stem_of(name), name)
        named.setdefault(name, name)  # a copy may be called cat1.jpg_flip.jpg
    sources = {}
    for name in names:
        folder, _, stem = _stem_of(name).rpartition("/")
        above = folder.rpartition("/")[0] or folder
        for candidate in _stripped(stem):
            source = named.get(f"{folder}/{candidate}") or named.get(f"{above}/{candidate}")
            if source and source != name:
                sources[name] = source
                break
    # If most names of a class are made from one, it is more likely the name of the class than of a picture.
    claims = Counter(sources.values())
    return {name: source for name, source in sources.items() if claims[source] <= max(20, len(names) // 2)}


def _stripped(stem: str) -> Iterator[str]:
    """Yields what may be the stem of the source: without one change, without two, and so on."""
    stems = [stem]
    for shorter in stems:  # which grows meanwhile
        for pattern in _BESIDE_SOURCE:
            if (match := pattern.fullmatch(shorter)) and match["stem"] not in stems:
                stems.append(match["stem"])
                yield match["stem"]


def _of_shared_stems(names: Sequence[str]) -> dict[str, str]:
    """Returns the sources of names such as cat1_aug_1.jpg and cat1_aug_2.jpg, if there are several such stems.

    One other word with numbers does not tell: apple_rot_1.jpg and apple_rot_2.jpg may be rotten, or red in German.
    """
    groups = defaultdict(list)
    changes = defaultdict(set)  # of each stem, without numbers
    copies: dict[str, bool] = defaultdict(bool)  # which have a name that hardly any photo has
    for name in names:
        folder, _, stem = _stem_of(name).rpartition("/")
        shared, is_copy = stem, False
        while match := _CHANGED_STEM.fullmatch(shared):
            is_copy |= bool(_COPY_STEM.fullmatch(shared))
            shared = match["stem"]
        if shared != stem:
            source = f"{folder}/{shared}"
            groups[source].append(name)
            changes[source].add("".join(filter(str.isalpha, stem.removeprefix(shared).lower())))
            copies[source] |= is_copy

    def is_told(source: str) -> bool:
        own = changes[source]
        return copies[source] and (len(own) > 1 or any(change.startswith("aug") for change in own))

    shared_stems = {stem: own for stem, own in groups.items() if len(own) > 1 and is_told(stem)}
    return _as_sources(shared_stems) if len(shared_stems) > 1 else {}


def _numbered_by_keras(names: Sequence[str]) -> dict[str, str]:
    """Returns the sources of names such as aug_0_7315.png and aug_1_482.png: prefix, index, random number.

    Names of frames and pages look alike. But their numbers are dense or regular, and copies have indices from 0.
    """
    groups = defaultdict(list)
    indices = defaultdict(set)
    numbers = defaultdict(list)
    for name in names:
        folder, _, stem = _stem_of(name).rpartition("/")
        if match := _KERAS.fullmatch(stem):
            prefix = f"{folder}/{match['prefix']}"
            groups[f"{folder}/{match['stem']}", prefix].append(name)
            indices[prefix].add(int(match["index"]))
            numbers[folder].append(int(match["number"]))
    whole = {prefix for prefix, own in indices.items() if 0 in own and len(own) * 2 > max(own)}
    stems = {stem: own for (stem, prefix), own in groups.items() if prefix in whole}
    files = sum(map(len, stems.values()))
    if len(stems) < 2 or files < 1.5 * len(stems) or not all(map(_is_random, numbers.values())):
        return {}
    return _as_sources(stems)


def _is_random(numbers: Sequence[int]) -> bool:
    """Returns whether numbers are sparse and not multiples of a step, as those of frames are."""
    first = min(numbers)
    return max(numbers) - first > 10 * len(numbers) and math.gcd(*(number - first for number in numbers)) == 1


def _as_sources(groups: dict[str, list[str]]) -> dict[str, str]:
    """Returns the source of each name, which is known only from them: it has the suffix of the first."""
    return {name: f"{stem}{own[0].removeprefix(_stem_of(own[0]))}" for stem, own in groups.items() for name in own}
