"""Machine code of the mean field: blur, and what a pixel does in an iteration. See wsss.refine.lattice.mean_field.

Columns come in fours, or as two of two labels each, so that a pixel's columns are one vector register.
"""

import numpy as np

from wsss.refine.lattice.compiled import compiled

_LOG2_E = np.float32(1.4426950408889634)
_LN_2 = np.float32(0.6931471805599453)
_HALVES = np.exp2(-np.arange(128)).astype(np.float32)
_TAYLOR = [np.float32(1 / n) for n in (720, 120, 24, 6, 2)]
_T6, _T5, _T4, _T3, _T2 = _TAYLOR
_HALF, _ONE = np.float32(0.5), np.float32(1)


@compiled
def blur(values, neighbour):  # type: ignore[no-untyped-def]
    """(M + 1, width) -> the same after half of both neighbours is added along each axis; the last row is 0."""
    last = values.shape[0] - 1
    width = values.shape[1]
    other = np.zeros_like(values)
    values = values.copy()
    for axis in range(neighbour.shape[0]):
        for i in range(last):
            a, b = neighbour[axis, i, 0], neighbour[axis, i, 1]
            if width == 2:
                other[i, 0] = values[i, 0] + _HALF * (values[a, 0] + values[b, 0])
                other[i, 1] = values[i, 1] + _HALF * (values[a, 1] + values[b, 1])
            else:
                for c in range(0, width, 4):
                    other[i, c] = values[i, c] + _HALF * (values[a, c] + values[b, c])
                    other[i, c + 1] = values[i, c + 1] + _HALF * (values[a, c + 1] + values[b, c + 1])
                    other[i, c + 2] = values[i, c + 2] + _HALF * (values[a, c + 2] + values[b, c + 2])
                    other[i, c + 3] = values[i, c + 3] + _HALF * (values[a, c + 3] + values[b, c + 3])
        values, other = other, values
    return values


@compiled
def scale_weights(vertex, weight, mass, gain, factor, ones):  # type: ignore[no-untyped-def]
    """weight *= factor / sqrt(F 1), with F 1 from the blurred mass in column 0; splats 1 with them into `ones`."""
    for i in range(vertex.shape[0]):
        total = np.float32(0)
        for k in range(vertex.shape[1]):
            total += weight[i, k] * mass[vertex[i, k], 0]
        scale = factor / np.sqrt(gain * total + np.float32(1e-20))
        for k in range(vertex.shape[1]):
            weight[i, k] *= scale
            ones[vertex[i, k], 0] += weight[i, k]


@compiled
def add_slice(vertex, weight, values, total):  # type: ignore[no-untyped-def]
    """total += slice of column 0."""
    for i in range(vertex.shape[0]):
        found = total[i]
        for k in range(vertex.shape[1]):
            found += weight[i, k] * values[vertex[i, k], 0]
        total[i] = found


@compiled
def _exp(x):  # type: ignore[no-untyped-def]
    """e^x for x <= 0, to 3e-7 of itself; 0 below -87."""
    if x < np.float32(-87):
        return np.float32(0)
    halves = np.int32(_HALF - x * _LOG2_E)
    rest = x + np.float32(halves) * _LN_2
    power = _ONE + rest * (_ONE + rest * (_T2 + rest * (_T3 + rest * (_T4 + rest * (_T5 + rest * _T6)))))
    return power * _HALVES[halves]


@compiled
def _sigmoid(x):  # type: ignore[no-untyped-def]
    small = _exp(-abs(x))
    return (_ONE if x >= 0 else small) / (_ONE + small)


