# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
"""Triton kernels for the signals of a step: all layers, heads and sequences of a step in a handful of launches.

Eager decoding waits for the host, which needs some microseconds per launch; so a step's numbers must not cost a launch
per layer. What the layers have left is scattered in memory: the kernels find it through a table of addresses, shapes
and strides that one copy per step brings to the device. Everything is written where it belongs in the signal row.

All arithmetic is float32, products of half-precision numbers are exact, sums are in another order than torch's. Sums
over keys, tokens and splits are joined as in online softmax (Milakov and Gimelshein 2018, arXiv 1805.02867): each part
keeps its maximum m, total = sum e and weighted = sum e z with z = score - m, e = exp z.

Nothing here decides what is measured: see `kernel_launches`. Definitions: see `capture/definitions/`.
"""

import triton
import triton.language as tl

from ..definitions import attention_weights
from ..definitions.logits import TOPK_MASS_TOKENS
from ..row import layout

_LN2 = tl.constexpr(0.6931471805599453)
_INF = tl.constexpr(float("inf"))
_LOWEST = tl.constexpr(-200.0)  # exp(-200) is 0 in float32, and 0 * -200 is 0

SINK_KEYS = tl.constexpr(attention_weights.SINK_KEYS)
COLLAPSED_KEYS = tl.constexpr(attention_weights.COLLAPSED_KEYS)
COLLAPSED_ENTROPY = tl.constexpr(attention_weights.COLLAPSED_ENTROPY)
FOCUSED_WEIGHT = tl.constexpr(attention_weights.FOCUSED_WEIGHT)

TOP = tl.constexpr(TOPK_MASS_TOKENS)

# --- where numbers are in the row -------------------------------------------------------------------------------------

_LOGITS = dict(layout.LOGITS)
ENTROPY = tl.constexpr(_LOGITS.pop("entropy"))
SURPRISAL = tl.constexpr(_LOGITS.pop("surprisal"))
MARGIN = tl.constexpr(_LOGITS.pop("margin"))
TOP1_PROB = tl.constexpr(_LOGITS.pop("top1_prob"))
TOPK_MASS = tl.constexpr(_LOGITS.pop("topk_mass"))
LOGITS_NAN = tl.constexpr(_LOGITS.pop("logits_nan"))
LOGITS_POSINF = tl.constexpr(_LOGITS.pop("logits_posinf"))
LOGITS_NEGINF = tl.constexpr(_LOGITS.pop("logits_neginf"))
TOKEN = tl.constexpr(layout.TOKEN)
DONE = tl.constexpr(layout.DONE)
LOGIT_WIDTH = tl.constexpr(layout.LOGIT_WIDTH)

_HIDDEN = layout.offsets("hidden")
HIDDEN_NUMBERS = tl.constexpr(len(_HIDDEN))
HIDDEN_MEAN = tl.constexpr(_HIDDEN.pop("hidden_mean"))
HIDDEN_STD = tl.constexpr(_HIDDEN.pop("hidden_std"))
HIDDEN_L2_NORM = tl.constexpr(_HIDDEN.pop("hidden_l2_norm"))
HIDDEN_MAX_ABS = tl.constexpr(_HIDDEN.pop("hidden_max_abs"))
HIDDEN_NAN = tl.constexpr(_HIDDEN.pop("hidden_nan"))
HIDDEN_INF = tl.constexpr(_HIDDEN.pop("hidden_inf"))
LAYER_TRANSFORMATION = tl.constexpr(_HIDDEN.pop("layer_transformation"))
_OF_STEP = layout.step_offsets("hidden")
HIDDEN_COSINE = tl.constexpr(HIDDEN_NUMBERS.value + _OF_STEP.pop("hidden_cosine"))
"""Behind the beginning of the last layer's numbers."""

