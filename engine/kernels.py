"""The GPU kernels of training, in Triton: each fuses what would otherwise read and write the same numbers again.

At a width of 512 the model is bound by memory, not by arithmetic, so every pass over [tokens, width] counts. All sums
are in fp32 whatever the format of the tensors. engine/fused.py puts the kernels into autograd and says what they
compute; this file needs Triton and is imported only where there is a GPU.
"""

import triton
import triton.language as tl


@triton.jit
def add_norm_forward(
    x, delta, gain, total, normed, rstd, rows, width, eps, ADD: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr
):
    """total = x + delta (where ADD), normed = total / rms(total) * gain, rstd = 1 / rms(total)."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, WIDTH)
    there = (row < rows)[:, None] & (column < width)[None, :]
    at = row.to(tl.int64)[:, None] * width + column[None, :]
    value = tl.load(x + at, mask=there, other=0.0)
    if ADD:
        value = (value.to(tl.float32) + tl.load(delta + at, mask=there, other=0.0).to(tl.float32)).to(value.dtype)
        tl.store(total + at, value, mask=there)
    value = value.to(tl.float32)
    inverse = tl.rsqrt(tl.sum(value * value, axis=1) / width + eps)
    scale = tl.load(gain + column, mask=column < width, other=0.0).to(tl.float32)
    tl.store(normed + at, (value * inverse[:, None] * scale[None, :]).to(normed.dtype.element_ty), mask=there)
    tl.store(rstd + row, inverse, mask=row < rows)


@triton.jit
def add_norm_backward(
    total,
    gain,
    rstd,
    d_normed,
    d_total,
    dx,
    normed,
    d_gain,
    rows,
    width,
    TURNS: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """dx of both summands; `normed` is made again for the product that follows; d_gain is one row per program.

    Each program takes TURNS tiles of ROWS rows, so that the gain's gradient is summed in registers.
    """
    column = tl.arange(0, WIDTH)
    inside = column < width
    scale = tl.load(gain + column, mask=inside, other=0.0).to(tl.float32)
    gain_sum = tl.zeros([WIDTH], tl.float32)
    for turn in range(TURNS):
        tile = turn * tl.num_programs(0) + tl.program_id(0)
        row = tile * ROWS + tl.arange(0, ROWS)
        there = (row < rows)[:, None] & inside[None, :]
        at = row.to(tl.int64)[:, None] * width + column[None, :]
        inverse = tl.load(rstd + row, mask=row < rows, other=0.0)[:, None]
        unit = tl.load(total + at, mask=there, other=0.0).to(tl.float32) * inverse
        slope = tl.load(d_normed + at, mask=there, other=0.0).to(tl.float32)
        gain_sum += tl.sum(unit * slope, axis=0)
        slope = slope * scale[None, :]
        result = (slope - unit * (tl.sum(unit * slope, axis=1) / width)[:, None]) * inverse
        result += tl.load(d_total + at, mask=there, other=0.0).to(tl.float32)
        tl.store(dx + at, result.to(dx.dtype.element_ty), mask=there)
        tl.store(normed + at, (unit * scale[None, :]).to(normed.dtype.element_ty), mask=there)
    tl.store(d_gain + tl.program_id(0) * width + column, gain_sum, mask=inside)


@triton.jit
def norm_rotate_forward(
    qkv,
    q_gain,
    k_gain,
    cosines,
    sines,
    out,
    pairs,
    length,
    eps,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    HALF: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    """QK-norm and rotary positions of the query and key heads of qkv [tokens, heads + 2 kv_heads, 2 HALF].

    out [tokens, heads + kv_heads, 2 HALF]; cosines, sines [context, HALF]; pairs = tokens * (heads + kv_heads).
    BLOCK is HALF or the next power of two.
    """
    pair = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    exists = pair < pairs
    token, head = pair // (HEADS + KV_HEADS), pair % (HEADS + KV_HEADS)
    channel = tl.arange(0, BLOCK)
    inside = channel < HALF
    there = exists[:, None] & inside[None, :]
    source = ((token.to(tl.int64) * (HEADS + 2 * KV_HEADS) + head) * (2 * HALF))[:, None] + channel[None, :]
    first = tl.load(qkv + source, mask=there, other=0.0).to(tl.float32)
    second = tl.load(qkv + source + HALF, mask=there, other=0.0).to(tl.float32)
    mean = (tl.sum(first * first, axis=1) + tl.sum(second * second, axis=1)) / (2 * HALF)
    inverse = tl.rsqrt(mean + eps)[:, None]
    query = (head < HEADS)[:, None]
    q_1, q_2 = tl.load(q_gain + channel, mask=inside), tl.load(q_gain + HALF + channel, mask=inside)
    k_1, k_2 = tl.load(k_gain + channel, mask=inside), tl.load(k_gain + HALF + channel, mask=inside)
    first = first * inverse * tl.where(query, q_1[None, :], k_1[None, :])
    second = second * inverse * tl.where(query, q_2[None, :], k_2[None, :])
    angle = (token % length)[:, None] * HALF + channel[None, :]
    cosine = tl.load(cosines + angle, mask=there, other=0.0)
    sine = tl.load(sines + angle, mask=there, other=0.0)
    target = (pair.to(tl.int64) * (2 * HALF))[:, None] + channel[None, :]
    tl.store(out + target, (first * cosine - second * sine).to(out.dtype.element_ty), mask=there)
    tl.store(out + target + HALF, (second * cosine + first * sine).to(out.dtype.element_ty), mask=there)


@triton.jit
def norm_rotate_backward(
    x,
    gain,
    cosines,
    sines,
    slope,
    dx,
    d_gain,
    pairs,
    length,
    eps,
    x_token,
    slope_row,
    slope_token,
    slope_head,
    HEADS: tl.constexpr,
    HALF: tl.constexpr,
    BLOCK: tl.constexpr,
    TURNS: tl.constexpr,
    ROWS: tl.constexpr,
):
    """dx of x, both [tokens, HEADS, 2 HALF] with x_token from one token to the next; pairs = tokens * HEADS.

    slope may have any strides, channels side by side. Each program takes TURNS tiles of ROWS pairs and leaves its share
    of the gain's gradient in a row of d_gain [programs, 2 HALF].
    """
    channel = tl.arange(0, BLOCK)
    inside = channel < HALF
    gain_1 = tl.load(gain + channel, mask=inside, other=0.0)[None, :]
    gain_2 = tl.load(gain + HALF + channel, mask=inside, other=0.0)[None, :]
    sum_1, sum_2 = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
    for turn in range(TURNS):
        pair = (turn * tl.num_programs(0) + tl.program_id(0)) * ROWS + tl.arange(0, ROWS)
        there = (pair < pairs)[:, None] & inside[None, :]
        token, head = pair // HEADS, pair % HEADS
        row, position = (token // length).to(tl.int64), token % length
        at = (row * slope_row + position * slope_token + head * slope_head)[:, None] + channel[None, :]
        turned_1 = tl.load(slope + at, mask=there, other=0.0).to(tl.float32)
        turned_2 = tl.load(slope + at + HALF, mask=there, other=0.0).to(tl.float32)
        at = (token.to(tl.int64) * x_token + head * (2 * HALF))[:, None] + channel[None, :]
        unit_1 = tl.load(x + at, mask=there, other=0.0).to(tl.float32)
        unit_2 = tl.load(x + at + HALF, mask=there, other=0.0).to(tl.float32)
        angle = position[:, None] * HALF + channel[None, :]
        cosine = tl.load(cosines + angle, mask=there, other=0.0)
        sine = tl.load(sines + angle, mask=there, other=0.0)
        slope_1, slope_2 = turned_1 * cosine + turned_2 * sine, turned_2 * cosine - turned_1 * sine
        mean = (tl.sum(unit_1 * unit_1, axis=1) + tl.sum(unit_2 * unit_2, axis=1)) / (2 * HALF)
        inverse = tl.rsqrt(mean + eps)[:, None]
        unit_1, unit_2 = unit_1 * inverse, unit_2 * inverse
        sum_1 += tl.sum(unit_1 * slope_1, axis=0)
        sum_2 += tl.sum(unit_2 * slope_2, axis=0)
        slope_1, slope_2 = slope_1 * gain_1, slope_2 * gain_2
        shared = ((tl.sum(unit_1 * slope_1, axis=1) + tl.sum(unit_2 * slope_2, axis=1)) / (2 * HALF))[:, None]
        tl.store(dx + at, ((slope_1 - unit_1 * shared) * inverse).to(dx.dtype.element_ty), mask=there)
        tl.store(dx + at + HALF, ((slope_2 - unit_2 * shared) * inverse).to(dx.dtype.element_ty), mask=there)
    out = d_gain + tl.program_id(0) * (2 * HALF) + channel
    tl.store(out, sum_1, mask=inside)
    tl.store(out + HALF, sum_2, mask=inside)


@triton.jit
def activate_forward(up, hidden, width, GATED: tl.constexpr, BLOCK: tl.constexpr):
    """hidden = silu(gate) * up of up [tokens, gate then up], or relu(up)^2 where not GATED."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < width
    if GATED:
        gate = tl.load(up + row * 2 * width + column, mask=inside, other=0.0).to(tl.float32)
        value = tl.load(up + row * 2 * width + width + column, mask=inside, other=0.0).to(tl.float32)
        result = gate * tl.sigmoid(gate) * value
    else:
        value = tl.maximum(tl.load(up + row * width + column, mask=inside, other=0.0).to(tl.float32), 0.0)
        result = value * value
    tl.store(hidden + row * width + column, result.to(hidden.dtype.element_ty), mask=inside)


