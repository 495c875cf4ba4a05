"""The same jobs as a careful user would write them with Celery and Flask."""
