"""BatchEnsemble's recurrent layers: shared slow weights, and rank-one fast weights for each member."""

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from motet.errors import InputError
from motet.layers.base import MemberLayer
from motet.layers.layout import ActiveMember, Layout
from motet.layers.ordinary import WithOtherAttributes

Recurrent = nn.LSTM | nn.GRU | nn.RNN
RECURRENT = (nn.LSTM, nn.GRU, nn.RNN)
States = Tensor | tuple[Tensor, Tensor]


@final
class FastRecurrent(MemberLayer, WithOtherAttributes):
    """An LSTM, GRU or RNN whose weights each member scales by its own vectors.

    Every weight matrix (``weight_ih``, ``weight_hh`` and, with projections, ``weight_hr``, of every layer and
    direction) has its own fast weights: member m's is ``W * sum_r gamma_mr alpha_mr^T``, as in
    `motet.layers.FastWeights`. The members' weights are computed, and each member's rows pass torch's fused kernel with
    its own, because the inputs and outputs of a single product inside the kernel cannot be scaled.

    Args:
        layer: the layer to replace. It is not changed. Its weights themselves become the slow weights.
        fast_in: alpha of every weight matrix by its name, ``(M, r, in)``.
        fast_out: gamma of every weight matrix, ``(M, r, out)``.
        biases: the members' values of every bias by its name, ``(M, out)``; empty if the layer has none.
        layout, active: see `motet.layers.FastWeights`.
        lr_scale: the learning rate of fast weights and biases as a multiple of the optimiser's.
    """

    def __init__(
        self,
        layer: Recurrent,
        fast_in: Mapping[str, Tensor],
        fast_out: Mapping[str, Tensor],
        biases: Mapping[str, Tensor],
        *,
        layout: Layout | None = None,
        active: ActiveMember | None = None,
        lr_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.members, self.rank, _ = next(iter(fast_in.values())).shape
        self.layout, self.active, self.lr_scale = layout, active, lr_scale
        self.slow = recurrent_like(layer, bias=False)
        self.weights, self.biases = tuple(fast_in), tuple(biases)
        for name in self.weights:
            weight = getattr(layer, name)
            setattr(self.slow, name, weight)
            for prefix, fast in (("fast_in", fast_in), ("fast_out", fast_out)):
                own = nn.Parameter(fast[name].to(weight), requires_grad=weight.requires_grad)
                self.register_parameter(f"{prefix}_{name}", own)
        for name in self.biases:
            bias = getattr(layer, name)
            own = nn.Parameter(biases[name].to(bias), requires_grad=bias.requires_grad)
            self.register_parameter(f"member_{name}", own)

    @property
    def undecayed_parameters(self) -> frozenset[str]:
        """The fast weights."""
        return frozenset(f"{prefix}_{name}" for prefix in ("fast_in", "fast_out") for name in self.weights)

    @property
    def member_parameters(self) -> frozenset[str]:
        """The fast weights and the biases."""
        return self.undecayed_parameters | {f"member_{name}" for name in self.biases}

    @property
    def shared_parameters(self) -> frozenset[str]:
        """The slow weights."""
        return frozenset(f"slow.{name}" for name in self.weights)

    @property
    def parameter_lr_scales(self) -> Mapping[str, float]:
        """The scales of the fast weights and the biases."""
        return dict.fromkeys(sorted(self.member_parameters), self.lr_scale)

    def forward(self, x: Tensor | PackedSequence, hx: States | None = None) -> tuple[Tensor, States]:
        """Sequences of ``(M B)`` rows in, or of ``B`` if the layout says so; outputs and states of ``(M B)`` rows out.

        Args:
            x: ``(rows, T, in)``, or ``(T, rows, in)`` if the layer does not have the batch first.
            hx: the initial state, or the two of an LSTM, ``(layers, rows, out)``; zeros if None.

        Raises:
            InputError: for packed sequences, and for a sequence without a batch axis.
        """
        if isinstance(x, PackedSequence) or x.ndim != 3:
            raise InputError(
                "recurrent layers with a member axis need sequences with a batch axis",
                got="a PackedSequence, whose rows are interleaved" if isinstance(x, PackedSequence) else
                f"a sequence of shape {tuple(x.shape)}",
                fix="Pass padded sequences, (batch, steps, features)",
            )  # fmt: skip
        if self.active is not None and self.active.member is not None:
            alone, *state = self._run(x, hx, self.parameters_of(self.active.member))
            return alone, (state[0] if len(state) == 1 else (state[0], state[1]))
        axis = 0 if self.slow.batch_first else 1
        shared = self.layout is not None and not self.layout.distinct
        rows = (x,) * self.members if shared else x.chunk(self.members, dim=axis)
        states = self._chunked(hx, alike=shared)
        every = [
            self._run(part, state, self.parameters_of(member))
            for member, (part, state) in enumerate(zip(rows, states, strict=True))
        ]
        out = torch.cat([each for each, *_ in every], dim=axis)
        last = [torch.cat([each[index] for each in every], dim=1) for index in range(1, len(every[0]))]
        return out, (last[0] if len(last) == 1 else (last[0], last[1]))

    def parameters_of(self, member: int) -> dict[str, Tensor]:
        """Return the member's weights and biases, by the names that they have in the ordinary layer."""
        own: dict[str, Tensor] = {}
        for name in self.weights:
            alpha, gamma = getattr(self, f"fast_in_{name}")[member], getattr(self, f"fast_out_{name}")[member]
            own[name] = getattr(self.slow, name) * torch.einsum("ro,ri->oi", gamma, alpha)
        return own | {name: getattr(self, f"member_{name}")[member] for name in self.biases}

    def _chunked(self, hx: States | None, *, alike: bool) -> Sequence[States | None]:
        if hx is None:
            return (None,) * self.members
        if isinstance(hx, Tensor):
            return (hx,) * self.members if alike else hx.chunk(self.members, dim=1)
        hidden, cell = hx
        if alike:
            return (hx,) * self.members
        return list(zip(hidden.chunk(self.members, dim=1), cell.chunk(self.members, dim=1), strict=True))

    def _run(self, x: Tensor, hx: States | None, own: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        layer = self.slow
        # In the order in which torch's kernels read them.
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
        ends = [f"_l{index}{end}" for index in range(layer.num_layers) for end in ("", "_reverse")]
        flat = [own[kind + end] for end in ends for kind in kinds if kind + end in own]
        hx = self._zeros(x) if hx is None else hx
        how = (
            bool(self.biases), layer.num_layers, float(layer.dropout), self.training, layer.bidirectional,
            layer.batch_first,
        )  # fmt: skip
        if isinstance(layer, nn.LSTM):
            assert isinstance(hx, tuple)
            return torch.lstm(x, hx, flat, *how)
        assert isinstance(hx, Tensor)
        if isinstance(layer, nn.GRU):
            return torch.gru(x, hx, flat, *how)
        return (torch.rnn_tanh if layer.nonlinearity == "tanh" else torch.rnn_relu)(x, hx, flat, *how)

    def _zeros(self, x: Tensor) -> States:
        layer = self.slow
        many, rows = layer.num_layers * (2 if layer.bidirectional else 1), x.shape[0 if layer.batch_first else 1]
        hidden = x.new_zeros(many, rows, layer.proj_size or layer.hidden_size)
        return (hidden, x.new_zeros(many, rows, layer.hidden_size)) if isinstance(layer, nn.LSTM) else hidden

    @torch.no_grad()
    def member(self, member: int) -> Recurrent:
        """Return the ordinary layer that computes the member's output."""
        layer = recurrent_like(self.slow, bias=bool(self.biases))
        for name, value in self.parameters_of(member).items():
            getattr(layer, name).copy_(value)
        return layer

    @torch.no_grad()
    def subset(self, indices: Sequence[int]) -> "FastRecurrent":
        """Return a layer with the same slow weights, and the chosen members' fast weights and biases."""
        chosen = list(indices)
        layer = recurrent_like(self.slow, bias=bool(self.biases))
        for name in self.weights:
            setattr(layer, name, getattr(self.slow, name))
        fast_in, fast_out = (
            {name: getattr(self, f"{prefix}_{name}")[chosen] for name in self.weights}
            for prefix in ("fast_in", "fast_out")
        )
        biases = {name: getattr(self, f"member_{name}")[chosen] for name in self.biases}
        own = FastRecurrent(
            layer, fast_in, fast_out, biases, layout=self.layout, active=self.active, lr_scale=self.lr_scale
        )
        for name in self.member_parameters:
            getattr(own, name).requires_grad_(getattr(self, name).requires_grad)
        return own.train(self.training)

    def flatten_parameters(self) -> None:
        """Nothing: the members' weights are computed in each pass."""

    @property
    def bias(self) -> bool:
        """Whether the layer has biases."""
        return bool(self.biases)

    @property
    def _other(self) -> nn.Module | None:
        return self._modules.get("slow")

    def extra_repr(self) -> str:
        """Shown by ``print(module)``."""
        return f"members={self.members}, rank={self.rank}"


def recurrent_like(layer: Recurrent, *, bias: bool) -> Recurrent:
    """Return a new layer with the kind, settings, mode, device and dtype of another, with or without biases."""
    settings: dict[str, Any] = {"nonlinearity": layer.nonlinearity} if isinstance(layer, nn.RNN) else {}
    settings |= {"proj_size": layer.proj_size} if isinstance(layer, nn.LSTM) else {}
    kind: type[Recurrent] = next(kind for kind in RECURRENT if isinstance(layer, kind))
    return kind(
        layer.input_size,
        layer.hidden_size,
        num_layers=layer.num_layers,
        bias=bias,
        batch_first=layer.batch_first,
        dropout=layer.dropout,
        bidirectional=layer.bidirectional,
        device=layer.weight_ih_l0.device,
        dtype=layer.weight_ih_l0.dtype,
        **settings,
    ).train(layer.training)
