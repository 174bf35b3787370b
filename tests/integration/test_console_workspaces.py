"""Publishing over the API: what is taken, what is refused, and in which words."""

import io
import zipfile
from collections.abc import AsyncIterator

import httpx
import pytest

from shared.db.connect import Pool
from tests.integration.consoling import client, publish, workspace, zipped


@pytest.fixture
async def api(dsn: str, pool: Pool) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the admin's token."""
    async with client(dsn, pool) as api:
        yield api


async def test_before_the_first_apply_the_workspace_is_revision_zero(
    api: httpx.AsyncClient,
) -> None:
    answer = (await api.get("/api/workspace")).json()
    assert answer == {
        "revision": 0,
        "hash": None,
        "active_from": None,
        "applied_by": None,
        "journeys": {},
    }
    assert (await api.get("/api/journeys")).json() == []


async def test_a_workspace_is_planned_applied_and_seen(api: httpx.AsyncClient) -> None:
    planned = await api.post("/api/workspace/plan", content=zipped(workspace("welcome")))
    assert planned.status_code == 200
    assert planned.json()["base_revision"] == 0
    assert [j["change"] for j in planned.json()["journeys"]] == ["added"]
    applied = await publish(api, "welcome")
    assert (applied["changed"], applied["revision"]) == (True, 1)
    again = await publish(api, "welcome")
    assert (again["changed"], again["revision"]) == (False, 1)
    newest = (await api.get("/api/workspace")).json()
    assert newest["revision"] == 1
    assert newest["hash"] == applied["hash"]
    assert newest["active_from"] == applied["active_from"]
    assert newest["applied_by"] == "environment"
    assert newest["journeys"] == {"welcome": 1}


async def test_an_apply_on_an_old_base_is_a_conflict(api: httpx.AsyncClient) -> None:
    await publish(api, "welcome")
    body = zipped(workspace("welcome", wait="2h"))
    response = await api.put("/api/workspace?base_revision=0", content=body)
    assert response.status_code == 409
    assert response.json()["code"] == "conflict"
    assert "revision 1" in response.json()["message"]


async def test_a_broken_workspace_is_refused_with_every_problem(api: httpx.AsyncClient) -> None:
    files = workspace("welcome", wait="1 fortnight")
    files["journeys/b.yaml"] = b"journey: b\ntrigger: {evnt: X}\nsteps: [{exit: done}]\n"
    for method, path in (("POST", "/api/workspace/plan"), ("PUT", "/api/workspace")):
        response = await api.request(method, path, content=zipped(files))
        assert response.status_code == 422
        answer = response.json()
        assert answer["code"] == "invalid_workspace"
        places = {(p["file"], p["line"]) for p in answer["problems"]}
        assert places == {("journeys/welcome.yaml", 5), ("journeys/b.yaml", 2)}
        first = answer["problems"][0]
        assert set(first) == {
            *("severity", "file", "line", "column", "code", "message", "hint", "rendered")
        }
        assert first["rendered"].startswith("journeys/b.yaml:2:")
    assert (await api.get("/api/workspace")).json()["revision"] == 0


async def test_a_zip_of_the_folder_itself_with_its_litter_is_as_good(
    api: httpx.AsyncClient,
) -> None:
    files = {f"shop/{path}": content for path, content in workspace("welcome").items()}
    files |= {"shop/.git/config": b"x", "__MACOSX/shop/._dangol.yaml": b"x", "shop/README.md": b"x"}
    response = await api.put("/api/workspace", content=zipped(files))
    assert response.json()["journeys"][0]["journey"] == "welcome"
    plain = await api.put("/api/workspace", content=zipped(workspace("welcome")))
    assert plain.json()["changed"] is False


def bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(9):
            archive.writestr(f"templates/t/{number}.liquid", b"0" * 8_000_000)
    return buffer.getvalue()


def lying() -> bytes:
    """The directory understates the size of its file."""
    body = bytearray(zipped({"dangol.yaml": b"0" * 100_000}))
    entry = body.index(b"PK\x01\x02")
    body[entry + 24 : entry + 28] = (10).to_bytes(4, "little")
    return bytes(body)


def damaged() -> bytes:
    body = bytearray(zipped({"dangol.yaml": bytes(range(256)) * 20}))
    body[45:75] = b"\xff" * 30
    return bytes(body)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "no zip"),
        (b"garbage", "no zip"),
        (zipped({}), "no workspace"),
        (zipped({"README.md": b"x"}), "no workspace"),
        (zipped({"../dangol.yaml": b"x"}), "outside its folder"),
        (zipped({"/etc/dangol.yaml": b"x"}), "outside its folder"),
        (zipped({"journeys/..\\..\\x.yaml": b"x"}), "outside its folder"),
        (bomb(), "at most"),
        (lying(), "zip"),
        (damaged(), "zip"),
    ],
    ids=["empty", "garbage", "no files", "foreign files", "traversal", "absolute", "backslashes",
         "bomb", "lying", "damaged"],
)  # fmt: skip
async def test_a_body_that_is_no_workspace_is_refused(
    api: httpx.AsyncClient, body: bytes, said: str
) -> None:
    response = await api.put("/api/workspace", content=body)
    assert response.status_code == 400, response.text
    assert said in response.json()["message"]


async def test_a_body_is_bounded_while_it_arrives(api: httpx.AsyncClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 2**20
            yield bytes(2**20)

    response = await api.put("/api/workspace", content=endless())
    assert response.status_code == 413
    assert response.json()["code"] == "too_large"
    assert sent <= 18 * 2**20


async def test_an_apply_takes_a_rule_for_runs_in_flight(api: httpx.AsyncClient) -> None:
    body = zipped(workspace("welcome"))
    response = await api.put("/api/workspace?in_flight=migrate", content=body)
    assert response.status_code == 200
    assert response.json()["in_flight"] == "migrate"
    assert (await api.put("/api/workspace?in_flight=x", content=body)).status_code == 422
