"""A draft workspace over the stored history, beside what is live; nothing is stored or sent."""
