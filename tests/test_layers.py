"The transformer block beside its twins: PyTorch's layers, the formula, all at once against pieces with a cache."

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from genlab import UserError
from genlab.lab.layers import TransformerBlock, attention, causal_mask, fused_attention, idle_parameters

FORMS = pytest.mark.parametrize("twice_differentiable", [False, True])


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def small_block(**options) -> TransformerBlock:
    "Width 12, 3 heads, weights and biases that are not those of the start, in float64."
    block = TransformerBlock(12, 3, **options).double().eval()
    with torch.no_grad():
        for i, p in enumerate(block.parameters()):
            p.add_(0.3 * normal(*p.shape, seed=i))
    return block


# attention

@settings(deadline=None, max_examples=40)
@given(n=st.integers(1, 6), known=st.integers(0, 5), d=st.integers(1, 5), causal=st.booleans(),
       seed=st.integers(0, 10**6))
def test_attention_is_a_weighted_mean_of_what_may_be_seen(n, known, d, causal, seed):
    T = known + n
    q, k, v = normal(2, 3, n, d, seed=seed), normal(2, 3, T, d, seed=seed + 1), normal(2, 3, T, d, seed=seed + 2)
    expected = torch.empty(2, 3, n, d, dtype=torch.float64)
    for i in range(n):
        seen = known + i + 1 if causal else T
        weights = ((k[:, :, :seen] * q[:, :, i:i + 1]).sum(dim=3) / math.sqrt(d)).softmax(dim=2)
        expected[:, :, i] = (weights[..., None] * v[:, :, :seen]).sum(dim=2)
    for f in (attention, fused_attention):
        torch.testing.assert_close(f(q, k, v, causal), expected, rtol=1e-9, atol=1e-9)


def test_the_mask_lets_nobody_look_ahead():
    for n, T in ((1, 1), (1, 5), (3, 5), (5, 5)):
        mask = causal_mask(n, T)
        assert mask.shape == (n, T)
        assert all(bool(mask[i, j]) == (j <= T - n + i) for i in range(n) for j in range(T))


def test_both_forms_have_the_same_first_derivatives():
    qkv = [normal(2, 2, 5, 4, seed=i).requires_grad_() for i in range(3)]
    for causal in (False, True):
        grads = [torch.autograd.grad(f(*qkv, causal).pow(3).sum(), qkv) for f in (attention, fused_attention)]
        torch.testing.assert_close(*grads, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n,causal", [(4, False), (4, True), (2, True)])
def test_the_formula_has_second_derivatives(n, causal):
    q, k, v = (normal(1, 2, rows, 3, seed=i).requires_grad_() for i, rows in enumerate((n, 4, 4)))
    assert torch.autograd.gradcheck(lambda *qkv: attention(*qkv, causal), (q, k, v))
    assert torch.autograd.gradgradcheck(lambda *qkv: attention(*qkv, causal), (q, k, v))


# the block

@FORMS
@pytest.mark.parametrize("causal", [False, True])
def test_the_block_is_pytorchs_layer(twice_differentiable, causal):
    block, x = small_block(twice_differentiable=twice_differentiable), normal(4, 6, 12)
    layer = nn.TransformerEncoderLayer(12, 3, 48, activation="gelu", batch_first=True, norm_first=True,
                                       dtype=torch.float64)
    pairs = dict(norm1="norm1", norm2="norm2", out="self_attn.out_proj", mlp_0="linear1", mlp_2="linear2")
    for ours, theirs in pairs.items():
        layer.get_submodule(theirs).load_state_dict(block.get_submodule(ours.replace("_", ".")).state_dict())
    layer.self_attn.in_proj_weight.data = block.qkv.weight.data.clone()
    layer.self_attn.in_proj_bias.data = block.qkv.bias.data.clone()
    mask = nn.Transformer.generate_square_subsequent_mask(6, dtype=torch.float64) if causal else None
    torch.testing.assert_close(block(x, causal), layer.eval()(x, mask), rtol=1e-9, atol=1e-9)
    by_theirs = layer.self_attn(x, x, x, attn_mask=mask, need_weights=False)[0]  # nn.MultiheadAttention
    torch.testing.assert_close(block.attend(x, causal, None, 0), by_theirs, rtol=1e-9, atol=1e-9)


@settings(deadline=None, max_examples=30)
@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4), guesses=st.integers(0, 2),
       twice_differentiable=st.booleans())
def test_pieces_with_a_cache_are_the_whole(sizes, guesses, twice_differentiable):
    block, T = small_block(twice_differentiable=twice_differentiable), sum(sizes)
    x, start, pieces = normal(2, T, 12), 0, []
    with torch.no_grad():
        cache = block.new_cache(2, T).fill_(math.nan)  # what is read before it was written shows
        assert cache.shape == (2, 2, 3, T, 4) and cache.dtype == torch.float64
        for size in sizes:
            for i in range(guesses):  # wrong ones, written over
                block(normal(2, size, 12, seed=i + 1), True, cache, start)
            pieces.append(block(x[:, start:start + size], True, cache, start))
            start += size
        torch.testing.assert_close(torch.cat(pieces, dim=1), block(x, causal=True), rtol=1e-9, atol=1e-9)


