"""The approved AlimTalk templates, from the vendors into the workspace and the doctor."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from services.cli.fakes.nhn import FakeNhn
from services.cli.fakes.serving import serving
from services.cli.fakes.solapi import FakeSolapi
from services.cli.kakao_checkup import check_kakao
from services.dispatch.channels.kakao_lists import TemplatesUnread, approved_templates
from services.dispatch.channels.port import Outcome, Outgoing, Setup
from services.dispatch.channels.registry import create
from shared.kakao_templates import Approved, Registry, written
from shared.templates import Rendered
from shared.workspace import ChannelSettings, WorkspaceSettings
from shared.workspace_store import Published
from tests.integration.dispatching import NOON
from tests.patience import SOON

KEYS = {
    "DANGOL_SOLAPI_API_KEY": "NCSFAKE",
    "DANGOL_SOLAPI_API_SECRET": "fake-secret",
    "DANGOL_NHN_KAKAO_APP_KEY": "fake-app",
    "DANGOL_NHN_KAKAO_SECRET_KEY": "fake-secret",
}
CONTENT = "#{이름}님, 접수되었습니다."


def template(name: str, code: str, status: str, **more: Any) -> dict[str, Any]:
    if name == "solapi":
        button = {"buttonName": "보기", "buttonType": "WL", "linkMo": "https://x/#{키}"}
        fields = {"templateId": code, "name": "접수", "content": CONTENT}
    else:
        button = {"name": "보기", "type": "WL", "linkMo": "https://x/#{키}"}
        fields = {"templateCode": code, "templateName": "접수", "templateContent": CONTENT}
    return {**fields, "status": status, "buttons": [button], **more}


@asynccontextmanager
async def vendor(name: str, **changed: str) -> AsyncIterator[tuple[Any, Setup]]:
    fake: Any = (
        FakeSolapi("NCSFAKE", "fake-secret")
        if name == "solapi"
        else FakeNhn("fake-app", "fake-secret")
    )
    settings = ChannelSettings.model_validate({"adapter": name, "profile": "PF"})
    async with serving(fake, fake.asgi()) as url:
        environment = {**KEYS, f"DANGOL_{name.upper()}_BASE_URL": url, **changed}
        yield fake, Setup("alimtalk", settings, environment, 1, SOON)


@pytest.mark.parametrize(
    ("name", "approved", "rejected", "asked"),
    [("solapi", "APPROVED", "REJECTED", "PENDING"), ("nhn", "TSC03", "TSC04", "TSC01")],
)
async def test_all_pages_are_read_with_states_and_buttons(
    name: str, approved: str, rejected: str, asked: str
) -> None:
    async with vendor(name) as (fake, setup):
        states = [approved, rejected, asked] + [approved] * 200
        fake.templates = [template(name, f"T{n}", state) for n, state in enumerate(states)]
        fake.templates.append(template(name, "T-dormant", approved, dormant=True))
        found = await approved_templates(setup)
    assert len(found) == 204
    assert [t.status for t in found[:3]] == ["approved", "rejected", "waiting"]
    assert found[-1].status == "stopped"
    assert (found[0].content, found[0].variables) == (CONTENT, ("#{이름}", "#{키}"))


@pytest.mark.parametrize("name", ["solapi", "nhn"])
async def test_a_vendor_that_refuses_is_said(name: str) -> None:
    wrong = {"DANGOL_SOLAPI_API_SECRET": "guess", "DANGOL_NHN_KAKAO_SECRET_KEY": "guess"}
    async with vendor(name, **wrong) as (_fake, setup):
        with pytest.raises(TemplatesUnread) as raised:
            await approved_templates(setup)
    assert "guess" not in str(raised.value)


def published(setup: Setup, *codes: str) -> Published:
    files = {
        f"templates/t{n}/alimtalk.liquid": f"---\ntemplate_code: {code}\n---\n안내\n".encode()
        for n, code in enumerate(codes)
    }
    registry = Registry("solapi", "", (Approved("T-changed", "", "approved", "다른 안내"),))
    files["templates/kakao.json"] = written(registry)
    settings = WorkspaceSettings(channels={"alimtalk": setup.settings})
    fields: dict[str, Any] = dict.fromkeys(Published.__dataclass_fields__)
    return Published(**{**fields, "revision": 1, "files": files, "settings": settings})


async def test_the_doctor_flags_templates_that_are_rejected_dormant_or_unknown() -> None:
    async with vendor("solapi") as (fake, setup):
        fake.templates = [
            template("solapi", "T-good", "APPROVED"),
            template("solapi", "T-changed", "APPROVED"),
            template("solapi", "T-rej", "REJECTED"),
            template("solapi", "T-dormant", "APPROVED", dormant=True),
        ]
        used = ("T-good", "T-changed", "T-rej", "T-dormant", "T-none")
        found = await check_kakao(published(setup, *used), setup.environment)
        good = await check_kakao(published(setup, "T-good"), setup.environment)
    said = {finding.message.split("template ")[1].split()[0]: finding for finding in found}
    assert {code: finding.verdict for code, finding in said.items()} == {
        "T-changed": "warn", "T-rej": "fail", "T-dormant": "fail", "T-none": "fail",
    }  # fmt: skip
    assert [finding.verdict for finding in good] == ["ok"]


async def test_the_doctor_warns_where_the_vendor_does_not_answer() -> None:
    async with vendor("nhn", DANGOL_NHN_BASE_URL="http://127.0.0.1:9") as (_fake, setup):
        (finding,) = await check_kakao(published(setup, "T1"), setup.environment)
    assert finding.verdict == "warn"


@pytest.mark.parametrize("name", ["solapi", "nhn"])
async def test_alimtalk_rendered_other_than_the_template_is_blocked_locally(name: str) -> None:
    approved = Approved("T1", "", "approved", CONTENT)
    async with vendor(name) as (fake, setup):
        adapter = create(setup)
        for text, outcome in (
            ("김예시님, 접수되었습니다.", Outcome.ACCEPTED),
            ("김예시님, 접수됐어요.", Outcome.REJECTED_MESSAGE),
        ):
            content = Rendered({"template_code": "T1"}, text, html=False)
            number = "+821000000000"
            message = Outgoing(
                outcome, 1, "alimtalk", number, "transactional", content, NOON, approved=approved
            )
            assert (await adapter.send(message)).outcome is outcome
        await adapter.close()
    assert len(fake.taken) == 1


async def test_the_command_writes_what_validation_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    from typer.testing import CliRunner

    from services.cli.app import app

    (tmp_path / "dangol.yaml").write_text(
        "channels: {alimtalk: {adapter: solapi, profile: PF}}\n", encoding="utf-8"
    )
    async with vendor("solapi") as (fake, setup):
        fake.templates = [template("solapi", "T1", "APPROVED")]
        for key, value in setup.environment.items():
            monkeypatch.setenv(key, value)
        run = CliRunner().invoke
        result = await asyncio.to_thread(run, app, ["kakao-templates", str(tmp_path)])
    assert result.exit_code == 0, result.output
    kept = json.loads((tmp_path / "templates/kakao.json").read_text(encoding="utf-8"))
    assert kept["adapter"] == "solapi"
    assert [t["code"] for t in kept["templates"]] == ["T1"]
