"""Loops in vector registers that LLVM does not find by itself.

Scalar code in a plain loop is vectorised by LLVM, and nearly all of this library is that.  Three
things need to be spelled out: a long loop body of which several copies should be in flight at
once, sums whose error terms forbid LLVM to reorder them, and short rows, whose last few entries
it would do one at a time.

Each function stands here twice: as instructions, and as plain Python of the same meaning for
where Numba's compiler is switched off.
"""

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

from .special import overload, two_sum

LANES = 8  # doubles in a vector; LLVM splits it where registers are shorter

_bool, _int32, _index = ir.IntType(1), ir.IntType(32), ir.IntType(64)


# ---- what the instructions are made of ----------------------------------------------------


def _constant(kind, entries):
    return ir.Constant(ir.VectorType(kind, len(entries)), list(entries))


def _array(context, builder, kind, given):
    """Return the address of an array's entries and its shape."""
    from numba.np import arrayobj  # imports SciPy, which only a compiler needs

    array = arrayobj.make_array(kind)(context, builder, given)
    return array.data, cgutils.unpack_tuple(builder, array.shape)


def _spread(builder, entry, vector):
    """Return a vector of one entry in every lane."""
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), entry, ir.Constant(_int32, 0))
    return builder.shuffle_vector(first, first, _constant(_int32, [0] * LANES))


def _lanes_below(builder, bound):
    """Return a mask of the lanes whose number is less than a bound."""
    lanes = _constant(_index, range(LANES))
    return builder.icmp_signed("<", lanes, _spread(builder, bound, lanes.type))


def _masked(builder, verb, vector, *arguments):
    """Call LLVM's masked load or store of a vector."""
    pointer, mask = vector.as_pointer(), ir.VectorType(_bool, LANES)
    if verb == "load":
        kind = ir.FunctionType(vector, (pointer, _int32, mask, vector))
    else:
        kind = ir.FunctionType(ir.VoidType(), (vector, pointer, _int32, mask))
    name = f"llvm.masked.{verb}.v{LANES}f{8 * _bytes(vector.element)}.p0"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def _load(builder, vector, address, mask):
    """Return the vector at an address, 0 in the lanes outside the mask."""
    pointer, align = builder.bitcast(address, vector.as_pointer()), _bytes(vector.element)
    if mask is None:
        return builder.load(pointer, align=align)
    return _masked(builder, "load", vector, pointer, ir.Constant(_int32, align), mask, ir.Constant(vector, None))


def _store(builder, entries, address, mask):
    """Write the entries in the lanes of the mask."""
    pointer, align = builder.bitcast(address, entries.type.as_pointer()), _bytes(entries.type.element)
    if mask is None:
        builder.store(entries, pointer, align=align)
    else:
        _masked(builder, "store", entries.type, entries, pointer, ir.Constant(_int32, align), mask)


def _bytes(kind):
    return 8 if isinstance(kind, ir.DoubleType) else 4


def _two_sum(builder, a, b):
    s = builder.fadd(a, b)
    c = builder.fsub(s, a)
    return s, builder.fadd(builder.fsub(a, builder.fsub(s, c)), builder.fsub(b, c))


def _transposed(builder, rows):
    """Return eight vectors of eight, transposed."""
    for d in (4, 2, 1):
        keep = [lane if not lane & d else lane - d + LANES for lane in range(LANES)]
        swap = [lane + d if not lane & d else lane + LANES for lane in range(LANES)]
        after = list(rows)
        for i in range(LANES):
            if not i & d:
                pair = rows[i], rows[i + d]
                after[i] = builder.shuffle_vector(*pair, _constant(_int32, keep))
                after[i + d] = builder.shuffle_vector(*pair, _constant(_int32, swap))
        rows = after
    return rows


def _for_groups(builder, columns, body):
    """Call body(column, mask) for every eight columns, the last few of them with a mask."""
    step, zero = ir.Constant(_index, LANES), ir.Constant(_index, 0)
    whole = builder.and_(columns, ir.Constant(_index, -LANES))
    with cgutils.for_range_slice(builder, zero, whole, step, _index) as (column, _):
        body(column, None)
    with builder.if_then(builder.icmp_signed("<", whole, columns)):
        body(whole, _lanes_below(builder, builder.sub(columns, whole)))


# ---- the functions ------------------------------------------------------------------------


