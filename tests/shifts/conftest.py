"""The images that most tests of shifts take."""

import pytest
from slow_corruptions import photographs
from torch import Tensor


@pytest.fixture(name="images", scope="module")
def _images() -> Tensor:
    return photographs(3, 3, 32, 32)