@FORMS
def test_new_tokens_that_see_each_other_see_the_cache_too(twice_differentiable):
    block, x = small_block(twice_differentiable=twice_differentiable), normal(2, 5, 12)
    with torch.no_grad():
        cache = block.new_cache(2, 5)
        block(x[:, :2], False, cache, 0)
        out = block(x[:, 2:], False, cache, 2)
        torch.testing.assert_close(out, block(x)[:, 2:], rtol=1e-9, atol=1e-9)


@FORMS
def test_no_token_sees_a_later_one(twice_differentiable):
    block, x = small_block(twice_differentiable=twice_differentiable), normal(1, 6, 12)
    for causal, expected in ((False, torch.ones(6, 6)), (True, torch.ones(6, 6).tril())):
        whole = torch.autograd.functional.jacobian(lambda x, causal=causal: block(x, causal), x)
        jacobian = whole[0, :, :, 0]  # (t, d, s, d)
        assert torch.equal((jacobian.abs().amax(dim=(1, 3)) > 0).float(), expected)


def test_a_penalty_on_the_gradient_reaches_every_weight():
    "R1: the squared norm of a critic's gradient by its input, and the derivative of that by the weights."
    block, x = small_block(twice_differentiable=True), normal(2, 5, 12).requires_grad_()

    def penalty() -> torch.Tensor:
        slope, = torch.autograd.grad(block(x).pow(2).sum(), x, create_graph=True)
        return slope.pow(2).sum()

    weights = dict(block.named_parameters())
    grads = torch.autograd.grad(penalty(), weights.values())
    for (name, p), grad in zip(weights.items(), grads, strict=True):
        direction, e = normal(*p.shape, seed=7), 1e-6
        ends = []
        for sign in (1, -1):
            p.data.add_(sign * e * direction)
            ends.append(penalty().item())
            p.data.sub_(sign * e * direction)
        assert (grad * direction).sum().item() == pytest.approx((ends[0] - ends[1]) / (2 * e), rel=1e-5, abs=1e-4), name
        assert grad.abs().sum() > 0, name


def test_the_block_has_second_derivatives_of_its_input():
    block, x = small_block(twice_differentiable=True), normal(1, 3, 12).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: block(x, causal=True), (x,))


@pytest.mark.parametrize("silent", ["out", "mlp.2"])
def test_dropout_leaves_out_what_is_added_and_nothing_else(silent):
    "With one of the two branches silent, what the other adds is left out or scaled; x itself comes through."
    block, x = small_block(dropout=0.4), normal(500, 4, 12)
    nn.init.zeros_(block.get_submodule(silent).weight)
    nn.init.zeros_(block.get_submodule(silent).bias)
    torch.manual_seed(0)
    added, whole = block.train()(x) - x, block.eval()(x) - x
    kept = added != 0
    assert (~kept).double().mean().item() == pytest.approx(0.4, abs=0.02)
    torch.testing.assert_close(added[kept], whole[kept] / 0.6, rtol=1e-6, atol=1e-9)
    assert torch.equal(block(x) - x, whole), "nothing is left out in use"


def test_without_dropout_training_draws_no_random_number():
    block, x = small_block().train(), normal(2, 4, 12)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    out = block(x)
    assert torch.equal(torch.get_rng_state(), before) and torch.equal(out, block.eval()(x))


def test_names_and_first_weights_are_those_of_shipped_files_and_old_runs():
    torch.manual_seed(3)
    state = TransformerBlock(12, 3, 0.1).state_dict()
    torch.manual_seed(3)
    layers = dict(norm1=nn.LayerNorm(12), qkv=nn.Linear(12, 36), out=nn.Linear(12, 12), norm2=nn.LayerNorm(12))
    layers |= {"mlp.0": nn.Linear(12, 48), "mlp.2": nn.Linear(48, 12)}
    expected = {f"{name}.{kind}": p for name, layer in layers.items() for kind, p in layer.state_dict().items()}
    assert list(state) == list(expected) and all(torch.equal(state[name], p) for name, p in expected.items())


@FORMS
def test_every_parameter_learns(twice_differentiable):
    torch.manual_seed(0)
    block, x = TransformerBlock(12, 3, twice_differentiable=twice_differentiable), normal(8, 5, 12).float()
    assert idle_parameters(block, lambda: block(x).pow(3).mean()) == []


def test_looking_for_idle_parameters_changes_the_model_and_says_so():
    layer = nn.Linear(3, 3)
    before = layer.weight.detach().clone()
    assert idle_parameters(layer, lambda: layer(torch.ones(2, 3)).square().sum(), steps=0) == []
    assert torch.equal(layer.weight, before)
    idle_parameters(layer, lambda: layer(torch.ones(2, 3)).square().sum())
    assert not torch.equal(layer.weight, before) and "give it a copy" in idle_parameters.__doc__


def test_heads_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match="width of the transformer is 10; it must be a multiple of the 4 heads"):
        TransformerBlock(10, 4)
