"""The same echo job as a careful user would write it with Celery and Flask."""
