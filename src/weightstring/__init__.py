"""weightstring: find, measure and show low-loss paths between trained PyTorch models.

What it offers, and where each name lives, is in ``__init__.pyi``. Names are imported when first used: importing the
package must not cost the seconds that PyTorch takes.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
