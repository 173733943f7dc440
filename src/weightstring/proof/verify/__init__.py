"""A second proof: certificates checked by other arithmetic, in NumPy, one interval after another.

It shares no code with :mod:`weightstring.proof.enclose` but the certificate's own form and digests, nor with the
search. ``curves`` is its arithmetic and ``smooth`` Taylor's theorem on it; ``operations`` is the table of what torch's
operators do to curves, which ``layers``, ``activations``, ``piecewise``, ``elementary``, ``arithmetic``,
``attention``, ``normalising``, ``recurrent``, ``pooling``, ``shapes``, ``losses`` and ``distances`` fill. ``marks`` and
``apart`` see that examples are left apart, ``tracing`` traces a module, ``running`` runs it, ``replay`` bounds a mean
and ``checking`` is ``verify``. Where its bound of an interval is above the certificate's, it halves the interval until
it is not.
"""

from weightstring.proof.verify.checking import Verification, verify

__all__ = ["Verification", "verify"]
