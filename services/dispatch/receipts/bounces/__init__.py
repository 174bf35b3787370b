"""Bounces and complaints that arrive as mail: at an SMTP door of our own, or in a mailbox."""
