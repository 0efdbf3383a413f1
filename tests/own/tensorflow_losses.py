"""Losses of one's own in TensorFlow and Keras: wrong ones, as people write them, and right ones."""

import keras
import tensorflow as tf


def narrow_clip(y_true, y_pred):
    p = tf.clip_by_value(y_pred, 0.2, 0.8)
    return -(y_true * tf.math.log(p) + (1 - y_true) * tf.math.log(1 - p))


def base_two(y_true, y_pred):
    return tf.reduce_sum(y_true * tf.math.log(y_true / y_pred) / tf.math.log(2.0), axis=-1)


def mean_over_the_batch(y_true, y_pred):
    return tf.reduce_mean(tf.square(y_true - y_pred), axis=0) * 2


def other_in_a_graph(y_true, y_pred):
    r = tf.abs(y_true - y_pred)
    return r if tf.executing_eagerly() else r * r


class NoLogarithm(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return y_pred - y_true * y_pred


def sum_not_mean(y_true, y_pred):
    return tf.reduce_sum(tf.nn.relu(1 - y_true * y_pred)) / 2


class LogCosh(keras.losses.Loss):
    def call(self, y_true, y_pred):
        r = tf.abs(y_pred - y_true)
        return tf.reduce_mean(r + tf.math.softplus(-2 * r) - tf.cast(tf.math.log(2.0), r.dtype), axis=-1)


def poisson(y_true, y_pred):
    return tf.reduce_mean(y_pred - y_true * tf.math.log(y_pred))


def cosine(y_true, y_pred):
    return -tf.reduce_sum(tf.math.l2_normalize(y_true, -1) * tf.math.l2_normalize(y_pred, -1), -1)
