"Proofs of ViTGAN's discriminator, each by a second way; and the faults of public code, each told from ours."

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from genlab import UserError
from genlab.gan.stable_gan import Critic, diff_augment, gradient_penalty, normalise_spectrum
from genlab.lab.layers import TransformerBlock, idle_parameters
from genlab.vitgan.discriminator import (
    EqualConv2d,
    ImprovedSpectralNorm,
    L2Block,
    StyleBlock,
    StyleDiscriminator,
    ViTDiscriminator,
    consistency,
    finite_penalty,
    improve_spectrum,
    l2_attention,
    minibatch_std,
    patch_layer,
)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def steepest(layer, x: torch.Tensor) -> float:
    "The largest singular value of the Jacobian."
    jacobian = torch.autograd.functional.jacobian(layer, x).reshape(-1, x.numel())
    return float(np.linalg.svd(jacobian.numpy(), compute_uv=False)[0])


def vit(**settings) -> ViTDiscriminator:
    torch.manual_seed(0)
    return ViTDiscriminator((1, 8, 8), **dict(width=16, depth=2, n_heads=2) | settings).double()


# Patches

@pytest.mark.parametrize("shape,stride,overlap,n", [((1, 28, 28), 4, 2, 49), ((3, 32, 32), 4, 2, 64),
                                                    ((2, 8, 12), 4, 0, 6), ((3, 64, 64), 8, 4, 64)])
def test_patches_are_cut_out_and_go_through_a_linear_layer(shape, stride, overlap, n):
    layer, x = patch_layer(shape, 5, stride, overlap).double(), random(2, *shape)
    padded = F.pad(x, (overlap,) * 4)
    side = stride + 2 * overlap
    rows, columns = shape[1] // stride, shape[2] // stride
    cut = torch.stack([padded[:, :, stride * i:stride * i + side, stride * j:stride * j + side].flatten(1)
                       for i in range(rows) for j in range(columns)], dim=1)
    assert cut.shape[1] == n
    torch.testing.assert_close(layer(x).flatten(2).mT, cut @ layer.weight.flatten(1).T + layer.bias)
    unfolded = F.unfold(x, side, padding=overlap, stride=stride).mT
    torch.testing.assert_close(unfolded, cut)


def test_a_stride_that_does_not_divide_the_sides_is_refused():
    with pytest.raises(UserError, match="token pixels 5 don.t divide 28x28"):
        patch_layer((1, 28, 28), 8, 5)


# Attention by distance

def by_loops(q, k, v, sign=-1):
    out = torch.zeros(*q.shape[:-1], v.shape[-1], dtype=q.dtype)
    for n in np.ndindex(q.shape[:-1]):
        scores = [sign * sum((q[n][c] - k[n[:-1]][j][c]) ** 2 for c in range(q.shape[-1])) / math.sqrt(q.shape[-1])
                  for j in range(k.shape[-2])]
        weights = torch.stack(scores).exp()
        out[n] = (weights / weights.sum()) @ v[n[:-1]]
    return out


def test_attention_is_the_double_loop():
    q, k, v = random(2, 3, 4), random(2, 5, 4, seed=1), random(2, 5, 3, seed=2)
    torch.testing.assert_close(l2_attention(q, k, v), by_loops(q, k, v))
    assert (l2_attention(q, k, v) - by_loops(q, k, v, sign=1)).abs().max() > 0.1  # the plus sign is another function


def test_attention_is_the_fused_kernel_with_twice_the_query_and_a_bias():
    q, k, v = random(3, 2, 4, 7, 6)
    bias = -k.square().sum(dim=-1)[..., None, :] / math.sqrt(6)
    twin = F.scaled_dot_product_attention(2 * q, k, v, attn_mask=bias)
    torch.testing.assert_close(l2_attention(q, k, v), twin, rtol=0, atol=1e-13)


def test_near_keys_get_more_weight():
    weights = l2_attention(torch.zeros(1, 2), torch.tensor([[0.1, 0.0], [1.0, 0.0], [3.0, 0.0]]), torch.eye(3))[0]
    assert weights[0] > weights[1] > weights[2]


def test_attention_has_second_derivatives():
    q, k, v = (random(2, 3, 4, seed=i).requires_grad_() for i in range(3))
    assert torch.autograd.gradgradcheck(l2_attention, (q, k, v))
    assert torch.autograd.gradgradcheck(lambda x: l2_attention(x, x, x), q)


