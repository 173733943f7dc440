"""Losses that take the module and a batch of any form."""
