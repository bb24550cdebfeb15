"""How many CPU threads a run gets: by the work of a step, the same for every method."""

import pytest
import torch

import motet
from motet.experiments import Experiment
from motet.experiments.build import Builder
from motet.experiments.threads import run_threads, threads_for
from motet.models import MLP, SmallCNN

DIGITS = motet.data.digits()


@pytest.fixture
def many_threads(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)


def experiment(model, *, batch_size=32, method=None):
    training = motet.Training(epochs=1, batch_size=batch_size)
    return Experiment(data="digits", model=model, method=method or motet.Single(), training=training)


def test_a_small_step_gets_one_thread(many_threads):
    assert threads_for(experiment(SmallCNN(width=2)), Builder(DIGITS)) == 1


def test_one_thread_for_every_half_gflop_of_a_step(many_threads):
    # 3 passes x 256 rows x 2 x (64 x 2048 + 2048 x 10) = 0.2327 GFLOP; ten times the width, ten times that.
    assert threads_for(experiment(MLP(hidden=(2048,)), batch_size=256), Builder(DIGITS)) == 1
    assert threads_for(experiment(MLP(hidden=(20480,)), batch_size=256), Builder(DIGITS)) == 5


def test_never_more_than_torch_has(many_threads, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert threads_for(experiment(MLP(hidden=(20480,)), batch_size=256), Builder(DIGITS)) == 2


def test_every_method_gets_the_same(many_threads):
    model = MLP(hidden=(20480,))
    numbers = {
        threads_for(experiment(model, batch_size=256, method=method), Builder(DIGITS))
        for method in (motet.Single(), motet.DeepEnsemble(members=4), motet.MIMO(members=3))
    }
    assert numbers == {5}


def test_whoever_sets_omp_num_threads_is_left_alone(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert threads_for(experiment(SmallCNN()), Builder(DIGITS)) == 8


def test_the_number_is_put_back(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    with run_threads(experiment(SmallCNN()), Builder(DIGITS), torch.device("cpu")):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
