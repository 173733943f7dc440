"""Models of ``transformers``: what they are given, and what their loss is a mean over."""
