"""A torch module: rows are composed on its device in its dtype; train mode and gradients are afterwards as they were."""

from __future__ import annotations

import argparse

import torch
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler
from torch import nn

import whybox as wb


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer training steps")
    quick = parser.parse_args().quick
    torch.manual_seed(0)
    data = load_wine()
    x = torch.tensor(StandardScaler().fit_transform(data.data), dtype=torch.float32)
    y = torch.tensor(data.target)

    net = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 3), nn.Softmax(dim=1))
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(20 if quick else 200):
        optimiser.zero_grad()
        nn.functional.nll_loss(torch.log(net(x)), y).backward()
        optimiser.step()

    explainer = wb.PermutationSHAP(wb.as_model(net, output_names=data.target_names), background=x[::4])
    e = explainer.explain(x[:5], target="predicted", seed=0)
    print(e[0].to_text())
    assert net.training, "the module is as it was: dropout was off only during the calls"


if __name__ == "__main__":
    main()
