"""What the preference page says, in Korean and English."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from shared.channels import titles

Language = Literal["en", "ko"]


@dataclass(frozen=True, slots=True)
class Words:
    title: str
    lead: str
    all_off: str
    all_off_help: str
    choose: str
    save: str
    saved: str
    left: str
    unknown_title: str
    unknown: str
    away_title: str
    away: str
    never_asked: str
    channels: Mapping[str, str]
    night: str
    agree: str
    """The statement beside a box: what ticking it means."""

    def channel(self, name: str) -> str:
        return self.night if name == "night" else self.channels.get(name, name)


WORDS: Mapping[Language, Words] = {
    "ko": Words(
        title="광고성 정보 수신 설정",
        lead="어떤 소식을 받으실지 직접 정하실 수 있습니다. 주문·배송처럼 꼭 필요한 안내는"
        " 이 설정과 관계없이 보내 드립니다.",
        all_off="모두 수신거부",
        all_off_help="누르시면 바로 처리되며, 앞으로 어떤 채널로도 광고를 보내지 않습니다.",
        choose="채널별로 선택하기",
        save="선택한 대로 저장",
        saved="저장했습니다. 지금부터 바로 적용됩니다.",
        left="수신거부가 완료되었습니다. 더 이상 이 채널로 광고를 보내지 않습니다.",
        unknown_title="유효하지 않은 주소입니다",
        unknown="링크가 잘렸을 수 있습니다. 메시지에 있는 링크를 처음부터 끝까지 그대로"
        " 열어 주세요.",
        away_title="잠시 후 다시 시도해 주세요",
        away="지금은 저장할 수 없어 아무것도 바꾸지 않았습니다.",
        never_asked="아직 동의하신 적이 없습니다",
        channels=titles("ko")
        | {
            "email": "이메일",
            "sms": "문자 메시지",
            "alimtalk": "카카오 알림톡",
            "brand_message": "카카오 브랜드 메시지",
            "push": "앱 푸시",
            "web_push": "웹 푸시",
            "on_site": "사이트 안내",
            "webhook": "연동 알림",
            "slack": "Slack",
        },
        night="야간(21시~8시) 수신",
        agree="광고성 정보 수신에 동의합니다",
    ),
    "en": Words(
        title="What we may send you",
        lead="Choose what you want to hear from us. Notices you need, such as about an order, come"
        " whatever you choose here.",
        all_off="Unsubscribe from everything",
        all_off_help="One press is enough. We will send you no advertising on any channel.",
        choose="Choose by channel",
        save="Save my choice",
        saved="Saved. It holds from now on.",
        left="You are unsubscribed. We will send you no more advertising on this channel.",
        unknown_title="This address is not valid",
        unknown="The link may have been cut off. Please open the whole link of the message.",
        away_title="Please try again in a moment",
        away="We could not save it just now, and nothing has been changed.",
        never_asked="You have not agreed to this yet",
        channels=titles("en")
        | {
            "email": "E-mail",
            "sms": "Text messages",
            "alimtalk": "Kakao AlimTalk",
            "brand_message": "Kakao Brand Message",
            "push": "App notifications",
            "web_push": "Browser notifications",
            "on_site": "Notices on our pages",
            "webhook": "Connected services",
            "slack": "Slack",
        },
        night="At night (9 pm to 8 am)",
        agree="I agree to receive advertising",
    ),
}
