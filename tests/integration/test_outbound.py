"""A request to a URL that somebody else has chosen, over real connections."""

import asyncio

import pytest

from services.dispatch.outbound.client import OutboundClient, Refused, Unreachable
from tests.patience import in_time, stretched
from tests.receiving import answer, drip, flood, hang, hang_up, receiver


async def _post(client: OutboundClient, url: str, timeout: float = 5.0) -> tuple[int, bytes, bool]:
    reply = await client.post(url, {"x-test": "1"}, b'{"a": 1}', timeout=timeout, most=1000)
    return reply.status, reply.body, reply.whole


async def test_a_named_host_is_called_and_its_answer_read() -> None:
    async with receiver() as at:
        client = OutboundClient([at.host])
        at.otherwise = answer(body=b'{"ok": true}')
        assert await _post(client, at.url("/hook?a=1")) == (200, b'{"ok": true}', True)
        assert await _post(client, at.url()) == (200, b'{"ok": true}', True)
        (first, _second) = at.requests
        assert first.path == "/hook?a=1"
        assert first.body == b'{"a": 1}'
        assert first.headers["host"] == at.host
        assert first.headers["x-test"] == "1"
        await client.close()


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:{port}/", "http://user:pw@shop.example/", "ftp://shop.example/", "https://",
     "http://shop.example/", "https://[::1]:{port}/", "https://127.0.0.1:{port}/", "http:///x"],
)  # fmt: skip
async def test_what_may_not_be_called_is_refused_before_anything_is_sent(url: str) -> None:
    async with receiver() as at:
        client = OutboundClient()
        with pytest.raises(Refused):
            await _post(client, url.format(port=at.port))
        assert at.requests == []
        await client.close()


async def test_a_public_name_that_leads_to_a_private_address_is_refused() -> None:
    async def resolve(_host: str, _port: int) -> list[str]:
        return ["10.0.0.1", "::ffff:127.0.0.1", "169.254.169.254"]

    client = OutboundClient(resolve=resolve)
    with pytest.raises(Refused):
        await _post(client, "https://rebound.example/")
    await client.close()


async def test_the_name_is_resolved_once_and_the_checked_address_is_the_one_connected_to() -> None:
    async with receiver() as at:
        asked: list[str] = []

        async def resolve(host: str, _port: int) -> list[str]:
            asked.append(host)
            # The first answer is checked; whoever resolved again would be led elsewhere.
            return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.66"]

        client = OutboundClient([f"crm.internal:{at.port}"], resolve=resolve)
        assert (await _post(client, f"http://crm.internal:{at.port}/"))[0] == 200
        assert asked == ["crm.internal"]
        assert at.requests[0].headers["host"] == f"crm.internal:{at.port}"
        await client.close()


async def test_a_named_host_does_not_open_its_other_ports() -> None:
    async with receiver() as at:
        client = OutboundClient([f"127.0.0.1:{at.port + 1}"])
        with pytest.raises(Refused):
            await _post(client, at.url())
        await client.close()


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    async with receiver() as at, receiver() as inner:
        client = OutboundClient([at.host, inner.host])
        at.otherwise = answer("302 Found", b"", location=inner.url())
        assert (await _post(client, at.url()))[0] == 302
        assert inner.requests == []
        await client.close()


@pytest.mark.parametrize("act", [hang, drip])
async def test_the_time_out_is_for_the_whole_exchange(act: object) -> None:
    async with receiver() as at:
        client = OutboundClient([at.host])
        at.otherwise = act  # type: ignore[assignment]
        began = asyncio.get_running_loop().time()
        with pytest.raises(Unreachable) as caught:
            await _post(client, at.url(), timeout=stretched(0.3))
        assert in_time(asyncio.get_running_loop().time() - began, 3)
        assert caught.value.sent
        at.otherwise = answer()
        assert (await _post(client, at.url()))[0] == 200  # the pool is not poisoned
        await client.close()


async def test_no_more_of_an_endless_answer_is_read_than_asked_for() -> None:
    async with receiver() as at:
        client = OutboundClient([at.host])
        at.otherwise = flood
        status, body, whole = await _post(client, at.url())
        assert (status, len(body), whole) == (200, 1000, False)
        await client.close()


async def test_whether_anything_was_sent_is_known() -> None:
    async with receiver() as at:
        client = OutboundClient([at.host, "127.0.0.1:1", "nowhere.invalid"])
        at.otherwise = hang_up
        for url, sent in (
            (at.url(), True),
            ("http://127.0.0.1:1/", False),
            ("http://nowhere.invalid/", False),
        ):
            with pytest.raises(Unreachable) as caught:
                await _post(client, url)
            assert caught.value.sent is sent, url
        await client.close()


async def test_garbage_instead_of_an_answer_is_no_answer() -> None:
    async with receiver() as at:
        client = OutboundClient([at.host])
        at.otherwise = b"\x00\x01 what?\r\n\r\n"
        with pytest.raises(Unreachable):
            await _post(client, at.url())
        await client.close()
