import copy

import pytest
import torch
from torch import nn

from motet.layers import Layout, MultiInput


def test_rows_are_shared_but_within_the_context() -> None:
    layout = Layout()
    assert not layout.distinct
    with layout.distinct_rows():
        assert layout.distinct
        with layout.distinct_rows():
            assert layout.distinct
        assert layout.distinct
    assert not layout.distinct


def test_an_error_within_ends_the_context() -> None:
    layout = Layout()
    with pytest.raises(KeyError), layout.distinct_rows():
        raise KeyError
    assert not layout.distinct


def test_a_copied_network_has_a_layout_of_its_own() -> None:
    layout = Layout()
    network = nn.ModuleList(MultiInput(nn.Linear(2, 2), torch.zeros(2, 2, 2), layout=layout) for _ in range(2))
    twin = copy.deepcopy(network)
    assert twin[0].layout is twin[1].layout
    assert twin[0].layout is not layout
