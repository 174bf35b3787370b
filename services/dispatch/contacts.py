"""Whom a group of messages goes to: their addresses, and which of these are closed."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from services.dispatch.pending import Key, Pending
from services.dispatch.policy import Contact, Scope, contact_of
from services.dispatch.workspace import Workspace
from shared.address import address_hash
from shared.channels import CHANNELS


def contacts(
    workspace: Workspace, group: Iterable[Pending], key: bytes
) -> dict[Key, tuple[Contact, dict[str, str]]]:
    """Message → its customer on its channels, and channel → the hash of her address there."""
    found = {}
    for pending in group:
        contact = contact_of(
            pending.customer,
            pending.traits,
            channels=pending.message.channels,
            zone=workspace.zone,
            country=workspace.settings.country,
            consents=pending.consents,
        )
        hashes = {
            channel: address_hash(CHANNELS[channel].address, address, key)
            for channel, address in contact.addresses.items()
        }
        found[pending.key] = (contact, hashes)
    return found


def with_suppressions(
    contact: Contact, hashes: Mapping[str, str], closed: Mapping[str, Scope]
) -> Contact:
    suppressed = {channel: closed[h] for channel, h in hashes.items() if h in closed}
    return replace(contact, suppressed=suppressed) if suppressed else contact
