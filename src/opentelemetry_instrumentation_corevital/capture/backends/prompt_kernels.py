# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
"""Triton kernels for the numbers of a prompt: each reads what the prefill has left once, and copies none of it.

All arithmetic is float32. Definitions: see `capture/definitions/prompt_numbers.py`.
"""

import triton
import triton.language as tl

from ..._internal.prompt_analysis import CONNECTIONS

_LN2 = tl.constexpr(0.6931471805599453)
_INF = tl.constexpr(float("inf"))

TOP = tl.constexpr(CONNECTIONS)
"""Keys that are kept of each block, the largest scores first."""
PART_MAXIMUM, PART_TOTAL, PART_MIDDLE = (tl.constexpr(at) for at in range(3))
PARTS = tl.constexpr(3)
"""Of a head and block of keys: m, the sums of exp(score - m) over visible keys and over those of the middle third."""
SHIFT, DENOMINATOR = (tl.constexpr(at) for at in range(2))
SOFTMAX = tl.constexpr(2)
"""Of a head: a weight is exp(score - shift) / denominator."""


@triton.jit
def _finite(top):
    """Return what scores are reduced by: their maximum, or 0 where there is none."""
    return tl.where(top == -_INF, 0.0, top)


@triton.jit
def _factor(top, shift):
    """Return what a part's sums are multiplied with when they are joined under another maximum."""
    return tl.where(top == -_INF, 0.0, tl.exp(top - shift))


@triton.jit(
    do_not_specialize=["columns", "token_stride", "out_stride"], do_not_specialize_on_alignment=["tokens", "out"]
)
def surprisal_kernel(logits, stride, tokens, token_stride, out, out_stride, columns, vocabulary, BLOCK: tl.constexpr):
    """Write -log2 p of one token.

    Grid: positions.

    Args:
        logits: [positions, vocabulary], with `stride` between positions.
        tokens: int64 [positions / columns, columns], with `token_stride` between rows.
        out: float32, likewise with `out_stride`.
    """
    position = tl.program_id(0)
    row, column = position // columns, position % columns
    base = logits + position.to(tl.int64) * stride
    top = -_INF
    total = 0.0
    for start in range(0, vocabulary, BLOCK):
        at = start + tl.arange(0, BLOCK)
        x = tl.load(base + at, mask=at < vocabulary, other=-_INF).to(tl.float32)
        new_top = tl.maximum(top, tl.max(x, 0))
        shift = _finite(new_top)
        total = total * _factor(top, shift) + tl.sum(tl.exp(x - shift), 0)
        top = new_top
    token = tl.load(tokens + row.to(tl.int64) * token_stride + column)
    chosen = tl.load(base + token).to(tl.float32)
    # Nothing but -Inf: -Inf - 0 - log 0 would be no NaN.
    found = tl.where(top == -_INF, float("nan"), chosen - _finite(top) - tl.log(total))
    tl.store(out + row.to(tl.int64) * out_stride + column, tl.abs(found / _LN2))


@triton.jit
def _unit(x):
    return x / tl.sqrt(tl.sum(x * x, 0))


@triton.jit(
    do_not_specialize=["before_sequences", "after_sequences", "positions", "real_stride"],
    do_not_specialize_on_alignment=["real", "out"],
)
def layer_change_kernel(
    before,
    after,
    before_sequences,
    before_positions,
    after_sequences,
    after_positions,
    real,
    real_stride,
    out,
    positions,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    TOGETHER: tl.constexpr,
):
    """Write the sum of 1 - cosine of two layers' outputs over TOGETHER positions of a sequence, those of padding not.

    Grid: groups of positions, sequences.

    Args:
        before, after: [sequences, positions, WIDTH], by their strides.
        real: bool [sequences, positions], with `real_stride` between sequences.
        out: float32 [sequences, groups].
    """
    group, sequence = tl.program_id(0), tl.program_id(1).to(tl.int64)
    first = group * TOGETHER
    before += sequence * before_sequences + first.to(tl.int64) * before_positions
    after += sequence * after_sequences + first.to(tl.int64) * after_positions
    real += sequence * real_stride + first
    at = tl.arange(0, PADDED)
    held = at < WIDTH
    found = 0.0
    for position in range(0, tl.minimum(TOGETHER, positions - first)):
        x = tl.load(before + position * before_positions + at, mask=held, other=0.0).to(tl.float32)
        y = tl.load(after + position * after_positions + at, mask=held, other=0.0).to(tl.float32)
        counted = tl.load(real + position).to(tl.int1)
        found += tl.where(counted, 1.0 - tl.sum(_unit(x) * _unit(y), 0), 0.0)
    tl.store(out + sequence * tl.num_programs(0) + group, found)


