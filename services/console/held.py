"""Why a message waits for its channel, in a sentence, and what mends it.

Running dispatchers say what they find broken (`channel_pauses`); what they have not said for a
while, they no longer find. Errors were made free of addresses and secrets where they were said.
"""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import RowMapping

from services.console.models import BrokenConnection, HeldBecause
from services.console.words import Language
from shared.decisions import Reason

_SAID: Mapping[Language, str] = {
    "en": "The connection of {channel} ({adapter}) has been broken since {since:%Y-%m-%d %H:%M:%S}"
    " UTC, and {tries} failed. The last error: {error}",
    "ko": "{channel} 채널의 연결({adapter})이 {since:%Y-%m-%d %H:%M:%S} UTC부터 끊겨 있고,"
    " {tries} 연속 실패했습니다. 마지막 오류: {error}",
}
_MEND: Mapping[Language, str] = {
    "en": "Mend what the error names (`dangol doctor` checks the settings and the provider). Then"
    " the message leaves by itself: nothing has to be sent again.",
    "ko": "오류에 나온 원인을 해결해 주세요. 설정과 업체 연결은 `dangol doctor`로 점검할 수"
    " 있습니다. 해결되면 메시지는 자동으로 발송되므로 다시 보내실 필요가 없습니다.",
}
_QUIET: Mapping[Language, str] = {
    "en": "The connection of {channel} was broken when the message was last tried. No dispatcher"
    " says so now.",
    "ko": "마지막으로 시도했을 때 {channel} 채널의 연결이 끊겨 있었습니다. 지금은 끊겨 있다고"
    " 알리는 디스패처가 없습니다.",
}
_COMES: Mapping[Language, str] = {
    "en": "It is tried again at `not_before` if a dispatcher runs; `dangol doctor` says whether the"
    " channel has what it needs.",
    "ko": "디스패처가 실행 중이면 `not_before` 시각에 다시 시도합니다. 채널 설정은"
    " `dangol doctor`로 점검할 수 있습니다.",
}


def waits_for_channel(row: RowMapping) -> bool:
    return row["decision"] is None and row["held_reason"] == Reason.CHANNEL_PAUSED


def held_because(
    row: RowMapping, pauses: Iterable[RowMapping], language: Language
) -> HeldBecause | None:
    """`pauses`: rows of `queries.pauses`; None where the message does not wait for its channel."""
    if not waits_for_channel(row):
        return None
    channel = row["channel"]
    broken = [_broken(pause) for pause in pauses if pause["channel"] == channel]
    if not broken:
        said, mend = _QUIET[language].format(channel=channel), _COMES[language]
        return HeldBecause(said=said, mend=mend, connections=[])
    return HeldBecause(
        said=" ".join(_said(channel, broken, language)),
        mend=_MEND[language],
        connections=broken,
    )


def _said(channel: str, broken: Sequence[BrokenConnection], language: Language) -> list[str]:
    return [
        _SAID[language].format(
            channel=channel,
            adapter=each.adapter or ("no adapter" if language == "en" else "어댑터 없음"),
            since=each.since,
            tries=_tries(each.tries, language),
            error=each.error,
        )
        for each in broken
    ]


def _tries(tries: int, language: Language) -> str:
    if language == "ko":
        return f"{tries}번"
    return "one try has" if tries == 1 else f"{tries} tries in a row have"


def _broken(pause: RowMapping) -> BrokenConnection:
    return BrokenConnection(
        adapter=pause["adapter"],
        since=pause["since"],
        again_at=pause["until"],
        tries=pause["times"],
        error=pause["why"],
    )
