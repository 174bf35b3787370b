"""What the demo says, in English and in Korean."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from shared.decisions import Reason

Language = Literal["en", "ko"]


class Words(NamedTuple):
    en: str
    ko: str

    def of(self, language: Language) -> str:
        return self.ko if language == "ko" else self.en


JOURNEYS: Mapping[str, Words] = {
    "cart-reminder": Words("cart reminder", "장바구니 리마인드"),
    "welcome": Words("welcome series", "웰컴 시리즈"),
    "review-request": Words("review request", "후기 요청"),
    "order-receipt": Words("order receipt", "주문 확인"),
}
CHANNELS: Mapping[str, Words] = {
    "email": Words("e-mail", "이메일"),
    "sms": Words("SMS", "문자"),
    "push": Words("push", "푸시"),
}
KINDS: Mapping[str, Words] = {
    "held": Words("held", "보류"),
    "dropped": Words("skipped", "미발송"),
    "failed": Words("failed", "실패"),
    "unknown": Words("unknown", "불확실"),
    "ended": Words("ended", "종료"),
}

# One line each: who it is about stands in front, the journey and the channel come first.
REASONS: Mapping[str, Words] = {
    Reason.NO_CONSENT: Words("never agreed to it", "수신 동의 없음"),
    Reason.UNSUBSCRIBED: Words("has opted out", "수신 거부"),
    Reason.SUPPRESSED: Words("that address has bounced", "반송된 주소"),
    Reason.NO_ADDRESS: Words("has no address", "주소 없음"),
    Reason.FREQUENCY_CAP: Words("frequency cap reached", "발송 한도 도달"),
    Reason.RUN_ENDED: Words("withdrawn in time", "보낼 이유가 없어져 취소"),
    Reason.EXPIRED: Words("held for too long", "보류 기한 지남"),
    Reason.QUIET_HOURS: Words("it is night", "야간"),
    Reason.HELD_OUT: Words("in the comparison group", "비교 그룹"),
    Reason.UNDELIVERABLE: Words("no such mailbox", "없는 주소"),
    Reason.REJECTED: Words("refused by the provider", "발송 업체 거절"),
    Reason.RETRIES_EXHAUSTED: Words("given up after several tries", "재시도 한도 초과"),
    Reason.TEMPLATE_ERROR: Words("the template failed", "템플릿 오류"),
    Reason.NO_LONGER_TRUE: Words("no longer true", "더는 사실이 아님"),
    Reason.NOT_VERIFIED: Words("could not be verified", "사실 확인 불가"),
    Reason.CHANNEL_PAUSED: Words("the channel is paused", "채널 일시 중지"),
}

TITLE = Words("Dangol · a day of the example shop", "단골 · 예시 상점의 하루")
MADE_UP = Words(
    "Shop and customers are made up; PostgreSQL, HTTP and SMTP are real.",
    "상점과 고객은 예시이지만, PostgreSQL과 HTTP, SMTP는 실제로 동작합니다.",
)
STARTING = Words("starting PostgreSQL and all services …", "PostgreSQL과 서비스를 시작하는 중 …")
CONSOLE = Words("console", "콘솔")
INBOX = Words("inbox", "받은편지함")
PACE = Words("pace", "속도")
PACE_IS = Words("one second is {0} minutes; the day takes {1} seconds", "1초가 {0}분, 하루가 {1}초")

EVENING = Words(
    "quiet hours: advertising by SMS and push waits until 08:00",
    "야간 발송 제한: 문자와 푸시 광고는 08:00까지 보류합니다",
)
MORNING = Words(
    "quiet hours end: what was held is checked again, and goes out",
    "야간 발송 제한 해제: 보류한 메시지를 다시 확인하고 보냅니다",
)
OPENING = Words("the shop opens", "상점이 문을 엽니다")

HELD_UNTIL = Words("{0} by {1}: {3}, waits until {2}", "{0} {1}: {3}이므로 {2}까지 보류")
NIGHT = Words("night", "야간")
NO_MESSAGE = Words("{0} by {1}: {2}", "{0} {1}: {2}")
ENDED = Words("{0}: called off by {1}", "{0}: {1} 이벤트로 종료")
INSTEAD = Words("instead of {0}: {1}", "{0} 대신: {1}")
IN_INBOX = Words("inbox {0}", "받은 메일 {0}")
NOT_ARRIVED = Words(
    "decided as sent, but it is not in the inbox", "발송으로 결정되었으나 도착하지 않았습니다"
)

NOW = Words(
    "{0}   inbox {1} · held {2}",
    "{0}   받은 메일 {1} · 보류 {2}",
)

OUTCOME = Words("What became of the messages", "메시지 결과")
SENT = Words("sent", "발송")
HELD = Words("held", "보류")
HELD_WERE = Words(
    "overnight: {0} sent in the morning · {1} withdrawn", "아침에 발송 {0} · 취소 {1}"
)
DROPPED = Words("not sent", "미발송")
FAILED = Words("failed", "실패")
ARRIVED = Words("arrived", "도착")
ARRIVED_ARE = Words(
    "e-mails in the inbox · {0} decided as sent · duplicates {1}",
    "받은 메일 · 발송 결정 {0} · 중복 {1}",
)
EVENTS = Words("events", "이벤트")
EVENTS_ARE = Words(
    "taken in, once each · {0} repeats of the SDK ignored",
    "한 번씩 처리 · SDK가 다시 보낸 {0}건은 무시",
)
SHORT_REASONS: Mapping[str, Words] = {
    Reason.NO_CONSENT: Words("no consent", "수신 동의 없음"),
    Reason.UNSUBSCRIBED: Words("opted out", "수신 거부"),
    Reason.SUPPRESSED: Words("address closed", "막힌 주소"),
    Reason.NO_ADDRESS: Words("no address", "주소 없음"),
    Reason.FREQUENCY_CAP: Words("frequency cap", "발송 횟수 제한"),
    Reason.RUN_ENDED: Words("withdrawn", "여정 종료로 취소"),
    Reason.EXPIRED: Words("expired", "기한 지남"),
    Reason.UNDELIVERABLE: Words("no such mailbox", "없는 주소"),
}
ALL_WELL = Words(
    "Every e-mail that was decided as sent has arrived, exactly once.",
    "발송으로 결정된 이메일이 모두 정확히 한 번씩 도착했습니다.",
)
MISSING = Words(
    "e-mails decided as sent that did not arrive: {0}", "발송 결정 후 도착하지 않은 메일: {0}"
)
UNASKED = Words("e-mails that arrived without a decision: {0}", "발송 결정 없이 도착한 메일: {0}")
TWICE = Words("e-mails that arrived more than once: {0}", "두 번 이상 도착한 메일: {0}")
OPEN = Words("messages that are still undecided: {0}", "아직 결정되지 않은 메시지: {0}")
UNCLEAR = Words(
    "messages that may or may not have been sent: {0}", "발송 여부가 불확실한 메시지: {0}"
)
LOST = Words(
    "events posted (each counted once): {0}, taken in: {1}",
    "전송한 이벤트 {0}건, 처리한 이벤트 {1}건",
)
NOTHING_SENT = Words("not one e-mail was sent", "이메일이 한 통도 발송되지 않았습니다")

LOOK = Words("Where to look further", "더 살펴보기")
MAILS = Words("the mails", "받은 메일")
JOURNEYS_ARE = Words("the journeys", "여정과 문안")
RUN_IT = Words("run it", "직접 실행")
AGAIN = Words("this very day", "오늘의 데이터")
READ = Words("read on", "문서")
STAYS_OPEN = Words("The shop stays open for two more minutes", "상점을 2분 동안 더 열어 둡니다")
TO_CLOSE = Words("Enter or Ctrl-C closes it now.", "Enter나 Ctrl-C를 누르면 바로 닫습니다.")
STOPPED = Words("Stopped before the day was over.", "하루가 끝나기 전에 중지했습니다.")