@triton.jit(
    do_not_specialize=[
        "query_sequences",
        "query_heads",
        "key_sequences",
        "key_heads",
        "key_positions",
        "count",
        "seen_sequences",
        "seen_keys",
        "prompt_sequences",
    ],
    do_not_specialize_on_alignment=["query", "seen", "real", "middle"],
)
def prompt_parts_kernel(
    query,
    key,
    parts,
    counts,
    scores_kept,
    keys_kept,
    scale,
    softcap,
    query_sequences,
    query_heads,
    key_sequences,
    key_heads,
    key_positions,
    count,
    seen,
    seen_sequences,
    seen_keys,
    real,
    middle,
    prompt_sequences,
    GROUP: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
    SOFTCAP: tl.constexpr,
    MASKED: tl.constexpr,
    ALIGNED: tl.constexpr,
    KEPT: tl.constexpr,
    WIDEN: tl.constexpr,
):
    """Reduce one block of the keys for the GROUP query heads that share them, of one sequence.

    Grid: sequences, heads of keys, blocks.

    Args:
        query: [sequences, heads, WIDTH], of the prompt's last token.
        key: [sequences, heads of keys, count, WIDTH].
        parts: float32 [sequences, heads, blocks, 3].
        counts: int32 [sequences, blocks, 2], visible keys and those of them in the middle third.
        scores_kept, keys_kept: float32 and int32 [sequences, heads, blocks, TOP], the largest scores of visible keys of
            the prompt, and their keys; written if KEPT.
        scale, softcap: the scores are scale q.k, then softcap tanh(score / softcap).
        seen: bool, which keys are visible; read if MASKED, else every key is.
        real, middle: bool [sequences, count], which keys are the prompt's, and of its middle third.
        ALIGNED: whether keys begin at multiples of 16 bytes and their strides are multiples of 16.
        WIDEN: whether half precision is widened before it is multiplied; for Triton's interpreter, which cannot.
    """
    sequence, head, block = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.program_id(2)
    shared, blocks = tl.num_programs(1), tl.num_programs(2)
    lane = tl.arange(0, ROWS)
    dimension = tl.arange(0, PADDED)
    of_group = lane < GROUP
    q = tl.load(
        query + sequence * query_sequences + (head * GROUP + lane)[:, None] * query_heads + dimension[None, :],
        mask=of_group[:, None] & (dimension < WIDTH)[None, :],
        other=0.0,
    )
    keys = key + sequence * key_sequences + head.to(tl.int64) * key_heads
    if ALIGNED:
        keys = tl.multiple_of(keys, 16)
        key_positions = tl.multiple_of(key_positions, 16)
    at = block * BLOCK + tl.arange(0, BLOCK)
    held = at < count
    k = tl.load(
        keys + at.to(tl.int64)[:, None] * key_positions + dimension[None, :],
        mask=held[:, None] & (dimension < WIDTH)[None, :],
        other=0.0,
    )
    if WIDEN:
        q = q.to(tl.float32)
        k = k.to(tl.float32)
    scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
    if SOFTCAP:
        scores = softcap * (1.0 - 2.0 / (tl.exp(2.0 * scores / softcap) + 1.0))
    visible = held
    if MASKED:
        there = tl.load(seen + sequence * seen_sequences + at.to(tl.int64) * seen_keys, mask=held, other=0)
        visible = held & there.to(tl.int1)
    in_middle = visible & tl.load(middle + sequence * prompt_sequences + at, mask=held, other=0).to(tl.int1)

    scores = tl.where(visible[None, :], scores, -_INF)
    top = tl.max(scores, 1)
    e = tl.exp(scores - _finite(top)[:, None])
    heads = shared * GROUP
    place = ((sequence * heads + head * GROUP + lane) * blocks + block).to(tl.int64)
    out = parts + place * PARTS
    tl.store(out + PART_MAXIMUM, top, mask=of_group)
    tl.store(out + PART_TOTAL, tl.sum(e, 1), mask=of_group)
    tl.store(out + PART_MIDDLE, tl.sum(tl.where(in_middle[None, :], e, 0.0), 1), mask=of_group)
    if head == 0:
        number = counts + (sequence * blocks + block) * 2
        tl.store(number, tl.sum(visible.to(tl.int32), 0))
        tl.store(number + 1, tl.sum(in_middle.to(tl.int32), 0))

    if KEPT:
        own = visible & tl.load(real + sequence * prompt_sequences + at, mask=held, other=0).to(tl.int1)
        left = tl.where(own[None, :], scores, -_INF)
        lanes = tl.arange(0, BLOCK)[None, :]
        for rank in tl.static_range(TOP):
            best = tl.max(left, 1)
            which = tl.argmax(left, 1)
            tl.store(scores_kept + place * TOP + rank, best, mask=of_group)
            tl.store(keys_kept + place * TOP + rank, block * BLOCK + which, mask=of_group)
            left = tl.where(lanes == which[:, None], -_INF, left)


