"""One run: two checkpoints in, a string and its verdict out, resumable from its directory."""
