"""The page of an atlas of many models."""
