"""What the ranks of these tests do: jobs, each a function that runs in every process."""

import os
import pickle
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from motet import Dataset, DeepEnsemble, Gaussian, Independent, Joint, Modular, ModularNetwork, Progress, Training, fit
from motet.distributed import Communication, Grid, split_members, start
from motet.ensemble import Ensemble
from motet.errors import RunInterrupted
from motet.evaluation import predict_split


class Answer(NamedTuple):
    """What a rank's job returned, or the name and the message of its error."""

    value: Any
    error: str
    message: str


def begin(pipe: Any, environment: dict[str, str], job: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """The whole life of a rank."""
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)
    try:
        answer = Answer(job(*arguments), "", "")
    except BaseException as error:
        answer = Answer(None, type(error).__name__, str(error))
    pipe.send_bytes(pickle.dumps(answer))  # plainly: torch would share tensors with a process that ends
    pipe.close()
    os._exit(0)


OBJECTIVES = {
    "independent": (Independent(), None),
    "mean": (Independent(reduction="mean"), None),
    "joint": (Joint(), None),
    "joint-sum": (Joint(reduction="sum"), None),
    "modular": (Modular(lam=0.9), None),
    "modular-sum": (Modular(lam=0.3, reduction="sum"), None),
    "lambda-0": (Modular(lam=0.0), None),
    "schedule": (Modular(lam=1.0, schedule="linear"), Progress(epoch=1.0, epochs=4)),
}


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()


def convolution() -> nn.Module:
    layers = nn.Conv1d(1, 2, 2), nn.BatchNorm1d(2), nn.ReLU(), nn.Flatten(), nn.Linear(6, 3)
    return nn.Sequential(nn.Unflatten(1, (1, 4)), *layers).double()


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(13, 4, generator=generator, dtype=torch.float64), torch.arange(13) % 3


def gradients(member_ranks: int | None = None) -> dict[str, tuple[float, dict[Any, Tensor], dict[Any, Tensor]]]:
    """By case: this rank's share of the loss, its members' gradients, their initial weights."""
    results = {}
    with start(member_ranks=member_ranks) as grid:
        for name, (objective, progress) in OBJECTIVES.items():
            for execution in ("stacked", "loop"):
                ensemble = _wrap(grid, objective=objective, execution=execution)
                results[f"{name}, {execution}"] = _gradients(ensemble, grid, progress)
        results["kept"] = _gradients(_wrap(grid, source=_kept()), grid, None)
        results["gaussian"] = _gradients(_wrap(grid, likelihood=Gaussian()), grid, None)
        if grid.data_ranks == 1:
            results["norm"] = _gradients(_wrap(grid, source=convolution), grid, None)
    return results


def _kept() -> nn.Module:
    torch.manual_seed(1)
    return model()


def _wrap(grid: Grid, *, source: Any = model, execution: Any = "auto", **settings: Any) -> Ensemble:
    torch.manual_seed(0)
    init = "keep" if isinstance(source, nn.Module) else None
    method = ModularNetwork(members=5, execution=execution)
    x, _ = batch()
    return method.wrap(source, example=x[:1], init=init, grid=grid, **settings)


def _gradients(ensemble: Ensemble, grid: Grid, progress: Progress | None) -> Any:
    (x, y), shard = batch(), ensemble.shard
    if isinstance(ensemble.likelihood, Gaussian):
        y = torch.stack([y, -y, y / 2], dim=1).double()
    rows = grid.rows(len(x))
    loss = ensemble.loss(x[rows], y[rows], progress=progress) * (rows.stop - rows.start) / len(x)
    loss.backward()  # type: ignore[no-untyped-call]
    grid.average_gradients(ensemble)
    held, first = (5, 0) if shard is None else (shard.held, shard.first)
    state = {name: parameter.grad for name, parameter in ensemble.named_parameters() if parameter.grad is not None}
    weights = {name: parameter.detach() for name, parameter in ensemble.named_parameters()}
    return (
        loss.item(),
        split_members(state, members=held, first=first),
        split_members(weights, members=held, first=first),
    )


def steps(count: int) -> list[float]:
    """The losses of so many steps of SGD, each the sum of the ranks' shares."""
    with start() as grid:
        ensemble, (x, y) = _wrap(grid), batch()
        optimizer = torch.optim.SGD(ensemble.parameters(), lr=1.0, momentum=0.9)
        losses = []
        for _ in range(count):
            loss = ensemble.loss(x, y)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
            losses.append(float(grid.members.sum(loss.detach().clone(), "test")))
    return losses


def dataset(rows: int = 70, *, shift: float = 0.0) -> Dataset:
    def split(count: int, seed: int) -> tuple[Tensor, Tensor]:
        labels = torch.arange(count) % 3
        centres = torch.tensor([[0.0, 2.0, 0.0, 1.0], [2.0, 0.0, 0.0, -1.0], [0.0, 0.0, 2.0, 0.0]])
        return centres[labels] + torch.randn(count, 4, generator=torch.Generator().manual_seed(seed)) + shift, labels

    return Dataset.from_tensors("blobs", train=split(rows, 1), validation=split(40, 2), test=split(20, 3))


TRAINING = Training(epochs=4, batch_size=16, learning_rate=0.1, warmup_epochs=0.5)


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Dropout(0.0), nn.Linear(12, 3))


