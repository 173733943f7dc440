"""The page of a string that no search has made."""
