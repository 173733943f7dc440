"""Certificates: a proof that the loss stays under a bound on the whole continuous string, not on samples of it.

``enclosure`` is the arithmetic; ``linear``, ``piecewise``, ``smooth`` and ``pooling`` what layers do to it, ``losses``
what is made of the outputs; ``program`` finds a module's operations and ``rules`` has one rule for each; ``enclosing``
runs them; ``bisection`` decides how fine the string must be cut, ``refining`` for which examples; ``proving`` puts it
together; ``proof.certificate`` is the file that remains.
"""
