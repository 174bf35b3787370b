"""Where a run may go on from a step: followed by the plan's warnings and by results."""

from services.journey.core.flow import Branch, Exit, Flow, Repeat, Split, Step, WaitFor


def behind(flow: Flow, step: str, without: str | None = None) -> set[str]:
    """Every step that a run at this one may still come to, not through `without`."""
    found: set[str] = set()
    queue = [step]
    while queue:
        for name in ways(flow.steps[queue.pop()]):
            if name is not None and name not in found and name != without:
                found.add(name)
                queue.append(name)
    return found


def ways(step: Step) -> list[str | None]:
    """The steps that may come next."""
    match step:
        case Exit():
            return []
        case Branch(arms=arms):
            return [step.next, *(arm.first for arm in arms)]
        case Split(variants=variants):
            return [step.next, *(variant.first for variant in variants)]
        case WaitFor():
            return [step.next, step.then, step.timed_out]
        case Repeat():
            return [step.next, step.first]
    return [step.next]


def only_in(flow: Flow, split: Split, variant: str) -> set[str]:
    """The steps that none but this variant's runs come to."""
    reached = {each.name: _arm(flow, split, each.first) for each in split.variants}
    others = [steps for name, steps in reached.items() if name != variant]
    return reached[variant].difference(*others)


def _arm(flow: Flow, split: Split, first: str | None) -> set[str]:
    return set() if first is None else {first} | behind(flow, first, without=split.id)
