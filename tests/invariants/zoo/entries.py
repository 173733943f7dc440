"""The entries of the zoo, by family."""

from .modules import code, huggingface, layers, losses, norms, outputs, recomputing, sequences, states, weights

FAMILIES = (layers, norms, weights, recomputing, outputs, sequences, states, losses, code, huggingface)
ENTRIES = [entry for family in FAMILIES for entry in family.ENTRIES]
