"Proofs of the conditional VAE: special cases, bounds, densities of codes, intervals, edits."

import math

import pytest
import torch
from scipy.stats import binomtest
from torch import nn

from genlab import UserError
from genlab.lab.images import load_images
from genlab.lab.metrics import Extractor
from genlab.vae.cvae import (
    CVAE,
    AttributeCodes,
    ClassCodes,
    ConditionalBlock,
    CVAEConfig,
    CVAERecipe,
    agreement,
    edits,
    read,
    share_interval,
)
from genlab.vae.vae import VAE

SMALL = dict(latent_dim=6, widths=(8, 16))


def moved(model: nn.Module, seed: int = 0) -> nn.Module:
    "As after some training: no layer is at its start."
    torch.manual_seed(seed)
    for p in model.parameters():
        nn.init.normal_(p, std=0.1)
    return model


@pytest.fixture(params=["classes", "attributes"])
def told(request):
    "A model, images and labels."
    attributes = request.param == "attributes"
    model = moved(CVAE((3, 16, 16), 5, attributes, **SMALL))
    g = torch.Generator().manual_seed(1)
    y = torch.rand(12, 5, generator=g) < 0.5 if attributes else torch.arange(12) % 5
    return model, torch.rand(12, 3, 16, 16, generator=g) * 2 - 1, y


def loss(model, x, y, seed=0):
    torch.manual_seed(seed)
    return model.loss(x, y)["loss"]


def test_the_loss_is_a_mean_over_the_batch(told):
    model, x, y = told
    once = torch.stack([loss(model, x, y, s) for s in range(60)])
    twice = torch.stack([loss(model, x.repeat(2, 1, 1, 1), torch.cat([y, y]), s) for s in range(60)])
    error = (once.var() / 60 + twice.var() / 60).sqrt()
    assert abs(once.mean() - twice.mean()) < 4 * error < 0.05 * abs(once.mean())


def test_with_one_label_for_all_it_is_a_vae(told):
    "The label's scale and shift, folded into the norms' own."
    model, x, y = told
    c = model.condition(y[:1])[0]
    plain = VAE((3, 16, 16), **SMALL)
    state = {name: value for name, value in model.state_dict().items() if name in plain.state_dict()}
    for name, m in model.named_modules():
        if isinstance(m, ConditionalBlock):
            scale, shift = m.modulate(c).chunk(2)
            state[f"{name}.norm2.weight"] = m.norm2.weight * (1 + scale)
            state[f"{name}.norm2.bias"] = m.norm2.bias * (1 + scale) + shift
    plain.load_state_dict(state)
    same = y[:1].expand(len(x), *y.shape[1:])
    torch.testing.assert_close(loss(model, x, same), loss(plain, x, None), rtol=1e-4, atol=1e-3)
    other = y[1:2].expand(len(x), *y.shape[1:])
    assert abs(loss(model, x, other) - loss(plain, x, None)) > 1e-2


def test_the_decoder_hears_the_label_and_nothing_where_it_is_masked():
    model = moved(CVAE((1, 16, 16), 5, **SMALL)).eval()
    z = torch.randn(5, 6)
    with torch.no_grad():
        under = torch.stack([model.decode(z, torch.full((5,), k)) for k in (-1, 0, 1)])
        for m in model.modules():
            if isinstance(m, ConditionalBlock):
                m.modulate.weight.zero_()
        deaf = model.decode(z, torch.arange(5))
    assert (under[0] - under[1]).abs().max() > 1e-3 and (under[1] - under[2]).abs().max() > 1e-3
    torch.testing.assert_close(under[0], deaf)  # class -1 is no label


def test_the_bound_grows_with_the_number_of_draws_for_each_class(told):
    model, x, y = told
    model.eval()
    torch.manual_seed(0)
    bounds = [torch.stack([model.iwae(x, k, y) for _ in range(40)]).mean(dim=0) for k in (1, 4, 16)]
    with torch.no_grad():
        elbo = torch.stack([-sum(t.sum(dim=1) if t.ndim == 2 else t for t in model.terms(x, y)) for _ in range(200)])
    torch.testing.assert_close(bounds[0].mean(), elbo.mean(), rtol=0, atol=4 * elbo.std().item() / 20)
    if not model.attributes:
        for k in range(5):
            values = [bound[y == k].mean() for bound in bounds]
            assert values[0] < values[1] < values[2]
    assert bounds[0].mean() < bounds[1].mean() < bounds[2].mean()
    assert (model.iwae(x, 4, y) - model.iwae(x, 4, y.roll(1, 0))).abs().max() > 1e-3