@intrinsic(prefer_literal=True)
def for_each(typing_context, count, body, arguments, copies):
    """Call body(i, *arguments) for every i < count, ``copies`` vectors of them in flight.

    Chains of dependent operations then fill the processor's pipes; ``copies`` is a power of two.
    """
    call = body.get_call_type(typing_context, (types.intp, *arguments.types), {})

    def emit(context, builder, signature, given):
        count, _, packed, _ = given
        function = context.get_function(body, call)
        before = builder.basic_block
        loop, after = builder.append_basic_block("each"), builder.append_basic_block("done")
        zero, one = ir.Constant(_index, 0), ir.Constant(_index, 1)
        unpacked = cgutils.unpack_tuple(builder, packed, len(arguments.types))
        builder.cbranch(builder.icmp_signed(">", count, zero), loop, after)
        builder.position_at_end(loop)
        i = builder.phi(_index)
        i.add_incoming(zero, before)
        function(builder, [i, *unpacked])
        following = builder.add(i, one, flags=["nsw"])
        i.add_incoming(following, builder.basic_block)
        latch = builder.cbranch(builder.icmp_signed("<", following, count), loop, after)
        latch.set_metadata("llvm.loop", _in_flight(builder.module, copies.literal_value))
        builder.position_at_end(after)
        return context.get_dummy_value()

    return types.void(count, body, arguments, copies), emit


def _in_flight(module, copies):
    """Return the metadata that asks LLVM for copies of a loop's body; a loop's node names itself first."""
    node = module.add_metadata([ir.MetaDataString(module, f"loop {len(module.metadata)}")])
    name = ir.MetaDataString(module, "llvm.loop.interleave.count")
    node.operands = (node, module.add_metadata([name, ir.Constant(_int32, copies)]))
    return node


@intrinsic
def lane_sums(typing_context, x):
    """Return Σ x as (sum, error), as if added with twice the digits.

    The eight sums and their errors stay in registers.  LLVM does not find this form by itself, the
    order has to be spelled out.
    """

    def emit(context, builder, signature, arguments):
        data, (count,) = _array(context, builder, signature.args[0], arguments[0])
        vector = ir.VectorType(ir.DoubleType(), LANES)
        sums = cgutils.alloca_once_value(builder, ir.Constant(vector, None))
        errors = cgutils.alloca_once_value(builder, ir.Constant(vector, None))

        def add(a, b):
            pair, lost = _two_sum(builder, a, b)
            s, error = _two_sum(builder, builder.load(sums), pair)
            builder.store(s, sums)
            builder.store(builder.fadd(builder.load(errors), builder.fadd(error, lost)), errors)

        pairs = builder.and_(count, ir.Constant(_index, -2 * LANES))
        start, step = ir.Constant(_index, 0), ir.Constant(_index, 2 * LANES)
        with cgutils.for_range_slice(builder, start, pairs, step, _index) as (k, _):
            pair = [builder.gep(data, [builder.add(k, ir.Constant(_index, d))]) for d in (0, LANES)]
            a, b = (builder.load(builder.bitcast(x, vector.as_pointer()), align=8) for x in pair)
            add(a, b)
        rest = builder.sub(count, pairs)
        with builder.if_then(builder.icmp_signed(">", rest, ir.Constant(_index, 0))):
            ends = [builder.add(pairs, ir.Constant(_index, d)) for d in (0, LANES)]
            masks = [_lanes_below(builder, builder.sub(count, end)) for end in ends]
            pair = [_load(builder, vector, builder.gep(data, [end]), mask) for end, mask in zip(ends, masks)]
            add(*pair)
        s, low = builder.load(sums), builder.load(errors)
        for half in (4, 2, 1):
            masks = [_constant(_int32, range(k, k + half)) for k in (0, half)]
            (s_left, s_right), (low_left, low_right) = (
                [builder.shuffle_vector(x, x, mask) for mask in masks] for x in (s, low)
            )
            s, error = _two_sum(builder, s_left, s_right)
            low = builder.fadd(builder.fadd(low_left, low_right), error)
        pair = [builder.extract_element(x, ir.Constant(_int32, 0)) for x in (s, low)]
        return context.make_tuple(builder, signature.return_type, pair)

    return types.UniTuple(types.float64, 2)(x), emit


@intrinsic
def row_sums(typing_context, x, sums, errors):
    """Set sums[r] + errors[r] to Σ_k x[r, k], nearly as if added with twice the digits.

    Eight rows at a time are transposed, eight columns at a time, and added in registers, so that
    rows of few entries cost no sum across a vector.  Faster than ``lane_sums`` below 64 columns.
    """

    def emit(context, builder, signature, arguments):
        source, (rows, columns) = _array(context, builder, signature.args[0], arguments[0])
        results = [_array(context, builder, *pair)[0] for pair in zip(signature.args[1:], arguments[1:], strict=True)]
        vector = ir.VectorType(ir.DoubleType(), LANES)
        step, zero, one = (ir.Constant(_index, i) for i in (LANES, 0, 1))
        total, low = (cgutils.alloca_once(builder, vector) for _ in range(2))
        last = builder.sub(rows, one)
        with cgutils.for_range_slice(builder, zero, rows, step, _index) as (row, _):
            builder.store(ir.Constant(vector, None), total)
            builder.store(ir.Constant(vector, None), low)
            here = [builder.add(row, ir.Constant(_index, i)) for i in range(LANES)]
            here = [builder.select(builder.icmp_signed("<", r, rows), r, last) for r in here]
            starts = [builder.gep(source, [builder.mul(r, columns)]) for r in here]

            def add(column, mask, starts=starts):
                entries = [_load(builder, vector, builder.gep(start, [column]), mask) for start in starts]
                entries = _transposed(builder, entries)
                s, errors = builder.load(total), builder.load(low)
                for pair in zip(entries[::2], entries[1::2], strict=True):
                    s, error = _two_sum(builder, s, builder.fadd(*pair))
                    errors = builder.fadd(errors, error)
                builder.store(s, total)
                builder.store(errors, low)

            _for_groups(builder, columns, add)
            mask = _lanes_below(builder, builder.sub(rows, row))
            for entries, result in zip((total, low), results, strict=True):
                _store(builder, builder.load(entries), builder.gep(result, [row]), mask)
        return context.get_dummy_value()

    return types.void(x, sums, errors), emit


