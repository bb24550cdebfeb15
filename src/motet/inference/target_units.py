"""The part of an ensemble that knows the units of its targets."""

from typing import Any, final

import torch
from torch import Tensor, nn

from motet.errors import InputError
from motet.likelihoods import Combination, Likelihood
from motet.likelihoods.positions import targets_last
from motet.likelihoods.target_scale import TargetScale
from motet.prediction import Prediction

# Medians of absolute values, in standard deviations of the training targets.
_FAR, _NEAR = 50.0, 10.0


@final
class TargetUnits(nn.Module):
    """The mean and standard deviation by which the targets of an ensemble were standardised; part of its state.

    The numbers are no buffers, because they must not be rounded when the ensemble is converted to another dtype. They
    are in the ``state_dict`` only if there is a scale. A state without them, from an older version of motet, leaves
    the scale as it is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale: TargetScale | None = None

    def prediction(
        self, outputs_BMC: Tensor, likelihood: Likelihood, combination: Combination, targets: Tensor | None
    ) -> Prediction:
        """Return a prediction in the targets' own units.

        Args:
            outputs_BMC: natural parameters, ``(B, M, C)``.
            likelihood: the distribution whose natural parameters they are.
            combination: how members are combined.
            targets: the true targets as the network is trained on them, or None.

        Raises:
            InputError: for targets that are obviously not standardised.
        """
        if targets is not None:
            targets = targets_last(targets, outputs_BMC.shape[2:-1], likelihood)
        if targets is not None and self.scale is not None:
            _check_standardised(targets, self.scale)
            targets = self.scale.restore(targets)
        return Prediction(
            outputs_BMC=outputs_BMC,
            likelihood=likelihood,
            combination=combination,
            targets=targets,
            target_scale=self.scale,
        )

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        if self.scale is not None:
            for name in ("mean", "std"):
                destination[prefix + name] = torch.tensor(getattr(self.scale, name), dtype=torch.float64, device="cpu")

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
        if prefix + "mean" in state_dict:
            mean, std = (tuple(state_dict[prefix + name].tolist()) for name in ("mean", "std"))
            self.scale = TargetScale(mean=mean, std=std)


def _check_standardised(targets: Tensor, scale: TargetScale) -> None:
    """Check that most targets are not far from 0 while they would be near it if they were standardised.

    Otherwise all scores would be wrong.
    """
    far = targets.abs().median(dim=0).values > _FAR
    near = scale.standardise(targets).abs().median(dim=0).values < _NEAR
    if bool((far & near).any()):
        raise InputError(
            "targets must be standardised, in the form that the loss gets",
            got=f"targets in their own units, such as {float(targets.flatten()[0]):g}",
            fix="Pass those of the data set (dataset.test.targets), or (y - mean) / std with ensemble.target_scale",
        )
