"""Random predictions, and a way past the shape checks that only the tests have."""

import pytest
import torch
from torch import Tensor


@pytest.fixture(name="logits_BMC")
def _logits_BMC() -> Tensor:  # noqa: N802  (the axes)
    return 3 * torch.randn(40, 4, 5)


@pytest.fixture(name="y_B")
def _y_B() -> Tensor:  # noqa: N802  (the axes)
    return torch.randint(5, (40,))
