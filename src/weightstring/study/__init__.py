"""Questions that take many searches: the barrier itself, strategies compared, atlases, merging, sweeps."""
