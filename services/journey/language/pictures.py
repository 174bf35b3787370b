"""Pictures that text templates name: there, JPEG, and no larger than the channel's vendors take.

What `image` holds only at sending (`{{ … }}`), a vendor's id or an address are not looked at.
"""

import re
from collections.abc import Mapping

from services.journey.language.problems import Problem, Problems, Source, Spot, nearest
from shared.images import MOST_BYTES, image_of, is_file, problem_of
from shared.templates import template_name
from shared.workspace import WorkspaceSettings

_IMAGE = re.compile(r"image:\s*(?:\"([^\"]*)\"|'([^']*)'|([^#\n]*))")


def check_pictures(
    files: Mapping[str, bytes], settings: WorkspaceSettings, found: list[Problem]
) -> None:
    """After the templates themselves have been read."""
    for file, content in files.items():
        name = template_name(file)
        if name is None or name.channel != "sms":
            continue
        text = content.decode(errors="replace")
        named = _named(text)
        if named is None or "{{" in named[0] or "{%" in named[0]:
            continue
        problem = _problem(files, settings, name.name, named[0])
        if problem is not None:
            spot = Spot(named[1], named[2])
            Problems(Source.of(file, text), found).add(spot, *problem, code="picture")


def _named(text: str) -> tuple[str, int, int] | None:
    """What the front matter's `image` says, with its place."""
    lines = text.splitlines()
    if not lines or lines[0].rstrip() != "---":
        return None
    for number, line in enumerate(lines[1:], 2):
        if line.rstrip() == "---":
            return None
        match = _IMAGE.match(line)
        if match is not None:
            group = next(n for n in (1, 2, 3) if match[n] is not None)
            return match[group].strip(), number, match.start(group) + 1
    return None


def _problem(
    files: Mapping[str, bytes], settings: WorkspaceSettings, template: str, named: str
) -> tuple[str, str] | None:
    """What is wrong with the picture, and how to mend it."""
    if not is_file(named):
        if "://" in named or "." not in named:
            return None
        return f"`{named}` is no picture that MMS carries", "save it as .jpg"
    image = image_of(files, template, named)
    if image is None:
        there = [path.rpartition("/")[2] for path in files if is_file(path)]
        where = f"put it beside the template, in templates/{template}/, or in templates/images/"
        return f"there is no picture `{named}`", nearest(named, there) or where
    channel = settings.channels.get("sms")
    adapters = (channel.adapter, *channel.failover) if channel is not None else ()
    refusing = [a for a in adapters if a not in MOST_BYTES and a != "log"]
    if refusing:
        hint = "name an address (twilio), or leave the picture out"
        return f"the adapter {refusing[0]} takes no pictures from files", hint
    most = min((MOST_BYTES[a] for a in adapters if a in MOST_BYTES), default=300_000)
    why = problem_of(image.content, most)
    return None if why is None else (f"`{named}` cannot be sent: {why}", "save it anew as JPEG")
