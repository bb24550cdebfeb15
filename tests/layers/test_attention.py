"""`Attention` against the module of torch that it follows, for all arguments."""

import itertools

import pytest
import torch
from torch import nn

from motet.layers import Attention

KINDS = [
    {"kdim": kdim, "vdim": vdim, "add_bias_kv": more, "add_zero_attn": zero, "bias": bias}
    for (kdim, vdim), more, zero, bias in itertools.product(
        [(None, None), (3, 5)], [False, True], [False, True], [True, False]
    )
]


def pair(**settings: object) -> tuple[nn.MultiheadAttention, Attention]:
    attention = nn.MultiheadAttention(8, 2, batch_first=True, **settings).double()
    for parameter in attention.parameters():
        nn.init.normal_(parameter)
    return attention, Attention(attention)


@pytest.mark.filterwarnings("ignore:Support for mismatched")
@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_outputs_and_weights_equal_torchs(settings: dict[str, object]) -> None:
    torchs, own = pair(**settings)
    query, key, value = (torch.randn(3, steps, width).double() for steps, width in (
        (4, 8), (6, settings["kdim"] or 8), (6, settings["vdim"] or 8)
    ))  # fmt: skip
    padding = torch.zeros(3, 6, dtype=torch.bool)
    padding[0, 4:] = padding[1, 5:] = True
    of_steps, of_heads = torch.rand(4, 6) < 0.3, torch.rand(6, 4, 6) < 0.3
    of_steps[:, 0] = of_heads[:, :, 0] = False
    for pad in (None, padding, -3 * padding.double()):
        for mask in (None, of_steps, of_heads, torch.randn(4, 6).double()):
            for need_weights, average in ((True, True), (True, False), (False, True)):
                how = {"key_padding_mask": pad, "attn_mask": mask, "need_weights": need_weights}
                how["average_attn_weights"] = average
                for found, wanted in zip(own(query, key, value, **how), torchs(query, key, value, **how), strict=True):
                    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)
    if settings["kdim"] is None:
        causal = nn.Transformer.generate_square_subsequent_mask(6, dtype=torch.float64)
        for need_weights, pad in itertools.product((True, False), (None, padding)):
            how = {"attn_mask": causal, "is_causal": True, "need_weights": need_weights, "key_padding_mask": pad}
            torch.testing.assert_close(own(key, key, key, **how)[0], torchs(key, key, key, **how)[0])
    for found, wanted in zip(own(query[0], key[0], value[0]), torchs(query[0], key[0], value[0]), strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_a_member_is_torchs_module_with_the_same_parameters(settings: dict[str, object]) -> None:
    torchs, own = pair(**settings)
    torchs.requires_grad_(False)
    again = Attention(torchs.eval()).member(0)
    assert type(again) is nn.MultiheadAttention
    assert not again.training
    assert not any(value.requires_grad for value in again.parameters())
    assert own.member(0).state_dict().keys() == torchs.state_dict().keys()
    for name, value in torchs.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)


def test_dropout_drops_weights_in_training_only() -> None:
    torchs, own = pair(dropout=0.5)
    x = torch.randn(2, 5, 8).double()
    torch.testing.assert_close(own.eval()(x, x, x)[0], torchs.eval()(x, x, x)[0])
    own.train()
    assert not torch.equal(own(x, x, x)[0], own(x, x, x)[0])
    shown = own(x, x, x)[1]
    assert shown is not None
    torch.manual_seed(0)
    found = own(x, x, x, need_weights=True)[0]
    torch.manual_seed(0)
    torch.testing.assert_close(found, torchs.train()(x, x, x)[0])