def test_labels_are_asked_for(told):
    model, x, y = told
    with pytest.raises(UserError, match="has to be told the labels"):
        model.loss(x)
    with pytest.raises(UserError, match="3 samples were asked for with 12 labels"):
        model.sample(3, y)
    with pytest.raises(UserError, match="ask for at least one"):
        model.sample(0)
    if not model.attributes:
        with pytest.raises(UserError, match="no class"):
            model.sample(12, torch.full((12,), -1))
    wrong = y.float() if model.attributes else y + 3
    with pytest.raises(UserError, match="expected"):
        model.sample(12, wrong * 7)


def test_samples_hang_on_the_generator_alone(told):
    model, _, y = told
    drawn = [model.eval().sample(12, y, generator=torch.Generator().manual_seed(3), codes=codes)
             for codes in ("given", "given", "marginal", "prior")]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[1], drawn[3])
    free = [model.sample(12, generator=torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*free)


def gaussians(n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    "Codes of three classes with means and covariances of their own."
    g = torch.Generator().manual_seed(0)
    factors = torch.randn(3, 4, 4, generator=g)
    means = 3 * torch.randn(3, 4, generator=g)
    k = torch.arange(n) % 3
    z = means[k] + torch.einsum("nij,nj->ni", factors[k], torch.randn(n, 4, generator=g))
    return z, nn.functional.one_hot(k, 3).float(), k


def test_codes_of_classes_have_each_class_own_mean_and_covariance():
    z, c, k = gaussians(9_000)
    codes = ClassCodes(4, 3)
    codes.fit(z, c, z.var(dim=0))
    drawn = codes.sample(c, torch.Generator().manual_seed(1))
    for i in range(3):
        torch.testing.assert_close(drawn[k == i].mean(dim=0), z[k == i].mean(dim=0), rtol=0, atol=0.15)
        torch.testing.assert_close(drawn[k == i].T.cov(), z[k == i].T.cov(), rtol=0.15, atol=0.4)
    swapped = codes.sample(c.roll(1, 1), torch.Generator().manual_seed(1))
    assert (swapped[k == 0].mean(dim=0) - z[k == 1].mean(dim=0)).norm() < 0.3


def test_codes_of_a_class_are_expected_around_its_mean():
    z, c, _ = gaussians(9_000)
    codes = ClassCodes(4, 3)
    codes.fit(z, c, z.var(dim=0))
    torch.testing.assert_close(codes.expected(c[:50]), (c.T @ z / c.sum(dim=0)[:, None])[c[:50].argmax(dim=1)])


def test_a_class_of_few_images_borrows_how_codes_scatter():
    z, c, k = gaussians(9_000)
    kept = (k != 2) | (torch.arange(9_000) < 30)  # ten of the third class
    codes = ClassCodes(4, 3)
    codes.fit(z[kept], c[kept], z.var(dim=0))
    third = torch.tensor([[0.0, 0.0, 1.0]]).expand(4_000, 3)
    drawn = codes.sample(third, torch.Generator().manual_seed(1))
    around = (z - torch.stack([z[k == i].mean(dim=0) for i in range(3)])[k])[k != 2].T.cov()
    torch.testing.assert_close(drawn.T.cov(), around, rtol=0.35, atol=0.6)
    torch.testing.assert_close(drawn.mean(dim=0), z[kept & (k == 2)].mean(dim=0), rtol=0, atol=0.25)
    codes.fit(z[k != 2], c[k != 2], z.var(dim=0))  # and a class of none is drawn like all
    assert codes.sample(third).isfinite().all()


def test_codes_of_attributes_are_a_ridge_regression():
    from sklearn.linear_model import Ridge

    g = torch.Generator().manual_seed(0)
    c = (torch.rand(2_000, 5, generator=g) < 0.4).float()
    z = c @ torch.randn(5, 4, generator=g) + 1 - 0.3 * torch.rand(2_000, 4, generator=g).log()  # one-sided
    codes = AttributeCodes(4, 5, components=2)
    codes.fit(z, c, z.var(dim=0))
    A = torch.cat([torch.ones(2_000, 1), c], dim=1)
    twin = Ridge(alpha=1.0, fit_intercept=False).fit(A.numpy(), z.numpy()).coef_.T
    torch.testing.assert_close(codes.mean, torch.from_numpy(twin), rtol=1e-3, atol=1e-4)
    drawn = codes.sample(c, torch.Generator().manual_seed(1))
    torch.testing.assert_close(drawn.mean(dim=0), z.mean(dim=0), rtol=0, atol=0.05)
    rest = drawn - c @ codes.mean[1:] - codes.mean[0]
    assert abs(rest.std() - 0.3) < 0.03 and (rest**3).mean() > 0.01, "as wide, and as one-sided"


@pytest.mark.parametrize("right,n", [(0, 20), (7, 20), (20, 20), (870, 1_000)])
def test_the_interval_of_a_share_is_scipys(right, n):
    twin = binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert share_interval(right / n, n) == pytest.approx([twin.low, twin.high], abs=2e-4)


def test_agreement_of_attributes_by_hand():
    asked = torch.tensor([[1, 0], [1, 0], [0, 0], [0, 0]]).bool()
    said = torch.tensor([[1, 0], [0, 0], [0, 1], [0, 0]]).bool()
    found = agreement(said, asked)
    assert found["agreement"] == 0.75 and found["all_right"] == 0.5
    assert found["per_attribute_balanced"].tolist() == [0.75, 0.75]  # (1/2 + 1) / 2; nobody asked for the second
    assert found["balanced"] == 0.75
    assert agreement(torch.tensor([1, 2, 2]), torch.tensor([1, 2, 0]))["agreement"] == pytest.approx(2 / 3)


class Corner(nn.Module):
    "Reads attribute k off the pixel (k, 0) of the first channel."

    def __init__(self):
        super().__init__()
        self.head = nn.Identity()
        self.unused = nn.Parameter(torch.zeros(1))

    def features(self, x):
        return 50 * x[:, 0, :5, 0]


class Painter(CVAE):
    "Its code is what is in the corner; it paints the label that it's told there, or the code's own."

    obeys = True

    def encode(self, x, y=None):
        return nn.functional.pad(x[:, 0, :5, 0], (0, 1)), torch.zeros(len(x), 6)

    def decode(self, z, y=None):
        x = torch.zeros(len(z), 3, 16, 16)
        x[:, 0, :5, 0] = 2.0 * y - 1 if self.obeys else z[:, :5]
        return x


@pytest.mark.parametrize("obeys", [True, False])
def test_edits_are_read(obeys):
    y = torch.rand(40, 5, generator=torch.Generator().manual_seed(0)) < 0.5
    x = torch.zeros(40, 3, 16, 16)
    x[:, 0, :5, 0] = 2.0 * y - 1
    extractor = Extractor(Corner(), "corner", 5, (3,), attributes=True)
    model = Painter((3, 16, 16), 5, True, **SMALL)
    model.obeys = obeys
    assert torch.equal(read(x, extractor), y)
    found = edits(model, x, y, [1, 3], extractor)
    assert found["read"].tolist() == [float(obeys)] * 2 and found["kept"].tolist() == [1.0, 1.0]
    assert found["unedited"].tolist() == [0.0, 0.0]


def test_who_always_says_no_edits_half():
    y = torch.rand(400, 5, generator=torch.Generator().manual_seed(0)) < 0.1
    x = torch.zeros(400, 3, 16, 16)
    x[:, 0, :5, 0] = -1  # nothing is to be seen
    model = Painter((3, 16, 16), 5, True, **SMALL)
    model.obeys = False
    found = edits(model, x, y, [1], Extractor(Corner(), "corner", 5, (3,), attributes=True))
    assert found["read"].item() == found["unedited"].item() == 0.5


def test_finish_keeps_what_sampling_needs_and_strips_vary_one_thing():
    faces = {split: load_images("faces", split, size=16, n=600) for split in ("train", "validation", "test")}
    torch.manual_seed(0)
    recipe = CVAERecipe(CVAEConfig(latent_dim=4, widths=(8,), components=2), faces)
    model = moved(recipe.model).eval()
    recipe.finish(model, seed=0)
    assert {tuple(row) for row in model.frequencies.tolist()} <= {tuple(row) for row in faces["train"].y.tolist()}
    assert model.given.mean.abs().max() > 0 and not math.isnan(model.pixels.fixed)
    hat = faces["train"].names.index("Hat")
    for codes in ("given", "prior"):
        strips = CVAERecipe.generate(model, 5, 0, CVAERecipe.Knobs(vary="hat", codes=codes), recipe.facts(), None)
        g = torch.Generator().manual_seed(0)
        y = model.some_labels(5, None, g)
        z = model.some_codes(y, codes, g)
        for column, on in zip(strips.split(16, dim=3), (False, True), strict=True):
            new = y.clone()
            new[:, hat] = on
            change = new[:, hat].float() - y[:, hat].float()  # a drawn code moves by the regression's weights for a hat
            along = z + change[:, None] * model.given.mean[1 + hat] if codes == "given" else z
            with torch.no_grad():
                torch.testing.assert_close(column, model.decode(along, new))
    with pytest.raises(UserError, match="There is no attribute 'class'"):
        CVAERecipe.generate(model, 5, 0, CVAERecipe.Knobs(vary="class"), recipe.facts(), None)
