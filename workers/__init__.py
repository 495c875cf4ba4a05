"""The processes that run models: lanes, batcher, executors, commit."""
