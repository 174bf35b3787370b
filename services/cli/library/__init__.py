"""The library of journeys: workspace files to begin with, in Korean and English.

`index.yaml` names what can be chosen. `journeys/` and `segments/` hold workspace files that speak
both languages at once, `messages/` the texts of each message for all its channels; `build` makes a
workspace of one language out of them. Everything is plain data that comes with the package.
"""

from services.cli.library.build import Shop, build
from services.cli.library.catalogue import DEFAULT, Entry, duties, entries, find, with_needs
from services.cli.library.words import LANGUAGES, Language

__all__ = [
    "DEFAULT",
    "LANGUAGES",
    "Entry",
    "Language",
    "Shop",
    "build",
    "duties",
    "entries",
    "find",
    "with_needs",
]
