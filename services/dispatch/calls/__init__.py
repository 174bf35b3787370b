"""The requests that `call` steps make: claimed, signed, sent, tried again, answered."""
