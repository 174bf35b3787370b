"""Named sets of legal rules (`policies.packs`): data with their sources, and how they are read.

A pack can be tightened by the workspace's own policies, never loosened: its hours hold beside
theirs, an exception (`never: true`) is none from the law, and where it asks for consent,
`consent: assumed` is refused. Nothing here is legal advice.
"""

from shared.packs.data import PACKS
from shared.packs.footer import with_address
from shared.packs.rules import (
    Duty,
    Exemption,
    LabelRule,
    NightRule,
    Pack,
    broken_rule,
    caps_of,
    label_rules,
    night_rules,
    packs_of,
)

__all__ = [
    "PACKS",
    "Duty",
    "Exemption",
    "LabelRule",
    "NightRule",
    "Pack",
    "broken_rule",
    "caps_of",
    "label_rules",
    "night_rules",
    "packs_of",
    "with_address",
]
