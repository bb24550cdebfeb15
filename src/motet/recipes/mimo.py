"""MIMO's experiments (Havasi et al., ICLR 2021) on the data sets that motet has."""

from motet.experiments import Experiment
from motet.experiments.defaults import defaults_for
from motet.methods import MIMO
from motet.models import WideResNet
from motet.training import Training


def digits() -> Experiment:
    """MIMO with three members on scikit-learn's digits: seconds on a laptop."""
    defaults = defaults_for("digits")
    return Experiment(data="digits", model=defaults.model, method=defaults.method("mimo"), training=defaults.training)


def fashion_mnist() -> Experiment:
    """MIMO on Fashion-MNIST with the CIFAR protocol of its paper: WRN-28-10, 250 epochs. Needs a GPU.

    Optimiser, schedule, L2 and batch repetition are those of the paper's code for CIFAR [uncertainty-baselines,
    baselines/cifar/mimo.py]: 512 rows per step are 128 unique images repeated 4 times; l2 = 3e-4 is a torch weight
    decay of 6e-4, on every parameter; the rate is multiplied by 0.2 at epochs 100, 200 and 225 (the paper's appendix
    says 0.1, both of its code bases 0.2). The paper has no results on Fashion-MNIST; this is its protocol on other
    data.
    """
    return Experiment(
        data="fashion-mnist",
        model=WideResNet(depth=28, width=10),
        method=MIMO(members=3, batch_repetition=4, input_repetition=0.0),
        training=Training(
            epochs=250,
            batch_size=128,
            learning_rate=0.1,
            weight_decay=6e-4,
            schedule="step",
            milestones=(100.0, 200.0, 225.0),
            decay_factor=0.2,
            warmup_epochs=1.0,
        ),
    )