def dropping() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.3), nn.Linear(12, 3))


def trained(
    folder: Path | None = None,
    *,
    stop_at: int = 0,
    kill_at: int = 0,
    source: Any = network,
    member_ranks: int | None = None,
    execution: Any = "auto",
    training: Training = TRAINING,
    lam: float = 0.9,
) -> Any:
    """Fit, perhaps until the last rank gets Ctrl-C or is killed in some step. The history, outputs, what was sent."""
    with start(member_ranks=member_ranks) as grid:
        torch.manual_seed(0)
        method = ModularNetwork(members=5, lam=lam, execution=execution)
        ensemble, seen = method.wrap(source, example=torch.zeros(2, 4), grid=grid), 0
        data = dataset()

        def count(module: nn.Module, _: object) -> None:
            nonlocal seen
            seen += module.training
            if grid.rank == grid.size - 1 and module.training and seen in (stop_at, kill_at):
                os.kill(os.getpid(), signal.SIGINT if seen == stop_at else signal.SIGKILL)

        if stop_at or kill_at:
            ensemble.network.register_forward_pre_hook(count)
        try:
            history = fit(ensemble, data, training, seed=3, folder=folder, progress=False)
        except RunInterrupted as stop:
            return str(stop)
        outputs = predict_split(ensemble, data, data.test).outputs_BMC
        sent = None if ensemble.shard is None else ensemble.shard.communication(ensemble)
    return [{key: value for key, value in row.items() if key != "seconds"} for row in history], outputs.numpy(), sent


def regression(folder: Path) -> tuple[float, Any]:
    """Train on standardised targets. The mean of the predictions, and the last row of the history."""
    with start() as grid:
        torch.manual_seed(0)
        ensemble, data = scaled(grid)
        history = fit(ensemble, data, TRAINING, seed=3, folder=folder, progress=False)
        return float(predict_split(ensemble, data, data.test).mean.mean()), history[-1]["validation_rmse"]


def scaled(grid: Grid | None) -> tuple[Ensemble, Dataset]:
    """An ensemble for standardised targets, and these."""
    torch.manual_seed(0)
    x = torch.randn(40, 4)
    split = (x, x[:, :1])
    data = Dataset.from_tensors("r", train=split, validation=split, test=split, target_mean=1000.0, target_std=10.0)
    method = DeepEnsemble(members=4)
    example = torch.zeros(2, 4)
    return method.wrap(lambda: nn.Linear(4, 1), example=example, likelihood=Gaussian(), grid=grid), data


def differing(what: str) -> None:
    """Ranks whose settings differ."""
    with start() as grid:
        odd, data = grid.rank == 1, dataset(shift=0.5 if what == "data" and os.environ["RANK"] == "1" else 0.0)
        members = 7 if what == "members" and odd else 6
        lam = 0.5 if what == "lambda" and odd else 0.9
        ensemble = ModularNetwork(members=members, lam=lam).wrap(network, example=torch.zeros(2, 4), grid=grid)
        fit(ensemble, data, TRAINING, seed=int(what == "seed" and odd), progress=False)


def refusing(what: str) -> None:
    """Whatever cannot be done on these ranks."""
    from motet import MIMO

    x = torch.zeros(2, 4)
    with start(data_ranks=3 if what == "layout" else None) as grid:
        if what == "method":
            MIMO(members=4).wrap(network, example=x, grid=grid)
        if what == "members":
            DeepEnsemble(members=grid.size - 1).wrap(network, example=x, grid=grid)
        if what == "objective":
            DeepEnsemble(members=4).wrap(network, example=x, grid=grid, objective=_other())


def _other() -> Any:
    from dataclasses import dataclass

    from motet.objectives import Objective

    @dataclass(frozen=True, kw_only=True)
    class Other(Objective):
        def __call__(self, *_: Any, **__: Any) -> Any:
            raise NotImplementedError

    return Other()


def sent(hidden: int, lam: float) -> Communication:
    """What 6 steps send."""
    with start() as grid:
        method = ModularNetwork(members=4, lam=lam)
        made = method.wrap(
            lambda: nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), nn.Linear(hidden, 3)),
            example=torch.zeros(2, 4),
            grid=grid,
        )
        fit(made, dataset(), Training(epochs=2, batch_size=20), progress=False)
        assert made.shard is not None
        return made.shard.communication(made)


def one_fails() -> None:
    """A rank stops with an error of its own."""
    with start() as grid:
        if grid.rank == 1:
            raise ValueError("no more")
        grid.everyone.barrier()


def silent() -> str:
    """The heart of rank 1 stops, and it sends nothing; rank 0 waits for it in an exchange."""
    from motet.distributed import failure_detector

    failure_detector._SILENT, failure_detector._BEAT = 1.0, 0.1
    with start() as grid:
        if grid.rank == 0:
            grid.everyone.barrier()
        assert grid.failure_detector is not None
        time.sleep(0.5)
        grid.failure_detector._over.set()
        time.sleep(4)
    return "asleep"


class Idle(nn.Module):
    """A model of which one layer is never run, and another's weights are frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.idle, self.frozen = nn.Linear(4, 3), nn.Linear(4, 2), nn.Linear(4, 4)
        self.frozen.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        rows: Tensor = self.head(self.frozen(x).tanh())
        return rows
