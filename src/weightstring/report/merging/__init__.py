"""The page of a verdict on merging models."""
