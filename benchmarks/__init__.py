"""Measurements of weightstring beside plain PyTorch and its rivals; nothing in the package imports them."""
