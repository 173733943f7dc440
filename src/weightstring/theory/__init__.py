"""Section III: what can be known exactly, as code, and the oracle that searches are held against.

``curve``: continuous paths with an analytic bound. ``deep_linear`` and ``deep_linear_barrier`` (III.A), ``quartic``
(III.B) and ``relu`` (III.C): the paper's models. ``disconnection``: proofs that no path stays under a level.
``minimax``: Γ itself in few dimensions, by ``intervals``. ``one_hidden`` takes a net with one hidden layer apart;
``convex`` and ``reading`` read from operations which losses are convex or squared.
"""
