"""Losses of one's own in NumPy."""

import numpy as np


def quantile(y_pred, y_true):
    return np.maximum(0.9 * (y_true - y_pred), -0.1 * (y_true - y_pred))


def absolute(y_pred, y_true):
    return np.abs(y_pred - y_true).mean()
