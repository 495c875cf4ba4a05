"""Writes the asynchronous client, `penstock.aio`, from the one that blocks: `python -m client.twin`."""
