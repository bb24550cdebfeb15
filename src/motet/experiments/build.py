"""Build an ensemble with initial weights from an experiment and its data."""

import json
from typing import final

import torch
from torch import Tensor, nn

from motet._internal.loading import describe_error, is_raised_in
from motet._internal.own_code import name_in_record, own_classes
from motet.data import Dataset
from motet.distributed import Grid
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.experiments.experiment import Experiment
from motet.experiments.likelihood import likelihood_for, outputs_for
from motet.methods import Single
from motet.metrics import flops
from motet.models import CustomModel, ModelSettings
from motet.objectives import ExitObjective


@final
class Builder:
    """Builds the ensembles of experiments on one data set, each of them once.

    A comparison builds every row's ensemble before it trains anything, to find out whether it can be built. The
    ensemble is kept until its run takes it. Building depends on everything in an experiment except its training
    settings.

    Args:
        dataset: the data of all experiments.
        keep_bytes: the memory that kept ensembles may use. An ensemble that exceeds it is built again when it is
            needed.
    """

    def __init__(self, dataset: Dataset, *, keep_bytes: int = 2**30) -> None:
        self.dataset = dataset
        self._free = keep_bytes
        self._kept: dict[str, tuple[Ensemble, Tensor]] = {}
        self._single_flops: dict[str, int] = {}

    def try_out(self, experiment: Experiment) -> None:
        """Build the experiment's ensemble, and keep it for `take`. Raises the errors of `build`."""
        if _key(experiment) in self._kept:
            return
        ensemble = build(experiment, self.dataset)
        size = sum(tensor.nbytes for tensor in (*ensemble.parameters(), *ensemble.buffers()))
        if size <= self._free:
            self._free -= size
            self._kept[_key(experiment)] = ensemble, torch.get_rng_state()

    def take(self, experiment: Experiment, *, grid: Grid | None = None) -> Ensemble:
        """Return the result of `build`: the kept ensemble, or a new one. Torch's seed is set as by `build`."""
        if (grid is not None and grid.size > 1) or _key(experiment) not in self._kept:
            return build(experiment, self.dataset, grid=grid)
        ensemble, random_state = self._kept.pop(_key(experiment))
        self._free += sum(tensor.nbytes for tensor in (*ensemble.parameters(), *ensemble.buffers()))
        torch.manual_seed(experiment.seed)  # on all devices
        torch.set_rng_state(random_state)
        return ensemble

    def single_flops(self, experiment: Experiment) -> int:
        """Return the floating-point operations of the single network with the experiment's model, for one example."""
        single = single_network_of(experiment)
        key = _key(single)
        if key not in self._single_flops:
            ensemble = self._kept[key][0] if key in self._kept else build(single, self.dataset)
            example = self.dataset.prepare(self.dataset.train.inputs[:1]).cpu()
            self._single_flops[key] = flops(ensemble, example)
        return self._single_flops[key]


def single_network_of(experiment: Experiment, *, model: ModelSettings | None = None) -> Experiment:
    """Return the experiment for the single network with this or another model: the baseline of costs and threads."""
    return Experiment(
        data=experiment.data,
        model=experiment.model if model is None else model,
        method=Single(),
        first=experiment.first,
        last=experiment.last,
        data_options=experiment.data_options,
        likelihood=experiment.likelihood,
    )


def _key(experiment: Experiment) -> str:
    settings = {name: value for name, value in experiment.to_record().items() if name != "training"}
    return json.dumps(settings, sort_keys=True)


def build(experiment: Experiment, dataset: Dataset, *, grid: Grid | None = None) -> Ensemble:
    """Return the experiment's ensemble with initial weights, or this process's members of it; sets torch's seed.

    Args:
        experiment: the experiment.
        dataset: its data.
        grid: the processes that share the ensemble; None for one process.

    Raises:
        InputError: if the parts do not fit, and for any error in a class outside motet, with its file and line.
    """
    try:
        return _build(experiment, dataset, grid=grid)
    except Exception as error:
        own = [kind for kind in own_classes(experiment) if is_raised_in(error, kind)]
        if isinstance(error, InputError | MemoryError | torch.OutOfMemoryError) or not own:
            raise
        raise InputError(
            f"{name_in_record(own[0])} must work with the model and the data",
            got=describe_error(error),
            fix="Correct the class; motet.testing.check_method gives more details about a method",
        ) from error


def _build(experiment: Experiment, dataset: Dataset, *, grid: Grid | None) -> Ensemble:
    spec = dataset.spec
    likelihood = likelihood_for(experiment.likelihood, spec, accepts=experiment.accepts)
    needed = outputs_for(likelihood, spec)
    # On the CPU, where models are made; the data may already be on another device.
    example = dataset.prepare(dataset.train.inputs[:2]).cpu()
    torch.manual_seed(experiment.seed)
    ensemble = experiment.method.wrap(
        lambda: _build_model(experiment.model, dataset, needed),
        example=example,
        likelihood=likelihood,
        objective=experiment.objective,
        first=experiment.first,
        last=experiment.last,
        grid=grid,
    )
    with torch.no_grad():
        outputs = ensemble.predict(example[:1]).outputs_BMC.shape[-1]
    if outputs != needed:
        raise InputError(
            f"the model must have {needed} outputs for {spec.name}",
            got=f"a model with {outputs}",
            fix="Give its last layer one output per class or target"
            if needed == spec.outputs
            else f"Give its last layer {needed} outputs, as {likelihood} needs",
        )
    _try_objective(ensemble, outputs)
    return ensemble


def _try_objective(ensemble: Ensemble, outputs: int) -> None:
    """Raise the `InputError` of an objective that does not fit the likelihood now, and not in the first
    training step.
    """
    # A separate generator, because the default one's random numbers belong to the run.
    generator = torch.Generator().manual_seed(0)
    members, likelihood, objective = ensemble.members_in_training, ensemble.likelihood, ensemble.objective
    outputs_BMC = torch.zeros(2, members, outputs)
    targets_BM = likelihood.sample(outputs_BMC, generator=generator)
    if isinstance(objective, ExitObjective):
        exits_BMDC = outputs_BMC.unsqueeze(2).expand(-1, -1, 2, -1)
        objective(exits_BMDC, targets_BM, likelihood, log_weights_MD=torch.full((members, 2), 0.5).log())
    else:
        objective(outputs_BMC, targets_BM, likelihood)


def _build_model(model: ModelSettings, dataset: Dataset, outputs: int) -> nn.Module:
    try:
        return model.build(input_shape=dataset.spec.input_shape, outputs=outputs)
    except Exception as error:
        if isinstance(error, InputError) or not isinstance(model, CustomModel):
            raise
        raise InputError(
            f"{model.function} must build a model", got=describe_error(error), fix="Correct the function"
        ) from error
