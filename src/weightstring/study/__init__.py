"""Questions that take many searches: the barrier itself, strategies compared, components, merging, sweeps."""
