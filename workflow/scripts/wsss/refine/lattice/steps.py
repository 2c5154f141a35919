"""Machine code of the mean field: blur, and what a pixel does in an iteration. See wsss.refine.lattice.mean_field.

One, two or four columns are filtered side by side. A lattice's values are flat, (M + 1) times the columns, the last row 0.
Lengths of inner loops are known when this is compiled, and indices are unsigned or begin at 0 (a negative one would count
from the end): each makes it faster by a third or more. Exponentials have loops of their own over blocks of pixels, of which
the compiler makes vector instructions.
"""

import numpy as np

from wsss.refine.lattice.compiled import compiled, inlined

_BLOCK = 256  # pixels
_LOG2_E = np.float32(1.4426950408889634)
_LN_2 = np.float32(0.6931471805599453)
_T6, _T5, _T4, _T3, _T2 = (np.float32(1 / n) for n in (720, 120, 24, 6, 2))  # Taylor's
_HALF, _ONE = np.float32(0.5), np.float32(1)
_U1, _U2, _U3, _U4 = (np.uint64(n) for n in (1, 2, 3, 4))


@compiled
def blur_one(values, other, neighbour):  # type: ignore[no-untyped-def]
    """Add half of both neighbours along each axis; both arrays are written over.

    The result is in `values` after an even number of axes, in `other` after an odd one.
    """
    for axis in range(neighbour.shape[0]):
        for i in range(values.size - 1):
            a, b = neighbour[axis, i, 0], neighbour[axis, i, 1]
            other[i] = values[i] + _HALF * (values[a] + values[b])
        values, other = other, values


