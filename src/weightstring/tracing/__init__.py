"""A module as the course of operations that ``torch.export`` finds: one traced form for symmetries, proofs and theory.

``steps`` is that form, ``readings`` what a module reads off its data, ``faithful`` whether the form is what the module
computes, ``program`` a mean over examples in it.
:mod:`weightstring.proof.verify` traces by itself, so that a certificate is checked by a second implementation.
"""

from weightstring.tracing.program import Program
from weightstring.tracing.steps import Ref, Step, Trace

__all__ = ["Program", "Ref", "Step", "Trace"]
