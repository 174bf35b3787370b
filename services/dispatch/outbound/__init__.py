"""Requests to addresses that somebody outside of this house has chosen: `call`, webhooks."""
