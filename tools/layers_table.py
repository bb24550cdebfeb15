"""The table of docs/layers.md: wraps a small model around every kind of layer and looks."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from motet.errors import InputError
from motet.layers import MemberLayer, SampleDropout, TemplateLayer
from motet.method import Method
from motet.methods import MIMO, BatchEnsemble, DeepEnsemble, MCDropout, MixtureEnsembles, Multihead

K = 6  # classes, and features everywhere
SEQUENCE, IDS = (4, K), (4,)
# Each kind of layer, and the shape of one row of its input.
KINDS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "Linear": (lambda: nn.Linear(K, K), (K,)),
    "Conv1d": (lambda: nn.Conv1d(K, K, 3), (K, 4)),
    "Conv2d": (lambda: nn.Conv2d(K, K, 3), (K, 4, 4)),
    "Conv3d": (lambda: nn.Conv3d(K, K, 3), (K, 4, 4, 4)),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(K, K, 3), (K, 4)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(K, K, 3), (K, 4, 4)),
    "ConvTranspose3d": (lambda: nn.ConvTranspose3d(K, K, 3), (K, 4, 4, 4)),
    "LSTM": (lambda: nn.LSTM(K, K, batch_first=True), SEQUENCE),
    "GRU": (lambda: nn.GRU(K, K, batch_first=True), SEQUENCE),
    "RNN": (lambda: nn.RNN(K, K, batch_first=True), SEQUENCE),
    "MultiheadAttention": (lambda: nn.MultiheadAttention(K, 2, batch_first=True), SEQUENCE),
    "MultiheadAttention, batch_first=False": (lambda: nn.MultiheadAttention(K, 2), SEQUENCE),
    "Bilinear": (lambda: nn.Bilinear(K, K, K), (K,)),
    "Embedding": (lambda: nn.Embedding(9, K), IDS),
    "EmbeddingBag": (lambda: nn.EmbeddingBag(9, K), IDS),
}
# What a column shows: its title, the method, and the layer's place in the model.
COLUMNS: tuple[tuple[str, Method, str], ...] = (
    ("Deep ensemble", DeepEnsemble(members=2), "inside"),
    ("BatchEnsemble", BatchEnsemble(members=2), "inside"),
    ("MixtureEnsembles", MixtureEnsembles(members=2, sharing="blob"), "inside"),
    ("MC dropout", MCDropout(members=2), "inside"),
    ("MIMO, as the input layer", MIMO(members=2), "first"),
    ("Multihead, as the output layer", Multihead(members=2), "last"),
)
_RECURRENT = "a bank gives a layer one weight, and a recurrent layer has several in one kernel of torch"
_EMBEDDING = (
    "a factor for every feature of an embedding is what the fast weights of the next layer already are, and weights "
    "for every entry would cost each member as many numbers as there are entries"
)
_VOCABULARY = "its matrix has a shape of its own, and may take most of the budget"
_IDS = "its input is indices, of which nothing can be dropped; the next layer drops entries of the features"
_AXIS = "its rows are on axis 1, where the projections would not find the members'; pass `batch_first=True`"
_BILINEAR = "its weight has two input axes, for which the paper defines no fast weights"
# Why a layer is shared, by kind and title.
REASONS: dict[tuple[str, str], str] = {
    **{(kind, "MixtureEnsembles"): _RECURRENT for kind in ("LSTM", "GRU", "RNN")},
    **{("MultiheadAttention, batch_first=False", title): _AXIS for title, *_ in COLUMNS[1:4]},
    **{(kind, "BatchEnsemble"): _EMBEDDING for kind in ("Embedding", "EmbeddingBag")},
    **{(kind, "MixtureEnsembles"): _VOCABULARY for kind in ("Embedding", "EmbeddingBag")},
    **{(kind, "MC dropout"): _IDS for kind in ("Embedding", "EmbeddingBag")},
    ("Bilinear", "BatchEnsemble"): _BILINEAR,
    ("Bilinear", "MixtureEnsembles"): "its weight has three axes of features and a shape of its own",
    ("Bilinear", "MC dropout"): "dropout goes before the first input of a layer, and a bilinear layer reads two",
}


class Model(nn.Module):
    """A layer in one of three places: as the input layer, as the output layer, or between Linear layers."""

    def __init__(self, kind: str, place: str) -> None:
        super().__init__()
        make, self.shape = KINDS[kind]
        self.place, self.probed = place, make()
        self.inputs = {nn.MultiheadAttention: 3, nn.Bilinear: 2}.get(type(self.probed), 1)
        self.steps_first = not getattr(self.probed, "batch_first", True)
        self.before_is_none = self.reads_ids or place == "first"
        self.before = nn.Identity() if self.before_is_none else nn.Linear(3, torch.Size(self.shape).numel())
        self.after = nn.Identity() if place == "last" else nn.Linear(K, K)

    @property
    def reads_ids(self) -> bool:
        return self.shape == IDS

    def example(self) -> Tensor:
        if self.reads_ids:
            return torch.randint(9, (2, *IDS))
        return torch.randn(2, *(self.shape if self.place == "first" else (3,)))

    def forward(self, x: Tensor) -> Tensor:
        h = self.before(x) if self.before_is_none else self.before(x).unflatten(1, self.shape)
        turned = h.transpose(0, 1) if self.steps_first else h
        out: Any = self.probed(*(turned,) * self.inputs)
        out = out[0] if isinstance(out, tuple) else out
        out = out.transpose(0, 1) if self.steps_first else out
        if out.ndim > 2:
            out = out.mean(dim=1) if self.shape in (SEQUENCE, IDS) else out.flatten(2).mean(dim=2)
        return self.after(out)


def outcome(kind: str, method: Method, place: str) -> tuple[str, str]:
    """Return what a method does with the layer, and, if it refuses the model, why."""
    torch.manual_seed(0)
    model = Model(kind, place)
    try:
        ensemble = method.wrap(model, example=model.example()[:1])
    except InputError as error:
        return "refused", str(error).partition(", but got")[0]
    there = [(name, part) for name, part in ensemble.network.named_modules() if "probed" in name.split(".")]
    if any(isinstance(part, SampleDropout) for _, part in there):
        return "own masks", ""
    own = any(isinstance(part, TemplateLayer) or (isinstance(part, MemberLayer) and part.member_parameters)
              for _, part in there)  # fmt: skip
    whole = [part for name, part in there if name.endswith("probed")]
    apart = len({id(next(part.parameters())) for part in whole}) > 1
    return ("own weights" if own or apart else "shared"), ""


def layers_table() -> str:
    """The table, and the reasons below it."""
    titles = [title for title, *_ in COLUMNS]
    lines = [f"| layer | {' | '.join(titles)} |", "|---" * (len(titles) + 1) + "|"]
    notes: dict[str, int] = {}
    for kind in KINDS:
        cells = []
        for title, method, place in COLUMNS:
            found, why = outcome(kind, method, place)
            why = REASONS[kind, title] if found == "shared" else why
            number = f" ({notes.setdefault(why, len(notes) + 1)})" if why else ""
            cells.append(f"{found}{number}")
        lines.append(f"| `{kind}` | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(f"{number}. {why}" for why, number in notes.items())])
