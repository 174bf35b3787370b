"""Whether a mail that came back means that nobody is there. Pure.

Closing an address is hard to notice and to undo, so only what speaks clearly does it: a status that
says so, or words that do where the status says nothing. Everything else came back for a reason that
may pass (a full mailbox, a policy, a block) and closes nothing. The statuses are those of
`smtp_replies.py`. The words are those of the large mail servers (Postfix, Exim, qmail, Exchange)
and of Korean mailbox providers, as senders have published them; Daum's and Yahoo Korea's carry a
bare 5.0.0 or none.
"""

import re

from services.dispatch.channels.smtp_replies import enhanced, nobody_is_there

_FULL = re.compile(
    r"(mailbox|mail box|inbox|account|storage|disk|quota)\b.{0,40}\b(is |are )?(full|exceed|over)|"
    r"over ?quota|quota exceeded|exceed\w* (the )?(storage|quota|mailbox)|"
    r"insufficient (system |disk )?(storage|space)|"
    r"용량.{0,15}(초과|부족)|(메일함|편지함).{0,10}가득",
    re.IGNORECASE | re.DOTALL,
)
_POLICY = re.compile(
    r"spam|spf\b|dkim|dmarc|block(ed|ing|list)|black ?list|deny|denied|relay|polic(y|ies)|"
    r"reputation|reject list|rate limit|too many|not allowed|authenticat|virus|"
    r"스팸|차단|수신 ?거부|정책",
    re.IGNORECASE,
)
_NOBODY = re.compile(
    r"(user|recipient|mailbox|account|address|addressee)\b.{0,60}?(unknown|not found|"
    r"(does ?n.t|does not|not) exist|no longer (exists?|available|valid)|"
    r"(has been|is|was) (disabled|discontinued|deleted|closed|deactivated|suspended))|"
    r"no such (user|recipient|mailbox|account|address|person|domain)|"
    r"(unknown|invalid|inactive|suspended|non-?existent) (user|recipient|mailbox|mbox|account|"
    r"address|local.?part)|no mailbox (here )?by that name|mailbox unavailable|"
    r"unrouteable (mail )?(address|domain)|does ?n.t have an? \S+ account|"
    r"(host|domain)( or domain)?( name)? (not found|unknown)|"
    r"(존재하지|유효하지|등록되지) ?않[은는]|없는 ?(사용자|계정|수신자|회원|주소|메일|이메일)|"
    r"(사용자|수신자|받는 ?사람|계정|메일 ?주소)[을를이가]? ?(찾을 수 없|없습니다)|"
    r"(휴면|탈퇴|해지|삭제|정지)(된|한)? ?(계정|사용자|회원|메일|아이디)",
    re.IGNORECASE | re.DOTALL,
)
_AT_RCPT = re.compile(r"\b55[01]\b.{0,400}?in reply to (the )?RCPT", re.IGNORECASE | re.DOTALL)
_CONTINUED = re.compile(r"(?<!\d)([245]\d\d)-")
_UNSAID = re.compile(r"[245]\.0\.0|[245]\.\d+\.0")
LONGEST = 4000
"""Characters of what a server said that are looked at."""


def is_hard(status: str | None, said: str) -> bool:
    """`status` as a report's field gives it, perhaps vaguely; `said` is the server's own answer."""
    said = _CONTINUED.sub(r"\1 ", said[:LONGEST])
    if _FULL.search(said):
        return False
    for found in (enhanced(said), enhanced(status or "")):
        if found is None or _UNSAID.fullmatch(found):
            continue
        if nobody_is_there(found, said):
            return True
        if found.startswith(("4.", "5.7.")):
            return False
    if _POLICY.search(said):
        return False
    return bool(_NOBODY.search(said) or _AT_RCPT.search(said))


def says_something(text: str) -> bool:
    """Whether a text without any structure tells of a delivery that failed."""
    text = text[:LONGEST]
    return bool(enhanced(text) or _CODE.search(text) or _FULL.search(text) or _NOBODY.search(text))


_CODE = re.compile(r"(?<!\d)5[0-5]\d[ -](?=\S)")
