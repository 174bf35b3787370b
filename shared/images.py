"""Pictures of MMS: files of the workspace, named by a text template's `image`.

`image: sale.jpg` is the file beside the template, or else in `templates/images/`. What carriers
take is JPEG; how large a file may be is the vendor's to say, and 1,500 × 1,440 is the most that any
of them documents (https://api.ncloud-docs.com/docs/sens-sms-attachment-create).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

WIDEST, HIGHEST = 1500, 1440
MOST_BYTES: Mapping[str, int] = {
    "aligo": 300_000,
    "bizgo": 300_000,
    "nhn": 300_000,
    "sens": 300_000,
    "solapi": 200_000,
}
"""Adapter → the largest file that it takes. Where it is not named, it takes no files."""
_ENDINGS = (".jpg", ".jpeg")
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG's markers of a frame header, which holds the size (ITU-T T.81, table B.1)."""


@dataclass(frozen=True, slots=True)
class Image:
    path: str
    content: bytes

    @property
    def digest(self) -> str:
        return sha256(self.content).hexdigest()


def is_file(value: str) -> bool:
    """Whether an `image` names a file, rather than a vendor's id or an address."""
    return value.lower().endswith(_ENDINGS) and "://" not in value


def image_of(files: Mapping[str, bytes], template: str, value: str) -> Image | None:
    """The file that a template's `image` names; None where there is none."""
    for path in (f"templates/{template}/{value}", f"templates/images/{value}"):
        if path in files:
            return Image(path, files[path])
    return None


def dimensions_of(content: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG; None for anything else."""
    if not content.startswith(b"\xff\xd8"):
        return None
    at = 2
    while at + 9 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker in _FRAMES:
            height = int.from_bytes(content[at + 5 : at + 7], "big")
            return int.from_bytes(content[at + 7 : at + 9], "big"), height
        alone = marker in (0x01, 0xFF) or 0xD0 <= marker <= 0xD8
        length = 0 if alone else int.from_bytes(content[at + 2 : at + 4], "big")
        at += 1 if marker == 0xFF else 2 + length
    return None


def problem_of(content: bytes, most: int) -> str | None:
    """Why no carrier takes the picture, or None."""
    size = dimensions_of(content)
    if size is None:
        return "it is no JPEG: MMS carries no other kind"
    if len(content) > most:
        return f"it has {len(content):,} bytes, at most {most:,} are taken"
    width, height = size
    if not (0 < width <= WIDEST and 0 < height <= HIGHEST):
        return f"it is {width} × {height}, at most {WIDEST:,} × {HIGHEST:,} are taken"
    return None
