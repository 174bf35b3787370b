"""How one file speaks two languages, and how a line is chosen.

- `title: 웰컴 시리즈 | Welcome series`, and so the `name` of a test: Korean first, then English
- a line that ends with `#ko` or `#en` stands in that language only
- a line that begins with `#ko ` or `#en ` is a comment in that language
"""

import re
from typing import Literal

Language = Literal["ko", "en"]
LANGUAGES: tuple[Language, ...] = ("ko", "en")

_COMMENT = re.compile(r"^(\s*)#(ko|en) (.*)$")
_ONLY = re.compile(r"^(.*\S)\s+#(ko|en)$")
_BOTH = re.compile(r"^((?:title|\s+- name): )(.*\S) \| (.*)$")
_KOREA = re.compile(r"\balimtalk\b")
_WORKDAY = "+09:00"


def in_language(text: str, language: Language) -> str:
    """The file in one language.

    AlimTalk is a thing of Korea: elsewhere the same information goes by text message. The moments
    of the tests are told in UTC there, the time zone of such a workspace.
    """
    lines = []
    for line in text.splitlines():
        if match := _COMMENT.match(line) or _ONLY.match(line):
            if match[2] == language:
                lines.append(f"{match[1]}# {match[3]}" if match.re is _COMMENT else match[1])
        elif match := _BOTH.match(line):
            lines.append(match[1] + match[2 if language == "ko" else 3])
        else:
            lines.append(line)
    chosen = "\n".join(lines) + "\n"
    if language == "en":
        chosen = _KOREA.sub("sms", chosen).replace(_WORKDAY, "Z")
    return chosen


def title_of(text: str, language: Language) -> str:
    """The `title:` of a journey or segment file."""
    found = re.search(r"^title: (.*)$", in_language(text, language), re.MULTILINE)
    assert found is not None, "every file of the library has a title"
    return found[1]
