"""Losses in the odd shapes in which people have them, in PyTorch and NumPy."""

import functools

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn


def variadic(*args, **kwargs):
    return F.huber_loss(*args, reduction="none", **kwargs)


partial = functools.partial(F.huber_loss, delta=2.0, reduction="none")
anonymous = lambda p, t: (p - t).abs()  # noqa: E731  people do
instance = nn.L1Loss()
number = 3


@torch.jit.script
def scripted(y_pred, y_true):
    return torch.abs(y_pred - y_true)


def columns(y_pred, y_true):
    if y_pred.ndim != 2:
        raise ValueError("expected columns")
    return (y_pred - y_true).abs().mean(-1)


def one_in_a_row(y_pred, y_true):
    return (y_pred - y_true).abs().mean().reshape(1)


def optional(y_pred, y_true=None, gamma=None):
    return (y_pred - y_true).abs()


def weight_ignored(y_pred, y_true, sample_weight=None):
    return (y_pred - y_true).abs()


def python_float(y_pred, y_true):
    return (y_pred - y_true).abs().mean().item()


def couple(y_pred, y_true):
    return (y_pred - y_true).abs(), 0


def nothing(y_pred, y_true):
    pass


def ends(y_pred, y_true):
    raise SystemExit(3)


def in_place(y_pred, y_true):
    y_true.sub_(y_pred)
    return y_true.abs()


def in_numpy_place(y_pred, y_true):
    y_true -= y_pred
    return np.abs(y_true)


def noisy(y_pred, y_true):
    return (y_pred - y_true).abs() + 1e-6 * torch.rand(())


def onehot(logits, labels):
    if labels.ndim != 2:
        raise ValueError("expected rows")
    return -(labels * F.log_softmax(logits, -1)).sum(-1)


def mean_over_classes(logits, labels):
    return -(labels * F.log_softmax(logits, -1)).mean(-1)


def from_logits(y_pred, y_true, from_logits=False):
    if from_logits:
        return F.binary_cross_entropy_with_logits(y_pred, y_true, reduction="none")
    return F.binary_cross_entropy(y_pred, y_true, reduction="none")


class Scaled(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, y_pred, y_true):
        return self.scale * (y_pred - y_true).abs()


class Classes(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.num_classes = num_classes

    def forward(self, logits, labels):
        return -(F.one_hot(labels, self.num_classes) * F.log_softmax(logits, -1)).sum(-1)
