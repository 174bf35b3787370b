"""The workspace that is broken: waits of seconds, and everything by which a run can go astray."""

SETTINGS = """
timezone: Asia/Seoul
policies:
  consent: assumed
  frequency_caps:
    - {category: marketing, limit: 4, per: 25s}
    - {channels: [push], limit: 2, per: 6s, then: hold}
channels:
  email: {adapter: smtp, from: "Shop <shop@shop.example>"}
  push: {adapter: log}
"""

JOURNEYS = {
    # Timers, restarts, exits that withdraw, a goal, a second channel.
    "cart": """
journey: cart
priority: 70
trigger: {event: Product Added}
entry: {key: event.cart_id, when_active: restart, holdout: 10%}
exit: [{event: Order Completed, where: event.cart_id == trigger.cart_id}]
goal:
  event: Order Completed
  where: event.cart_id == trigger.cart_id
  within: 40s
  value: event.total
steps:
  - wait: 3s
  - send: email
    else: push
    template: note
    id: nudge
  - wait: 5s
  - branch:
      - when: trigger.price >= 60 and steps.nudge.outcome == "sent"
        steps: [{send: push, template: note, id: dear}]
      - otherwise:
          - split:
              - {variant: kind, weight: 1, steps: [{send: email, template: note, id: kind}]}
              - {variant: curt, weight: 1, steps: [{send: push, template: note, id: curt}]}
""",
    # An event or its time-out; re-entry after a while.
    "browse": """
journey: browse
trigger: {event: Viewed, where: event.price > 30}
entry: {key: event.sku, reentry: 10s}
exit: [{event: Order Completed}]
steps:
  - wait_for: {event: Product Added, where: event.sku == trigger.sku, timeout: 4s}
    then:
      - set: {profile.wants: event.sku}
    timed_out:
      - send: push
        template: note
        id: seen
""",
    # Once in a life, and what it says is heard by another journey.
    "welcome": """
journey: welcome
trigger: {event: Signed Up}
entry: {reentry: never}
steps:
  - send: email
    else: push
    template: note
    id: hello
  - wait_until: {date: trigger.tour_at}
  - emit: Toured
    properties: {plan: trigger.plan}
""",
    # Rounds that an order ends.
    "tour": """
journey: tour
trigger: {event: Toured}
steps:
  - repeat:
      times: 3
      every: 3s
      until: did("Order Completed")
      steps:
        - send: push
          template: note
          id: round
  - emit: Tour Over
""",
    # Whoever has bought three times, however they were called at the time.
    "gold": """
journey: gold
category: transactional
trigger: {segment: gold, on: enter}
steps:
  - send: email
    else: push
    template: note
    id: card
""",
    "receipt": """
journey: receipt
category: transactional
trigger: {event: Order Completed}
entry: {key: event.order_id}
steps:
  - branch:
      - when: in_segment("gold")
        steps: [{send: email, else: push, template: note, id: thanks-gold}]
      - otherwise:
          - {send: email, else: push, template: note, id: thanks}
""",
    # Nobody in the traffic asks for one: for scenarios, whose customers alone are in it.
    "callback": """
journey: callback
category: transactional
trigger: {event: Callback Asked}
entry: {key: event.number}
exit: [{event: Callback Cancelled, where: event.number == trigger.number}]
steps:
  - wait: 6s
  - {send: email, template: note, id: soon}
  - wait: 4s
  - {send: email, template: note, id: later}
""",
}

SECOND_TOUR = JOURNEYS["tour"].replace("every: 3s", "every: 2s")
"""What a publish in the middle of the run makes of a journey."""

_FILES = {
    "dangol.yaml": SETTINGS,
    "segments/gold.yaml": 'segment: gold\nwhere: count("Order Completed") >= 3\n',
    "templates/note/email.liquid": (
        '---\nsubject: "{{ journey.id }}"\n---\n<p>{{ profile.email }} {{ trigger.sku }}</p>\n'
    ),
    "templates/note/push.liquid": '---\ntitle: "{{ journey.id }}"\n---\n{{ trigger.sku }}\n',
}


def files(*, second: bool = False) -> dict[str, bytes]:
    """The workspace's folder; `second` is what is published in the middle of a run."""
    journeys = {**JOURNEYS, "tour": SECOND_TOUR} if second else JOURNEYS
    texts = _FILES | {f"journeys/{name}.yaml": text for name, text in journeys.items()}
    return {name: text.encode() for name, text in texts.items()}
