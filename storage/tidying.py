"""The bucket's own rule against uploads that nobody finishes: S3 keeps, and charges for, their parts for ever."""

import logging

from minio import Minio
from minio.commonconfig import ENABLED, Filter
from minio.error import S3Error
from minio.lifecycleconfig import AbortIncompleteMultipartUpload, LifecycleConfig, Rule

log = logging.getLogger(__name__)

#: The rule's name in the bucket's lifecycle.
RULE = "penstock-unfinished-uploads"
#: Days after which the parts of an unfinished upload are erased.
DAYS = 1


def abort_unfinished_uploads(client: Minio, bucket: str) -> None:
    """Add the rule to the bucket's lifecycle, beside what else stands there; a store that refuses is only logged."""
    try:
        found = client.get_bucket_lifecycle(bucket)
        rules = list(found.rules) if found else []
        if any(rule.rule_id == RULE for rule in rules):
            return
        rule = Rule(
            ENABLED,
            rule_filter=Filter(prefix=""),
            rule_id=RULE,
            abort_incomplete_multipart_upload=AbortIncompleteMultipartUpload(DAYS),
        )
        client.set_bucket_lifecycle(bucket, LifecycleConfig([*rules, rule]))
    except S3Error as error:
        # Nothing depends on it but the size of the bill: keys that may not do it are common, and stores that cannot.
        log.warning(
            "the bucket has no rule against unfinished uploads: make one, or allow PutLifecycleConfiguration",
            extra={"bucket": bucket, "reason": error.code},
        )