@triton.jit
def activate_backward(up, d_hidden, d_up, hidden, width, GATED: tl.constexpr, BLOCK: tl.constexpr):
    """d_up, and `hidden` made again for the product that follows."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < width
    slope = tl.load(d_hidden + row * width + column, mask=inside, other=0.0).to(tl.float32)
    if GATED:
        gate = tl.load(up + row * 2 * width + column, mask=inside, other=0.0).to(tl.float32)
        value = tl.load(up + row * 2 * width + width + column, mask=inside, other=0.0).to(tl.float32)
        share = tl.sigmoid(gate)
        silu = gate * share
        d_gate = slope * value * (share + silu * (1.0 - share))
        tl.store(d_up + row * 2 * width + column, d_gate.to(d_up.dtype.element_ty), mask=inside)
        tl.store(d_up + row * 2 * width + width + column, (slope * silu).to(d_up.dtype.element_ty), mask=inside)
        result = silu * value
    else:
        value = tl.maximum(tl.load(up + row * width + column, mask=inside, other=0.0).to(tl.float32), 0.0)
        tl.store(d_up + row * width + column, (2.0 * slope * value).to(d_up.dtype.element_ty), mask=inside)
        result = value * value
    tl.store(hidden + row * width + column, result.to(hidden.dtype.element_ty), mask=inside)


@triton.jit
def cross_entropy(scores, targets, losses, hits, COLUMNS: tl.constexpr, LEARNING: tl.constexpr, BLOCK: tl.constexpr):
    """Each row's cross-entropy and whether its first guess is right; where LEARNING, scores become their gradient."""
    row = tl.program_id(0).to(tl.int64)
    scores += row * COLUMNS
    target = tl.load(targets + row)
    top, mass, wanted = -float("inf"), 0.0, 0.0
    for start in range(0, COLUMNS, BLOCK):
        column = start + tl.arange(0, BLOCK)
        score = tl.load(scores + column, mask=column < COLUMNS, other=-float("inf")).to(tl.float32)
        new_top = tl.maximum(top, tl.max(score, axis=0))
        mass = mass * tl.exp(top - new_top) + tl.sum(tl.exp(score - new_top), axis=0)
        # Not loaded after the loop: another warp may be writing the gradient there by then.
        wanted += tl.sum(tl.where(column == target, score, 0.0), axis=0)
        top = new_top
    share, guess = 1.0 / mass, COLUMNS
    for start in range(0, COLUMNS, BLOCK):
        column = start + tl.arange(0, BLOCK)
        inside = column < COLUMNS
        score = tl.load(scores + column, mask=inside, other=-float("inf")).to(tl.float32)
        guess = tl.minimum(guess, tl.min(tl.where(score == top, column, COLUMNS), axis=0))
        if LEARNING:
            slope = tl.exp(score - top) * share - (column == target).to(tl.float32)
            tl.store(scores + column, slope.to(scores.dtype.element_ty), mask=inside)
    tl.store(losses + row, tl.log(mass) + top - wanted)
    tl.store(hits + row, (guess == target).to(tl.float32))