_SELF = layout.offsets("attention")
ATTENTION_ENTROPY = tl.constexpr(_SELF.pop("attention_entropy"))
ATTENTION_ENTROPY_STD = tl.constexpr(_SELF.pop("attention_entropy_std"))
ATTENTION_ENTROPY_MIN = tl.constexpr(_SELF.pop("attention_entropy_min"))
ATTENTION_ENTROPY_MAX = tl.constexpr(_SELF.pop("attention_entropy_max"))
ATTENTION_MAX_WEIGHT = tl.constexpr(_SELF.pop("attention_max_weight"))
ATTENTION_MAX_WEIGHT_MAX = tl.constexpr(_SELF.pop("attention_max_weight_max"))
COLLAPSED_HEAD_RATE = tl.constexpr(_SELF.pop("collapsed_head_rate"))
FOCUSED_HEAD_RATE = tl.constexpr(_SELF.pop("focused_head_rate"))
ATTENTION_MASS_SINK = tl.constexpr(_SELF.pop("attention_mass_sink"))
ATTENTION_MASS_PROMPT = tl.constexpr(_SELF.pop("attention_mass_prompt"))
ATTENTION_MASS_GENERATED = tl.constexpr(_SELF.pop("attention_mass_generated"))
ATTENTION_MIDDLE = tl.constexpr(_SELF.pop("attention_middle"))
ATTENTION_PREVIOUS = tl.constexpr(_SELF.pop("attention_previous"))

_CROSS = layout.offsets("cross")
CROSS_ENTROPY = tl.constexpr(_CROSS.pop("cross_attention_entropy"))
CROSS_ENTROPY_STD = tl.constexpr(_CROSS.pop("cross_attention_entropy_std"))
CROSS_ENTROPY_MIN = tl.constexpr(_CROSS.pop("cross_attention_entropy_min"))
CROSS_ENTROPY_MAX = tl.constexpr(_CROSS.pop("cross_attention_entropy_max"))
CROSS_MAX_WEIGHT = tl.constexpr(_CROSS.pop("cross_attention_max_weight"))
CROSS_MAX_WEIGHT_MAX = tl.constexpr(_CROSS.pop("cross_attention_max_weight_max"))

_HEADS = layout.offsets("heads")
ATTENTION_PREVIOUS_HEADS = tl.constexpr(_HEADS.pop("attention_previous_heads"))

_OF_STEP |= layout.step_offsets("attention") | layout.step_offsets("cross") | layout.step_offsets("heads")
UNWRITTEN = frozenset({**_LOGITS, **_HIDDEN, **_SELF, **_CROSS, **_HEADS, **_OF_STEP})
"""Signals of these families for which no place was asked above: none of the kernels writes them."""

# --- where numbers are in scratch memory ------------------------------------------------------------------------------

PART_MAXIMUM, PART_TOTAL, PART_WEIGHTED = (tl.constexpr(at) for at in range(3))
"""Of every split, of logits and of an attention row."""
PART_NAN, PART_POSINF, PART_NEGINF, PART_LARGEST = (tl.constexpr(at) for at in range(3, 7))
"""Of a row of logits: the counts, and the first of the largest."""
LOGIT_PARTS = tl.constexpr(6 + TOPK_MASS_TOKENS)
"""Numbers per split of a row of logits."""
PART_REST, PART_REST_WEIGHTED, PART_GENERATED, PART_MIDDLE, PART_PREVIOUS = (tl.constexpr(at) for at in range(3, 8))
"""Of an attention row: total and weighted without the sink keys; the masses of the generated keys, of the prompt's
middle third and of the previous key."""
ATTENTION_PARTS = tl.constexpr(8)
"""Numbers per split of an attention row."""
PLACE_NUMBERS, PLACE_BY_HEAD, PLACE_SINKS = (tl.constexpr(at) for at in range(3))
"""Where in the row an attention's numbers go, where those of its heads go, and the address of its learned sinks."""
PLACES = tl.constexpr(3)


@triton.jit
def _shift(top):
    """Return what scores are reduced by: their maximum, or 0 where there is none."""
    return tl.where(top == -_INF, 0.0, top)


@triton.jit
def _down(top, shift):
    """Return top - shift, finite also for a part without scores, whose sums are 0."""
    down = top - shift
    return tl.where(down < _LOWEST, _LOWEST, down)


@triton.jit
def _factor(top, shift):
    """Return what a part's sums are multiplied with when they are joined under another maximum."""
    return tl.where(top == -_INF, 0.0, tl.exp(top - shift))


# --- hidden states ----------------------------------------------------------------------------------------------------


@triton.jit
def _unit(x):
    return x / tl.sqrt(tl.sum(x * x, 0))


