"""The adapter `slack`: a line in a Slack channel, by a bot token or an incoming webhook.

With `DANGOL_SLACK_BOT_TOKEN` the channel is the front matter's `to`, or `to:` of the workspace's
channel; an incoming webhook (`DANGOL_SLACK_WEBHOOK_URL`) has its channel built in. Slack answers
200 also for what it refuses, and drops nothing that comes twice.
https://docs.slack.dev/reference/methods/chat.postMessage
"""

from services.dispatch.channels.port import Adapter, Outcome, Outgoing, Result, Setup
from services.dispatch.channels.provider import (
    Answer,
    Provider,
    base_url,
    meaning_of_status,
    required,
    words,
)
from shared.errors import ConfigurationError

_BROKEN = frozenset(
    {
        "invalid_auth",
        "not_authed",
        "account_inactive",
        "token_revoked",
        "token_expired",
        "no_permission",
        "missing_scope",
        "org_login_required",
        "ekm_access_denied",
        "team_access_not_granted",
    }
)
_TOO_FAST = frozenset({"ratelimited", "rate_limited"})
_LATER = frozenset({"internal_error", "fatal_error", "service_unavailable", "request_timeout"})


class SlackAdapter:
    name = "slack"
    deduplicates = False

    def __init__(self, provider: Provider, to: str | None, hook: str | None = None) -> None:
        self._provider = provider
        self._to = to
        self._hook = hook

    async def send(self, message: Outgoing) -> Result:
        text = message.content.text
        if self._hook is not None:
            answer = await self._provider.post(self._hook, json={"text": text})
        else:
            to = message.content.parts.get("to") or self._to
            if not to:
                return Result(Outcome.REJECTED_MESSAGE, detail="no Slack channel is named: `to`")
            body = {"channel": to, "text": text, "unfurl_links": False}
            answer = await self._provider.post("/api/chat.postMessage", json=body)
        return answer if isinstance(answer, Result) else meaning_of(answer, message)

    async def close(self) -> None:
        await self._provider.close()


def meaning_of(answer: Answer, message: Outgoing) -> Result:
    fields = answer.fields()
    if answer.ok and (fields.get("ok") is True or answer.body.strip() == b"ok"):
        return Result(Outcome.ACCEPTED, provider_id=words(fields.get("ts")) or None)
    error = str(fields.get("error") or answer.body[:100].decode("utf-8", "replace"))
    detail = f"{answer.status} {words(error)}"
    if error in _BROKEN or error in ("no_service", "invalid_token", "channel_is_archived"):
        return Result(Outcome.BROKEN_CONNECTION, detail=detail)
    if error in _TOO_FAST:
        return Result(Outcome.THROTTLED, detail=detail, retry_after=answer.retry_after(message.at))
    if error in _LATER:
        return Result(Outcome.UNKNOWN, detail=detail)
    if answer.ok:
        return Result(Outcome.REJECTED_MESSAGE, detail=detail)
    return meaning_of_status(answer, message.at, said=error)


def create(setup: Setup) -> Adapter:
    """Raises ConfigurationError."""
    to = setup.settings.options.get("to")
    hook = setup.environment.get("DANGOL_SLACK_WEBHOOK_URL")
    if hook and not setup.environment.get("DANGOL_SLACK_BOT_TOKEN"):
        if not hook.startswith(("https://", "http://127.0.0.1", "http://localhost")):
            raise ConfigurationError("DANGOL_SLACK_WEBHOOK_URL is no https:// address")
        return SlackAdapter(Provider(setup, hook), None, hook)
    (token,) = required(setup, "slack", "DANGOL_SLACK_BOT_TOKEN")
    provider = Provider(
        setup,
        base_url(setup, "slack", "https://slack.com"),
        headers={"authorization": f"Bearer {token}"},
    )
    return SlackAdapter(provider, str(to) if to else None)
