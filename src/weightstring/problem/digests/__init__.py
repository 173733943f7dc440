"""Digests that are the same in every process: of tensors, texts, and of what a function computes."""