@triton.jit
def hidden_kernel(
    table,
    addresses,
    size,
    row,
    row_stride,
    start,
    last,
    last_layer,
    continues,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    DTYPE: tl.constexpr,
    MORE: tl.constexpr,
):
    """Write statistics and transformation of one layer and sequence, and the last layer's cosine with the last step.

    Grid: layers, sequences.

    Args:
        table: int64 [size], on the host; the first [layers] are addresses of contiguous [sequences, WIDTH].
        addresses: int64 [size], on the device: the table is copied there for the kernels that follow.
        size: of the table; at most MORE.
        row: float32 [sequences, ...], with `row_stride` between sequences; from `start` the block of hidden states.
        last: float32 [sequences, WIDTH], the last layer's state of the step before.
        last_layer: position of the model's last layer in the table; -1 if it is not there.
        continues: 1 if `last` holds a state.
    """
    layer, layers, sequence = tl.program_id(0), tl.num_programs(0), tl.program_id(1).to(tl.int64)
    if MORE > 0:  # noqa: SIM102 - the first condition is known when the kernel is compiled
        if (layer == 0) & (sequence == 0):
            entry = tl.arange(0, MORE)
            tl.store(addresses + entry, tl.load(table + entry, mask=entry < size, other=0), mask=entry < size)
    at = tl.arange(0, PADDED)
    held = at < WIDTH
    base = tl.load(table + layer).to(tl.pointer_type(DTYPE)) + sequence * WIDTH
    x = tl.load(base + at, mask=held, other=0.0).to(tl.float32)

    mean = tl.sum(x, 0) / WIDTH
    apart = tl.where(held, x - mean, 0.0)
    nan = tl.sum((x != x).to(tl.float32), 0)
    largest = tl.max(tl.where(x != x, 0.0, tl.abs(x)), 0)
    out = row + sequence * row_stride + start + layer * HIDDEN_NUMBERS
    tl.store(out + HIDDEN_MEAN, mean)
    tl.store(out + HIDDEN_STD, tl.sqrt(tl.sum(apart * apart, 0) / WIDTH))
    tl.store(out + HIDDEN_L2_NORM, tl.sqrt(tl.sum(x * x, 0)))
    tl.store(out + HIDDEN_MAX_ABS, tl.where(nan > 0, float("nan"), largest))
    tl.store(out + HIDDEN_NAN, nan)
    tl.store(out + HIDDEN_INF, tl.sum((tl.abs(x) == _INF).to(tl.float32), 0))

    transformation = float("nan")
    if layer > 0:
        before = tl.load(table + layer - 1).to(tl.pointer_type(DTYPE)) + sequence * WIDTH
        y = tl.load(before + at, mask=held, other=0.0).to(tl.float32)
        transformation = 1.0 - tl.sum(_unit(x) * _unit(y), 0)
    tl.store(out + LAYER_TRANSFORMATION, transformation)

    if layer == layers - 1:
        cosine = float("nan")
        state = last + sequence * WIDTH + at
        if layer == last_layer:
            if continues == 1:
                cosine = tl.sum(_unit(x) * _unit(tl.load(state, mask=held, other=0.0)), 0)
            tl.store(state, x, mask=held)
        tl.store(out + HIDDEN_COSINE, cosine)


# --- logits -----------------------------------------------------------------------------------------------------------


