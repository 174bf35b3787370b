"""AlimTalk templates as Kakao has approved them: `templates/kakao.json` of a workspace.

`dangol kakao-templates` fetches it from the vendor. What is sent must be what was approved, but for
the values of `#{…}`, so validation and sending hold templates to it.
"""

import re
from collections.abc import Mapping
from typing import Literal

import msgspec

PATH = "templates/kakao.json"
VARIABLE = re.compile(r"#\{[^{}\n]{1,40}\}")

Status = Literal["approved", "waiting", "rejected", "stopped"]
"""`stopped`: blocked by Kakao, or dormant after a year without use."""


class Button(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    type: str
    """Kakao's two letters: `WL` a web link, `AL` an app link, `DS` delivery tracking, …"""
    links: tuple[str, ...] = ()


class Approved(msgspec.Struct, frozen=True, omit_defaults=True):
    """One template, as the vendor tells it."""

    code: str
    name: str
    status: Status
    content: str
    buttons: tuple[Button, ...] = ()

    @property
    def variables(self) -> tuple[str, ...]:
        """Of the wording and of the buttons' names and links, each once, in order."""
        texts = [self.content]
        for button in self.buttons:
            texts += [button.name, *button.links]
        return tuple(dict.fromkeys(v for text in texts for v in VARIABLE.findall(text)))

    def says(self, text: str) -> bool:
        """Whether the text is the approved wording with values in the place of its variables."""
        parts = VARIABLE.split(plain(self.content))
        pattern = "(.+?)".join(re.escape(part) for part in parts)
        return re.fullmatch(pattern, plain(text), re.DOTALL) is not None


class Registry(msgspec.Struct, frozen=True):
    adapter: str
    fetched_at: str
    """For people; nothing is decided by it."""
    templates: tuple[Approved, ...]

    def by_code(self) -> dict[str, Approved]:
        return {template.code: template for template in self.templates}


def read(files: Mapping[str, bytes]) -> Registry | None:
    """None where the workspace keeps none. Raises ValueError for a file that cannot be read."""
    content = files.get(PATH)
    if content is None:
        return None
    try:
        return msgspec.json.decode(content, type=Registry)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from error


def written(registry: Registry) -> bytes:
    return msgspec.json.format(msgspec.json.encode(registry), indent=2) + b"\n"


def plain(text: str) -> str:
    """Without what neither Kakao nor a reader tells apart: kinds of line ends, blanks at them."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line.rstrip() for line in lines).strip()
