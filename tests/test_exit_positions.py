"""Exits of models that predict at positions, and objectives over them."""

from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import motet
from motet import Categorical, InputError
from motet.layers import ExitPositions
from motet.objectives import DepthELBO, DepthMarginalLikelihood, ExitObjective, ExitSum, ModularExits
from motet.types import Batch, Progress


class Segmenter(nn.Module):
    """Convolutions, of which the second halves the image, and logits that are enlarged again."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.ReLU())
        self.shrink = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1, stride=2), nn.ReLU())
        self.deep = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.ReLU())
        self.out = nn.Conv2d(6, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.out(self.deep(self.shrink(self.first(x))))
        return F.interpolate(h, size=x.shape[-2:], mode="bilinear")


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.out = nn.Linear(3, 8), nn.Linear(8, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.first(x))
        return self.out(torch.relu(self.second(h + h.mean(dim=1, keepdim=True))))


class Pooled(nn.Module):
    """Features at every second token, from which the model predicts at all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.out = nn.Linear(3, 8), nn.Linear(8, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.second(torch.relu(self.first(x))[:, ::2].relu())
        return self.out(h.repeat_interleave(2, dim=1))


IMAGES = motet.Categorical(class_axis=1)
TOKENS = motet.Categorical(class_axis=-1)
OBJECTIVES = [
    DepthELBO(alpha=2.0), DepthMarginalLikelihood(), ExitSum(alpha=0.5), ExitSum(beta=0.3), ModularExits(lam=0.4),
]  # fmt: skip


def tagger(method: motet.Method, **settings: object) -> motet.Ensemble:
    example = torch.zeros(1, 5, 3, dtype=torch.float64)
    return method.wrap(Tagger().double(), example=example, **{"likelihood": TOKENS, **settings})


def token_data(rows: int = 6) -> tuple[Tensor, Tensor]:
    x, y = torch.randn(rows, 5, 3, dtype=torch.float64), torch.randint(4, (rows, 5))
    return x, y.masked_fill(torch.rand(y.shape) < 0.3, -100)


@pytest.mark.parametrize("method", [motet.EarlyExit(exits=("first", "shrink")), motet.DUN(exits=("first", "shrink"))])
def test_exits_predict_at_every_pixel(method: motet.Method) -> None:
    ensemble = method.wrap(Segmenter(), example=torch.zeros(1, 2, 8, 6), likelihood=IMAGES).eval()
    x = torch.randn(4, 2, 8, 6)
    exits = ensemble.forward_exits(x)
    assert exits.shape == (4, 1, 3, 8, 6, 3)
    network = ensemble.network
    assert network.positions.scales == ((Fraction(1), Fraction(1)), (Fraction(2), Fraction(2)))
    own = network.network(x).movedim(1, -1)
    torch.testing.assert_close(exits[:, 0, -1], own)
    features = network.network.shrink(network.network.first(x))
    head = network.heads[1](features)
    head = network.network.out(head) if network.output else head.movedim(-1, 1)
    want = F.interpolate(head, size=(8, 6), mode="bilinear").movedim(1, -1)
    torch.testing.assert_close(exits[:, 0, 1], want)


def test_the_average_is_that_of_the_depths_at_each_pixel() -> None:
    ensemble = motet.DUN(exits=("first", "shrink")).wrap(
        Segmenter(), example=torch.zeros(1, 2, 8, 6), likelihood=IMAGES
    )
    ensemble.network.weights.logits_MD.data = torch.tensor([[0.1, 0.7, -0.4]])
    ensemble.eval()
    x = torch.randn(4, 2, 8, 6)
    weights = ensemble.network.log_weights().exp()[0]
    probs = (ensemble.forward_exits(x).softmax(dim=-1) * weights.view(3, 1, 1, 1)).sum(dim=2)
    torch.testing.assert_close(ensemble.predict(x).member_probs, probs)
    torch.testing.assert_close(ensemble.member(0)(x).movedim(1, -1).softmax(dim=-1), probs[:, 0])
    steps = list(ensemble.anytime(x))
    assert len(steps) == 3
    torch.testing.assert_close(steps[-1].member_probs, probs)


def test_images_of_odd_sizes() -> None:
    ensemble = motet.EarlyExit(exits=("shrink",)).wrap(Segmenter(), example=torch.zeros(1, 2, 8, 6), likelihood=IMAGES)
    x, y = torch.randn(3, 2, 7, 9), torch.randint(3, (3, 7, 9))
    assert ensemble.predict(x).probs.shape == (3, 7, 9, 3)
    assert ensemble.loss(x, y).isfinite()
    with pytest.raises(InputError, match="multiples of the network's strides"):
        list(ensemble.anytime(x))


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_losses_over_exits_are_those_of_the_scored_positions_as_rows(objective: ExitObjective) -> None:
    ensemble = tagger(motet.DUN(exits=("first",)), objective=objective).train()
    x, y = token_data()
    exits = ensemble.forward_exits(x)
    kept = y != -100
    rows = exits.movedim((1, 2), (-3, -2))[kept]
    want = objective(
        rows, y[kept].unsqueeze(1), Categorical(), log_weights_MD=ensemble.network.weights().double(),
        progress=Progress(epoch=1.0, epochs=2, examples=100 * 5),
    )  # fmt: skip
    torch.testing.assert_close(ensemble.loss(x, y, progress=Progress(epoch=1.0, epochs=2, examples=100)), want)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_members_with_other_examples_have_the_mean_over_their_own_positions(objective: ExitObjective) -> None:
    ensemble = tagger(motet.MIMMO(members=2, exits=("first",)), objective=objective).train()
    x, y = token_data()
    x_BM, y_BM = torch.stack([x, x.flip(0)], dim=1), torch.stack([y, y.flip(0)], dim=1)
    batch = Batch(inputs=x_BM, targets_BM=y_BM, distinct=True)
    outputs = ensemble._run_batch(batch, ensemble.readout.outputs).detach().requires_grad_()
    progress = Progress(epoch=6.0, epochs=8, examples=20)
    loss = ensemble.readout.loss(outputs, batch, progress=progress, training=False)
    log_weights = ensemble.network.weights().double()
    want = torch.zeros((), dtype=torch.float64)
    for m in range(2):
        kept = y_BM[:, m] != -100
        want = want + objective(
            outputs[:, m].movedim(1, -2)[kept].unsqueeze(1), y_BM[:, m][kept].unsqueeze(1), Categorical(),
            log_weights_MD=log_weights[m : m + 1], progress=Progress(epoch=6.0, epochs=8, examples=100),
        )  # fmt: skip
    torch.testing.assert_close(loss, want)
    (gradient,) = torch.autograd.grad(loss, outputs)
    assert not bool(gradient.movedim(2, -2)[y_BM == -100].any())


def test_exits_have_no_loss_without_labels() -> None:
    ensemble = tagger(motet.MIMMO(members=2, exits=("first",)))
    x, y = token_data()
    before = ensemble.network.weights.logits_MD.clone()
    loss = ensemble.loss(x, torch.full_like(y, -100))
    loss.backward()
    assert loss == 0
    assert torch.equal(before, ensemble.network.weights.logits_MD)


def test_outputs_that_do_not_count_may_be_infinite() -> None:
    x, y = token_data()
    for method in (motet.MIMO(members=2), motet.MIMMO(members=2, exits=("first",))):
        ensemble = tagger(method)
        y_BM = torch.stack([y, y.flip(0)], dim=1)
        batch = Batch(inputs=torch.stack([x, x.flip(0)], dim=1), targets_BM=y_BM, distinct=True)
        outputs = ensemble._run_batch(batch, ensemble.readout.outputs).detach()
        ignored = y_BM == -100
        ignored = ignored.unsqueeze(2).expand(outputs.shape[:-1]) if outputs.ndim == 5 else ignored
        outputs[ignored] = torch.inf
        outputs.requires_grad_()
        loss = ensemble.readout.loss(outputs, batch, progress=None, training=False)
        (gradient,) = torch.autograd.grad(loss, outputs)
        assert loss.isfinite()
        assert bool(gradient.isfinite().all())


def test_the_modular_loss_where_all_members_see_the_same_examples() -> None:
    ensemble = tagger(motet.MIMO(members=2, input_repetition=1.0), objective=motet.Modular(lam=0.5))
    x, y = token_data()
    batch = ensemble.grouping.deal(x, y, members=2)
    outputs = ensemble.forward_batch(batch)
    y = batch.targets_BM[:, 0]
    joint = F.cross_entropy(outputs.mean(dim=1).movedim(-1, 1), y)
    own = sum(F.cross_entropy(outputs[:, m].movedim(-1, 1), y) for m in range(2)) / 2
    loss = ensemble.readout.loss(outputs, batch, progress=None, training=True)
    torch.testing.assert_close(loss, 0.5 * joint + 0.5 * own)


def test_an_objective_of_ones_own_must_weight_rows_that_do_not_count_for_all() -> None:
    class Own(ExitObjective):
        def __call__(self, exits_BMDC, targets_BM, likelihood, *, log_weights_MD, progress=None):  # type: ignore[no-untyped-def, override]
            return exits_BMDC.square().mean()

    ensemble = tagger(motet.MIMMO(members=2, exits=("first",)), objective=Own())
    x, y = token_data()
    assert ensemble.loss(x, y.clamp_min(0)).isfinite()
    y_BM = torch.stack([y, y.flip(0)], dim=1)
    batch = Batch(inputs=torch.stack([x, x.flip(0)], dim=1), targets_BM=y_BM, distinct=True)
    outputs = ensemble._run_batch(batch, ensemble.readout.outputs)
    with pytest.raises(InputError, match="weights rows"):
        ensemble.readout.loss(outputs, batch, progress=None, training=True)


def test_tokens_are_not_interpolated() -> None:
    with pytest.raises(InputError, match=r"features at the positions of the model's output, \(6,\)"):
        motet.DUN(exits=("second",)).wrap(Pooled(), example=torch.zeros(1, 6, 3), likelihood=TOKENS)


def test_without_exits_the_output_is_the_models() -> None:
    x, y = token_data()
    for method in (motet.EarlyExit(exits=()), motet.DUN(exits=()), motet.MIMMO(members=1, exits=())):
        ensemble = tagger(method)
        assert ensemble.predict(x).probs.shape == (6, 5, 4)
        assert ensemble.loss(x, y).isfinite()


def test_positions_of_exits_are_a_record() -> None:
    positions = ExitPositions(class_axis=1)
    output = torch.randn(2, 3, 4, 5)
    assert torch.equal(positions.as_model(positions.own_output(output)), output)
