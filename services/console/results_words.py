"""What may be said of a comparison in one plain sentence, and no more."""

from services.console.lift import Group, Lift
from services.console.words import Language


def sentence(
    lift: Lift, treated: Group, held: Group, needed: int | None, language: Language
) -> str:
    """Of those who were sent the messages, beside those held out."""
    korean = language == "ko"
    match lift.verdict:
        case "no_goal":
            return (
                "목표(goal)가 없어 효과를 잴 수 없습니다."
                if korean
                else "The journey has no goal, so there is nothing to measure."
            )
        case "no_holdout":
            return (
                "비교 그룹이 없어 이 여정이 실제로 더 만들어 낸 효과는 알 수 없습니다."
                " `holdout: 10%`를 두어 보세요."
                if korean
                else "Nobody has been held out, so what the journey itself brought cannot be told."
                " Try `holdout: 10%`."
            )
    between, points = _figures(lift, language)
    match lift.verdict:
        case "more" | "less" if korean:
            way = "높습니다" if lift.verdict == "more" else "낮습니다"
            return (
                f"메시지를 받은 쪽의 전환율이 비교 그룹보다 {points}%p {way}"
                f" (95% 신뢰구간 {between})."
            )
        case "more" | "less":
            way = "more" if lift.verdict == "more" else "less"
            return (
                f"Those who were sent the messages convert {points} points {way} often than those"
                f" held out (95 % interval: between {between})."
            )
        case "too_early" if korean:
            more = f" 이만한 차이는 그룹마다 약 {needed:,}명부터 확인됩니다." if needed else ""
            return (
                f"아직 판단하기 이릅니다. 지금까지 {treated.entered:,}명과 비교 그룹"
                f" {held.entered:,}명이 들어왔고, 차이는 {between} 사이로 볼 수 있습니다.{more}"
            )
        case "too_early":
            more = f" A difference this large shows from some {needed:,} in each." if needed else ""
            return (
                f"It is too early to tell. {treated.entered:,} have entered and {held.entered:,}"
                f" were held out; the difference may lie between {between}.{more}"
            )
    return (
        f"지금까지는 차이가 보이지 않습니다 (95% 신뢰구간 {between})."
        if korean
        else f"No difference shows so far (95 % interval: between {between})."
    )


def compared(
    lift: Lift,
    one: tuple[str, Group],
    other: tuple[str | None, Group],
    needed: int | None,
    language: Language,
) -> str:
    """Of one variant beside another, or beside those held out (None)."""
    korean = language == "ko"
    (name, group), (rest_name, rest) = one, other
    this = f"`{name}`"
    that = ("비교 그룹" if korean else "those held out") if rest_name is None else f"`{rest_name}`"
    if lift.verdict == "no_goal":
        return sentence(lift, group, rest, needed, language)
    if lift.interval is None:
        missing = that if group.entered else this
        return (
            f"아직 {missing}에 들어온 고객이 없습니다."
            if korean
            else f"Nobody has come to {missing} yet."
        )
    between, points = _figures(lift, language)
    match lift.verdict:
        case "more" | "less" if korean:
            way = "높습니다" if lift.verdict == "more" else "낮습니다"
            return f"{this}의 전환율이 {that}보다 {points}%p {way} (95% 신뢰구간 {between})."
        case "more" | "less":
            return (
                f"{this} converts {points} points {lift.verdict} often than {that}"
                f" (95 % interval: between {between})."
            )
        case "too_early" if korean:
            more = f" 이만한 차이는 그룹마다 약 {needed:,}명부터 확인됩니다." if needed else ""
            return (
                f"{this} 대 {that}: 아직 판단하기 이릅니다. 지금까지 각각 {group.entered:,}명,"
                f" {rest.entered:,}명이 들어왔고, 차이는 {between} 사이로 볼 수 있습니다.{more}"
            )
        case "too_early":
            more = f" A difference this large shows from some {needed:,} in each." if needed else ""
            return (
                f"It is too early to tell {this} from {that}: {group.entered:,} beside"
                f" {rest.entered:,}; the difference may lie between {between}.{more}"
            )
    return (
        f"{this} 대 {that}: 지금까지는 차이가 보이지 않습니다 (95% 신뢰구간 {between})."
        if korean
        else f"No difference between {this} and {that} shows so far (95 % interval: between"
        f" {between})."
    )


def _figures(lift: Lift, language: Language) -> tuple[str, str]:
    """The interval, and the difference without its sign, in points."""
    assert lift.difference is not None
    assert lift.interval is not None
    low, high = lift.interval.low * 100, lift.interval.high * 100
    between = (
        f"{low:+.1f}~{high:+.1f}%p" if language == "ko" else f"{low:+.1f} and {high:+.1f} points"
    )
    return between, f"{abs(lift.difference) * 100:.1f}"
