"The parts of ViTGAN's generator against second ways to the same numbers (chapter 60_generator)."

import math

import pytest
import torch
from torch import nn

from genlab import UserError
from genlab.lab.layers import TransformerBlock, idle_parameters
from genlab.vitgan.generator import (
    HEADS,
    CIPSHead,
    EqualLinear,
    Mapping,
    ModulatedLinear,
    PatchHead,
    SelfModulatedNorm,
    Sine,
    SirenHead,
    StyledBlock,
    ViTGenerator,
    fourier_features,
    pixel_norm,
    places,
)

close = torch.testing.assert_close


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("rate", [1.0, 0.1, 0.01])
def test_equalised_layers_are_linear_layers_with_unit_gain(rate):
    layer, twin = EqualLinear(40, 3_000, bias=0.5, rate=rate), nn.Linear(40, 3_000)
    with torch.no_grad():
        twin.weight.copy_(layer.weight * rate / math.sqrt(40))
        twin.bias.fill_(0.5)
    x = torch.randn(200, 40)
    close(layer(x), twin(x), rtol=1e-4, atol=1e-5)
    assert abs((layer(x) - 0.5).std() - 1) < 0.03


def test_the_rate_is_how_far_a_step_goes():
    fast, slow = EqualLinear(30, 20, rate=1.0), EqualLinear(30, 20, rate=0.1)
    with torch.no_grad():
        slow.weight.copy_(fast.weight / 0.1)
    x, steps = torch.randn(50, 30), []
    before = fast(x)
    close(slow(x), before)
    for layer in (fast, slow):
        opt = torch.optim.Adam(layer.parameters(), 1e-3)
        layer(x).square().sum().backward()
        opt.step()
        steps.append((layer(x) - before).detach())
    close(steps[1], 0.1 * steps[0], rtol=0.02, atol=1e-4)


def test_the_mapping_sees_directions_and_labels():
    mapping = Mapping(8, 16, 3, n_labels=5)
    z, c = torch.randn(6, 8), torch.eye(5)[[0, 1, 2, 3, 4, 1]]
    w = mapping(z, c)
    close(mapping(5 * z, c), w, rtol=1e-4, atol=1e-5)
    assert (mapping(z, c.roll(1, 0)) - w).abs().amax(dim=1).min() > 1e-2
    close(pixel_norm(z).square().mean(dim=1), torch.ones(6), rtol=1e-4, atol=0)
    assert 0.5 < mapping(torch.randn(2_000, 8), torch.eye(5)[[0]].expand(2_000, -1)).square().mean() < 2


def test_self_modulated_norm_is_its_formula():
    sln = SelfModulatedNorm(12, 7).double()
    h, w = torch.randn(3, 4, 12).double(), torch.randn(3, 7).double()
    for i in range(3):
        factor = 1 + sln.gamma.scale * sln.gamma.weight @ w[i] + sln.gamma.bias
        shift = sln.beta.scale * sln.beta.weight @ w[i] + sln.beta.bias
        for t in range(4):
            normed = (h[i, t] - h[i, t].mean()) / (h[i, t].var(correction=0) + 1e-5).sqrt()
            close(sln(h, w)[i, t], factor * normed + shift)


