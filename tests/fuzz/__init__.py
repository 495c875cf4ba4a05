"""Requests and messages that nobody would send, in great number."""
