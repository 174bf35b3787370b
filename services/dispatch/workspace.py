"""The newest workspace as dispatch needs it: settings, and templates parsed on first use."""

import asyncio
from collections.abc import Iterator, Mapping
from datetime import timedelta

import structlog

from services.dispatch.connections import limits_of, rates_of
from services.dispatch.rates import Limits
from shared import images, kakao_templates
from shared.db.connect import Connection
from shared.kakao_templates import Approved
from shared.mail_complaints import sending_domain
from shared.packs import caps_of
from shared.templates import (
    Template,
    TemplateFailed,
    TemplateInvalid,
    parse_template,
    template_name,
)
from shared.workspace import WorkspaceSettings
from shared.workspace_store import Published, newest, newest_revision

logger = structlog.get_logger()

_FRESH = 1.0
"""Real seconds for which a revision is used without asking whether there is a newer one."""


class Templates(Mapping[str, Template]):
    """Key → template. Each is parsed when it is first asked for."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._sources = {
            name.key: (path, content)
            for path, content in files.items()
            if (name := template_name(path)) is not None
        }
        self._parsed: dict[str, Template] = {}

    def __getitem__(self, key: str) -> Template:
        """Raises KeyError for a template that is not there, TemplateFailed for one that is none."""
        found = self._parsed.get(key)
        if found is None:
            path, content = self._sources[key]
            try:
                found = parse_template(path, content.decode())
            except (TemplateInvalid, UnicodeDecodeError) as error:
                raise TemplateFailed(f"{path} cannot be read") from error
            self._parsed[key] = found
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)


class Workspace:
    """One published revision."""

    def __init__(self, published: Published) -> None:
        self.revision = published.revision
        self.settings: WorkspaceSettings = published.settings
        self.zone = published.settings.zone()
        self.templates = Templates(published.files)
        self.images = {
            path: content for path, content in published.files.items() if images.is_file(path)
        }
        self.kakao = _approved(published)
        mail = published.settings.channels.get("email")
        self.mail_domain = sending_domain(mail.sender) if mail is not None else None
        """Of the sender of mails."""
        self.window = max(
            (cap.per for cap in caps_of(published.settings.policies)), default=timedelta(0)
        )
        """The longest cap's window."""
        channels = published.settings.channels
        self.limits = Limits(rates_of(channels), limits_of(channels))


def _approved(published: Published) -> dict[str, Approved]:
    """Validation has read the file; one from before it did is as if there were none."""
    try:
        registry = kakao_templates.read(published.files)
    except ValueError:
        return {}
    return {} if registry is None else registry.by_code()


class CurrentWorkspace:
    """Follows the revisions: told by a wake-up, and asked about at most once a second."""

    def __init__(self, news: asyncio.Event) -> None:
        self._news = news
        self._current: Workspace | None = None
        self._asked_at = float("-inf")

    async def get(self, connection: Connection) -> Workspace | None:
        """None while nothing has been published."""
        now = asyncio.get_running_loop().time()
        if self._news.is_set() or now - self._asked_at >= _FRESH:
            self._news.clear()
            revision = await newest_revision(connection)
            if revision != (self._current.revision if self._current else 0):
                published = await newest(connection)
                self._current = Workspace(published) if published else None
                logger.info("took over a workspace revision", action="workspace", revision=revision)
            self._asked_at = now
        return self._current
