"""What providers report of messages they have taken: delivered, bounced, complained, opened."""