@triton.jit
def momentum_step(gradient, average, direction, finite, count, momentum, BLOCK: tl.constexpr):
    """Nesterov: average = lerp(average, gradient), direction = lerp(gradient, average); or as it was and 0."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    slope = tl.load(gradient + at, mask=inside, other=0.0)
    old = tl.load(average + at, mask=inside, other=0.0)
    new = momentum * old + (1.0 - momentum) * slope
    good = tl.load(finite) != 0
    tl.store(average + at, tl.where(good, new, old), mask=inside)
    ahead = tl.where(good, momentum * new + (1.0 - momentum) * slope, 0.0)
    tl.store(direction + at, ahead.to(direction.dtype.element_ty), mask=inside)


@triton.jit
def apply_update(
    weights,
    update,
    factors,
    finite,
    count,
    width,
    rate,
    decay,
    SCALED: tl.constexpr,
    CAUTIOUS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """weights -= rate * update, times a factor for each row where SCALED, and decay * weights before it.

    Where CAUTIOUS, only weights that the update shrinks anyway decay. Nothing changes unless finite.
    """
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    weight = tl.load(weights + at, mask=inside, other=0.0)
    step = tl.load(update + at, mask=inside, other=0.0).to(tl.float32)
    if SCALED:
        step = step * tl.load(factors + at // width, mask=inside, other=0.0)
    share = tl.where(step * weight > 0.0, decay, 0.0) if CAUTIOUS else decay
    new = weight - share * weight - rate * step
    tl.store(weights + at, tl.where(tl.load(finite) != 0, new, weight), mask=inside)
