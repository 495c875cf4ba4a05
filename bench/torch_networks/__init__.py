"""Handlers with a `Network` each, as a user would write them."""
