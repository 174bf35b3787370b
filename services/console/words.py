"""What each reason means, in plain words: one table for the API, the page and the command.

A sentence is about one customer and one message (or one entry) and can stand alone.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from shared.decisions import Reason, Refusal

Language = Literal["en", "ko"]


class Words(NamedTuple):
    en: str
    ko: str


REASONS: Mapping[Reason, Words] = {
    Reason.RUN_ENDED: Words(
        "The customer had left the journey before the message was due to go out.",
        "메시지가 나가기 전에 고객이 여정에서 빠져나갔습니다.",
    ),
    Reason.HELD_OUT: Words(
        "The customer is in the comparison group, which is sent nothing.",
        "메시지를 받지 않는 비교 그룹에 속한 고객입니다.",
    ),
    Reason.NO_CONSENT: Words(
        "The customer has never agreed to this channel, or is too young to agree alone.",
        "이 채널의 수신에 동의한 적이 없거나, 혼자서 동의할 수 없는 나이의 고객입니다.",
    ),
    Reason.UNSUBSCRIBED: Words(
        "The customer does not want to be contacted on this channel.",
        "고객이 이 채널의 수신을 거부했습니다.",
    ),
    Reason.SUPPRESSED: Words(
        "The address is blocked after a bounce or a complaint.",
        "반송되었거나 스팸으로 신고되어 발송이 차단된 주소입니다.",
    ),
    Reason.NO_ADDRESS: Words(
        "The customer has no usable address for this channel.",
        "이 채널로 보낼 수 있는 주소나 번호가 없습니다.",
    ),
    Reason.QUIET_HOURS: Words(
        "It was quiet hours where the customer is.",
        "고객의 현지 시각이 발송 제한 시간대였습니다.",
    ),
    Reason.FREQUENCY_CAP: Words(
        "The customer had already been sent as many messages as the cap allows.",
        "정해진 발송 횟수 한도에 이미 도달한 고객입니다.",
    ),
    Reason.EXPIRED: Words(
        "The message was held for so long that it was no longer worth sending.",
        "보류된 시간이 길어져 메시지의 유효 기간이 지났습니다.",
    ),
    Reason.CHANNEL_PAUSED: Words(
        "The channel is paused.",
        "일시 중지된 채널입니다.",
    ),
    Reason.TEMPLATE_ERROR: Words(
        "The template could not be filled in for this customer.",
        "이 고객의 정보로는 템플릿을 완성할 수 없었습니다.",
    ),
    Reason.NO_LONGER_TRUE: Words(
        "What the message says was no longer true when it was to be sent: its live source said so.",
        "보내려는 순간 확인해 보니 메시지의 내용이 더는 사실이 아니어서 보내지 않았습니다.",
    ),
    Reason.NOT_VERIFIED: Words(
        "The live source could not say whether what the message says is still true.",
        "메시지의 내용이 아직 사실인지 실시간으로 확인할 수 없어 보내지 않았습니다.",
    ),
    Reason.REJECTED: Words(
        "The provider refused the message.",
        "발송 업체가 메시지를 거절했습니다.",
    ),
    Reason.UNDELIVERABLE: Words(
        "The address does not exist or cannot be reached.",
        "존재하지 않거나 메시지가 도달할 수 없는 주소입니다.",
    ),
    Reason.RETRIES_EXHAUSTED: Words(
        "The provider could not be reached in several tries.",
        "여러 번 시도했지만 발송 업체와 연결되지 않았습니다.",
    ),
    Reason.BAD_ANSWER: Words(
        "The receiver of a call took it, but its answer cannot be used.",
        "외부 호출은 전달되었지만 응답을 사용할 수 없습니다.",
    ),
}

REFUSALS: Mapping[Refusal, Words] = {
    Refusal.NOT_MATCHED: Words(
        "The event does not meet the trigger's condition.",
        "이벤트가 시작 조건에 맞지 않습니다.",
    ),
    Refusal.TOO_OLD: Words(
        "The event had happened too long ago when it arrived.",
        "이벤트가 발생한 지 너무 오래되어 도착했습니다.",
    ),
    Refusal.PAUSED: Words(
        "The journey was paused.",
        "여정이 일시 중지된 상태였습니다.",
    ),
    Refusal.ALREADY_RUNNING: Words(
        "The customer was already in the journey.",
        "이미 이 여정을 진행 중인 고객입니다.",
    ),
    Refusal.REENTRY: Words(
        "The customer has been in the journey and may not enter again yet.",
        "이 여정을 거쳐 간 고객이라 아직 다시 들어올 수 없습니다.",
    ),
    Refusal.ENTRY_CONDITION: Words(
        "The customer does not meet the entry condition.",
        "고객이 진입 조건을 충족하지 않습니다.",
    ),
    Refusal.ERASED: Words(
        "The customer's data has been erased.",
        "고객의 데이터가 삭제되었습니다.",
    ),
}


ENDS: Mapping[str, Words] = {
    "superseded": Words(
        "A new version was published, and the runs of older ones were ended with it.",
        "새 버전을 게시하면서 이전 버전으로 진행 중이던 여정을 종료했습니다.",
    ),
    "unreadable": Words(
        "The journey's version could not be read for a while, and the customer had done too much"
        " meanwhile to go on rightly.",
        "여정의 이 버전을 한동안 읽을 수 없었고, 그사이 고객의 활동이 너무 많아"
        " 올바르게 이어 갈 수 없었습니다.",
    ),
}
"""Why a run was ended from outside; `exit` and what the journey says itself need no words."""


NOTICES_UNGIVEN: Mapping[str, Words] = {
    "no_journey": Words(
        "No published journey gives this notice.",
        "이 통지를 보내는 여정이 게시되어 있지 않습니다.",
    ),
    "journey_paused": Words(
        "The journey that gives it is paused.",
        "통지를 보내는 여정이 일시 중지되어 있습니다.",
    ),
    "not_made": Words(
        "The journey that gives it has made no message for the customer.",
        "통지를 보내는 여정이 이 고객에게 보낼 메시지를 만들지 않았습니다.",
    ),
    "waiting": Words("Its message is still waiting.", "통지 메시지가 아직 대기 중입니다."),
    "unknown": Words(
        "Its message may have been sent, which proves nothing.",
        "통지 메시지의 발송 여부가 확인되지 않아 통지한 것으로 볼 수 없습니다.",
    ),
}
"""Why a notice that a law asks for was not given, beside the reasons of messages."""


def sentences(language: Language) -> dict[str, str]:
    """Reason or refusal → its sentence."""
    table: dict[str, Words] = {str(key): words for key, words in REASONS.items()}
    table |= {str(key): words for key, words in REFUSALS.items()}
    table |= ENDS
    return {key: getattr(words, language) for key, words in table.items()}


def language_of(wanted: str | None, accepted: str | None) -> Language:
    """From `?lang=`, else from Accept-Language: the first that we speak, English if none."""
    if wanted in ("en", "ko"):
        return "ko" if wanted == "ko" else "en"
    ranked: list[tuple[float, int, str]] = []
    for place, part in enumerate((accepted or "")[:500].split(",")):
        tag, _, weight = part.strip().partition(";q=")
        try:
            quality = float(weight) if weight else 1.0
        except ValueError:
            continue
        language = tag.strip().lower().split("-")[0]
        if language in ("en", "ko") and quality > 0:
            ranked.append((-quality, place, language))
    return "ko" if ranked and min(ranked)[2] == "ko" else "en"
