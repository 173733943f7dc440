"""The page of a matrix of lines between many models."""
