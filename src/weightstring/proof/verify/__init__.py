"""A second proof: certificates checked by other arithmetic, in NumPy, one interval after another.

It shares no code with :mod:`weightstring.proof.enclose` but the certificate's own form and digests, nor with the
search. ``curves`` is its arithmetic and ``smooth`` Taylor's theorem on it; ``operations`` is the table of what torch's
operators do to curves, which ``layers``, ``activations``, ``piecewise``, ``elementary``, ``arithmetic``,
``attention``, ``normalising``, ``recurrent``, ``pooling``, ``shapes``, ``losses`` and ``distances`` fill;
``zonotopes`` follows errors of deep networks of ReLU one by one. ``marks`` and ``apart`` see that examples are left
apart, ``tracing`` traces a module, ``running`` runs it, ``replay`` bounds a mean, ``halving`` halves an interval until
its bound is not above the certificate's, and ``checking`` is ``verify``.
"""

from weightstring.proof.verify.checking import Verification, verify

__all__ = ["Verification", "verify"]
