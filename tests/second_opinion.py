"""A second opinion about formulas: their Python syntax tree read directly in mpmath, derivatives by differences.

Nothing of lossbench is used, so that an error in its parser, graphs, derivatives or Arb arithmetic shows.
"""

import ast
import operator
from fractions import Fraction
from functools import cache, partial

import mpmath
from mpmath import mp, mpf

DIGITS = 200  # at least; a caller that works with more gets more
STEP = mpf(10) ** -60  # of the numbers' own size; central differences are then right to about 100 digits

_BINARY = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
_CLOSE = mpf(10) ** -120  # relative; numbers that differ by less, and are no rationals, tie as far as anyone can tell
_BEYOND = mpf(2) ** 5000  # arguments whose exponential has more digits than memory
_COMPARISONS = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_FUNCTIONS = {
    "abs": abs,
    "sign": mpmath.sign,
    "exp": lambda x: _exp(x),
    "expm1": lambda x: _exp(x, mpmath.expm1),
    "log": lambda x: mpmath.log(x),
    "log1p": mpmath.log1p,
    "sqrt": mpmath.sqrt,
    "sinh": lambda x: _exp(x, mpmath.sinh),
    "cosh": lambda x: _exp(x, mpmath.cosh),
    "tanh": lambda x: _exp(x, mpmath.tanh),
    "softplus": lambda x: mpmath.log1p(_exp(x)) if x < 0 else x + mpmath.log1p(_exp(-x)),
    "sigmoid": lambda x: 1 / (1 + _exp(-x)),
    "xlogy": lambda x, y: mpf(0) if x == 0 else x * mpmath.log(y),
}


class Undefined(ArithmeticError):
    """The formula has no real value here."""


def evaluate(text, at):
    """The value of a formula: `at` gives numbers as mpf, rows as lists, labels as int."""
    names = dict(at)
    body = _statements(text.strip("\n"))
    with mp.workdps(max(mp.dps, DIGITS)):
        try:
            for statement in body[:-1]:
                names[statement.targets[0].id] = _read(statement.value, names)
            value = _read(body[-1].value, names)
        except ZeroDivisionError:
            raise Undefined from None
    if isinstance(value, mpmath.mpc) or not mpmath.isfinite(value):
        raise Undefined
    return value


@cache
def _statements(text):
    """The lines of a formula, with its decimals as they are written: Python rounds them."""
    body = ast.parse(text).body
    for node in (node for statement in body for node in ast.walk(statement)):
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            node.value = Fraction(ast.get_source_segment(text, node))
    return body


def derivative(text, at, name, entry=None, side=0):
    """The derivative by a number, or by one entry of a row; from one side only where *side* is 1 or -1."""
    with mp.workdps(max(mp.dps, DIGITS)):
        x = at[name] if entry is None else at[name][entry]
        step = STEP * max(abs(x), mpf(2) ** -40)

        def moved(times):
            new = x + times * step
            row = at[name]
            return evaluate(text, at | {name: new if entry is None else [*row[:entry], new, *row[entry + 1 :]]})

        if side:
            return (moved(side) - moved(0)) / (side * step)
        return (moved(1) - moved(-1)) / (2 * step)


def second(text, at, direction, name, entry=None):
    """The derivative of the slope along *direction* by a number, or by one entry of a row.

    The step is the same for all numbers, so that it must be small beside each: right to about 40 digits.
    """
    with mp.workdps(max(mp.dps, 2 * DIGITS)):
        step = STEP * mpf(2) ** -40

        def there(along, by):
            point = dict(at)
            for one, way in direction.items():
                point[one] = _each(lambda x, w: x + along * w, at[one], way)
            if entry is None:
                point[name] += by
            else:
                point[name][entry] += by
            return evaluate(text, point)

        corners = (a * b * there(a * step, b * step) for a in (1, -1) for b in (1, -1))
        return mpmath.fsum(corners) / (4 * step**2)


def side_of_second(text, at, name, side):
    """The second derivative by a number on the *side* 1 or -1 of a point."""
    with mp.workdps(max(mp.dps, 2 * DIGITS)):
        step = side * STEP * max(abs(at[name]), mpf(2) ** -40)
        values = [evaluate(text, at | {name: at[name] + times * step}) for times in (0, 1, 2)]
        return (values[0] - 2 * values[1] + values[2]) / step**2


def number(value):
    """A float or a decimal, exactly."""
    fraction = Fraction(value)
    with mp.workdps(max(mp.dps, DIGITS)):
        return mpf(fraction.numerator) / fraction.denominator


def exactly(at):
    """The floats of a point, exactly; labels as they are."""
    with mp.workdps(max(mp.dps, DIGITS)):
        rows = {name: [number(one) for one in value] for name, value in at.items() if isinstance(value, list)}
        return at | rows | {name: number(value) for name, value in at.items() if isinstance(value, float)}


