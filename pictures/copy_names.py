"""Names of copies: which source photo a file shows, judged by its name."""

import hashlib
import os
import re

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_COPY_NAMES = (
    re.compile(  # of augment.py
        r"(?P<source>.+)_augmented_(?P<digits>[0-9a-f]{8})_\d+\.jpg(?P<stored>\.png)?", re.DOTALL
    ),
    re.compile(rf".+?_original_(?P<source>.+)_{_UUID}\.\w+?(?P<stored>\.png)?", re.DOTALL),  # of Augmentor itself
)


def copy_name(source: str, sha256: str, index: int) -> str:
    """Returns the name of a copy by augment.py: it has the name of the source and the start of its sha256."""
    return f"{source}_augmented_{sha256[:8]}_{index:04d}.jpg"


def source_of(name: str) -> tuple[str, str]:
    """Returns the source photo of a file, judged by its name.

    Args:
        name: <class>/<name>, below `rawdata/` or `augmented/`.

    Returns:
        <class>/<name> of the source, which is the file itself unless its name is that of a copy; and the first 8 digits
        of the sha256 that the source had when the copy was made, or "" if the name does not tell.
    """
    folder, _, last = name.rpartition("/")
    for pattern in _COPY_NAMES:
        if match := pattern.fullmatch(last):
            source = match["source"] + (match["stored"] or "")  # in data/ every name has .png appended
            digits = match.groupdict().get("digits", "")
            if not digits and folder.endswith("/output"):  # where Augmentor puts its copies
                folder = folder.removesuffix("/output")
            original, _ = source_of(f"{folder}/{source}")  # the source may be a copy itself
            return original, digits
    return name, ""


def short_name(name: str, max_bytes: int) -> str:
    """Returns a file name if it has at most `max_bytes`, otherwise its beginning with a hash of the whole name."""
    data = os.fsencode(name)
    if len(data) <= max_bytes:
        return name
    end = f"~{hashlib.sha256(data).hexdigest()[:8]}"
    return data[: max_bytes - len(end)].decode(errors="ignore") + end