@compiled
def binary_step(vertex_a, weight_a, vertex_b, weight_b, values_a, values_b, sums_a, sums_b, bias, total, labels, probs):  # type: ignore[no-untyped-def]
    """One iteration of two problems of two labels; see `step`."""
    for i in range(bias.shape[0]):
        first = second = np.float32(0)
        for k in range(vertex_a.shape[1]):
            at, weight = vertex_a[i, k], weight_a[i, k]
            first += weight * values_a[at, 0]
            second += weight * values_a[at, 1]
        for k in range(vertex_b.shape[1]):
            at, weight = vertex_b[i, k], weight_b[i, k]
            first += weight * values_b[at, 0]
            second += weight * values_b[at, 1]
        first = _sigmoid(bias[i, 0] + (first + first - total[i]))
        second = _sigmoid(bias[i, 1] + (second + second - total[i]))
        probs[i, 0], probs[i, 1] = first, second
        for k in range(vertex_a.shape[1]):
            at, weight = vertex_a[i, k], weight_a[i, k]
            sums_a[at, 0] += weight * first
            sums_a[at, 1] += weight * second
        for k in range(vertex_b.shape[1]):
            at, weight = vertex_b[i, k], weight_b[i, k]
            sums_b[at, 0] += weight * first
            sums_b[at, 1] += weight * second


@compiled
def step(vertex_a, weight_a, vertex_b, weight_b, values_a, values_b, sums_a, sums_b, bias, total, labels, probs):  # type: ignore[no-untyped-def]
    """One iteration: messages from blurred `values`, probabilities from them and `bias`, splatted into `sums`.

    Args:
        vertex_a, weight_a, vertex_b, weight_b: (N, d + 1) of the two lattices.
        values_a, values_b, sums_a, sums_b: (M + 1, width).
        bias: (N, width) energy of a problem's last label less that of each other.
        total: (N,) message of ones.
        labels: of a problem; it has labels - 1 columns.
        probs: (N, width), written.
    """
    row = np.zeros(bias.shape[1], np.float32)
    for i in range(bias.shape[0]):
        row[:] = 0
        _slice(vertex_a, weight_a, i, values_a, row)
        _slice(vertex_b, weight_b, i, values_b, row)
        for start in range(0, row.size - labels + 2, labels - 1):
            _softmax(row, bias, total, i, start, start + labels - 1)
        _splat(vertex_a, weight_a, i, row, sums_a)
        _splat(vertex_b, weight_b, i, row, sums_b)
        probs[i] = row


@compiled
def _slice(vertex, weight, i, values, row):  # type: ignore[no-untyped-def]
    for c in range(0, row.size, 4):
        r0, r1, r2, r3 = row[c], row[c + 1], row[c + 2], row[c + 3]
        for k in range(vertex.shape[1]):
            at, share = vertex[i, k], weight[i, k]
            r0 += share * values[at, c]
            r1 += share * values[at, c + 1]
            r2 += share * values[at, c + 2]
            r3 += share * values[at, c + 3]
        row[c], row[c + 1], row[c + 2], row[c + 3] = r0, r1, r2, r3


@compiled
def _splat(vertex, weight, i, row, sums):  # type: ignore[no-untyped-def]
    for c in range(0, row.size, 4):
        r0, r1, r2, r3 = row[c], row[c + 1], row[c + 2], row[c + 3]
        for k in range(vertex.shape[1]):
            at, share = vertex[i, k], weight[i, k]
            s0, s1, s2, s3 = sums[at, c], sums[at, c + 1], sums[at, c + 2], sums[at, c + 3]
            s0, s1, s2, s3 = s0 + share * r0, s1 + share * r1, s2 + share * r2, s3 + share * r3
            sums[at, c], sums[at, c + 1], sums[at, c + 2], sums[at, c + 3] = s0, s1, s2, s3


@compiled
def _softmax(row, bias, total, i, start, stop):  # type: ignore[no-untyped-def]
    """Messages -> probabilities of columns start .. stop - 1; the last label, which has no column, has energy 0."""
    last = total[i]
    for c in range(start, stop):
        last -= row[c]
    top = np.float32(0)
    for c in range(start, stop):
        row[c] += bias[i, c] - last
        top = max(top, row[c])
    sum_ = _exp(-top)
    for c in range(start, stop):
        row[c] = _exp(row[c] - top)
        sum_ += row[c]
    for c in range(start, stop):
        row[c] /= sum_
