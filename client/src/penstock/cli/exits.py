"""How a command ends: the exit code and the one line that says why."""

import json
from urllib.parse import urlsplit

from penstock.errors import (
    Away,
    Busy,
    JobFailure,
    NotReady,
    PenstockError,
    StillRunning,
    Unauthenticated,
    UnknownModel,
    Unreachable,
)

OK, JOB_FAILED, USAGE, REFUSED, AWAY, STILL_RUNNING, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

EXIT_CODES = """\b
Exit codes:
  0    done
  1    the job failed, was canceled or expired; so did the scoring (failed rows alone are no failure)
  2    the command line, or a setting, is wrong
  3    the gateway refused (4xx)
  4    the farm cannot be reached, or has a fault (5xx)
  5    the job still runs: --wait ran out, or there is no result yet
  130  interrupted by Ctrl-C; a submitted job or scoring goes on
"""

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def exit_code(error: Exception) -> int:
    """The code for an error; the farm's own errors, raised by operator commands, are wrong settings."""
    if isinstance(error, JobFailure):
        return JOB_FAILED
    if isinstance(error, StillRunning | NotReady):
        return STILL_RUNNING
    if isinstance(error, PenstockError):
        return REFUSED if error.status is not None and error.status < 500 else AWAY
    return AWAY if getattr(error, "status", None) == Away.status else USAGE


def line(error: PenstockError, *, url: str, as_json: bool) -> str:
    """What went wrong, where, and what to do about it."""
    if as_json:
        return json.dumps(error.problem(), ensure_ascii=False)
    more = [f"[{fault.pointer}: {fault.detail}]" for fault in error.errors if fault.detail not in error.detail]
    text = " ".join([error.detail, *more])
    hint = advice(error, url)
    if isinstance(error, JobFailure) and error.job_id:
        text = f"{error.job_id}: {text} ({error.code})"
    if not hint:
        return f"Error: {text}"
    return f"Error: {text}{':' if isinstance(error, Unreachable) else '' if text.endswith('?') else ';'} {hint}"


def advice(error: PenstockError, url: str) -> str:
    if isinstance(error, Unreachable):
        here = (urlsplit(url).hostname or "") in LOOPBACK if url else True
        return "is the farm running? `make run` starts one" if here else "is PENSTOCK_URL right?"
    if isinstance(error, Unauthenticated):
        return "set PENSTOCK_API_KEY; `penstock key create` makes a key"
    if isinstance(error, UnknownModel):
        return "`penstock models list` shows what there is"
    if isinstance(error, Busy | Away):
        return f"try again in {error.retry_after_s:g} s" if error.retry_after_s else "try again later"
    if isinstance(error, StillRunning | NotReady):
        return "`penstock get ID --wait` waits for it"
    return ""
