"""The client for programs that run on asyncio: the same names, to be awaited.

All but this file and `streams.py` is written by `python -m client.twin` from the client that blocks.
"""

from penstock.aio.client import AsyncPenstock

__all__ = ["AsyncPenstock"]
