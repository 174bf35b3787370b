"""What Kakao's own result codes mean, which every dealer hands on.

As NHN Cloud documents them: https://docs.nhncloud.com/en/Notification/KakaoTalk%20Bizmessage/en/alimtalk-error-code/
"""

from collections.abc import Mapping

from services.dispatch.channels.port import Outcome

KAKAO: Mapping[Outcome, tuple[int, ...]] = {
    # 3022: outside the hours in which Kakao takes advertising.
    Outcome.RETRYABLE: (3006, 3012, 3022, 9998, 9999),
    # Kakao does not know whether it has arrived.
    Outcome.UNKNOWN: (3005,),
}
"""Every other code refuses this message, and says nothing of the address: 3018 inactive, 3019 no
Kakao account, 3020 the channel is blocked, 3016 not the approved wording, and so on."""
