"""Formulas with named axes, by the definition of each function: a second opinion that shares nothing with lossbench.

A value is its axes and, for each place along them, an mpf, an int (a label) or a bool. Sequences are summed over all
their alignments, one by one; the projection onto the simplex is found by bisection.
"""

import ast
import itertools
import operator
from dataclasses import dataclass
from functools import partial

import mpmath
from mpmath import mp, mpf
from second_opinion import (
    _BINARY,
    _COMPARISONS,
    _FUNCTIONS,
    DIGITS,
    Undefined,
    _compared,
    _extreme,
    _power,
    _real,
    number,
)

BISECTIONS = 500


@dataclass
class Value:
    """`entries` are by place: a tuple of one index for each axis."""

    axes: tuple
    entries: dict


def evaluate(text, at, sizes):
    """The value of a formula; `at` gives each name a `Value`, `sizes` each axis its length."""
    names = dict(at)
    body = ast.parse(text.strip("\n")).body
    with mp.workdps(max(mp.dps, DIGITS)):
        reader = _Reader(names, sizes)
        try:
            for statement in body[:-1]:
                names[statement.targets[0].id] = reader.read(statement.value)
            value = reader.read(body[-1].value)
        except ZeroDivisionError:
            raise Undefined from None
    if any(isinstance(one, mpmath.mpc) or not mpmath.isfinite(one) for one in value.entries.values()):
        raise Undefined
    return value


def of_array(array, axes):
    """The entries of a NumPy array, exactly."""
    places = itertools.product(*map(range, array.shape))
    exact = {place: int(array[place]) if array.dtype.kind == "i" else number(float(array[place])) for place in places}
    return Value(axes, exact)


def derivative(text, at, sizes, name, place):
    """Of the sum of all values by one entry of an input; a central difference, right to about 100 digits."""
    with mp.workdps(max(mp.dps, DIGITS)):
        x = at[name].entries[place]
        step = mpf(10) ** -60 * max(abs(x), mpf(2) ** -40)

        def moved(times):
            new = Value(at[name].axes, at[name].entries | {place: x + times * step})
            return mpmath.fsum(evaluate(text, at | {name: new}, sizes).entries.values())

        return (moved(1) - moved(-1)) / (2 * step)


