"""What an extension must hold, as checks that anyone can run on their own."""

from weightstring.testing.engines import check_engine
from weightstring.testing.problems import check_problem
from weightstring.testing.rules import check_certificate_rule, check_symmetry_rule, check_verification_rule
from weightstring.testing.sections import check_section
from weightstring.testing.stores import check_store
from weightstring.testing.strategies import check_strategy
from weightstring.testing.trackers import check_tracker

__all__ = [
    "check_certificate_rule",
    "check_engine",
    "check_problem",
    "check_section",
    "check_store",
    "check_strategy",
    "check_symmetry_rule",
    "check_tracker",
    "check_verification_rule",
]
