"""What the doctor asks the Kakao vendor: whether the templates in use may still be sent."""

from collections.abc import Mapping

from services.cli.findings import Finding
from services.dispatch.channels.kakao_lists import TemplatesUnread, approved_templates
from services.dispatch.channels.port import Setup
from services.journey.language.kakao import code_in
from shared import kakao_templates
from shared.errors import ConfigurationError
from shared.kakao_templates import Approved, plain
from shared.templates import template_name
from shared.workspace_store import Published

_CHECK = "alimtalk"
_PATIENCE = 5.0
_STATUS = {
    "waiting": "is not approved yet",
    "rejected": "is rejected",
    "stopped": "is blocked or dormant",
}


async def check_kakao(published: Published, environment: Mapping[str, str]) -> list[Finding]:
    """Only where the workspace has AlimTalk templates and a vendor that lists them."""
    settings = published.settings.channels.get(_CHECK)
    codes = _codes(published.files)
    if settings is None or settings.adapter not in ("nhn", "solapi") or not codes:
        return []
    setup = Setup(_CHECK, settings, environment, 1, _PATIENCE)
    try:
        live = {template.code: template for template in await approved_templates(setup)}
        registry = kakao_templates.read(published.files)
    except ConfigurationError:
        return []  # said of the channel already
    except (TemplatesUnread, ValueError) as error:
        hint = "without an answer nobody knows whether Kakao still takes them"
        return [Finding(_CHECK, "warn", f"the approved templates cannot be read: {error}", hint)]
    known = {} if registry is None else registry.by_code()
    found = [finding for code in codes if (finding := _of(code, live, known)) is not None]
    count = f"{len(codes)} template{'' if len(codes) == 1 else 's'}"
    return found or [Finding(_CHECK, "ok", f"{count} in use, all approved as they are written")]


def _codes(files: Mapping[str, bytes]) -> list[str]:
    found = []
    for path, content in files.items():
        name = template_name(path)
        if name is not None and name.channel == _CHECK:
            code = code_in(content.decode(errors="replace").splitlines())
            if code is not None:
                found.append(code[0])
    return sorted(set(found))


def _of(code: str, live: Mapping[str, Approved], known: Mapping[str, Approved]) -> Finding | None:
    template = live.get(code)
    if template is None:
        hint = "is it of another profile? Messages with it go on to `else`, or fail"
        return Finding(_CHECK, "fail", f"the vendor knows no template {code}", hint)
    if template.status != "approved":
        why = f"the template {code} {_STATUS[template.status]}"
        hint = "ask the vendor; messages with it go on to `else`, or fail"
        return Finding(_CHECK, "fail", why, hint)
    kept = known.get(code)
    if kept is not None and plain(kept.content) != plain(template.content):
        why = f"the template {code} reads otherwise than {kakao_templates.PATH} says"
        return Finding(_CHECK, "warn", why, "fetch it anew: dangol kakao-templates DIR")
    return None
