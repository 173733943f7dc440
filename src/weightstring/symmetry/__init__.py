"""Section IV: permutations and rescalings of units, which change θ but not the function."""
