"""The customer as the policies see her, made from her traits and what is stored beside them."""

from collections.abc import Iterable, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from services.dispatch.policy.values import Contact, Scope
from shared.address import address_of
from shared.local_time import zone_of


def contact_of(
    customer: str,
    traits: Mapping[str, Any],
    *,
    channels: Iterable[str],
    zone: ZoneInfo,
    country: str | None = None,
    consents: Mapping[str, bool] | None = None,
    suppressed: Mapping[str, Scope] | None = None,
) -> Contact:
    """`channels` are those that may be asked for; `zone` and `country` are the workspace's."""
    addresses = {}
    for channel in channels:
        address = address_of(channel, customer, traits, country)
        if address is not None:
            addresses[channel] = address
    own_zone = zone_of(traits.get("timezone"), None)
    return Contact(
        zone=own_zone or zone,
        addresses=addresses,
        consents=consents or {},
        suppressed=suppressed or {},
        traits=traits,
        zone_known=own_zone is not None,
    )