def test_equal_tokens_have_finite_derivatives_of_both_orders():
    x = torch.ones(1, 4, 8, dtype=torch.float64, requires_grad=True)
    slope, = torch.autograd.grad(l2_attention(x, x, x).square().sum(), x, create_graph=True)
    second, = torch.autograd.grad(slope.square().sum(), x)
    assert slope.isfinite().all() and second.isfinite().all() and second.any()


def test_tied_distances_are_not_steep_at_any_scale():
    W, V, x = random(8, 8) / 8**0.5, random(8, 8, seed=1) / 8**0.5, random(10, 8, seed=2)
    x[0] = 0
    tied = [steepest(lambda x: l2_attention(x @ W, x @ W, x @ V), s * x) for s in (0.1, 1.0, 10.0, 100.0)]
    products = steepest(lambda x: (x @ W @ (x @ W).T / 8**0.5).softmax(dim=-1) @ x @ V, 100 * x)
    assert max(tied) < 6 and products > 1_000


def test_untied_distances_are_as_steep_as_the_square_of_the_scale():
    W, U, V = (random(4, 4, seed=i) for i in (0, 1, 2))
    a, b = random(40, 4, seed=3), random(40, 4, seed=4)
    found = {}
    for name, to_key in (("tied", W), ("untied", U)):
        middle = (a + b) / 2 @ to_key @ torch.linalg.inv(W)
        x = torch.stack([middle, a, b], dim=1)
        found[name] = [max(steepest(lambda x, M=to_key: l2_attention(x @ W, x @ M, x @ V), s * one) for one in x)
                       for s in (10, 100)]
    assert found["tied"][1] < 30 and 50 < found["untied"][1] / found["untied"][0] < 150


def test_a_block_attends_head_by_head_with_one_projection():
    torch.manual_seed(0)
    block, x = L2Block(6, 3).double(), random(2, 5, 6)
    h = block.norm1(x)
    q, v = h @ block.qk.weight.T, block.v(h)
    heads = [by_loops(q[..., 2 * i:2 * i + 2], q[..., 2 * i:2 * i + 2], v[..., 2 * i:2 * i + 2]) for i in range(3)]
    x = x + block.out(torch.cat(heads, dim=-1))
    torch.testing.assert_close(block(random(2, 5, 6)), x + block.mlp(block.norm2(x)))
    assert block.qk.bias is None and block.qk.weight.shape == (6, 6) and not hasattr(block, "qkv")


# Improved spectral norm

def sigma(weight: torch.Tensor) -> float:
    return float(np.linalg.svd(weight.detach().flatten(1).numpy(), compute_uv=False)[0])


@pytest.mark.parametrize("layer", [lambda: nn.Linear(7, 9), lambda: nn.Conv2d(3, 5, 4)], ids=["linear", "conv"])
def test_the_largest_singular_value_stays_while_the_weight_moves(layer):
    torch.manual_seed(0)
    layer = layer().double()
    before, start = layer.weight.detach().clone(), sigma(layer.weight)
    improve_spectrum(layer)
    torch.testing.assert_close(layer.weight.detach(), before)  # at the start nothing changes
    raw = layer.parametrizations.weight.original
    for step in range(100):  # a new matrix in the end, by small steps
        with torch.no_grad():
            raw += 0.05 * random(*raw.shape, seed=step)
        layer.weight  # noqa: B018
    used = [layer.weight for _ in range(200)][-1]
    assert abs(sigma(raw) / start - 1) > 0.2 and sigma(used) == pytest.approx(start, rel=1e-4)
    torch.testing.assert_close(used, start / sigma(raw) * raw, rtol=1e-4, atol=1e-6)


def test_u_is_kept_and_one_round_is_one_round():
    weight = random(20, 30)
    norm = ImprovedSpectralNorm(weight)
    other = random(20, 30, seed=1)  # another matrix: the first rounds are off, later ones aren't
    off = [abs(sigma(norm(other)) / sigma(weight) - 1) for _ in range(300)]
    assert off[0] > 0.1 and off[-1] < 1e-3
    u = torch.from_numpy(np.linalg.svd(weight.numpy())[0][:, 0])
    v = F.normalize(other.T @ u, dim=0)
    u = F.normalize(other @ v, dim=0)
    fresh = ImprovedSpectralNorm(weight)
    torch.testing.assert_close(fresh(other), sigma(weight) / (u @ other @ v) * other)