@triton.jit
def logits_parts_kernel(
    logits,
    stride,
    copy,
    parts,
    ids,
    vocabulary,
    COPY: tl.constexpr,
    BLOCK: tl.constexpr,
    ALTERNATIVES: tl.constexpr,
):
    """Reduce one split of one row of logits.

    Grid: splits, rows.

    Args:
        logits: [rows, vocabulary], with `stride` between rows.
        copy: float32 [rows, vocabulary], where the logits are copied to if COPY.
        parts: float32 [rows, splits, 16].
        ids: float32 [rows, splits, ALTERNATIVES], of the split's likeliest tokens.
    """
    split, row = tl.program_id(0), tl.program_id(1).to(tl.int64)
    at = split * BLOCK + tl.arange(0, BLOCK)
    held = at < vocabulary
    x = tl.load(logits + row * stride + at, mask=held, other=-_INF).to(tl.float32)
    if COPY:
        tl.store(copy + row * vocabulary + at, x, mask=held)
    out = parts + (row * tl.num_programs(0) + split) * LOGIT_PARTS
    tl.store(out + PART_NAN, tl.sum((x != x).to(tl.float32), 0))
    tl.store(out + PART_POSINF, tl.sum((x == _INF).to(tl.float32), 0))
    tl.store(out + PART_NEGINF, tl.sum(((x == -_INF) & held).to(tl.float32), 0))
    x = tl.where(x != x, -_INF, x)  # the row has no signals any more; keep the order of the rest defined
    top = tl.max(x, 0)
    shift = _shift(top)
    z = x - shift
    z = tl.where(z < _LOWEST, _LOWEST, z)
    e = tl.exp(z)
    tl.store(out + PART_MAXIMUM, top)
    tl.store(out + PART_TOTAL, tl.sum(e, 0))
    tl.store(out + PART_WEIGHTED, tl.sum(e * z, 0))
    for rank in tl.static_range(TOP):
        best, place = tl.max(x, 0, return_indices=True)
        tl.store(out + PART_LARGEST + rank, best)
        if rank < ALTERNATIVES:
            token = (split * BLOCK + place).to(tl.float32)
            tl.store(ids + (row * tl.num_programs(0) + split) * ALTERNATIVES + rank, token)
        x = tl.where(tl.arange(0, BLOCK) == place, -_INF, x)


