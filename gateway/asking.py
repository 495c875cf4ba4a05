"""What a request says beside its body: who asks, how long it would wait, which job or scoring it means."""

import re
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from flask import g

from errors import Fault, InvalidInput, NotFound, ResultExpired
from gateway.parts import Parts
from storage.clock import wall_ms
from storage.job import Job
from storage.scoring import Scoring

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Longest wait of one request, seconds.
LONGEST_WAIT_S = 60
JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
#: W3C Trace Context, https://www.w3.org/TR/trace-context/#traceparent-header
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_WAIT = re.compile(r'(?:^|[,;\s])wait\s*=\s*"?(\d{1,9})', re.IGNORECASE)
_HOST = re.compile(r"[A-Za-z0-9.\-]{1,253}(?::\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::\d{1,5})?")


def preferred_wait(environ: "WSGIEnvironment") -> int:
    """Seconds from `Prefer: wait=N` (RFC 7240), 60 at most; 0 without one. What is not understood is ignored."""
    header = environ.get("HTTP_PREFER")
    match = _WAIT.search(header) if header else None
    return min(int(match[1]), LONGEST_WAIT_S) if match else 0


def asked_wait(environ: "WSGIEnvironment") -> float:
    """Seconds from `?wait=N`, 60 at most; raises InvalidInput for what is no number."""
    query = environ.get("QUERY_STRING")
    if not query:
        return 0.0
    text = dict(parse_qsl(query, keep_blank_values=True)).get("wait", "")
    return min(number("wait", text), LONGEST_WAIT_S) if text else 0.0


def traceparent(environ: "WSGIEnvironment") -> str:
    """The request's trace context, or nothing where it is malformed: then a new trace begins."""
    given: str = environ.get("HTTP_TRACEPARENT", "")
    return given if _TRACEPARENT.fullmatch(given) else ""


def number(name: str, text: str) -> float:
    """A query parameter as a number that is not negative; raises InvalidInput."""
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text):
        raise InvalidInput(
            f"{name} must be a number, not {text[:80]!r}", faults=[Fault(f"?{name}", "must be a number")]
        )
    return float(text)


def base_url(parts: Parts, environ: "WSGIEnvironment") -> str:
    """The address clients reach the gateway at, without a slash at its end."""
    configured = parts.settings.public_url
    if configured:
        return configured.rstrip("/")
    return asked_base(environ["wsgi.url_scheme"], environ.get("HTTP_HOST", ""))


@lru_cache(maxsize=1024)
def asked_base(scheme: str, host: str) -> str:
    return f"{scheme}://{host if _HOST.fullmatch(host) else 'localhost'}"


def own_job(parts: Parts, id: str) -> Job:
    """The caller's job; raises NotFound (another tenant's too), or ResultExpired once its contents are gone."""
    return job_of(parts, id, tenant=g.tenant)


def job_of(parts: Parts, id: str, *, tenant: str) -> Job:
    return permitted(parts.jobs.get(id) if JOB_ID.fullmatch(id) else None, id, tenant=tenant)


def own_scoring(parts: Parts, id: str) -> Scoring:
    """The caller's scoring; raises NotFound (another tenant's too), or ResultExpired once its contents are gone."""
    scoring = parts.scorings.get(id) if JOB_ID.fullmatch(id) else None
    if scoring is None or scoring.tenant != g.tenant:
        raise NotFound(f"no scoring {id[:80]!r}")
    if scoring.erased == "deleted":
        raise ResultExpired(f"scoring {id} was deleted")
    if scoring.erased or (scoring.ended and scoring.expires_ms <= wall_ms()):
        raise ResultExpired(f"scoring {id} has expired: it is kept for {scoring.spec.result_ttl_s} s")
    return scoring


async def read_job(parts: Parts, id: str, *, tenant: str) -> Job:
    """As `own_job`, for a request that holds no thread."""
    return permitted(await parts.reader.get(id) if JOB_ID.fullmatch(id) else None, id, tenant=tenant)


def permitted(job: Job | None, id: str, *, tenant: str) -> Job:
    """The record found under `id`, if `tenant` may see it and there is something to see; raises as `own_job`."""
    # A scoring's shards are seen by their scoring alone.
    if job is None or job.tenant != tenant or job.scoring:
        raise NotFound(f"no job {id[:80]!r}")
    if job.erased == "deleted":
        raise ResultExpired(f"job {id} was deleted")
    if job.erased or (job.expires_ms and job.expires_ms <= wall_ms()):
        raise ResultExpired(f"job {id} has expired: results are kept for {job.result_ttl_s} s")
    return job
