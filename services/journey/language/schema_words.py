"""What an editor says beside each field: the sentences of the JSON Schemas, by model and field."""

from collections.abc import Mapping

from services.journey.language.expressions.functions import FUNCTIONS, QUANTIFIERS
from services.journey.language.expressions.syntax import ROOTS

CONDITION = (
    "A condition. Names: " + ", ".join(f"`{root}`" for root in ROOTS) + " (a property is `event.x`,"
    " a trait `profile.x`). Operators: and or not == != < <= > >= in + - * /. Functions: "
    + ", ".join(f"`{function.usage}`" for function in FUNCTIONS.values())
    + "; "
    + ", ".join(f"`{name}(p.x == 1 for p in event.products)`" for name in QUANTIFIERS)
    + ". Not every name is known everywhere: `dangol validate` tells."
)
CONDITION_EXAMPLES = (
    "event.price >= 10000",
    'profile.tier in ["gold", "vip"]',
    "event.cart_id == trigger.cart_id",
    'not did("Order Completed", within="30d")',
    'count("Order Completed", where=e.total > 0) >= 3',
    'in_segment("vip")',
    'steps.first_nudge.outcome == "sent"',
)

WORDS: Mapping[str, Mapping[str, str]] = {
    "Journey": {
        "journey": "The id: kebab-case, unique in the workspace. Another id is another journey.",
        "title": "What people call it.",
        "stage": "What it is for. Only shown.",
        "category": "`marketing` (advertising: consent, quiet hours and caps hold) or"
        " `transactional` (information that the customer has asked for).",
        "priority": "0 to 100: who is decided first when two messages become decidable at once.",
        "trigger": "What starts a run.",
        "entry": "Who may enter, and how often.",
        "exit": "Events that end a run at once, whatever step it is at.",
        "goal": "The event by which the journey is measured.",
        "steps": "What happens, one after the other.",
        "tests": "Tests of this journey, for `dangol test`.",
    },
    "Entry": {
        "key": "One live run per customer and value of this, such as event.cart_id.",
        "when_active": "What a new trigger does to a live run: nothing, or begin it again.",
        "reentry": "`always`, `never`, or how long after the last entry, per customer and key.",
        "where": "Who may enter; tested once. " + CONDITION,
        "max_age": "A trigger that happened longer ago starts nothing (24h if not given).",
        "holdout": "Share of customers who enter, are measured, and are sent nothing.",
    },
    "Goal": {
        "within": "From entry; it outlives the run.",
        "value": "A number of the event, such as event.total.",
    },
    "EventTrigger": {
        "audience": "Makes it an event of the catalogue: starts a run for everyone whom this"
        " condition selects. " + CONDITION
    },
    "ScheduleTrigger": {
        "schedule": "As crontab has it: minute, hour, day, month, weekday.",
        "segment": "For every member, at each firing.",
        "timezone": "An IANA zone, or `customer` for each member's local time.",
    },
    "SegmentTrigger": {"segment": "A file of segments/.", "on": "Who enters it, or leaves it."},
    "DateTrigger": {
        "date": "A trait such as profile.birthday.",
        "offset": "Such as -3d, three days before.",
        "time": "The local time of day.",
        "every": "Every year on that day.",
    },
    "Wait": {"wait": "Elapsed time: 1d is 24 hours."},
    "WaitUntil": {"wait_until": "The next such moment in the customer's time zone."},
    "WaitFor": {
        "wait_for": "The first such event, or the timeout.",
        "then": "Steps after the event; it is `event` here.",
        "timed_out": "Steps after the timeout.",
    },
    "Branch": {"branch": "The first arm whose `when` holds; none, and it goes on."},
    "Split": {"split": "Divides customers, each always into the same variant."},
    "Variant": {"weight": "Relative to the other variants'."},
    "Send": {
        "send": "The channel. It must be set up in dangol.yaml.",
        "template": "A folder of templates/, with a file for each channel.",
        "else": "The next channels, when this one cannot be used or fails for good.",
        "with": "More names for the template: values, or expressions.",
    },
    "Set": {"set": "Traits to write: `profile.tier: gold`."},
    "Emit": {"emit": "An event of the same customer, through the log."},
    "CallUrl": {"call": "A signed webhook; its JSON answer is steps.<id>.response."},
    "Repeat": {"repeat": "A bounded loop."},
    "Rounds": {
        "until": "Tested before each round. " + CONDITION,
        "every": "From the start of one round to the next.",
    },
    "Exit": {"exit": "Ends the run, for this reason."},
    "JourneyTest": {
        "at": "The start, with its offset from UTC.",
        "until": "How long the clock runs, from `at`.",
        "calls": "What a `call`, of a step or of a send's template, is answered, by step id.",
        "expect": "What is not written is not checked.",
    },
    "TestEvent": {
        "after": "Counts from the line above.",
        "user": "Who does it from now on: a login, where the customer was anonymous.",
        "anonymous": "The anonymous id of this line.",
        "traits": "Stated before the event.",
    },
    "Segment": {"segment": "Its name, kebab-case.", "where": "Who is in it. " + CONDITION},
    "WorkspaceSettings": {
        "timezone": "An IANA zone, for customers whose own is unknown.",
        "locale": "A language tag, for customers who have none.",
        "country": "Two letters: national phone numbers are read as of here.",
        "holdout": "Share of all customers who are sent no marketing, to measure against.",
        "policies": "Consent, quiet hours, caps, packs of legal rules.",
        "channels": "Each with its adapter. Secrets come from the environment.",
        "rfm": "What a purchase is, for scores.",
        "sources": "Other houses' webhooks, by the name in their address.",
        "receipts": "Where receipts of messages asked for by the API go, by name.",
    },
    "Policies": {
        "packs": "Sets of legal rules: they can be tightened, not loosened.",
        "sender": "Name and postal address, for the end of advertising mail.",
        "consent": "`required`: who was never asked gets no advertising.",
        "expire_after": "A held message that is older is dropped.",
    },
    "QuietHours": {
        "from": "Local time, in quotes; included.",
        "to": "Local time, in quotes; not included. May lie on the next day.",
        "never": "An exception: no quiet hours for these.",
    },
    "FrequencyCap": {"per": "Rolling.", "limit": "Over all journeys and channels of the rule."},
    "TrackingPlan": {
        "mode": "`warn` counts what breaks the plan, `enforce` also sets it aside.",
        "events": "By name.",
    },
}