@triton.jit(do_not_specialize=["blocks"], do_not_specialize_on_alignment=["basin", "softmax"])
def prompt_row_kernel(parts, counts, basin, softmax, blocks, BLOCK: tl.constexpr):
    """Join the blocks of one head: its basin score, and what makes weights of its scores.

    Grid: heads, sequences.

    Args:
        parts, counts: see `prompt_parts_kernel`.
        basin: float32 [sequences, heads].
        softmax: float32 [sequences, heads, 2].
    """
    head, heads, sequence = tl.program_id(0), tl.num_programs(0), tl.program_id(1).to(tl.int64)
    place = sequence * heads + head
    of_head = parts + place * blocks * PARTS
    top = -_INF
    for start in range(0, blocks, BLOCK):
        at = start + tl.arange(0, BLOCK)
        top = tl.maximum(top, tl.max(tl.load(of_head + at * PARTS + PART_MAXIMUM, mask=at < blocks, other=-_INF), 0))
    shift = _finite(top)
    total = 0.0
    middle = 0.0
    visible = 0
    in_middle = 0
    for start in range(0, blocks, BLOCK):
        at = start + tl.arange(0, BLOCK)
        held = at < blocks
        own = tl.load(of_head + at * PARTS + PART_MAXIMUM, mask=held, other=-_INF)
        factor = _factor(own, shift)
        total += tl.sum(factor * tl.load(of_head + at * PARTS + PART_TOTAL, mask=held, other=0.0), 0)
        middle += tl.sum(factor * tl.load(of_head + at * PARTS + PART_MIDDLE, mask=held, other=0.0), 0)
        number = counts + (sequence * blocks + at) * 2
        visible += tl.sum(tl.load(number, mask=held, other=0), 0)
        in_middle += tl.sum(tl.load(number + 1, mask=held, other=0), 0)
    score = tl.where(in_middle > 0, middle / total * (visible / in_middle), float("nan"))
    tl.store(basin + place, score)
    tl.store(softmax + place * SOFTMAX + SHIFT, shift)
    tl.store(softmax + place * SOFTMAX + DENOMINATOR, total)
