"""All fakes on one port: `/solapi`, `/nhn`, …, and a page that shows what they have taken."""

from collections.abc import Mapping
from html import escape
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route

from services.cli.fakes import keys
from services.cli.fakes.amazon import FakeSes
from services.cli.fakes.base import CONDITIONS, Fake
from services.cli.fakes.bizgo import FakeBizgo
from services.cli.fakes.mailers import FakeResend, FakeSendGrid
from services.cli.fakes.nhn import FakeNhn
from services.cli.fakes.numbers import ENDINGS, NumberFake
from services.cli.fakes.pushes import FakeApns, FakeFcm, FakePushService
from services.cli.fakes.sens import FakeSens
from services.cli.fakes.slack import FakeSlack
from services.cli.fakes.solapi import FakeSolapi
from services.cli.fakes.texters import FakeAligo, FakeTwilio

KEYS: Mapping[str, str] = {
    "DANGOL_SOLAPI_API_KEY": "fake-solapi-key",
    "DANGOL_SOLAPI_API_SECRET": "fake-solapi-secret",
    "DANGOL_SOLAPI_RECEIPTS_TOKEN": "fake-solapi-receipts",
    "DANGOL_NHN_SMS_APP_KEY": "fake-nhn-app",
    "DANGOL_NHN_SMS_SECRET_KEY": "fake-nhn-secret",
    "DANGOL_NHN_KAKAO_APP_KEY": "fake-nhn-app",
    "DANGOL_NHN_KAKAO_SECRET_KEY": "fake-nhn-secret",
    "DANGOL_NHN_WEBHOOK_SIGNATURE": "fake-nhn-signature",
    "DANGOL_ALIGO_API_KEY": "fake-aligo-key",
    "DANGOL_ALIGO_USER_ID": "fake-aligo-user",
    "DANGOL_SENS_ACCESS_KEY": "fake-sens-key",
    "DANGOL_SENS_SECRET_KEY": "fake-sens-secret",
    "DANGOL_SENS_SMS_SERVICE_ID": "ncp:sms:kr:1:fake",
    "DANGOL_SENS_BIZ_SERVICE_ID": "ncp:kkobizmsg:kr:1:fake",
    "DANGOL_BIZGO_API_KEY": "fake-bizgo-key",
    "DANGOL_BIZGO_WEBHOOK_SECRET": "fake-bizgo-webhooks",
    "DANGOL_TWILIO_ACCOUNT_SID": "ACfake",
    "DANGOL_TWILIO_AUTH_TOKEN": "fake-twilio-token",
    "DANGOL_RESEND_API_KEY": "re_fake",
    "DANGOL_SENDGRID_API_KEY": "SG.fake",
    "AWS_ACCESS_KEY_ID": "AKIAFAKE",
    "AWS_SECRET_ACCESS_KEY": "fake-ses-secret",
    "AWS_REGION": "ap-northeast-2",
    "DANGOL_SLACK_BOT_TOKEN": "fake-slack-token",
    "DANGOL_APNS_KEY_ID": keys.KEY_ID,
    "DANGOL_APNS_TEAM_ID": keys.TEAM,
    "DANGOL_VAPID_PRIVATE_KEY": keys.browsers(),
}
"""What nobody could take for a key of a real account."""
_APPROVED = {
    "templateId": "KA01TP0000example",
    "name": "주문 접수 안내",
    "status": "APPROVED",
    "content": "#{이름}님, 주문이 접수되었습니다.\n주문번호: #{주문번호}",
    "buttons": [],
}
"""The template of examples/kakao."""
PROVIDERS = (
    "solapi",
    "nhn",
    "sens",
    "bizgo",
    "aligo",
    "twilio",
    "resend",
    "sendgrid",
    "ses",
    "slack",
    "fcm",
)
"""Those whose API has an address that can be replaced, on the one port."""


