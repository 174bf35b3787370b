"""Values as they are stored: what JSON knows, so that reading them again gives the same."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from services.journey.core.flow import Moment, Value
from shared.workspace import duration_text


def plain(value: Value) -> Value:
    """Instants and durations become the texts that compare as such, events their properties."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return duration_text(value) if value >= timedelta(0) else f"-{duration_text(-value)}"
    if isinstance(value, Moment):
        return plain(value.properties)
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value