class _Reader:
    def __init__(self, names, sizes):
        self.names, self.sizes = names, sizes

    def places(self, axes):
        return itertools.product(*(range(self.sizes[axis.removeprefix("other ")]) for axis in axes))

    def each(self, function, *values):
        axes = tuple(dict.fromkeys(axis for value in values for axis in value.axes))
        return Value(axes, {place: function(*(at(one, axes, place) for one in values)) for place in self.places(axes)})

    def read(self, node):
        match node:
            case ast.Constant(value=str(axis)):
                return axis
            case ast.Constant(value=value):
                return Value((), {(): number(repr(value))})
            case ast.Name(id="pi"):
                return Value((), {(): +mp.pi})
            case ast.Name(id=name):
                return self.names[name]
            case ast.UnaryOp(op=op, operand=operand):
                return self.each(operator.not_ if isinstance(op, ast.Not) else operator.neg, self.read(operand))
            case ast.BoolOp(op=op, values=values):
                both = operator.and_ if isinstance(op, ast.And) else operator.or_
                result, *others = map(self.read, values)
                for other in others:
                    result = self.each(both, result, other)
                return result
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                return self.each(_power, self.read(left), self.read(right))
            case ast.BinOp(left=left, op=op, right=right):
                return self.each(partial(_arithmetic, _BINARY[type(op)]), self.read(left), self.read(right))
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return self.each(partial(_compared, _COMPARISONS[type(op)]), self.read(left), self.read(right))
            case ast.Subscript(value=row, slice=label):
                return self.pick(self.read(row), self.read(label))
            case ast.Call(func=ast.Name(id=name), args=args):
                return self.call(name, [self.read(arg) for arg in args])
        raise AssertionError(ast.dump(node))

    def call(self, name, args):
        if name == "where":
            return self.each(lambda condition, yes, no: yes if condition else no, *args)
        if name in ("max", "min") and len(args) > 1 and isinstance(args[1], Value):
            return self.each(lambda *numbers: _extreme(name, numbers), *args)
        if name == "clip":
            return self.call("min", [self.call("max", args[:2]), args[2]])
        if name in _FUNCTIONS:
            return self.each(_real, self.each(_FUNCTIONS[name], *args))
        if name == "index":
            return Value((args[0],), {place: place[0] for place in self.places((args[0],))})
        if name == "other":
            second = args[1].removeprefix("other ") if args[1].startswith("other ") else f"other {args[1]}"
            return Value(tuple(second if axis == args[1] else axis for axis in args[0].axes), args[0].entries)
        if name == "pick":
            return self.pick(*args)
        if name == "onehot":
            axis = args[1] if len(args) > 1 else "class"
            along = Value((axis,), {place: place[0] for place in self.places((axis,))})
            return self.each(lambda label, here: mpf(label == here), args[0], along)
        if name == "ctc":
            return self.ctc(*args)
        return self.along(name, args[0], args[1] if len(args) > 1 else args[0].axes[0])

    def pick(self, row, label, axis=None):
        axis = axis or row.axes[0]
        rest = tuple(one for one in row.axes if one != axis)
        axes = tuple(dict.fromkeys((*rest, *label.axes)))
        found = {}
        for place in self.places(axes):
            chosen = at(label, axes, place)
            there = dict(zip(axes, place, strict=True)) | {axis: chosen}
            inside = 0 <= chosen < self.sizes[axis.removeprefix("other ")]
            found[place] = row.entries[tuple(there[one] for one in row.axes)] if inside else mpf(0)
        return Value(axes, found)

    def along(self, name, value, axis):
        if name == "size":
            return Value((), {(): mpf(self.sizes[axis.removeprefix("other ")])})
        rest = tuple(one for one in value.axes if one != axis)
        found = {}
        for place in self.places(rest):
            size = self.sizes[axis.removeprefix("other ")]
            there = [dict(zip(rest, place, strict=True)) | {axis: index} for index in range(size)]
            places = [tuple(one[each] for each in value.axes) for one in there]
            result = _of_row(name, [value.entries[one] for one in places])
            found |= dict(zip(places, result, strict=True)) if isinstance(result, list) else {place: result}
        return Value(value.axes if name in _ROWS else rest, found)

    def ctc(self, log_probs, labels, *scalars):
        inner = ("time", "class", "position")
        outer = tuple(dict.fromkeys(axis for one in (log_probs, labels, *scalars) for axis in one.axes))
        outer = tuple(axis for axis in outer if axis not in inner)
        found = {}
        for place in self.places(outer):

            def entry(value, place=place, **along):
                there = dict(zip(outer, place, strict=True)) | along
                return value.entries[tuple(there[axis] for axis in value.axes)]

            times, count, blank = (int(entry(one)) for one in scalars)
            wanted = [entry(labels, position=one) for one in range(count)]
            rows = [
                [entry(log_probs, **{"time": t, "class": c}) for c in range(self.sizes["class"])] for t in range(times)
            ]
            found[place] = -_log_of_alignments(rows, wanted, blank)
        return Value(outer, found)


_ROWS = ("softmax", "log_softmax", "sparsemax")


def at(value, axes, place):
    """The entry of a value at a place along more axes."""
    there = dict(zip(axes, place, strict=True))
    return value.entries[tuple(there[axis] for axis in value.axes)]


def _arithmetic(function, a, b):
    """Labels stay whole when they meet whole numbers."""
    if isinstance(a, int) or isinstance(b, int):
        return function(int(a), int(b))
    return function(a, b)


def _of_row(name, row):
    if name in ("sum", "mean"):
        return mpmath.fsum(row) / (len(row) if name == "mean" else 1)
    if name in ("max", "min"):
        return _extreme(name, row)
    if name == "norm":
        return mpmath.sqrt(mpmath.fsum(entry**2 for entry in row))
    if name == "sparsemax":
        return projected(row)
    logarithm = max(row) + mpmath.log(mpmath.fsum(mpmath.exp(entry - max(row)) for entry in row))
    logs = [entry - logarithm for entry in row]
    return {"logsumexp": logarithm, "log_softmax": logs, "softmax": [mpmath.exp(one) for one in logs]}[name]


def projected(row):
    """The projection onto the simplex: what is above a threshold, found by halving where it may lie."""
    low, high = max(row) - 1, max(row)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if mpmath.fsum(max(one - middle, 0) for one in row) > 1 else (low, middle)
    above = [one for one in row if one > high]
    threshold = (mpmath.fsum(above) - 1) / len(above)
    return [max(one - threshold, mpf(0)) for one in row]


def _log_of_alignments(rows, wanted, blank):
    total = mpf(0)
    for path in itertools.product(range(len(rows[0])) if rows else (), repeat=len(rows)):
        merged = [one for one, _ in itertools.groupby(path)]
        if [one for one in merged if one != blank] == wanted:
            total += mpmath.exp(mpmath.fsum(row[one] for row, one in zip(rows, path, strict=True)))
    return mpmath.log(total) if total else -mpmath.inf
