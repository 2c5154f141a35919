"""Machine code of the mean field: blur, and what a pixel does in an iteration. See wsss.refine.lattice.mean_field.

Columns come in fours, or in twos where two problems have two labels each: loops over single columns that are known
when this is compiled are several times faster than loops over any number.
"""

import numpy as np

from wsss.refine.lattice.compiled import compiled

_LOG2_E = np.float32(1.4426950408889634)
_LN_2 = np.float32(0.6931471805599453)
NEVER = np.float32(-1e30)  # an energy that leaves no probability
_HALVES = np.exp2(-np.arange(128)).astype(np.float32)
_T6, _T5, _T4, _T3, _T2 = (np.float32(1 / n) for n in (720, 120, 24, 6, 2))  # Taylor's
_HALF, _ONE = np.float32(0.5), np.float32(1)


@compiled
def blur(values, neighbour):  # type: ignore[no-untyped-def]
    """(M + 1, 2 or 4) -> the same after half of both neighbours is added along each axis; the last row is 0."""
    last = values.shape[0] - 1
    other = np.zeros_like(values)
    values = values.copy()
    for axis in range(neighbour.shape[0]):
        for i in range(last):
            a, b = neighbour[axis, i, 0], neighbour[axis, i, 1]
            for c in (0, 1):
                other[i, c] = values[i, c] + _HALF * (values[a, c] + values[b, c])
            if values.shape[1] == 4:
                for c in (2, 3):
                    other[i, c] = values[i, c] + _HALF * (values[a, c] + values[b, c])
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
def binary_step(vertex_a, weight_a, vertex_b, weight_b, values_a, values_b, sums_a, sums_b, bias, total, probs):  # type: ignore[no-untyped-def]
    """One iteration of two problems of two labels: messages from blurred `values`, probabilities, splatted into `sums`.

    Args:
        vertex_a, weight_a, vertex_b, weight_b: (N, d + 1) of the two lattices.
        values_a, values_b, sums_a, sums_b: (M + 1, 2).
        bias: (N, 2) energy of each problem's second label less that of its first.
        total: (N,) message of ones.
        probs: (N, 2) of the first labels, written.
    """
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
def slice_four(vertex, weight, values, rows, start, keep):  # type: ignore[no-untyped-def]
    """rows[:, start : start + 4] = keep * rows + slice of values, (M + 1, 4)."""
    for i in range(vertex.shape[0]):
        r0 = r1 = r2 = r3 = np.float32(0)
        for k in range(vertex.shape[1]):
            at, share = vertex[i, k], weight[i, k]
            r0 += share * values[at, 0]
            r1 += share * values[at, 1]
            r2 += share * values[at, 2]
            r3 += share * values[at, 3]
        row = rows[i, start : start + 4]
        row[0], row[1], row[2], row[3] = keep * row[0] + r0, keep * row[1] + r1, keep * row[2] + r2, keep * row[3] + r3


@compiled
def splat_four(vertex, weight, rows, start, sums):  # type: ignore[no-untyped-def]
    """sums, (M + 1, 4), += splat of rows[:, start : start + 4]."""
    for i in range(vertex.shape[0]):
        row = rows[i, start : start + 4]
        r0, r1, r2, r3 = row[0], row[1], row[2], row[3]
        for k in range(vertex.shape[1]):
            at, share = vertex[i, k], weight[i, k]
            s0, s1, s2, s3 = sums[at, 0], sums[at, 1], sums[at, 2], sums[at, 3]
            s0, s1, s2, s3 = s0 + share * r0, s1 + share * r1, s2 + share * r2, s3 + share * r3
            sums[at, 0], sums[at, 1], sums[at, 2], sums[at, 3] = s0, s1, s2, s3


@compiled
def softmax(rows, bias, total):  # type: ignore[no-untyped-def]
    """Messages (N, width) -> probabilities, in place; `bias` and `total` as in `binary_step`.

    A problem's last label has no column and counts as energy 0; columns beyond the others have a bias of NEVER.
    """
    width = rows.shape[1]
    for i in range(rows.shape[0]):
        last = total[i]
        for c in range(width):
            last -= rows[i, c]
        top = np.float32(0)
        for c in range(width):
            rows[i, c] += bias[i, c] - last
            top = max(top, rows[i, c])
        whole = _exp(-top)
        for c in range(width):
            rows[i, c] = _exp(rows[i, c] - top)
            whole += rows[i, c]
        share = _ONE / whole
        for c in range(width):
            rows[i, c] *= share