class Town:
    def __init__(self, dangol: str, url: str) -> None:
        """`dangol`: where reports go; `url`: where the town is."""
        self.fakes: dict[str, Fake] = {
            "solapi": FakeSolapi(
                KEYS["DANGOL_SOLAPI_API_KEY"],
                KEYS["DANGOL_SOLAPI_API_SECRET"],
                KEYS["DANGOL_SOLAPI_RECEIPTS_TOKEN"],
            ),
            "nhn": FakeNhn(
                KEYS["DANGOL_NHN_SMS_APP_KEY"],
                KEYS["DANGOL_NHN_SMS_SECRET_KEY"],
                KEYS["DANGOL_NHN_WEBHOOK_SIGNATURE"],
            ),
            "sens": FakeSens(
                KEYS["DANGOL_SENS_ACCESS_KEY"],
                KEYS["DANGOL_SENS_SECRET_KEY"],
                KEYS["DANGOL_SENS_SMS_SERVICE_ID"],
                KEYS["DANGOL_SENS_BIZ_SERVICE_ID"],
            ),
            "bizgo": FakeBizgo(KEYS["DANGOL_BIZGO_API_KEY"], KEYS["DANGOL_BIZGO_WEBHOOK_SECRET"]),
            "aligo": FakeAligo(KEYS["DANGOL_ALIGO_API_KEY"], KEYS["DANGOL_ALIGO_USER_ID"]),
            "twilio": FakeTwilio(
                KEYS["DANGOL_TWILIO_ACCOUNT_SID"], KEYS["DANGOL_TWILIO_AUTH_TOKEN"]
            ),
            "resend": FakeResend(KEYS["DANGOL_RESEND_API_KEY"]),
            "sendgrid": FakeSendGrid(KEYS["DANGOL_SENDGRID_API_KEY"]),
            "ses": FakeSes(
                KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"], KEYS["AWS_REGION"]
            ),
            "slack": FakeSlack(KEYS["DANGOL_SLACK_BOT_TOKEN"]),
            "fcm": FakeFcm(keys.PROJECT, keys.firebase().public_key()),
            "apns": FakeApns(keys.apple().public_key(), keys.TEAM, keys.TOPIC),
            "web_push": FakePushService(keys.browsers_public()),
        }
        for fake in self.fakes.values():
            if isinstance(fake, NumberFake):
                fake.dangol = dangol.rstrip("/")
            if isinstance(fake, FakeFcm | FakePushService):
                fake.url = f"{url}/{fake.name}"
            if isinstance(fake, FakeSolapi):
                fake.templates.append(_APPROVED)

    def apple(self) -> Starlette:
        """What has to be served over HTTP/2, at a port of its own."""
        return self.fakes["apns"].asgi()  # type: ignore[attr-defined,no-any-return]

    def asgi(self) -> Starlette:
        async def page(_request: Request) -> Response:
            return HTMLResponse(_page(self.fakes))

        async def sent(_request: Request) -> Response:
            return JSONResponse(
                {
                    name: [{"to": t.to, "kind": t.kind, "text": t.text} for t in fake.taken]
                    for name, fake in self.fakes.items()
                }
            )

        mounts = [
            Mount(f"/{name}", fake.asgi())  # type: ignore[attr-defined]
            for name, fake in self.fakes.items()
        ]
        return Starlette(routes=[Route("/", page), Route("/__sent", sent), *mounts])


def apple_at(url: str) -> str:
    """The next port."""
    there = urlsplit(url)
    return f"http://{there.hostname}:{(there.port or 80) + 1}"


def environment(url: str) -> dict[str, str]:
    """What a Dangol needs to be set to use the fakes at `url`."""
    addresses = {f"DANGOL_{name.upper()}_BASE_URL": f"{url}/{name}" for name in PROVIDERS}
    return {
        **KEYS,
        **addresses,
        "DANGOL_FCM_CREDENTIALS": keys.service_account(f"{url}/fcm"),
        "DANGOL_APNS_KEY": keys.pem(keys.apple()),
        "DANGOL_APNS_BASE_URL": apple_at(url),
        # Browsers name the address of their push service: none in a private network otherwise.
        "DANGOL_PRIVATE_HOSTS": urlsplit(url).netloc,
    }


_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{padding:.3rem .8rem .3rem 0;text-align:left;"
    "border-top:1px solid #ccc;vertical-align:top}pre{margin:0;white-space:pre-wrap;font:inherit}"
)


def _page(fakes: Mapping[str, Fake]) -> str:
    taken = sorted(
        ((t.at, name, t) for name, fake in fakes.items() for t in fake.taken),
        key=lambda each: each[0],
        reverse=True,
    )
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(t.kind)}</td><td>{escape(t.to)}</td>"
        f"<td><pre>{escape(t.text)}</pre></td></tr>"
        for _at, name, t in taken[:200]
    )
    refused = "".join(
        f"<p><b>{escape(name)}</b> refused {len(fake.refused)} requests as not signed or keyed"
        f" right; the last: {escape(fake.refused[-1])}</p>"
        for name, fake in fakes.items()
        if fake.refused
    )
    endings = "".join(
        f"<tr><td>…{ending}</td><td>{escape(what)}</td></tr>"
        for ending, (_fate, what) in ENDINGS.items()
    )
    empty = "<p>Nothing yet.</p>" if not rows else ""
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=2>"
        f"<title>Fake providers</title><style>{_STYLE}</style><h1>Fake providers</h1>"
        "<p>Nothing leaves this machine. What was taken, newest first:</p>"
        f"{refused}<table>{rows}</table>{empty}"
        f"<h2>A number that ends in …</h2><table>{endings}</table>"
        "<p>A push token, a Slack channel or a mail's part before the @ may be called"
        f" {', '.join(CONDITIONS[1:])}.</p></html>"
    )
