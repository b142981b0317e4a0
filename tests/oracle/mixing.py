"""Training on mixed samples by PyTorch: python tests/oracle/mixing.py > tests/oracle/mixing.json

Shares and partners are given; the loss is λ · l(y, a) + (1 − λ) · l(y, b), as in the code of Zhang et al.
"""

import json

import torch
from torch import nn, optim

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
SHARES, EPOCHS, BATCH, LR = [0.9, 0.55, 1.0, 0.7], 2, 4, 0.3
x, labels, numbers = torch.randint(-3, 4, (10, 4)), torch.arange(10) % 3, torch.randint(-9, 9, (10, 2))
ORDERS = [torch.randperm(size).tolist() for size in (4, 4, 2) * EPOCHS]
CASES = {
    "CrossEntropy": (nn.CrossEntropyLoss(), labels, 3),
    "CrossEntropy(class_weights=[1, 2, 5])": (nn.CrossEntropyLoss(torch.tensor([1.0, 2, 5])), labels, 3),
    "CrossEntropy(label_smoothing=0.1)": (nn.CrossEntropyLoss(label_smoothing=0.1), labels, 3),
    "MSE": (nn.MSELoss(), numbers.double(), 2),
    "Huber": (nn.HuberLoss(), numbers.double(), 2),
}


def trained(loss, y, outputs):
    """Return the mean losses of the epochs, weighted by the size of batches, and the parameters at the end."""
    layer = nn.Linear(4, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimizer = optim.SGD(layer.parameters(), lr=LR)
    values, step = [], 0
    for _ in range(EPOCHS):
        for start in range(0, len(x), BATCH):
            share, order = SHARES[step % len(SHARES)], torch.tensor(ORDERS[step])
            a, own = x[start : start + BATCH].double(), y[start : start + BATCH]
            out = layer(share * a + (1 - share) * a[order])
            value = share * loss(out, own) + (1 - share) * loss(out, own[order])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            values.append(value.item())
            step += 1
    return {"losses": values, "weight": layer.weight.mT.tolist(), "bias": layer.bias.tolist()}


found = {"x": x.tolist(), "labels": labels.tolist(), "numbers": numbers.tolist(), "shares": SHARES, "orders": ORDERS}
print(json.dumps(found | {"lr": LR, "cases": {name: trained(*case) for name, case in CASES.items()}}))
