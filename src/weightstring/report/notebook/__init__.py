"""How results look in a notebook, one function a kind: the same figures as on their pages."""
