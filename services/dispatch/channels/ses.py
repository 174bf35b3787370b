"""The adapter `ses`: mail through Amazon SES, API v2.

Requests are signed with botocore (the extra `ses`: `pip install "dangol[ses]"`). SES has no
idempotency token: an answer that was lost leaves the outcome unknown.
https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html
"""

import re
from collections.abc import Callable, Mapping

import msgspec

from services.dispatch.channels.mail import html_of, plain_sender, subject_of
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

_PATH = "/v2/email/outbound-emails"
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
_ERROR = re.compile(r"[A-Za-z]+")

_BROKEN = frozenset(
    {
        "AccountSuspendedException",
        "SendingPausedException",
        "MailFromDomainNotVerifiedException",
        "NotFoundException",  # the configuration set
    }
)
_TOO_FAST = frozenset({"TooManyRequestsException", "LimitExceededException"})

Sign = Callable[[str, bytes], Mapping[str, str]]
"""URL and body to the headers of the signed request."""


class SesAdapter:
    name = "ses"
    deduplicates = False

    def __init__(
        self, provider: Provider, url: str, sign: Sign, sender: str, configuration: str | None
    ) -> None:
        self._provider = provider
        self._url = f"{url.rstrip('/')}{_PATH}"
        self._sign = sign
        self._sender = sender
        self._configuration = configuration

    async def send(self, message: Outgoing) -> Result:
        body = msgspec.json.encode(self._mail(message))
        headers = self._sign(self._url, body)
        answer = await self._provider.post(_PATH, content=body, headers=headers)
        return answer if isinstance(answer, Result) else meaning_of(answer, message)

    async def close(self) -> None:
        await self._provider.close()

    def _mail(self, message: Outgoing) -> dict[str, object]:
        simple = {
            "Subject": _text(subject_of(message.content)),
            "Body": {"Html": _text(html_of(message.content)), "Text": _text(message.content.text)},
            "Headers": [{"Name": n, "Value": v} for n, v in message.headers.items()],
        }
        mail: dict[str, object] = {
            "FromEmailAddress": self._sender,
            "Destination": {"ToAddresses": [message.address]},
            "Content": {"Simple": simple},
            "EmailTags": [{"Name": "message_id", "Value": message.message_id}],
        }
        if self._configuration:
            mail["ConfigurationSetName"] = self._configuration
        return mail


def _text(text: str) -> dict[str, str]:
    return {"Data": text, "Charset": "UTF-8"}


def meaning_of(answer: Answer, message: Outgoing) -> Result:
    fields = answer.fields()
    if answer.ok:
        return Result(Outcome.ACCEPTED, provider_id=words(fields.get("MessageId")) or None)
    kind = answer.headers.get("x-amzn-errortype") or str(fields.get("__type") or "")
    found = _ERROR.match(kind.rpartition("#")[2])
    name = found[0] if found else ""
    said = f"{name}: {fields.get('message') or fields.get('Message') or ''}"
    detail = f"{answer.status} {words(said, message.address)}"
    if name in _BROKEN:
        return Result(Outcome.BROKEN_CONNECTION, detail=detail)
    if name in _TOO_FAST:
        return Result(Outcome.THROTTLED, detail=detail, retry_after=answer.retry_after(message.at))
    return meaning_of_status(answer, message.at, said=said, address=message.address)


def create(setup: Setup) -> Adapter:
    """Raises ConfigurationError."""
    key, secret = required(setup, "ses", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    region = setup.environment.get("AWS_REGION") or setup.environment.get("AWS_DEFAULT_REGION", "")
    if not _REGION.fullmatch(region):
        raise ConfigurationError(
            "the adapter ses needs the region of your SES account",
            hint="set AWS_REGION, for example to ap-northeast-2",
        )
    url = base_url(setup, "ses", f"https://email.{region}.amazonaws.com")
    sign = _signer(key, secret, setup.environment.get("AWS_SESSION_TOKEN"), region)
    configuration = setup.settings.options.get("configuration_set")
    return SesAdapter(
        Provider(setup, url),
        url,
        sign,
        plain_sender(setup.settings.sender),
        str(configuration) if configuration else None,
    )


def _signer(key: str, secret: str, token: str | None, region: str) -> Sign:
    try:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials
    except ImportError as error:
        raise ConfigurationError(
            "the adapter ses needs botocore, which is not installed",
            hint='pip install "dangol[ses]"',
        ) from error
    signature = SigV4Auth(Credentials(key, secret, token), "ses", region)

    def sign(url: str, body: bytes) -> Mapping[str, str]:
        request = AWSRequest("POST", url, {"content-type": "application/json"}, body)
        signature.add_auth(request)
        return dict(request.headers.items())

    return sign