def _each(function, *values):
    size = next((len(value) for value in values if isinstance(value, list)), None)
    if size is None:
        return function(*values)
    rows = [value if isinstance(value, list) else [value] * size for value in values]
    return [function(*entries) for entries in zip(*rows, strict=True)]


def _read(node, names):
    match node:
        case ast.Constant(value=value):
            return number(value if isinstance(value, Fraction) else repr(value))
        case ast.Name(id="pi"):
            return +mp.pi
        case ast.Name(id=name):
            return names[name]
        case ast.UnaryOp(op=op, operand=operand):
            value = _read(operand, names)
            return _each(operator.not_ if isinstance(op, ast.Not) else operator.neg, value)
        case ast.BoolOp(op=op, values=values):
            both = operator.and_ if isinstance(op, ast.And) else operator.or_
            result, *others = (_read(value, names) for value in values)
            for other in others:
                result = _each(both, result, other)
            return result
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _each(_power, _read(left, names), _read(right, names))
        case ast.BinOp(left=left, op=op, right=right):
            return _each(_BINARY[type(op)], _read(left, names), _read(right, names))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return _each(partial(_compared, _COMPARISONS[type(op)]), _read(left, names), _read(right, names))
        case ast.Subscript(value=row, slice=label):
            row, label = _read(row, names), _read(label, names)
            return row[label] if 0 <= label < len(row) else mpf(0)
        case ast.Call(func=ast.Name(id="where"), args=[condition, yes, no]):
            return _where(_read(condition, names), yes, no, names)
        case ast.Call(func=ast.Name(id="onehot"), args=[label]):
            size = max(len(value) for value in names.values() if isinstance(value, list))
            return [mpf(j == _read(label, names)) for j in range(size)]
        case ast.Call(func=ast.Name(id=name), args=args):
            return _call(name, [_read(arg, names) for arg in args])
    raise AssertionError(ast.dump(node))


def _where(condition, yes, no, names):
    if not isinstance(condition, list):
        return _read(yes if condition else no, names)
    branches = {}
    for truth, branch in ((True, yes), (False, no)):
        if truth in condition:
            value = _read(branch, names)
            branches[truth] = value if isinstance(value, list) else [value] * len(condition)
    return [branches[truth][j] for j, truth in enumerate(condition)]


def _call(name, args):
    if name in ("max", "min") and len(args) > 1:
        return _each(lambda *numbers: _extreme(name, numbers), *args)
    if name == "clip":
        value, low, high = args
        return _call("min", [_call("max", [value, low]), high])
    if name in _FUNCTIONS:
        return _each(_real, _each(_FUNCTIONS[name], *args))
    (row,) = args
    if name == "size":
        return mpf(len(row))
    if name in ("sum", "mean"):
        return mpmath.fsum(row) / (len(row) if name == "mean" else 1)
    if name in ("max", "min"):
        return _extreme(name, row)
    if name == "norm":
        return mpmath.sqrt(mpmath.fsum(entry**2 for entry in row))
    if name == "sparsemax":
        return _projected(row)
    greatest = _extreme("max", row)
    total = mpmath.fsum(_exp(entry - greatest) for entry in row)
    logarithm = greatest + mpmath.log(total)
    if name == "logsumexp":
        return logarithm
    logs = [entry - logarithm for entry in row]
    return {"log_softmax": logs, "softmax": [_exp(entry) for entry in logs]}[name]


def _projected(row):
    """The nearest point of the simplex: the only one that is a shifted row without what is not positive."""
    for count in range(1, len(row) + 1):
        threshold = (mpmath.fsum(sorted(row, reverse=True)[:count]) - 1) / count
        found = [max(entry - threshold, mpf(0)) for entry in row]
        if abs(mpmath.fsum(found) - 1) < _CLOSE:
            return found
    raise Undefined


def _compared(relation, a, b):
    if isinstance(a, int) or isinstance(b, int):
        return relation(a, b)
    if not (mpmath.isfinite(a) and mpmath.isfinite(b)) or 0 < abs(a - b) < _CLOSE * max(abs(a), abs(b)):
        raise Undefined
    return relation(a, b)


def _extreme(name, numbers):
    if any(map(mpmath.isnan, numbers)):
        return mpmath.nan
    return max(numbers) if name == "max" else min(numbers)


def _exp(x, function=mpmath.exp):
    if mpmath.isfinite(x) and abs(x) > _BEYOND:
        raise Undefined
    return function(x)


def _power(base, exponent):
    if exponent == 0:
        return mpf(1)
    if mpmath.isfinite(base) and base != 0 and abs(exponent * mpmath.log(abs(base))) > _BEYOND:
        raise Undefined
    return _real(base**exponent)


def _real(value):
    # A branch that is not taken may be undefined; nan stays there and reaches a result only if it is used.
    return mpmath.nan if isinstance(value, mpmath.mpc) else value
