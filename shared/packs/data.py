"""The packs, each rule with the document that it comes from."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import time, timedelta
from zoneinfo import ZoneInfo

from shared.channels import CHANNELS, INFORMATION_ONLY, ruled_as
from shared.packs.holidays import is_us_working_day
from shared.packs.rules import (
    READ_ON,
    Certificate,
    Duty,
    Exemption,
    LabelRule,
    MinimumAge,
    NightRule,
    Pack,
    PostalAddress,
)
from shared.workspace import FrequencyCap

_ACT = "Act on Promotion of Information and Communications Network Utilization (정보통신망법)"
_KISA = "KISA-GD-2025-0037, guide to commercial messages, 7th revision, December 2025"
_DECREE = f"{_ACT}, Enforcement Decree Art. 61(3) and Table 6"
_TEXTS = ruled_as("sms")
_PUSHES = ruled_as("push", "web_push")
_MAIL = ruled_as("email")
_ALL = frozenset(CHANNELS) - INFORMATION_ONLY
_SEOUL = ZoneInfo("Asia/Seoul")
_STATES = tuple(
    ZoneInfo(name)
    for name in (
        "America/New_York",
        "America/Chicago",
        "America/Denver",
        "America/Phoenix",
        "America/Los_Angeles",
        "America/Anchorage",
        "Pacific/Honolulu",
    )
)
_ADD = "add it with `dangol init . --lang ko --with {0}`, or say that another system tells it:"
_ELSEWHERE = "`met_elsewhere: [kr-marketing/{0}]` under `policies`"
_AD = re.compile(r"\A\s*\(광고\)")

KR = Pack(
    name="kr-marketing",
    title="Advertising to people in Korea",
    title_ko="한국 광고성 정보 전송 규정",
    checked_on=READ_ON,
    consent=f"{_ACT} Art. 50(1)",
    exemptions=(
        Exemption(
            _ALL,
            months=6,
            zone=_SEOUL,
            source=f"{_ACT} Art. 50(1) no. 1, Decree Art. 61(1): goods of the same kind, within"
            " six months of the end of a paid transaction in which the contact was collected",
        ),
    ),
    address=PostalAddress(
        "mail-address",
        True,
        "an advertising mail names its sender with the postal address",
        _DECREE,
        names_sender=True,
    ),
    age=MinimumAge(14, _SEOUL, "개인정보 보호법 Art. 22-2: under 14 a guardian has to agree"),
    duties=(
        Duty(
            "consent-result",
            "the result of a consent, a refusal or a withdrawal",
            "수신동의 처리결과 통지",
            "whoever agrees, refuses or withdraws has to be told the result within 14 days",
            f"{_ADD} {_ELSEWHERE}".format("consent-result"),
            f"{_ACT} Art. 50(7), Decree Art. 62-2",
            days=14,
        ),
        Duty(
            "consent-renewal",
            "the confirmation every two years of what was agreed to",
            "2년 주기 수신동의 확인",
            "whoever has agreed has to be told so again every two years",
            f"{_ADD} {_ELSEWHERE}".format("consent-renewal"),
            f"{_ACT} Art. 50(8), Decree Art. 62-3: before the same day of the second year",
            years=2,
            zone="Asia/Seoul",
        ),
    ),
    certificates=(
        Certificate(
            "bulk-sender",
            _TEXTS,
            frozenset({"aligo", "bizgo", "nhn", "sens", "solapi"}),
            "advertising texts in bulk may be entrusted to certified senders only (전송자격인증)",
            'ask the provider for its certificate, and write it down: `certificate: "…"`',
            f"{_ACT} Art. 50-3, Act No. 21500, in force about October 2026",
        ),
    ),
    nights=(
        NightRule(
            _TEXTS | _PUSHES,
            time(21),
            time(8),
            unless_consent="night",
            source=f"{_ACT} Art. 50(3), Decree Art. 61(2): e-mail is exempt",
            zones=(_SEOUL,),
            dials="+82",
        ),
        NightRule(
            ruled_as("brand_message"),
            time(20, 50),
            time(8),
            unless_consent=None,
            source="Kakao takes no Brand Message from 20:50 to 08:00",
            zones=(_SEOUL,),
            dials="+82",
        ),
    ),
    labels=(
        LabelRule(
            "mail-label",
            _MAIL,
            "subject",
            _AD,
            "the subject of an advertising mail begins with `(광고)`",
            "write it as text, exactly so: not `[광고]`, `(광 고)` or `(AD)`",
            _DECREE,
        ),
        LabelRule(
            "mail-refusal",
            _MAIL,
            "body",
            re.compile(r"(?is)(?=.*수신\s*거부)(?=.*>\s*unsubscribe)(?=.*unsubscribe_url)"),
            "an advertising mail says in Korean and in English how to unsubscribe",
            'for example: 수신을 원하지 않으시면 <a href="{{ unsubscribe_url }}">수신거부</a>.'
            ' If you do not want these mails: <a href="{{ unsubscribe_url }}">Unsubscribe</a>.',
            _DECREE,
        ),
        LabelRule(
            "mail-sender",
            _MAIL,
            "body",
            re.compile(r"(?=.*\d[\d\-.) (]{6,}\d)(?=.*[\w.+-]+@[\w-]+\.\w)", re.DOTALL),
            "an advertising mail names its sender with telephone number and e-mail address",
            "close it with name, address, telephone number and e-mail address of the shop",
            _DECREE,
        ),
        LabelRule(
            "text-label",
            _TEXTS,
            "body",
            re.compile(r"\A\s*\(광고\)[^\n]*?[^\W\d_][^\n]*?\d{2,4}-\d{3,4}(-\d{4})?"),
            "an advertising text begins with `(광고)`, the sender's name and telephone number",
            "for example: (광고)[단골상점] 02-000-0000",
            _DECREE,
        ),
        LabelRule(
            "text-refusal",
            _TEXTS,
            "body",
            re.compile(r"무료\s?(수신)?거부[^\n]*080-?\d{3,4}-?\d{4}\s*\Z"),
            "an advertising text ends with a way to refuse that costs nothing",
            "for example: 무료수신거부 080-000-0000",
            f"{_ACT} Art. 50(6), {_DECREE}",
        ),
        LabelRule(
            "push-label",
            _PUSHES,
            "title",
            _AD,
            "the title of an advertising push message begins with `(광고)`",
            'for example: title: "(광고) 단골상점"',
            _KISA,
        ),
        LabelRule(
            "push-refusal",
            _PUSHES,
            "body",
            re.compile(r"수신\s?거부"),
            "an advertising push message says how to switch it off",
            "for example: 수신거부: 앱 설정 > 알림",
            _KISA,
        ),
    ),
)

US = Pack(
    name="us-marketing",
    title="Advertising to people in the United States",
    title_ko="미국 광고성 정보 전송 규정",
    checked_on=READ_ON,
    consent="47 CFR 64.1200(a)(2), (f)(9): prior express written consent to marketing texts",
    exemptions=(
        Exemption(
            _MAIL,
            months=None,
            zone=_STATES[0],
            source="CAN-SPAM Act, 15 U.S.C. 7704: mail needs no consent, and ends with a refusal",
        ),
    ),
    address=PostalAddress(
        "mail-address",
        True,
        "an advertising mail names the sender's valid physical postal address",
        "CAN-SPAM Act, 15 U.S.C. 7704(a)(5)(A)(iii)",
    ),
    nights=(
        NightRule(
            _TEXTS,
            time(21),
            time(8),
            unless_consent=None,
            source="TCPA, 47 CFR 64.1200(c)(1): not before 8:00 or after 21:00 where the person is",
            zones=_STATES,
            dials="+1",
        ),
    ),
    labels=(
        LabelRule(
            "mail-refusal",
            _MAIL,
            "body",
            re.compile(r"unsubscribe_url"),
            "an advertising mail has a link to unsubscribe",
            'put <a href="{{ unsubscribe_url }}">Unsubscribe</a> into it',
            "CAN-SPAM Act, 15 U.S.C. 7704(a)(3)",
        ),
        LabelRule(
            "text-refusal",
            _TEXTS,
            "body",
            re.compile(r"\bSTOP\b", re.IGNORECASE),
            "an advertising text says how to stop",
            "for example: Reply STOP to opt out",
            "47 CFR 64.1200(a)(10); CTIA Messaging Principles and Best Practices",
        ),
    ),
    caps=(
        FrequencyCap(
            category="marketing", channels=("sms",), limit=3, per=timedelta(hours=24), then="drop"
        ),
    ),
)

US_STRICT = replace(
    US,
    name="us-strict",
    title="Advertising to people in the United States, in every state's hours",
    title_ko="미국 광고성 정보 전송 규정 (모든 주의 시간대)",
    nights=(
        NightRule(
            _TEXTS,
            time(18),
            time(10),
            unless_consent=None,
            source="Inside the hours of every state (Rhode Island: 9 to 18; Texas: from 9, Sundays"
            " from 12; Kentucky: from 10), on Mondays to Fridays that are no federal holiday"
            " (Alabama, Louisiana, Mississippi; 5 U.S.C. 6103). Secondary sources: summaries of the"
            " states' acts by law firms and carriers, November 2025",
            zones=_STATES,
            dials="+1",
            is_open_on=is_us_working_day,
        ),
    ),
)

EU = Pack(
    name="eu-marketing",
    title="Advertising to people in the European Union and the United Kingdom",
    title_ko="유럽연합·영국 광고성 정보 전송 규정",
    checked_on=READ_ON,
    consent="Directive 2002/58/EC Art. 13(1); Regulation (EU) 2016/679 Art. 7",
    exemptions=(
        Exemption(
            _ALL,
            months=None,
            zone=ZoneInfo("Europe/Brussels"),
            source="Directive 2002/58/EC Art. 13(2): own similar goods, details from a sale, with a"
            " chance to refuse then and in every message",
        ),
    ),
    nights=(),
    labels=(
        LabelRule(
            "mail-refusal",
            _MAIL,
            "body",
            re.compile(r"unsubscribe_url"),
            "an advertising mail has a link to unsubscribe",
            'put <a href="{{ unsubscribe_url }}">…</a> into it',
            "Directive 2002/58/EC Art. 13(2) and (4)",
        ),
        LabelRule(
            "text-refusal",
            _TEXTS,
            "body",
            re.compile(r"\bSTOP\b|preferences_url|unsubscribe_url", re.IGNORECASE),
            "an advertising text says how to stop",
            "for example: STOP to the same number, or {{ preferences_url }}",
            "Directive 2002/58/EC Art. 13(2) and (4)",
        ),
    ),
)

PACKS: Mapping[str, Pack] = {pack.name: pack for pack in (KR, US, US_STRICT, EU)}