@compiled
def blur_two(values, other, neighbour):  # type: ignore[no-untyped-def]
    """As `blur_one`."""
    for axis in range(neighbour.shape[0]):
        for i in range(values.size // 2 - 1):
            a, b = neighbour[axis, i, 0] * _U2, neighbour[axis, i, 1] * _U2
            v0 = values[2 * i] + _HALF * (values[a] + values[b])
            v1 = values[2 * i + 1] + _HALF * (values[a + _U1] + values[b + _U1])
            other[2 * i], other[2 * i + 1] = v0, v1
        values, other = other, values


@compiled
def blur_four(values, other, neighbour):  # type: ignore[no-untyped-def]
    """As `blur_one`."""
    for axis in range(neighbour.shape[0]):
        for i in range(values.size // 4 - 1):
            a, b = neighbour[axis, i, 0] * _U4, neighbour[axis, i, 1] * _U4
            v0 = values[4 * i] + _HALF * (values[a] + values[b])
            v1 = values[4 * i + 1] + _HALF * (values[a + _U1] + values[b + _U1])
            v2 = values[4 * i + 2] + _HALF * (values[a + _U2] + values[b + _U2])
            v3 = values[4 * i + 3] + _HALF * (values[a + _U3] + values[b + _U3])
            other[4 * i], other[4 * i + 1], other[4 * i + 2], other[4 * i + 3] = v0, v1, v2, v3
        values, other = other, values


@compiled
def scale_weights(vertex, weight, mass, gain, factor, ones):  # type: ignore[no-untyped-def]
    """weight *= factor / sqrt(F 1), with F 1 from the blurred mass; splats 1 with them into `ones`."""
    for i in range(vertex.shape[0]):
        total = np.float32(0)
        for k in range(vertex.shape[1]):
            total += weight[i, k] * mass[vertex[i, k]]
        scale = factor / np.sqrt(gain * total + np.float32(1e-20))
        for k in range(vertex.shape[1]):
            weight[i, k] *= scale
            ones[vertex[i, k]] += weight[i, k]


@compiled
def slice_ones(vertex, weight, values, total):  # type: ignore[no-untyped-def]
    """total, (N,) = slice of one column."""
    for i in range(vertex.shape[0]):
        found = np.float32(0)
        for k in range(vertex.shape[1]):
            found += weight[i, k] * values[vertex[i, k]]
        total[i] = found


@compiled
def slice_one(vertex_a, weight_a, vertex_b, weight_b, values_a, values_b, rows):  # type: ignore[no-untyped-def]
    """rows, (1, N) = slice of both lattices' values."""
    row_0 = rows[0]
    for i in range(vertex_a.shape[0]):
        r0 = np.float32(0)
        for k in range(3):
            at, share = vertex_a[i, k], weight_a[i, k]
            r0 += share * values_a[at]
        for k in range(6):
            at, share = vertex_b[i, k], weight_b[i, k]
            r0 += share * values_b[at]
        row_0[i] = r0


@compiled
def slice_two(vertex_a, weight_a, vertex_b, weight_b, values_a, values_b, rows):  # type: ignore[no-untyped-def]
    """As `slice_one`, into (2, N)."""
    row_0, row_1 = rows[0], rows[1]
    for i in range(vertex_a.shape[0]):
        r0 = r1 = np.float32(0)
        for k in range(3):
            at, share = vertex_a[i, k] * _U2, weight_a[i, k]
            r0 += share * values_a[at]
            r1 += share * values_a[at + _U1]
        for k in range(6):
            at, share = vertex_b[i, k] * _U2, weight_b[i, k]
            r0 += share * values_b[at]
            r1 += share * values_b[at + _U1]
        row_0[i], row_1[i] = r0, r1


@compiled
def slice_four(vertex_a, weight_a, vertex_b, weight_b, values_a, values_b, rows):  # type: ignore[no-untyped-def]
    """As `slice_one`, into (4, N)."""
    row_0, row_1, row_2, row_3 = rows[0], rows[1], rows[2], rows[3]
    for i in range(vertex_a.shape[0]):
        r0 = r1 = r2 = r3 = np.float32(0)
        for k in range(3):
            at, share = vertex_a[i, k] * _U4, weight_a[i, k]
            r0 += share * values_a[at]
            r1 += share * values_a[at + _U1]
            r2 += share * values_a[at + _U2]
            r3 += share * values_a[at + _U3]
        for k in range(6):
            at, share = vertex_b[i, k] * _U4, weight_b[i, k]
            r0 += share * values_b[at]
            r1 += share * values_b[at + _U1]
            r2 += share * values_b[at + _U2]
            r3 += share * values_b[at + _U3]
        row_0[i], row_1[i], row_2[i], row_3[i] = r0, r1, r2, r3


@compiled
def splat_one(vertex_a, weight_a, vertex_b, weight_b, sums_a, sums_b, rows):  # type: ignore[no-untyped-def]
    """Both lattices' sums += splat of rows, (1, N)."""
    row_0 = rows[0]
    for i in range(vertex_a.shape[0]):
        r0 = row_0[i]
        for k in range(3):
            at, share = vertex_a[i, k], weight_a[i, k]
            sums_a[at] += share * r0
        for k in range(6):
            at, share = vertex_b[i, k], weight_b[i, k]
            sums_b[at] += share * r0


@compiled
def splat_two(vertex_a, weight_a, vertex_b, weight_b, sums_a, sums_b, rows):  # type: ignore[no-untyped-def]
    """As `splat_one`, of (2, N)."""
    row_0, row_1 = rows[0], rows[1]
    for i in range(vertex_a.shape[0]):
        r0, r1 = row_0[i], row_1[i]
        for k in range(3):
            at, share = vertex_a[i, k] * _U2, weight_a[i, k]
            sums_a[at] += share * r0
            sums_a[at + _U1] += share * r1
        for k in range(6):
            at, share = vertex_b[i, k] * _U2, weight_b[i, k]
            sums_b[at] += share * r0
            sums_b[at + _U1] += share * r1


@compiled
def splat_four(vertex_a, weight_a, vertex_b, weight_b, sums_a, sums_b, rows):  # type: ignore[no-untyped-def]
    """As `splat_one`, of (4, N)."""
    row_0, row_1, row_2, row_3 = rows[0], rows[1], rows[2], rows[3]
    for i in range(vertex_a.shape[0]):
        r0, r1, r2, r3 = row_0[i], row_1[i], row_2[i], row_3[i]
        for k in range(3):
            at, share = vertex_a[i, k] * _U4, weight_a[i, k]
            s0, s1, s2, s3 = sums_a[at], sums_a[at + _U1], sums_a[at + _U2], sums_a[at + _U3]
            s0, s1, s2, s3 = s0 + share * r0, s1 + share * r1, s2 + share * r2, s3 + share * r3
            sums_a[at], sums_a[at + _U1], sums_a[at + _U2], sums_a[at + _U3] = s0, s1, s2, s3
        for k in range(6):
            at, share = vertex_b[i, k] * _U4, weight_b[i, k]
            s0, s1, s2, s3 = sums_b[at], sums_b[at + _U1], sums_b[at + _U2], sums_b[at + _U3]
            s0, s1, s2, s3 = s0 + share * r0, s1 + share * r1, s2 + share * r2, s3 + share * r3
            sums_b[at], sums_b[at + _U1], sums_b[at + _U2], sums_b[at + _U3] = s0, s1, s2, s3


@inlined
def _exp(x):  # type: ignore[no-untyped-def]
    """e^x for x <= 0, to 3e-7 of itself; not below e^-87."""
    x = max(x, np.float32(-87))
    halves = np.int32(_HALF - x * _LOG2_E)
    rest = x + np.float32(halves) * _LN_2
    power = _ONE + rest * (_ONE + rest * (_T2 + rest * (_T3 + rest * (_T4 + rest * (_T5 + rest * _T6)))))
    return power * np.int32((np.int32(127) - halves) << np.int32(23)).view(np.float32)


@compiled
def softmax(rows, bias, total, labels):  # type: ignore[no-untyped-def]
    """Messages -> probabilities, in place.

    Args:
        rows: (columns, N); each problem has `labels` - 1 of them, for its last label has none.
        bias: (columns or fewer, N) energy of a problem's last label less that of the column's.
        total: (N,) message of ones.
    """
    work = np.empty((3, _BLOCK), np.float32)
    for start in range(0, total.size, _BLOCK):
        for first in range(0, bias.shape[0], labels - 1):
            _softmax_block(rows, bias, total[start : start + _BLOCK], first, first + labels - 1, start, work)


@compiled
def _softmax_block(rows, bias, ones, first, end, start, work):  # type: ignore[no-untyped-def]
    """`softmax` of the problem in rows first .. end - 1, for at most _BLOCK pixels from `start` on."""
    stop = start + ones.size
    last, top, whole = work[0, : ones.size], work[1, : ones.size], work[2, : ones.size]
    for i in range(ones.size):
        last[i], top[i] = ones[i], np.float32(0)
    for c in range(first, end):
        row = rows[c, start:stop]
        for i in range(row.size):
            last[i] -= row[i]
    for c in range(first, end):
        row, energy = rows[c, start:stop], bias[c, start:stop]
        for i in range(row.size):
            row[i] += energy[i] - last[i]
        for i in range(row.size):
            top[i] = max(top[i], row[i])
    for i in range(ones.size):
        whole[i] = _exp(-top[i])
    for c in range(first, end):
        row = rows[c, start:stop]
        for i in range(row.size):
            row[i] = _exp(row[i] - top[i])
        for i in range(row.size):
            whole[i] += row[i]
    for c in range(first, end):
        row = rows[c, start:stop]
        for i in range(row.size):
            row[i] /= whole[i]
