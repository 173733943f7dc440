"""One loss by several processes, each of which holds a part of the data."""
