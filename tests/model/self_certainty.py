#!/usr/bin/env python3
"""The figures in sampling_test.cc's SelfCertainty tests, from torch.

Run: python3 tests/model/self_certainty.py   (needs torch and numpy)
"""

import numpy as np
import torch


def logits(n, width):
    """As `Spread` in the test: no rounding anywhere, so both have equal bits."""
    i = np.arange(n, dtype=np.uint32)
    scattered = (i * np.uint32(2654435761)) >> np.uint32(8)
    return scattered.astype(np.float32) / np.float32(2**24) * np.float32(width)


def self_certainty(z):
    """KL(uniform || softmax(z)), as torch defines the divergence."""
    log_p = torch.log_softmax(torch.from_numpy(z).double(), dim=0)
    uniform = torch.full_like(log_p, 1.0 / len(z))
    return torch.nn.functional.kl_div(log_p, uniform, reduction="sum").item()


for n, width in [(2, 1), (100, 8), (49152, 16), (151936, 32)]:
    z = logits(n, width)
    by_formula = (np.log(np.exp(z.astype(np.float64)).sum())
                  - z.astype(np.float64).mean() - np.log(n))
    assert abs(by_formula - self_certainty(z)) < 1e-9
    print(f"{{{n}, {width}, {self_certainty(z):.9f}}},")