def test_a_block_that_hears_nothing_is_the_plain_one():
    styled, plain = StyledBlock(12, 3, 7), TransformerBlock(12, 3)
    plain.load_state_dict({k: v for k, v in styled.state_dict().items() if "norm" not in k}, strict=False)
    for norm in (styled.norm1, styled.norm2):
        nn.init.zeros_(norm.gamma.weight)
        nn.init.zeros_(norm.beta.weight)
    h = torch.randn(2, 5, 12)
    close(styled(h, torch.randn(2, 7)), plain(h), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("demodulate", [False, True])
def test_modulated_layer_is_a_matrix_for_each_token(demodulate):
    layer = ModulatedLinear(9, 5, 4, demodulate).double()
    x, w = torch.randn(6, 11, 9).double(), 2 * torch.randn(6, 4).double()
    for n in range(6):
        W = layer.weight @ torch.diag(layer.style(w[n]))
        W = W / W.square().sum(dim=1, keepdim=True).sqrt() if demodulate else W
        close(layer(x, w)[n], x[n] @ W.T + layer.bias, rtol=1e-6, atol=1e-6)


def test_a_style_starts_around_one():
    layer = ModulatedLinear(9, 5, 4)
    x = torch.randn(6, 11, 9)
    close(layer(x, torch.zeros(6, 4)), x @ layer.weight.T + layer.bias)


def test_places_are_the_middles_of_pixels():
    close(places(2, 4), torch.tensor([[u, v] for u in (-0.5, 0.5) for v in (-0.75, -0.25, 0.25, 0.75)]))
    at, B = torch.rand(5, 2), torch.randn(3, 2)
    want = [[f(2 * math.pi * (at[i] @ B[j]).item()) for f in (math.sin, math.cos) for j in range(3)] for i in range(5)]
    close(fourier_features(at, B), torch.tensor(want), rtol=1e-4, atol=1e-5)


def test_sines_keep_the_size_of_signals():
    h, stds = places(48, 48), []
    with torch.no_grad():
        for depth in range(5):
            layer = Sine(2 if depth == 0 else 384, 384, first=depth == 0)
            stds.append((30 * h @ layer.weight.T).std().item())
            h = layer(h)
    assert abs(stds[0] - 10 / math.sqrt(2)) < 0.5
    assert all(0.9 < std < 1.1 for std in stds[1:])


def test_siren_head_is_a_function_of_place_for_each_token():
    head = SirenHead(10, 3, 4, rows=2, columns=3, hidden=16).double()
    tokens = torch.randn(2, 6, 10).double()
    x = head(tokens)
    for b, row, column in ((0, 0, 0), (1, 5, 7), (0, 7, 11)):
        w = tokens[b, (row // 4) * 3 + column // 4]
        u, v = ((k % 4 + 0.5) / 4 * 2 - 1 for k in (row, column))
        h = torch.sin(10 * (head.first.weight @ torch.tensor([u, v]).double() + head.first.bias))
        h = torch.sin(head.second.weight @ (head.second.style(w) * h) + head.second.bias)
        close(x[b, :, row, column], head.to_colour.weight @ (head.to_colour.style(w) * h) + head.to_colour.bias)


def test_cips_head_is_one_function_across_the_image():
    head = CIPSHead(10, 3, 4, rows=2, columns=3, hidden=16).double()
    w = torch.randn(2, 10).double()
    x = head(w[:, None].expand(-1, 6, -1))  # equal tokens: the patches are windows on one picture
    h, want = fourier_features(places(8, 12).double(), head.frequencies).expand(2, -1, -1), 0
    for layer, to_colour in zip(head.layers, head.to_colour, strict=True):
        h = math.sqrt(2) * nn.functional.leaky_relu(layer(h, w), 0.2)
        want = want + to_colour(h, w)
        assert 0.8 < layer(torch.randn(2, 500, 16).double(), 9 * w).std() < 1.2  # demodulated
    close(x, want.mT.reshape(2, 3, 8, 12))


def test_patch_head_is_a_transposed_convolution():
    head = PatchHead(10, 3, 4, rows=2, columns=3)
    tokens = torch.randn(2, 6, 10)
    kernel = head.to_patch.weight.T.reshape(10, 3, 4, 4)
    want = nn.functional.conv_transpose2d(tokens.mT.reshape(2, 10, 2, 3), kernel, stride=4)
    want = want + head.to_patch.bias.view(3, 4, 4).repeat(1, 2, 3)
    close(head(tokens), want, rtol=1e-4, atol=1e-5)
    torch.manual_seed(0)
    smooth = PatchHead(10, 3, 4, rows=2, columns=3, maps=5)
    x = smooth(tokens)
    tokens[0, 0] += 1  # the patch above on the left: its neighbours hear of it, others don't
    changed = (smooth(tokens) - x).abs().amax(dim=1)[0] > 0
    assert changed[:5, :5].all() and not changed[5:].any() and not changed[:, 5:].any()


@pytest.mark.parametrize("head", HEADS)
def test_the_style_reaches_every_layer_and_all_learns(head):
    net = ViTGenerator((3, 16, 24), n_labels=4, latent_dim=8, width=16, depth=2, n_heads=2, head=head)
    z, c = torch.randn(3, 8), torch.eye(4)[:3]
    w = net.mapping(z, c)[:, None].repeat(1, 3, 1).detach().requires_grad_()
    felt, = torch.autograd.grad(net.synthesise(w).square().sum(), w)
    assert (felt.norm(dim=2) > 1e-6).all()
    close(net.synthesise(w[:, 0]), net.decode(z, c))
    close(net.head(net.tokens(w)).tanh(), net.synthesise(w))
    x = torch.rand(3, 3, 16, 24)
    assert not idle_parameters(net, lambda: (net.decode(z, c) - x).square().mean(), steps=1)


def test_codes_and_places_make_the_difference():
    net = ViTGenerator((1, 16, 16), latent_dim=8, width=16, depth=2, n_heads=2, head="linear")
    with torch.no_grad():
        x = net.decode(torch.randn(5, 8))
        assert (x[1:] - x[:1]).abs().amax(dim=(1, 2, 3)).min() > 1e-2
        net.places.copy_(net.places[:1].expand(16, -1))  # tokens that don't know where they are draw one patch
        same = nn.functional.unfold(net.decode(torch.randn(2, 8)), 4, stride=4)
    close(same, same[:, :, :1].expand_as(same), rtol=1e-4, atol=1e-5)


def test_truncation_goes_to_the_mean_style_of_the_label():
    net = ViTGenerator((1, 8, 8), n_labels=3, latent_dim=8, width=16, depth=1, n_heads=2)
    y = torch.tensor([2, 0, 1, 2])
    seeded = lambda t: net.sample(4, y, generator=torch.Generator().manual_seed(3), truncation=t)  # noqa: E731
    close(seeded(1.0), seeded(None), rtol=1e-4, atol=1e-5)
    z = torch.randn(1_000, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for label, image in zip(y.tolist(), seeded(0.0), strict=True):
            w = net.mapping(z, torch.eye(3)[[label]].expand(1_000, -1)).mean(dim=0)
            close(image, net.synthesise(w[None])[0], rtol=1e-4, atol=1e-5)
    spread = [seeded(t)[::3].var(dim=0).mean() for t in (0.0, 0.5, 1.0)]  # the two of one label
    assert spread[0] < 1e-8 < spread[1] < spread[2]


def test_saved_and_loaded(tmp_path):
    net = ViTGenerator((3, 16, 16), latent_dim=8, width=16, depth=1, n_heads=2, head="cips")
    net.save_pretrained(tmp_path)
    z = torch.randn(2, 8)
    close(ViTGenerator.from_pretrained(tmp_path).decode(z), net.decode(z), rtol=0, atol=0)


def test_what_cannot_be_is_refused():
    with pytest.raises(UserError, match="token pixels 4 don.t divide 30x28"):
        ViTGenerator((1, 30, 28))
    with pytest.raises(UserError, match="multiple of the 5 heads"):
        ViTGenerator((1, 28, 28), n_heads=5)
    with pytest.raises(UserError, match="trained with no labels"):
        ViTGenerator((1, 28, 28)).decode(torch.randn(2, 64), torch.eye(10)[:2])
