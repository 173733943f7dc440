"""Checkpoints in and out: which state dict is meant, under which names, in which dtype; adapters."""
