"""The doors that customers come in by: unsubscribing, preferences, clicks and openings."""