@triton.jit(do_not_specialize=["token_stride", "width"], do_not_specialize_on_alignment=["tokens", "done"])
def logits_row_kernel(
    parts,
    ids,
    splits,
    logits,
    stride,
    tokens,
    token_stride,
    done,
    internals,
    internals_stride,
    row,
    width,
    PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
    ALTERNATIVES: tl.constexpr,
):
    """Join the splits of one row of logits; write its signals, the chosen token and whether its sequence is done.

    What the other kernels have made of the step is copied behind them, so that the row is whole.

    Grid: rows.

    Args:
        parts: float32 [rows, splits, 16].
        ids: float32 [rows, splits, ALTERNATIVES], of the likeliest tokens of each split; of equal ones the first.
        logits: raw logits [rows, vocabulary], with `stride` between rows.
        tokens: int64 [rows], with `token_stride` between rows.
        done: bool [rows].
        internals: float32 [rows, ...], with `internals_stride` between rows: all but its logits are copied.
        row: float32 [rows, width], on the host.
    """
    index = tl.program_id(0).to(tl.int64)
    split = tl.arange(0, PADDED)
    held = split < splits
    base = parts + (index * splits + split) * LOGIT_PARTS
    tops = tl.load(base + PART_MAXIMUM, mask=held, other=-_INF)
    totals = tl.load(base + PART_TOTAL, mask=held, other=0.0)
    weighteds = tl.load(base + PART_WEIGHTED, mask=held, other=0.0)
    nan = tl.sum(tl.load(base + PART_NAN, mask=held, other=0.0), 0)
    posinf = tl.sum(tl.load(base + PART_POSINF, mask=held, other=0.0), 0)
    neginf = tl.sum(tl.load(base + PART_NEGINF, mask=held, other=0.0), 0)
    top = tl.max(tops, 0)
    shift = _shift(top)
    factor = _factor(tops, shift)
    total = tl.sum(totals * factor, 0)
    weighted = tl.sum((weighteds + totals * _down(tops, shift)) * factor, 0)
    log_total = tl.where((nan > 0) | (posinf > 0) | (top == -_INF), float("nan"), tl.log(total))

    column = tl.arange(0, LOGIT_PARTS)
    ranked = base[:, None] + PART_LARGEST + column[None, :]
    largest = tl.load(ranked, mask=held[:, None] & (column[None, :] < TOP), other=-_INF)
    largest = tl.reshape(largest, [PADDED * LOGIT_PARTS])
    mass = 0.0
    second = -_INF
    out = row + index * width
    for rank in tl.static_range(TOP):
        best, place = tl.max(largest, 0, return_indices=True)
        mass += tl.exp(best - shift)
        if rank == 1:
            second = best
        if rank < ALTERNATIVES:
            where = (index * splits + place // LOGIT_PARTS) * ALTERNATIVES + place % LOGIT_PARTS
            tl.store(out + LOGIT_WIDTH + rank, shift - best)
            tl.store(out + LOGIT_WIDTH + ALTERNATIVES + rank, tl.load(ids + where))
        largest = tl.where(tl.arange(0, PADDED * LOGIT_PARTS) == place, -_INF, largest)

    nothing = 0.0 * log_total  # NaN where there is no distribution
    top1 = 1.0 / total
    entropy = (log_total - weighted / total) / _LN2
    mass = mass * top1
    tl.store(out + ENTROPY, tl.where(entropy < 0.0, 0.0, entropy))
    tl.store(out + MARGIN, (1.0 - tl.exp(second - shift)) * top1 + nothing)
    tl.store(out + TOP1_PROB, top1 + nothing)
    tl.store(out + TOPK_MASS, tl.where(mass > 1.0, 1.0, mass) + nothing)
    tl.store(out + LOGITS_NAN, nan)
    tl.store(out + LOGITS_POSINF, posinf)
    tl.store(out + LOGITS_NEGINF, neginf)

    token = tl.load(tokens + index * token_stride)
    within = (token >= 0) & (token < stride)  # a sequence that is over is padded with whatever its caller likes
    x = tl.load(logits + index * stride + token, mask=within, other=float("nan")).to(tl.float32)
    impossible = (x == -_INF) & (log_total == log_total)
    tl.store(out + SURPRISAL, tl.where(impossible, _INF, (log_total - (x - shift)) / _LN2))
    tl.store(out + TOKEN, token.to(tl.float32))
    tl.store(out + DONE, (tl.load(done + index) != 0).to(tl.float32))
    for start in range(LOGIT_WIDTH + 2 * ALTERNATIVES, width, BLOCK):
        at = start + tl.arange(0, BLOCK)
        tl.store(
            out + at, tl.load(internals + index * internals_stride + at, mask=at < width, other=0.0), mask=at < width
        )


# --- attention --------------------------------------------------------------------------------------------------------


@triton.jit(do_not_specialize=["stride", "key_stride", "keys"], do_not_specialize_on_alignment=["visible"])
def ranks_kernel(visible, stride, key_stride, ranks, seen, keys, BLOCK: tl.constexpr):
    """Count visible keys: write each one's rank from 1, 0 for one that is not visible, and how many there are.

    Grid: sequences.

    Args:
        visible: bool [sequences, keys], with `stride` and `key_stride`.
        ranks: int32 [sequences, keys].
        seen: int32 [sequences].
    """
    sequence = tl.program_id(0).to(tl.int64)
    counted = 0
    for start in range(0, keys, BLOCK):
        at = start + tl.arange(0, BLOCK)
        held = at < keys
        sees = (tl.load(visible + sequence * stride + at * key_stride, mask=held, other=0) != 0).to(tl.int32)
        rank = counted + tl.cumsum(sees, 0)
        tl.store(ranks + sequence * keys + at, rank * sees, mask=held)
        counted += tl.sum(sees, 0)
    tl.store(seen + sequence, counted)


@triton.jit(
    do_not_specialize=[
        "query_sequences",
        "query_heads",
        "key_sequences",
        "key_heads",
        "key_positions",
        "count",
        "generated",
    ]
)
def attention_parts_kernel(
    table,
    parts,
    scale,
    softcap,
    sequences,
    shared,
    query_sequences,
    query_heads,
    key_sequences,
    key_heads,
    key_positions,
    count,
    generated,
    ranks,
    numbers_seen,
    GROUP: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
    DTYPE: tl.constexpr,
    SOFTCAP: tl.constexpr,
    RANKED: tl.constexpr,
    ALIGNED: tl.constexpr,
    WIDEN: tl.constexpr,
):
    """Reduce one split of the keys for the GROUP query heads that share them, of one layer and sequence.

    Grid: layers x sequences x heads of keys, splits.

    Args:
        table: int64 [2, layers], addresses of the last queries and of the keys.
        parts: float32 [layers, sequences, heads, splits, 8].
        scale, softcap: the scores are scale q.k, then softcap tanh(score / softcap).
        shared: heads of keys.
        query_sequences, query_heads: strides of the queries.
        key_sequences, key_heads, key_positions: strides of the keys.
        count: keys.
        generated: tokens generated before; their keys are the last ones.
        ranks, numbers_seen: see `ranks_kernel`; read if RANKED, else every key is visible.
        ALIGNED: whether keys begin at multiples of 16 bytes and their strides are multiples of 16.
        WIDEN: whether half precision is widened before it is multiplied; for Triton's interpreter, which cannot.
    """
    program, split, splits = tl.program_id(0), tl.program_id(1), tl.num_programs(1)
    head = program % shared
    sequence = (program // shared) % sequences
    layer = program // (shared * sequences)
    layers = tl.num_programs(0) // (shared * sequences)
    wide = sequence.to(tl.int64)
    query = tl.load(table + layer).to(tl.pointer_type(DTYPE)) + wide * query_sequences
    keys = tl.load(table + layers + layer).to(tl.pointer_type(DTYPE))
    keys += wide * key_sequences + head.to(tl.int64) * key_heads
    if ALIGNED:
        keys = tl.multiple_of(keys, 16)
        key_positions = tl.multiple_of(key_positions, 16)
    seen = count
    if RANKED:
        seen = tl.load(numbers_seen + sequence)
    prompt = tl.maximum(seen - generated, 0)
    third = prompt // 3

    lane = tl.arange(0, ROWS)
    dimension = tl.arange(0, PADDED)
    q = tl.load(
        query + (head * GROUP + lane)[:, None] * query_heads + dimension[None, :],
        mask=(lane < GROUP)[:, None] & (dimension < WIDTH)[None, :],
        other=0.0,
    )
    if WIDEN:
        q = q.to(tl.float32)
    top = tl.full([ROWS], -_INF, tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    weighted = tl.zeros([ROWS], tl.float32)
    rest = tl.zeros([ROWS], tl.float32)
    rest_weighted = tl.zeros([ROWS], tl.float32)
    generated = tl.zeros([ROWS], tl.float32)
    middle = tl.zeros([ROWS], tl.float32)
    previous = tl.zeros([ROWS], tl.float32)

    chunk = tl.cdiv(tl.cdiv(count, BLOCK), splits) * BLOCK
    end = tl.minimum((split + 1) * chunk, count)
    for start in range(split * chunk, end, BLOCK):
        at = start + tl.arange(0, BLOCK)
        held = at < end
        k = tl.load(
            keys + at.to(tl.int64)[:, None] * key_positions + dimension[None, :],
            mask=held[:, None] & (dimension < WIDTH)[None, :],
            other=0.0,
        )
        if WIDEN:
            k = k.to(tl.float32)
        scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
        if SOFTCAP:
            scores = softcap * (1.0 - 2.0 / (tl.exp(2.0 * scores / softcap) + 1.0))
        rank = tl.where(held, at + 1, 0)
        if RANKED:
            rank = tl.load(ranks + wide * count + at, mask=held, other=0)
        visible = (rank > 0)[None, :]
        new_top = tl.maximum(top, tl.max(tl.where(visible, scores, -_INF), 1))
        shift = _shift(new_top)
        z = scores - shift[:, None]
        z = tl.where(z < _LOWEST, _LOWEST, z)
        e = tl.where(visible, tl.exp(z), 0.0)
        ez = tl.where(visible, e * z, 0.0)
        down = _down(top, shift)
        factor = _factor(top, shift)
        beyond = (rank > SINK_KEYS)[None, :]
        weighted = (weighted + total * down) * factor + tl.sum(ez, 1)
        total = total * factor + tl.sum(e, 1)
        rest_weighted = (rest_weighted + rest * down) * factor + tl.sum(tl.where(beyond, ez, 0.0), 1)
        rest = rest * factor + tl.sum(tl.where(beyond, e, 0.0), 1)
        of_generated = (rank > tl.maximum(prompt, SINK_KEYS))[None, :]
        generated = generated * factor + tl.sum(tl.where(of_generated, e, 0.0), 1)
        in_middle = ((rank > third) & (rank <= prompt - third))[None, :]
        middle = middle * factor + tl.sum(tl.where(in_middle, e, 0.0), 1)
        before = ((rank == seen - 1) & (rank > 0))[None, :]
        previous = previous * factor + tl.sum(tl.where(before, e, 0.0), 1)
        top = new_top

    heads = shared * GROUP
    place = ((layer * sequences + sequence).to(tl.int64) * heads + head * GROUP + lane) * splits + split
    out = parts + place * ATTENTION_PARTS
    real = lane < GROUP
    tl.store(out + PART_MAXIMUM, top, mask=real)
    tl.store(out + PART_TOTAL, total, mask=real)
    tl.store(out + PART_WEIGHTED, weighted, mask=real)
    tl.store(out + PART_REST, rest, mask=real)
    tl.store(out + PART_REST_WEIGHTED, rest_weighted, mask=real)
    tl.store(out + PART_GENERATED, generated, mask=real)
    tl.store(out + PART_MIDDLE, middle, mask=real)
    tl.store(out + PART_PREVIOUS, previous, mask=real)


@triton.jit
def _mean(x, real, heads):
    return tl.sum(tl.where(real, x, 0.0), 0) / heads


@triton.jit(do_not_specialize=["splits", "count", "generated_tokens"])
def attention_row_kernel(
    places,
    parts,
    splits,
    row,
    row_stride,
    sequences,
    heads,
    count,
    generated_tokens,
    numbers_seen,
    OWN: tl.constexpr,
    HEADS: tl.constexpr,
    DTYPE: tl.constexpr,
    RANKED: tl.constexpr,
    LEARNED: tl.constexpr,
):
    """Join the splits of one layer's and sequence's attention rows, and write what its heads have together.

    Grid: layers, sequences.

    Args:
        places: int64 [layers, 3]: where in the row the numbers go, where each head's weight on the previous key goes
            (-1: nowhere), and the address of the learned sinks [heads] (if LEARNED).
        parts: float32 [layers, sequences, heads, splits, 8].
        row: float32 [sequences, ...].
        count, generated_tokens, numbers_seen: see `attention_parts_kernel`.
        OWN: whether the rows are of self-attention, else of cross-attention, which has fewer numbers.
    """
    layer, sequence = tl.program_id(0), tl.program_id(1)
    entry = places + layer * PLACES
    head = tl.arange(0, HEADS)
    real = head < heads
    base = parts + ((layer * sequences + sequence).to(tl.int64) * heads + head) * splits * ATTENTION_PARTS
    top = tl.full([HEADS], -_INF, tl.float32)
    total = tl.zeros([HEADS], tl.float32)
    weighted = tl.zeros([HEADS], tl.float32)
    rest = tl.zeros([HEADS], tl.float32)
    rest_weighted = tl.zeros([HEADS], tl.float32)
    generated = tl.zeros([HEADS], tl.float32)
    middle = tl.zeros([HEADS], tl.float32)
    previous = tl.zeros([HEADS], tl.float32)
    for split in range(splits):
        part = base + split * ATTENTION_PARTS
        its_top = tl.load(part + PART_MAXIMUM, mask=real, other=-_INF)
        its_total = tl.load(part + PART_TOTAL, mask=real, other=0.0)
        its_rest = tl.load(part + PART_REST, mask=real, other=0.0)
        new_top = tl.maximum(top, its_top)
        shift = _shift(new_top)
        f, its_f = _factor(top, shift), _factor(its_top, shift)
        down, its_down = _down(top, shift), _down(its_top, shift)
        its_weighted = tl.load(part + PART_WEIGHTED, mask=real, other=0.0) + its_total * its_down
        its_rest_weighted = tl.load(part + PART_REST_WEIGHTED, mask=real, other=0.0) + its_rest * its_down
        weighted = (weighted + total * down) * f + its_weighted * its_f
        rest_weighted = (rest_weighted + rest * down) * f + its_rest_weighted * its_f
        total = total * f + its_total * its_f
        rest = rest * f + its_rest * its_f
        generated = generated * f + tl.load(part + PART_GENERATED, mask=real, other=0.0) * its_f
        middle = middle * f + tl.load(part + PART_MIDDLE, mask=real, other=0.0) * its_f
        previous = previous * f + tl.load(part + PART_PREVIOUS, mask=real, other=0.0) * its_f
        top = new_top

    in_sinks = total - rest
    seen = count
    if RANKED:
        seen = tl.load(numbers_seen + sequence)
    outcomes = tl.zeros([HEADS], tl.float32) + seen
    learned = tl.zeros([HEADS], tl.float32)
    highest = tl.zeros([HEADS], tl.float32) + 1.0  # exp(largest score - maximum)
    if LEARNED:
        sinks = tl.load(entry + PLACE_SINKS).to(tl.pointer_type(DTYPE))
        sink = tl.load(sinks + head, mask=real, other=-_INF).to(tl.float32)
        ceiling = tl.maximum(top, sink)
        shift = _shift(ceiling)
        f, down = _factor(top, shift), _down(top, shift)
        learned = _factor(sink, shift)
        weighted = (weighted + total * down) * f + learned * _down(sink, shift)
        rest_weighted = (rest_weighted + rest * down) * f
        total = total * f + learned
        rest, in_sinks = rest * f, in_sinks * f
        generated, middle, previous, highest = generated * f, middle * f, previous * f, f
        outcomes += (sink > -_INF).to(tl.float32)

    total = tl.where(total == 0.0, float("nan"), total)  # no visible key has a weight
    prompt = tl.maximum(seen - generated_tokens, 0)
    third = prompt // 3
    entropy = (tl.log(total) - weighted / total) / tl.log(outcomes)
    entropy = tl.where(entropy < 0.0, 0.0, tl.where(entropy > 1.0, 1.0, entropy))
    entropy = tl.where(outcomes > 1.0, entropy, 1.0 + 0.0 * total)
    weight = highest / total
    mean = _mean(entropy, real, heads)
    apart = tl.where(real, entropy - mean, 0.0)
    undefined = mean != mean
    out = row + sequence.to(tl.int64) * row_stride + tl.load(entry + PLACE_NUMBERS)
    lowest = tl.where(undefined, float("nan"), tl.min(tl.where(real, entropy, _INF), 0))
    highest_entropy = tl.where(undefined, float("nan"), tl.max(tl.where(real, entropy, -_INF), 0))
    heaviest = tl.where(undefined, float("nan"), tl.max(tl.where(real, weight, -_INF), 0))
    tl.store(out + (ATTENTION_ENTROPY if OWN else CROSS_ENTROPY), mean)
    deviation = tl.sqrt(tl.sum(apart * apart, 0) / heads)
    tl.store(out + (ATTENTION_ENTROPY_STD if OWN else CROSS_ENTROPY_STD), deviation)
    tl.store(out + (ATTENTION_ENTROPY_MIN if OWN else CROSS_ENTROPY_MIN), lowest)
    tl.store(out + (ATTENTION_ENTROPY_MAX if OWN else CROSS_ENTROPY_MAX), highest_entropy)
    tl.store(out + (ATTENTION_MAX_WEIGHT if OWN else CROSS_MAX_WEIGHT), _mean(weight, real, heads))
    tl.store(out + (ATTENTION_MAX_WEIGHT_MAX if OWN else CROSS_MAX_WEIGHT_MAX), heaviest)
    if OWN:
        others = (tl.zeros([HEADS], tl.float32) + seen) - SINK_KEYS
        rest_entropy = (tl.log(rest) - rest_weighted / rest) / tl.log(others)
        judged = real & (others >= COLLAPSED_KEYS) & (tl.abs(rest_entropy) < _INF)
        collapsed = tl.sum((judged & (rest_entropy < COLLAPSED_ENTROPY)).to(tl.float32), 0)
        focused = (weight > FOCUSED_WEIGHT).to(tl.float32) + 0.0 * weight
        of_prompt = (total - learned - in_sinks - generated) / total
        of_prompt = tl.where(of_prompt < 0.0, 0.0, of_prompt)
        uniform = (prompt - 2 * third).to(tl.float32) / seen
        of_previous = tl.where(seen > 1, previous / total, float("nan"))
        tl.store(out + COLLAPSED_HEAD_RATE, collapsed / tl.sum(judged.to(tl.float32), 0))
        tl.store(out + FOCUSED_HEAD_RATE, _mean(focused, real, heads))
        tl.store(out + ATTENTION_MASS_SINK, _mean((in_sinks + learned) / total, real, heads))
        tl.store(out + ATTENTION_MASS_PROMPT, _mean(of_prompt, real, heads))
        tl.store(out + ATTENTION_MASS_GENERATED, _mean(generated / total, real, heads))
        tl.store(
            out + ATTENTION_MIDDLE, tl.where(third > 0, _mean(middle / total, real, heads) / uniform, float("nan"))
        )
        tl.store(out + ATTENTION_PREVIOUS, _mean(of_previous, real, heads))
        by_head = tl.load(entry + PLACE_BY_HEAD)
        if by_head >= 0:
            at = by_head + ATTENTION_PREVIOUS_HEADS * heads + head
            tl.store(row + sequence.to(tl.int64) * row_stride + at, of_previous, mask=real)
