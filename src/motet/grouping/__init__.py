"""Which examples of a training batch each member sees."""

from motet.grouping.base import Grouping, augment_dealt, deal_augmented
from motet.grouping.mixed import Mixed
from motet.grouping.permuted import Permuted
from motet.grouping.shared import Shared
from motet.grouping.split import Split

__all__ = ["Grouping", "Mixed", "Permuted", "Shared", "Split", "augment_dealt", "deal_augmented"]
