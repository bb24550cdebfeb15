"""The experiments of Joint Training of Neural Network Ensembles (Webb et al.), section 4.1, on Fashion-MNIST.

Batch 100, plain SGD with momentum 0.9 at a constant rate, 200 epochs, tested at the epoch with the ensemble's lowest
validation error. The validation images are the data set's 10,000, the same for every seed; the paper draws new ones for
each run.
"""

from motet.experiments import Experiment
from motet.methods import ModularNetwork
from motet.models import MLP
from motet.training import Training

RATES = {1: (0.02, 0.02), 16: (0.32, 0.096), 64: (1.28, 0.384), 256: (5.15, 1.536)}
"""Learning rates of the authors' scripts, by the number of modules: up to lambda = 0.95, and above."""

EPOCHS = 200


def fashion_mnist_1x1024() -> Experiment:
    """The single network with 1,024 hidden units, as large as each of the modular networks."""
    return _fashion_mnist(members=1, hidden=1024, lam=1.0)


def fashion_mnist_16x64() -> Experiment:
    """16 modules with 64 hidden units at lambda = 0.95. For larger lambda use --training.learning-rate 0.096."""
    return _fashion_mnist(members=16, hidden=64, lam=0.95)


def fashion_mnist_64x16() -> Experiment:
    """64 modules with 16 hidden units at lambda = 0.95. For larger lambda use --training.learning-rate 0.384."""
    return _fashion_mnist(members=64, hidden=16, lam=0.95)


def fashion_mnist_256x4() -> Experiment:
    """256 modules with 4 hidden units at lambda = 0.95. For larger lambda use --training.learning-rate 1.536."""
    return _fashion_mnist(members=256, hidden=4, lam=0.95)


def _fashion_mnist(*, members: int, hidden: int, lam: float) -> Experiment:
    return Experiment(
        data="fashion-mnist",
        model=MLP(hidden=(hidden,)),
        method=ModularNetwork(members=members, lam=lam),
        training=Training(
            epochs=EPOCHS,
            batch_size=100,
            learning_rate=RATES[members][0 if lam <= 0.95 else 1],
            momentum=0.9,
            nesterov=False,
            weight_decay=0.0,
            schedule="constant",
            early_stopping=EPOCHS,
            monitor="error",
        ),
    )
