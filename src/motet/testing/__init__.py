"""Check a method outside motet against the laws that motet's own methods keep, like scikit-learn's `check_estimator`.

`check_method` checks all laws. `LAWS` and `run_law` are for test suites that check one law at a time.
"""

from motet.testing._check import check_method, run_law
from motet.testing._law import LAWS, Law, Subject
from motet.testing.models import MODELS, Case

__all__ = ["LAWS", "MODELS", "Case", "Law", "Subject", "check_method", "run_law"]
