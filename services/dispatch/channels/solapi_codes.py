"""What SOLAPI's status codes mean, for answers and reports alike.

https://developers.solapi.com/references/message-status-codes
"""

from services.dispatch.channels.port import Outcome

_OUTCOMES: dict[Outcome, tuple[str, ...]] = {
    Outcome.ACCEPTED: ("2000", "3000"),
    Outcome.DELIVERED: ("4000",),
    # Nobody has the number, it is out of service, or it refuses all texts.
    Outcome.UNDELIVERABLE_ADDRESS: ("1060", "3010", "3013", "3032", "3047", "3050", "3059"),
    # The sender number is not registered or blocked, or the balance is used up.
    Outcome.BROKEN_CONNECTION: ("1030", "1062", "2230", "3055"),
    # 3108: outside the hours in which Kakao takes advertising.
    Outcome.RETRYABLE: (
        *("1024", "2024", "3012", "3014", "3024", "3040", "3041", "3042", "3043", "3044"),
        *("3045", "3046", "3051", "3053", "3056", "3057", "3108"),
    ),
}
_MEANINGS = {code: outcome for outcome, codes in _OUTCOMES.items() for code in codes}

OUTSIDE_HOURS = "3108"
OPTED_OUT = "1061"
"""The person has refused advertising by the 080 number."""


def meaning_of_code(code: str) -> Outcome:
    """Total: every other code says that this message is refused, and nothing of the address: 3102
    no friend of the channel, 3104 no Kakao account, 3107 not used for 72 hours, and so on."""
    return _MEANINGS.get(code, Outcome.REJECTED_MESSAGE)