def _widened(builder, entries):
    """Return a vector in float64."""
    wide = ir.VectorType(ir.DoubleType(), LANES)
    return entries if entries.type == wide else builder.fpext(entries, wide)


def _by_rows(formula):
    """Return an intrinsic that sets out[r, k] to formula(builder, x[r, k]'s and a[r]'s vectors, in order).

    Its arguments are arrays, rows of which have their last few entries worked on under a mask.
    """

    def emit(context, builder, signature, arguments):
        arrays = [(kind.ndim, *_array(context, builder, kind, x)) for kind, x in zip(signature.args, arguments)]
        *given, (_, target, (rows, columns)) = arrays
        out = ir.VectorType(target.type.pointee, LANES)
        with cgutils.for_range(builder, rows) as loop:
            start = builder.mul(loop.index, columns)
            shared = {}
            for i, (ndim, data, _) in enumerate(given):
                if ndim == 1:
                    entry = builder.load(builder.gep(data, [loop.index]))
                    shared[i] = _spread(builder, entry, ir.VectorType(ir.DoubleType(), LANES))

            def work(column, mask, start=start, shared=shared):
                here = builder.add(start, column)
                vectors = []
                for i, (ndim, data, _) in enumerate(given):
                    if ndim == 2:
                        kind = ir.VectorType(data.type.pointee, LANES)
                        entries = _widened(builder, _load(builder, kind, builder.gep(data, [here]), mask))
                    vectors.append(shared[i] if ndim == 1 else entries)
                entries = formula(builder, *vectors)
                entries = entries if out.element == ir.DoubleType() else builder.fptrunc(entries, out)
                _store(builder, entries, builder.gep(target, [here]), mask)

            _for_groups(builder, columns, work)
        return context.get_dummy_value()

    return emit


def _distances(builder, t, largest, z):
    nothing = ir.Constant(t.type, None)
    paid = builder.fmul(t, builder.fsub(largest, z))
    return builder.select(builder.fcmp_ordered("==", t, nothing), nothing, paid)


@intrinsic
def scale_rows(typing_context, x, factors, z):
    """Set z[r, k] to x[r, k] · factors[r], in the type of z."""
    return types.void(x, factors, z), _by_rows(lambda builder, x, a: builder.fmul(x, a))


@intrinsic
def subtract_rows(typing_context, x, factors, y, scales, z):
    """Set z[r, k] to (x[r, k] · factors[r] - y[r, k]) · scales[r], in the type of z; y may be one number a row."""
    formula = _by_rows(lambda builder, x, a, y, b: builder.fmul(builder.fsub(builder.fmul(x, a), y), b))
    return types.void(x, factors, y, scales, z), formula


@intrinsic
def distance_rows(typing_context, t, largest, z, paid):
    """Set paid[r, k] to t[r, k] · (largest[r] - z[r, k]), 0 where t is 0; t may be one number a row."""
    return types.void(t, largest, z, paid), _by_rows(_distances)


def by_layout(strided):
    """Give a function of one array a second body, for arrays whose entries do not lie side by side."""

    def decorate(function):
        def chosen(x):
            return function(x)

        @overload(chosen)
        def _(x):
            return (lambda x: function(x)) if x.layout == "C" else strided

        return chosen

    return decorate


def added_in_order(x):
    """Return Σ x as (sum, error), as if added with twice the digits."""
    total, low = 0.0, 0.0
    for k in range(x.size):
        total, error = two_sum(total, x[k])
        low += error
    return total, low


if config.DISABLE_JIT:

    def for_each(count, body, arguments, copies):
        for i in range(count):
            body(i, *arguments)

    lane_sums = added_in_order

    def row_sums(x, sums, errors):
        for r in range(len(x)):
            sums[r], errors[r] = lane_sums(x[r])

    def scale_rows(x, factors, z):
        z[:] = x * factors[: len(x), None]

    def subtract_rows(x, factors, y, scales, z):
        z[:] = (x * factors[: len(x), None] - y) * scales[: len(x), None]

    def distance_rows(t, largest, z, paid):
        paid[:] = np.where(t == 0, 0.0, t * (largest[: len(t), None] - z.astype(np.float64)))


sum_parts = by_layout(added_in_order)(lane_sums)