def test_a_u_that_is_drawn_anew_is_off_by_a_fifth_for_ever():
    weight, g = random(384, 384), torch.Generator().manual_seed(5)
    true = sigma(weight)
    for _ in range(5):
        v = F.normalize(weight.T @ torch.randn(384, generator=g, dtype=torch.float64), dim=0)
        assert (weight @ v).norm() < 0.8 * true
    assert sigma(ImprovedSpectralNorm(weight)(weight)) == pytest.approx(true, rel=1e-6)


def test_no_round_is_made_in_eval_and_two_passes_can_share_a_gradient():
    d, x = vit(normalised=True), random(3, 1, 8, 8)
    state = copy.deepcopy(d.state_dict())
    d.eval()(x)
    assert all(torch.equal(state[name], value) for name, value in d.state_dict().items())
    d.train()
    (F.softplus(d(x)) + F.softplus(-d(2 * x))).mean().backward()
    assert any(not torch.equal(state[name], value) for name, value in d.state_dict().items() if name.endswith(".u"))
    assert all(p.grad is not None and p.grad.isfinite().all() for p in d.parameters())


def test_it_survives_files_and_copies(tmp_path):
    first, x = vit(normalised=True, n_labels=3), random(3, 1, 8, 8)
    c = torch.eye(3, dtype=torch.float64)
    with torch.no_grad():
        for p in first.parameters():
            p += 0.1 * random(*p.shape)
        first(x, c)
    torch.save(first.state_dict(), tmp_path / "d.pt")
    torch.manual_seed(9)
    second = ViTDiscriminator((1, 8, 8), 16, 2, 2, n_labels=3, normalised=True).double()
    second.load_state_dict(torch.load(tmp_path / "d.pt"))
    third = copy.deepcopy(first)
    for _ in range(3):  # and their rounds go on alike
        said = first(x, c)
        torch.testing.assert_close(second(x, c), said)
        torch.testing.assert_close(third(x, c), said)
    assert sum(name.endswith("sigma_init") for name in first.state_dict()) == 1 + 2 * 5 + 2


def test_the_gradient_is_that_of_the_normalised_weight():
    weight = random(5, 4).requires_grad_()
    norm = ImprovedSpectralNorm(weight).double().eval()  # at the start u and v are exact
    assert torch.autograd.gradcheck(lambda w: norm.sigma_init / torch.linalg.matrix_norm(w, 2) * w, weight)
    target = random(5, 4, seed=1)
    ours, = torch.autograd.grad((norm(weight) * target).sum(), weight)
    by_svd = norm.sigma_init / torch.linalg.matrix_norm(weight, 2) * weight
    exact, = torch.autograd.grad((by_svd * target).sum(), weight)
    torch.testing.assert_close(ours, exact)


def test_zeros_have_no_size_to_keep():
    layer = nn.Linear(3, 3)
    nn.init.zeros_(layer.weight)
    with pytest.raises(UserError, match="no size to keep"):
        improve_spectrum(nn.Sequential(nn.Linear(3, 3), layer))


def test_plain_spectral_norm_makes_blocks_small_and_the_improved_one_does_not():
    def added(normalise):
        torch.manual_seed(0)
        d = normalise(ViTDiscriminator((1, 28, 28), 96, 1))
        with torch.no_grad():
            h = d.tokens(torch.randn(2, 1, 28, 28))
            return (d.blocks(h) - h).std().item()

    assert added(improve_spectrum) == pytest.approx(added(lambda d: d), rel=1e-3)
    assert added(normalise_spectrum) < added(improve_spectrum) / 3


# The discriminator

def test_the_logit_is_linear_in_features_that_a_label_is_projected_on():
    d, x = vit(n_labels=4), random(3, 1, 8, 8)
    c = torch.eye(4, dtype=torch.float64)[[0, 2, 2]]
    h = d.norm(d.blocks(torch.cat([d.summary.expand(3, 1, -1), d.patches(x).flatten(2).mT + d.positions], dim=1))[:, 0])
    real = h @ d.to_logit.weight[0] + d.to_logit.bias
    torch.testing.assert_close(d(x, c), real + (h * d.of_label.weight.T[[0, 2, 2]]).sum(dim=1))
    with torch.no_grad():
        d.to_logit.bias.fill_(-100.0)
    assert d(x, c).max() < -50  # below the -.17 that a GELU would allow


