"""Journeys that start for many customers at once: planned by the leader, streamed in chunks."""
