"""Providers' APIs, played on this machine: they check signatures, refuse on demand, send receipts.

For tests, and by hand with `dangol fake-providers`. Nothing leaves the machine.
"""
