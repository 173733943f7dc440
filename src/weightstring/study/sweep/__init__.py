"""How nonconvex is it? Many pairs of networks over thresholds and widths (Section V)."""
