"""What a caller asks for, and the request body that says it.

Written by `python -m client.twin` from penstock.submission: change that.
"""

from datetime import datetime
from typing import Any

from penstock.aio.inputs import Upload, encode_inputs
from penstock.inputs import encode
from penstock.submission import Submission


async def document(submission: Submission, upload: Upload) -> dict[str, Any]:
    """The submission as the gateway reads it, without what is left to the gateway's defaults."""
    body: dict[str, Any] = {name: value for name, value in submission.items() if value is not None}
    body["inputs"] = await encode_inputs(submission["inputs"], upload)
    if "parameters" in body:
        body["parameters"] = encode(body["parameters"], pointer="#/parameters")
    if isinstance(deadline := body.get("deadline"), datetime):
        body["deadline"] = deadline.astimezone().isoformat()
    if isinstance(webhook := body.get("webhook"), str):
        body["webhook"] = {"url": webhook}
    return body
