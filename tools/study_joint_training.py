"""Train what figures 2 to 5 of Joint Training of Neural Network Ensembles show, on Fashion-MNIST.

    python tools/study_joint_training.py --data-dir DIR --out runs/joint-training [--epochs 20] [--seeds 1]

Runs that are finished are not trained again, and a run that was stopped goes on. What it measured is collected by
tools/collect_joint_training.py.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from motet.experiments import Experiment, run_experiment
from motet.methods import ModularNetwork
from motet.recipes import joint_training

LAMBDAS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.99, 1.0)
RECIPES = {
    256: joint_training.fashion_mnist_256x4,
    64: joint_training.fashion_mnist_64x16,
    16: joint_training.fashion_mnist_16x64,
    1: joint_training.fashion_mnist_1x1024,
}


def experiment_of(members: int, lam: float, *, epochs: int, seed: int) -> Experiment:
    """The paper's experiment with its learning rate for this lambda, and our number of epochs."""
    recipe = RECIPES[members]()
    assert isinstance(recipe.method, ModularNetwork)
    rate = joint_training.RATES[members][0 if lam <= 0.95 else 1]
    return replace(
        recipe.with_method(replace(recipe.method, lam=lam)),
        training=replace(recipe.training, epochs=epochs, early_stopping=epochs, learning_rate=rate),
        seed=seed,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Fashion-MNIST runs of the modular loss")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--members", type=int, nargs="+", default=list(RECIPES))
    parser.add_argument("--lambdas", type=float, nargs="+", default=list(LAMBDAS))
    arguments = parser.parse_args()
    for seed in range(arguments.seeds):
        for members in arguments.members:
            # One module has no other to be trained jointly with: every lambda is the same loss.
            for lam in arguments.lambdas if members > 1 else (1.0,):
                experiment = experiment_of(members, lam, epochs=arguments.epochs, seed=seed)
                folder = arguments.out / f"{members}-modules-lambda-{lam:g}-seed{seed}"
                run = run_experiment(experiment, folder, data_dir=arguments.data_dir)
                test = run.scores.test
                print(f"{folder.name}: error {100 * (1 - test['accuracy']):.2f} %, NLL {test['nll']:.4f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
