"""What became of messages that Bizgo has taken, where it is asked instead of calling back.

`GET /api/comm/v1/report/inquiry/{msgKey}`, for 30 days. It changes nothing of what the account has
chosen for its reports.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from services.dispatch.channels.bizgo import connected
from services.dispatch.channels.bizgo_codes import FINE, NOT_THERE, meaning_of_report, said_in
from services.dispatch.channels.bizgo_messages import read_reference
from services.dispatch.channels.port import Outcome, Result, Setup, Told
from services.dispatch.channels.provider import dicts, meaning_of_status, words


class BizgoReports:
    name = "bizgo"

    def __init__(self, setup: Setup) -> None:
        """Raises ConfigurationError."""
        self._provider = connected(setup)

    async def ask(self, _channel: str, provider_id: str, now: datetime) -> Told | Result | None:
        """What has become of it; None: nothing yet; a Result where the provider cannot say."""
        path = f"/api/comm/v1/report/inquiry/{quote(provider_id, safe='')}"
        answer = await self._provider.call("GET", path)
        if isinstance(answer, Result):
            return answer
        said = said_in(answer.fields())
        if said.gateway == FINE and said.code == NOT_THERE:
            return None
        if not answer.ok:
            return meaning_of_status(answer, now, said=said.words)
        if said.gateway != FINE or said.code != FINE:
            return Result(Outcome.RETRYABLE, detail=words(said.words))
        # Where several are told, the last is the final one.
        told = [each for each in dicts(said.data.get("report")) if each.get("reportCode")]
        return told_by(told[-1]) if told else None

    async def close(self) -> None:
        await self._provider.close()


def told_by(report: Mapping[str, Any]) -> Told:
    """Of one report, however it has come."""
    code, reference = str(report.get("reportCode", "")), read_reference(report.get("ref"))
    number = reference.number if reference is not None else ""
    said = words(f"{code} {report.get('reportText') or ''}", number)
    return Told(meaning_of_report(code), said, number)
