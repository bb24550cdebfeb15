import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from motet.methods import Single


def test_it_is_the_model() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3))
    x, y = torch.randn(6, 4), torch.randint(3, (6,))
    ensemble = Single().wrap(model, example=x[:1])
    for training in (True, False):
        model.train(training)
        ensemble.train(training)
        torch.manual_seed(1)
        expected = F.cross_entropy(model(x), y)
        torch.manual_seed(1)
        torch.testing.assert_close(ensemble.loss(x, y), expected)
    assert list(ensemble.state_dict()) == [f"network.{name}" for name in model.state_dict()]
    torch.testing.assert_close(ensemble.predict(x).probs, model(x).softmax(dim=1))


def test_it_takes_any_model_that_returns_rows() -> None:
    assert Single().members == 1
    assert Single().wrap(nn.Flatten(), example=torch.zeros(1, 2, 2))(torch.zeros(3, 2, 2)).shape == (3, 1, 4)
