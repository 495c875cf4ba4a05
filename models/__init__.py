"""Pure inference: manifests, signatures and one leaf file a runtime."""
