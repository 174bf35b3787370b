"""The phrases of an explanation: English, Korean. `{…}` are a fact's own details."""

from collections.abc import Mapping

from services.console.words import Words

Phrases = dict[str, str]

PHRASES: Mapping[str, Words] = {
    # What came
    "event": Words("“{name}” was received.", "‘{name}’ 이벤트가 들어왔습니다."),
    "event_identify": Words("The customer's data was stated.", "고객 정보가 들어왔습니다."),
    "event_enter": Words(
        "The API named the customer for this journey.",
        "API로 이 고객이 여정에 지정되었습니다.",
    ),
    "event_firing": Words(
        "The journey fired for the customers that it means (“{name}”).",
        "여정이 대상 고객에게 시작되는 시점이 되었습니다(‘{name}’).",
    ),
    "event_receipt": Words("“{name}” was reported.", "‘{name}’ 결과가 보고되었습니다."),
    "linked": Words(
        "{id} turned out to be the customer {to}.",
        "{id:이/가} 고객 {to}의 ID로 확인되었습니다.",
    ),
    "merged": Words(
        "What was known of {id} was joined to this customer.",
        "{id}의 기록이 이 고객에게 합쳐졌습니다.",
    ),
    "repeated": Words(
        "The same event had been taken in before, so it counted once.",
        "이미 받은 이벤트와 같아서 한 번만 처리되었습니다.",
    ),
    "imported": Words(
        "It was imported as a past event, by which nobody enters.",
        "지난 이벤트로 가져온 것이어서 이것으로는 여정에 들어가지 않습니다.",
    ),
    "not_published": Words(
        "The journey was not in force then: not published yet, archived, or started by something"
        " else.",
        "그때는 이 여정이 이 이벤트로 시작되지 않았습니다. 게시 전이거나, 보관되었거나, 시작"
        " 이벤트가 다른 버전이었습니다.",
    ),
    # Entry
    "refused": Words("The customer did not enter.", "고객이 여정에 들어가지 않았습니다."),
    "behind_too_old": Words(
        "It had happened {age} before it arrived; {allowed} are allowed.",
        "발생한 뒤 {age} 만에 도착했고, 허용되는 시간은 {allowed}입니다.",
    ),
    "behind_already_running": Words(
        "That run began on {since}.",
        "진행 중인 여정은 {since}에 시작되었습니다.",
    ),
    "behind_reentry": Words(
        "The last entry was on {last}, and the rule is `reentry: {rule}`.",
        "마지막 진입은 {last}이고, 규칙은 `reentry: {rule}`입니다.",
    ),
    "entered": Words(
        "The customer entered (version {version}).",
        "여정에 들어갔습니다(버전 {version}).",
    ),
    "entered_key": Words(
        "The customer entered with the key “{key}” (version {version}).",
        "여정에 들어갔습니다(키 ‘{key}’, 버전 {version}).",
    ),
    "held_out_workspace": Words(
        "The customer belongs to the comparison group of all marketing, which is sent nothing.",
        "마케팅 전체의 비교 그룹에 속해 메시지를 받지 않습니다.",
    ),
    "held_out_journey": Words(
        "The customer belongs to this journey's comparison group, which is sent nothing.",
        "이 여정의 비교 그룹에 속해 메시지를 받지 않습니다.",
    ),
    "restarted": Words(
        "The run at step {step} began again with the new event.",
        "{step} 단계에 있던 여정이 새 이벤트로 다시 시작되었습니다.",
    ),
    # Steps
    "reached": Words("Reached step {step} ({kind}).", "{step} 단계({kind})에 도달했습니다."),
    "reached_send": Words(
        "Reached step {step}: a message by {channels}, template {template}.",
        "{step} 단계에 도달해 메시지를 준비했습니다(채널 {channels}, 템플릿 {template}).",
    ),
    "branch": Words(
        "At {step} the first condition that holds showed the way.",
        "{step} 단계에서 조건에 맞는 갈래로 진행했습니다.",
    ),
    "branch_otherwise": Words(
        "At {step} no condition held, so it went the way “otherwise”.",
        "{step} 단계에서 맞는 조건이 없어 ‘그 외’ 갈래로 진행했습니다.",
    ),
    "branch_none": Words(
        "At {step} no condition held, so it went on to the next step.",
        "{step} 단계에서 맞는 조건이 없어 다음 단계로 넘어갔습니다.",
    ),
    "variant": Words(
        "At {step} the customer got the variant “{variant}”.",
        "{step} 단계에서 ‘{variant}’ 안이 배정되었습니다.",
    ),
    "waits": Words("Waits at {step} until {until}.", "{step} 단계에서 {until}까지 기다립니다."),
    "waits_for": Words(
        "Waits at {step} for {events}, until {until} at the latest.",
        "{step} 단계에서 {events} 이벤트를 늦어도 {until}까지 기다립니다.",
    ),
    "matched": Words(
        "The event that {step} waited for had come.",
        "{step} 단계에서 기다리던 이벤트입니다.",
    ),
    "timed_out": Words(
        "What {step} waited for did not come in time.",
        "{step} 단계에서 기다리던 이벤트가 제때 오지 않았습니다.",
    ),
    "listens": Words(
        "{step} goes on waiting: this is not the event that it waits for.",
        "{step} 단계가 기다리던 이벤트가 아니어서 계속 기다립니다.",
    ),
    "another_round": Words("{step} begins another round.", "{step} 단계가 한 번 더 반복됩니다."),
    "rounds_over": Words("The rounds of {step} are over.", "{step} 단계의 반복이 끝났습니다."),
    "emitted": Words("A step emitted “{event}”.", "단계에서 ‘{event}’ 이벤트를 만들었습니다."),
    "answered": Words(
        "The call of {step} was decided: {outcome}.",
        "{step} 단계의 외부 호출 결과: {outcome}.",
    ),
    "migrated": Words(
        "The run moved to version {version} at step {step}.",
        "진행 중이던 여정이 버전 {version}의 {step} 단계로 옮겨졌습니다.",
    ),
    "no_exit": Words(
        "The customer stayed in the journey: the exit's condition did not hold.",
        "종료 조건에 맞지 않아 계속 진행합니다.",
    ),
    "ended": Words(
        "The journey ended at {step}: {reason}.",
        "{step} 단계에서 여정이 끝났습니다: {reason}.",
    ),
    "ended_completed": Words(
        "The journey ended: all steps were done.",
        "모든 단계를 마치고 여정이 끝났습니다.",
    ),
    "ended_exit": Words(
        "The customer left the journey at {step}, because an exit was met.",
        "종료 조건에 맞아 {step} 단계에서 여정을 떠났습니다.",
    ),
    "ended_missing": Words(
        "The journey ended at {step}: the date that it waits for is missing.",
        "기다릴 날짜가 없어 {step} 단계에서 여정이 끝났습니다.",
    ),
    "ended_merged": Words(
        "This run ended: as the customer it turned out to be, they were in the journey already.",
        "합쳐진 고객이 이미 이 여정에 있어서 이 진행은 끝났습니다.",
    ),
    "ended_reentry": Words(
        "This run ended: after the merge it would have been a second entry too soon.",
        "합쳐지고 나니 너무 이른 재진입이어서 이 진행은 끝났습니다.",
    ),
    "ended_superseded": Words(
        "The journey ended at {step}: a new version was published, and ended the older ones' runs.",
        "새 버전을 게시하면서 {step} 단계에 있던 이전 버전의 진행이 끝났습니다.",
    ),
    "ended_unreadable": Words(
        "The journey ended at {step}: its version could not be read for a while, and too much had"
        " happened meanwhile to go on rightly.",
        "이 버전을 한동안 읽을 수 없었고 그사이 일어난 일이 너무 많아"
        " {step} 단계에서 진행이 끝났습니다.",
    ),
    "goal": Words("The goal was reached.", "목표를 달성했습니다."),
    "goal_value": Words(
        "The goal was reached, value {value}.",
        "목표를 달성했습니다. 값은 {value}입니다.",
    ),
    "inside": Words("Entered the segment {segment}.", "세그먼트 {segment}에 들어갔습니다."),
    "outside": Words("Left the segment {segment}.", "세그먼트 {segment}에서 나왔습니다."),
    "consent_given": Words(
        "Consent to {channel} was given (from {source}).",
        "{channel} 수신에 동의했습니다(출처: {source}).",
    ),
    "consent_withdrawn": Words(
        "Consent to {channel} was withdrawn (from {source}).",
        "{channel} 수신 동의를 철회했습니다(출처: {source}).",
    ),
    "notice_overdue": Words(
        "A notice that the law asks for was overdue from here on: {title} (since {since}).",
        "여기서 법정 통지 기한이 지났습니다: {title}(통지 사유 발생 {since}).",
    ),
    "called": Words(
        "{step} asks another system.", "{step} 단계가 외부 시스템의 응답을 기다립니다."
    ),
    "at_step": Words("Reached step {step}.", "{step} 단계에 도달했습니다."),
    # Messages
    "held": Words(
        "The message of {step} was held until {until} ({channel}).",
        "{step} 단계의 메시지가 {until}까지 보류되었습니다({channel}).",
    ),
    "message_sent": Words(
        "The message of {step} was sent ({channel}).",
        "{step} 단계의 메시지가 발송되었습니다({channel}).",
    ),
    "message_dropped": Words(
        "The message of {step} was not sent ({channel}).",
        "{step} 단계의 메시지는 발송되지 않았습니다({channel}).",
    ),
    "message_failed": Words(
        "The message of {step} failed ({channel}).",
        "{step} 단계의 메시지 발송이 실패했습니다({channel}).",
    ),
    "message_unknown": Words(
        "The message of {step} may have been sent ({channel}): the connection broke off after the"
        " call had begun.",
        "{step} 단계의 메시지는 발송 여부를 알 수 없습니다({channel}). 발송을 요청한 뒤 연결이"
        " 끊어졌습니다.",
    ),
    "message_waits": Words(
        "The message of {step} waits for its decision ({channel}).",
        "{step} 단계의 메시지가 발송 결정을 기다립니다({channel}).",
    ),
    "message_held": Words(
        "The message of {step} is held until {until} ({channel}).",
        "{step} 단계의 메시지가 {until}까지 보류되어 있습니다({channel}).",
    ),
    "passed_over": Words("Not by {channel}:", "{channel:은/는} 건너뛰었습니다:"),
    "waits_because": Words("Why: {why}.", "사유: {why}."),
    "why": Words("What failed: {why}.", "걸린 것: {why}."),
    "provider_said": Words("The provider said: {provider_said}.", "발송사의 답: {provider_said}."),
    "not_on_record": Words(
        "(This is the replay's decision; there is no such message on record.)",
        "(재현한 결과이며, 실제 기록에는 없는 메시지입니다.)",
    ),
    "held_since": Words("It had been held since {since}:", "{since}부터 보류되어 있었습니다:"),
    # Kinds of steps
    "kind_set": Words("a trait is written", "속성 기록"),
    "kind_emit": Words("an event is made", "이벤트 생성"),
    "kind_call": Words("another system is asked", "외부 호출"),
    "kind_split": Words("a split by chance", "무작위 분할"),
    "kind_repeat": Words("a repetition", "반복"),
    "kind_wait": Words("a wait", "대기"),
    "kind_waituntil": Words("a wait until a moment", "시점까지 대기"),
    "kind_waitfor": Words("a wait for an event", "이벤트 대기"),
    "kind_exit": Words("the way out", "나가기"),
    # Where it stands
    "segment_in": Words(
        "The customer is in the segment {segment} now.",
        "지금 세그먼트 {segment}에 들어 있습니다.",
    ),
    "segment_out": Words(
        "The customer is not in the segment {segment} now.",
        "지금 세그먼트 {segment}에 들어 있지 않습니다.",
    ),
    "date_now": Words("{what} is {value} now.", "지금 {what} 값은 {value}입니다."),
    # Conditions
    "holds": Words("`{text}` holds.", "`{text}` 조건을 충족합니다."),
    "fails": Words("`{text}` does not hold.", "`{text}` 조건을 충족하지 않습니다."),
    "holds_seen": Words(
        "`{text}` holds: {values}.",
        "`{text}` 조건을 충족합니다({values}).",
    ),
    "fails_seen": Words(
        "`{text}` does not hold: {values}.",
        "`{text}` 조건을 충족하지 않습니다({values}).",
    ),
    "more": Words("(and {n} more conditions)", "(그 밖의 조건 {n}개)"),
    "seen": Words("{what} was {value}", "{what}: {value}"),
    "seen_missing": Words("{what} was missing", "{what}: 값 없음"),
    "nothing": Words("missing", "없음"),
    "yes": Words("true", "참"),
    "no": Words("false", "거짓"),
    # In short
    "sum_entered": Words(
        "The customer entered this journey {times}. Messages sent: {sent}; not sent: {others}.",
        "이 여정에 {times} 들어갔습니다. 발송된 메시지 {sent}건, 발송되지 않은 메시지 {others}건.",
    ),
    "sum_once": Words("once", "한 번"),
    "sum_twice": Words("twice", "두 번"),
    "sum_times": Words("{n} times", "{n}번"),
    "sum_live": Words("The customer is in it now.", "지금도 이 여정을 진행하고 있습니다."),
    "sum_never": Words(
        "The customer has never entered this journey.",
        "이 여정에 들어간 적이 없는 고객입니다.",
    ),
    "sum_refused": Words(
        "It might have begun {n} times and did not. The last time:",
        "시작될 수 있었던 {n}번 모두 시작되지 않았습니다. 마지막은 다음과 같습니다.",
    ),
    "sum_refused_once": Words(
        "It might have begun once, and did not:",
        "한 번 시작될 수 있었지만 시작되지 않았습니다.",
    ),
    "sum_nothing": Words(
        "No event that starts it has come from this customer.",
        "이 여정을 시작하는 이벤트가 이 고객에게는 한 번도 없었습니다.",
    ),
}
NOTES: Mapping[str, Words] = {
    "belongs_to": Words(
        "{id} belongs to the customer {customer}, whose whole past this is.",
        "{id:은/는} 고객 {customer}의 ID이며, 아래는 그 고객의 전체 기록입니다.",
    ),
    "paused": Words("The journey is paused now.", "지금 이 여정은 일시 중지 상태입니다."),
    "archived": Words("The journey is archived now.", "지금 이 여정은 보관 상태입니다."),
    "dropped": Words(
        "The stored history reaches back to {since}; what came before has been dropped, so entries"
        " and counts from before cannot be explained.",
        "저장된 기록은 {since}부터이고 그 이전 기록은 보존 기간이 지나 삭제되었습니다. 그 전의"
        " 진입과 집계는 설명할 수 없습니다.",
    ),
    "cut": Words(
        "Only the newest {events} events were replayed, from {since} on.",
        "가장 최근 이벤트 {events}건만, {since}부터 재현했습니다.",
    ),
    "shortened": Words(
        "The newest {facts} of {all} facts are shown.",
        "전체 {all}건 가운데 최근 {facts}건만 보여 줍니다.",
    ),
    "erased": Words(
        "The customer was erased on {at}: nothing received before is kept.",
        "{at}에 고객 데이터가 삭제되어 그 전에 받은 것은 남아 있지 않습니다.",
    ),
    "scores": Words(
        "RFM scores are those of now: earlier ones are not kept.",
        "RFM 점수는 현재 값입니다. 과거 점수는 보관되지 않습니다.",
    ),
    "answers": Words(
        "What a call was answered is kept only while its run lives: conditions on it may read"
        " otherwise here.",
        "외부 호출의 응답은 여정이 진행되는 동안만 보관되므로, 응답을 쓰는 조건은 실제와 다르게"
        " 보일 수 있습니다.",
    ),
    "endless": Words(
        "The replay was stopped: journeys start each other without an end.",
        "여정들이 서로를 끝없이 시작해 재현을 중단했습니다.",
    ),
    "not_on_record": Words(
        "The replay makes messages that are not on record: something that it cannot see went"
        " otherwise.",
        "기록에 없는 메시지가 재현되었습니다. 재현으로는 볼 수 없는 무언가가 달랐습니다.",
    ),
    "not_replayed": Words(
        "There are messages on record whose past is not stored any more; they are shown as they"
        " were decided.",
        "과거 기록이 남아 있지 않은 메시지는 실제 결정만 보여 줍니다.",
    ),
}
ROOTS: Mapping[str, Words] = {
    "event": Words("the event's {}", "이벤트의 {}"),
    "trigger": Words("the triggering event's {}", "시작 이벤트의 {}"),
    "profile": Words("the customer's {}", "고객의 {}"),
    "steps": Words("step {}", "단계 {}"),
    "rfm": Words("the RFM score {}", "RFM 점수 {}"),
}
"""How a value is named, by the name it begins with."""
CHANNELS: Mapping[str, Words] = {
    "email": Words("e-mail", "이메일"),
    "sms": Words("text message", "문자"),
    "alimtalk": Words("AlimTalk", "알림톡"),
    "brand_message": Words("Brand Message", "브랜드 메시지"),
    "push": Words("app push", "앱 푸시"),
    "web_push": Words("web push", "웹 푸시"),
    "on_site": Words("on-site message", "온사이트 메시지"),
    "webhook": Words("webhook", "웹훅"),
    "slack": Words("Slack", "슬랙"),
    "night": Words("advertising at night", "야간 광고"),
}
"""What a channel is called in a sentence; `night` is a consent of its own."""