@pytest.mark.parametrize("new", [
    lambda n: vit(n_labels=n),
    lambda n: StyleDiscriminator((1, 8, 8), (4, 8), n).double(),
    lambda n: Critic((1, 8, 8), (4, 8), n_labels=n).double(),
], ids=["vit", "style", "critic"])
def test_labels_have_to_be_told_and_only_where_they_are_heard(new):
    x, c = random(4, 1, 8, 8), torch.eye(4, dtype=torch.float64)
    for d, labels in ((new(4), None), (new(0), c)):
        with pytest.raises(UserError, match="has to be told them"):
            d(x, labels)
    assert new(4)(x, c).shape == new(0)(x).shape == (4,)
    assert not torch.allclose(new(4)(x, c), new(4)(x, c.flip(0)))


@pytest.mark.parametrize("settings", [{}, dict(normalised=True), dict(n_labels=3), dict(block=TransformerBlock)])
def test_every_parameter_gets_a_gradient(settings):
    d, x = vit(**settings), random(4, 1, 8, 8)
    c = torch.eye(4, 3, dtype=torch.float64) if "n_labels" in settings else None
    assert idle_parameters(d, lambda: F.softplus(-d(x, c)).mean()) == []
    style = StyleDiscriminator((1, 8, 8), (4, 8), settings.get("n_labels", 0)).double()
    assert idle_parameters(style, lambda: F.softplus(-style(x, c)).mean()) == []


def test_without_padding_and_positions_it_would_be_another():
    d, x = vit(), random(2, 1, 8, 8)
    assert d.tokens(x).shape == (2, 5, 16)
    before = d(x)
    with torch.no_grad():
        d.positions.copy_(d.positions.flip(0))
    assert not torch.allclose(before, d(x))


# Consistency

def test_consistency_is_the_mean_squared_difference_of_pairs():
    a, b = random(5), random(5, seed=1)
    by_hand = sum((p - q) ** 2 for p, q in zip(a.tolist(), b.tolist(), strict=True)) / 5
    assert consistency(a, b).item() == pytest.approx(by_hand)
    assert consistency(a, a) == 0
    d, x = vit(), random(3, 1, 8, 8)
    assert consistency(d(x), d(diff_augment(x, 0.0, torch.zeros(1)))) == 0


@pytest.mark.parametrize("shapes", [((4,), (4, 1)), ((4, 1), (4,)), ((4,), ()), ((4,), (1,))])
def test_logits_that_would_be_spread_are_refused(shapes):
    with pytest.raises(UserError, match="no pairs"):
        consistency(torch.zeros(shapes[0]), torch.zeros(shapes[1]))


# StyleGAN2's

