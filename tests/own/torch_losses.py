"""Losses of one's own in PyTorch: wrong ones, as people write them, and right ones, written in other ways."""

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn


def wrong_axis(logits, targets):
    return F.nll_loss(F.log_softmax(logits, dim=0), targets, reduction="none")


def wrong_divisor(logits, targets):
    return F.cross_entropy(logits, targets, reduction="sum") / logits.numel()


def swapped_alpha(inputs, targets, alpha=0.25, gamma=2.0):
    p = torch.sigmoid(inputs)
    ce = F.binary_cross_entropy_with_logits(inputs, targets, reduction="none")
    p_t = p * targets + (1 - p) * (1 - targets)
    return ((1 - alpha) * targets + alpha * (1 - targets)) * (1 - p_t) ** gamma * ce


def one_alpha(inputs, targets, alpha=0.25, gamma=2.0):
    ce = F.binary_cross_entropy_with_logits(inputs, targets, reduction="none")
    pt = torch.exp(-ce)
    return (alpha * (1 - pt) ** gamma * ce).mean()


def missing_clip(p, y):
    return -(y * torch.log(p) + (1 - y) * torch.log(1 - p)).mean()


def wrong_sign(x1, x2):
    return (x1 * x2).sum(-1) / (x1.norm(dim=-1) * x2.norm(dim=-1))


def detached(y_pred, y_true):
    return ((y_pred.detach() - y_true) ** 2).mean() + 0 * y_pred.sum()


def float64_leak(y_pred, y_true):
    half = torch.full((1,), 0.5, dtype=torch.float64)
    return half * (y_pred - y_true) ** 2


def other_when_compiled(y_pred, y_true):
    r = (y_pred - y_true).abs()
    return 2 * r if torch.compiler.is_compiling() else r


class SmoothingOffByOne(nn.Module):
    def __init__(self, label_smoothing=0.1):
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, logits, target):
        classes = logits.shape[-1]
        logs = F.log_softmax(logits, -1)
        rest = self.label_smoothing / (classes - 1)
        onehot = F.one_hot(target, classes).to(logits.dtype)
        return -((onehot * (1 - self.label_smoothing - rest) + rest) * logs).sum(-1)


def squared(y_pred, y_true):
    return torch.square(y_true - y_pred)


class Huber(nn.Module):
    def __init__(self, delta=1.0):
        super().__init__()
        self.delta = delta

    def forward(self, input, target):  # noqa: A002  as torch calls it
        r = (input - target).abs()
        q = r.clamp(max=self.delta)
        return 0.5 * q * q + self.delta * (r - q)


def focal(inputs, targets, alpha=0.25, gamma=2.0):
    ce = F.binary_cross_entropy_with_logits(inputs, targets, reduction="none")
    p = torch.sigmoid(inputs)
    miss = p * (1 - targets) + (1 - p) * targets
    return (alpha * targets + (1 - alpha) * (1 - targets)) * miss**gamma * ce


def cross_entropy(logits, labels, label_smoothing=0.0):
    logs = logits - torch.logsumexp(logits, -1, keepdim=True)
    picked = logs.gather(-1, labels[:, None]).squeeze(-1)
    return (-(1 - label_smoothing) * picked - label_smoothing * logs.mean(-1)).mean()


def softplus_entropy(logits, targets):
    return (F.softplus(logits) - logits * targets).mean()


def hinge(pred, y):
    return torch.relu(1 - y * pred).sum()


def ends_its_process(y_pred, y_true):
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


def hangs(y_pred, y_true):
    import time

    time.sleep(3600)


def raises(y_pred, y_true):
    raise ValueError("not today")


def two_numbers_each(y_pred, y_true):
    return torch.stack([y_pred, y_true])


def prints(y_pred, y_true):
    print("{" * 1000, flush=True)
    return (y_pred - y_true).abs()
