"""A second proof: certificates checked by other arithmetic, in NumPy, one interval after another.

It shares no code with :mod:`weightstring.proof.enclose` but the certificate's own form and digests, nor with the
search. ``lines`` is its arithmetic, ``operations``, ``activations``, ``shapes`` and ``arithmetic`` what operations do
to it, ``losses`` what is made of outputs, ``replay`` traces a module by itself and runs it, and ``checking`` is
``verify``. It is plainer than what it checks, and so looser: where its bound of an interval is above the certificate's,
it halves the interval until it is not.
"""

from weightstring.proof.verify.checking import Verification, verify

__all__ = ["Verification", "verify"]