@pytest.mark.parametrize("B,group", [(8, 4), (6, 4), (5, 4), (4, 4), (8, 8), (1, 4)])
def test_minibatch_std_is_the_loop(B, group):
    x = random(B, 3, 2, 4)
    size = next(n for n in (8, 4, 3, 2, 1) if n <= group and B % n == 0)
    out = minibatch_std(x, group)
    assert out.shape == (B, 4, 2, 4) and torch.equal(out[:, :3], x)
    for i in range(B):
        members = [j for j in range(B) if j % (B // size) == i % (B // size)]
        stds = [math.sqrt(np.var([x[j, c, h, w].item() for j in members]) + 1e-8)
                for c in range(3) for h in range(2) for w in range(4)]
        assert out[i, 3].flatten().tolist() == pytest.approx([sum(stds) / 24] * 8)


def test_weights_are_scaled_when_they_are_used():
    torch.manual_seed(0)
    conv, x = EqualConv2d(6, 4, 3, gain=3.0).double(), random(2, 6, 5, 5)
    torch.testing.assert_close(conv(x), F.conv2d(x, 3 * conv.weight / math.sqrt(54), conv.bias, padding=1))
    assert abs(EqualConv2d(64, 64, 3)(torch.randn(8, 64, 12, 12))[:, :, 1:-1, 1:-1].std() - 1) < 0.05


def test_a_block_keeps_the_size_of_what_goes_through_it():
    torch.manual_seed(0)
    block, x = StyleBlock(3, 5).double(), random(2, 3, 8, 8)
    body, skip = block.body(x), F.conv2d(F.avg_pool2d(x, 2), block.skip[1].weight / 3**0.5)
    torch.testing.assert_close(block(x), (body + skip) / 2**0.5)
    constant = StyleBlock(64, 64)(torch.randn(16, 64, 1, 1).expand(-1, -1, 16, 16))[:, :, 2:-2, 2:-2]
    assert 0.7 < constant.square().mean() < 1.4


def test_a_logit_of_stylegan2_depends_on_the_batch_and_that_of_the_vit_does_not():
    torch.manual_seed(0)
    style, d = StyleDiscriminator((1, 8, 8), (4, 8)).double(), vit()
    a, b = random(4, 1, 8, 8), torch.cat([random(1, 1, 8, 8), random(3, 1, 8, 8, seed=1)])
    torch.testing.assert_close(a[0], b[0])
    assert (style(a)[0] - style(b)[0]).abs() > 1e-6 and (d(a)[0] - d(b)[0]).abs() < 1e-12


def test_sides_that_cannot_be_halved_are_refused():
    with pytest.raises(UserError, match="can't be halved 3 times"):
        StyleDiscriminator((1, 28, 28), (4, 4, 4, 4))


# Penalties

@pytest.mark.parametrize("normalised", [False, True])
def test_r1_and_its_gradient_are_finite_differences(normalised):
    d, x = vit(normalised=normalised).eval(), random(2, 1, 8, 8).requires_grad_()
    h = 1e-5 * torch.eye(64, dtype=torch.float64).view(64, 1, 8, 8)
    with torch.no_grad():
        slopes = torch.stack([(d(one + h) - d(one - h)) / 2e-5 for one in x])
    r1 = gradient_penalty(d(x), x)
    torch.testing.assert_close(r1, slopes.square().sum(dim=1).mean(), rtol=1e-6, atol=1e-12)
    raw = d.blocks[0].qk.parametrizations.weight.original if normalised else d.blocks[0].qk.weight
    slope, = torch.autograd.grad(r1, raw)
    with torch.no_grad():
        values = []
        for sign in (1, -1):
            raw[0, 1] += sign * 1e-5
            with torch.enable_grad():
                values.append(gradient_penalty(d(x), x).item())
            raw[0, 1] -= sign * 1e-5
    # with a norm, u and v stay where they were: they are exact at the start, where sigma's slope is that of u W v
    assert (values[0] - values[1]) / 2e-5 == pytest.approx(slope[0, 1].item(), rel=1e-4, abs=1e-10)


def test_the_cheap_penalty_is_exact_in_the_mean():
    w = random(3, 4)

    def linear(x):
        return (x * w).flatten(1).sum(dim=1) + 7

    torch.manual_seed(0)
    n = 40_000
    found = finite_penalty(linear, torch.zeros(n, 3, 4, dtype=torch.float64), 7.0, 0.3)
    exact = w.square().sum()
    assert abs(found / exact - 1) < 4 * (2 / n) ** 0.5
    d, x = vit(), random(2, 1, 8, 8)
    exact = gradient_penalty(d(x.requires_grad_()), x).detach()
    with torch.no_grad():
        draws = torch.stack([finite_penalty(d, x.repeat(50, 1, 1, 1), d(x).repeat(50), 1e-3) for _ in range(60)])
    assert abs(draws.mean() - exact) < 4 * draws.std() / 60**0.5


def test_the_cheap_penalty_speaks_to_the_weights():
    d, x = vit(), random(2, 1, 8, 8)
    finite_penalty(d, x, d(x)).backward()
    weights = [p for name, p in d.named_parameters() if name != "to_logit.bias"]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in weights)


@pytest.mark.parametrize("block", [L2Block, TransformerBlock])
def test_queries_start_at_one_size_with_either_attention(block):
    layer = ViTDiscriminator((1, 8, 8), width=96, depth=1, n_heads=4, block=block).blocks[0]
    weight = layer.qk.weight if block is L2Block else layer.qkv.weight
    assert weight.std().item() == pytest.approx((2 / (96 + 96)) ** 0.5, rel=0.03)


def test_attention_by_distance_has_no_causal_form():
    with pytest.raises(UserError, match="no causal form"):
        L2Block(8, 2)(torch.randn(1, 3, 8), causal=True)
