"Proofs of chapter 80: counts, losses, intervals, and an experiment that survives being killed."

import dataclasses
import math
import subprocess

import pytest
import torch
import torch.nn.functional as F
from processes import command, environment
from torch import nn
from torchvision.models import resnet18
from torchvision.transforms import v2

from genlab import UserError
from genlab.lab.images import load_images
from genlab.lab.metrics import SmallClassifier
from genlab.lab.pictures import ImageData
from genlab.use.augmentation import (
    POLICIES,
    SHARES,
    AugmentationConfig,
    Balanced,
    Experiment,
    Policy,
    TailRecipe,
    as_attributes,
    balanced_accuracy,
    chosen_share,
    class_weights,
    classes_of,
    confusion,
    copies,
    imbalanced,
    keep_classes,
    matrices,
    more_real,
    paired_interval,
    recalls,
    run_experiment,
    some_of_each,
    summary,
    tail_counts,
    train_by,
    tuned,
)

TINY = dict(most=30, tail=5.0, replicates=2, steps=2, batch_size=8, generator_steps=2)


@pytest.fixture(scope="module")
def shapes():
    return {split: load_images("shapes", split, n=600) for split in ("train", "validation", "test")}


# Data

def test_counts_fall_by_the_same_factor():
    counts = tail_counts(10, 1_000, 100.0)
    assert counts[0] == 1_000 and counts[-1] == 10
    steps = [a / b for a, b in zip(counts, counts[1:], strict=False)]
    assert max(steps) / min(steps) < 1.1
    assert tail_counts(3, 50, 1.0) == [50, 50, 50] and tail_counts(1, 7) == [7]


def test_so_many_of_each_and_always_the_same(shapes):
    data = shapes["train"]
    counts = [5, 3, 1] + [2] * (data.n_labels - 3)
    some, again = (some_of_each(data, counts, seed=3) for _ in range(2))
    assert some.y.bincount().tolist() == counts and torch.equal(some.x, again.x)
    assert not torch.equal(some.x, some_of_each(data, counts, seed=4).x)
    for wrong in (10**6, 0):
        with pytest.raises(UserError, match=f"{wrong} images of .* were asked for"):
            some_of_each(data, [wrong] * data.n_labels)


def test_kept_classes_are_numbered_anew(shapes):
    data = shapes["train"]
    names = (data.names[2], data.names[0])
    kept = keep_classes(data, names)
    assert kept.names == names
    for new, name in enumerate(names):
        old = data.x[data.y == data.names.index(name)]
        assert torch.equal(kept.x[kept.y == new], old)


def test_combinations_of_attributes_are_classes_and_back():
    faces = load_images("faces", "train", n=400)
    names = ("Smiling", "Hat")
    made = classes_of(faces, names)
    assert made.names == ("none", "Smiling", "Hat", "Smiling and Hat")
    columns = faces.y[:, [faces.names.index(name) for name in names]]
    assert torch.equal(as_attributes(made.names, names)[made.y], columns)
    assert torch.equal(made.y == 3, columns.all(dim=1))


@pytest.mark.parametrize("n", [7, 40])
def test_each_image_of_a_class_comes_up_equally_often(n, shapes):
    data = some_of_each(shapes["train"], [20, 7, 3] + [1] * (shapes["train"].n_labels - 3))
    balanced = Balanced(data, n, seed=1)
    assert len(balanced) == n
    assert torch.equal(balanced.images.y[balanced.items], torch.arange(data.n_labels).expand(n, -1))
    used = balanced.items.flatten().bincount(minlength=len(data))
    for k in range(data.n_labels):
        real = used[data.y == k]
        assert real.sum() == n and real.max() - real.min() <= 1
    x, y = balanced[torch.tensor([3, 0])]
    assert y.tolist() == 2 * list(range(data.n_labels)) and len(x) == len(y)


@pytest.mark.parametrize("share", [0.5, 2.0, math.inf])
def test_synthetic_images_fill_up_the_rare_classes(share, shapes):
    "By the formula; none in the most frequent class, and never more items than without them."
    counts = [40, 10, 4] + [20] * (shapes["train"].n_labels - 3)
    data = some_of_each(shapes["train"], counts)
    made = dataclasses.replace(data, x=255 - data.x)
    balanced = Balanced(data, 120, made, share, seed=1)
    assert torch.equal(balanced.images.y[balanced.items], torch.arange(data.n_labels).expand(120, -1))
    for k, n in enumerate(counts):
        of_class = (balanced.items[:, k] >= len(data)).sum().item()
        part = 1 if share == math.inf else share / (1 + share) * (1 - n / 40)
        assert of_class == pytest.approx(120 * part, abs=0.5)
    places = (balanced.items[:, 2] >= len(data)).nonzero()[:, 0]
    assert share == math.inf or places.min() < 40 and places.max() > 80, "all over the items, not behind each other"


def test_splits_are_imbalanced_to_learn_from_and_balanced_to_choose_by(shapes):
    "Replicates have other images in another order of classes; whoever looks at the first few sees all classes."
    config = AugmentationConfig(most=20, tail=10.0)
    K = shapes["train"].n_labels
    ranks = []
    for replicate in range(3):
        data = imbalanced(shapes, config, replicate)
        ranks.append(data["train"].names)
        assert data["train"].y.bincount().tolist() == tail_counts(K, 20, 10.0)
        assert len(set(data["validation"].y.bincount().tolist())) == 1
        assert len(data["train"].y[:40].unique()) > K / 2
        for split, images in data.items():
            assert images.names == data["train"].names, split
        again = imbalanced(shapes, config, replicate)["train"]
        assert torch.equal(again.x, data["train"].x)
    assert len(set(ranks)) == 3, "another order in each"
    test = imbalanced(shapes, config, 1)["test"]
    name = test.names[0]
    assert torch.equal(test.x[test.y == 0], shapes["test"].x[shapes["test"].y == shapes["test"].names.index(name)])


def test_more_real_images_hold_the_fewer_ones(shapes):
    data = imbalanced(shapes, AugmentationConfig(most=20, tail=10.0), 3)
    counts = data["train"].y.bincount()
    for times in (2.0, math.inf):
        more = more_real(data, times, 3)
        expected = (counts * min(times, 1e3)).clamp(max=20).long()
        assert torch.equal(more.y.bincount(), expected)
        there = {image.numpy().tobytes() for image in more.x}
        assert all(image.numpy().tobytes() in there for image in data["train"].x)


@pytest.mark.parametrize("name,settings,expected", [
    ("faces", {}, "say whose combinations"), ("shapes", dict(attributes=("Hat",)), "leave the attributes out"),
    ("shapes", dict(classes=("cat",)), "no class 'cat'"), ("shapes", dict(most=10**6), "images of .* were asked for"),
])
def test_data_that_do_not_fit_are_refused_and_leave_no_folder(name, settings, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(ImageData, "load", lambda self: {
        split: load_images(name, split, n=300) for split in ("train", "validation", "test")})
    with pytest.raises(UserError, match=expected):
        run_experiment(tmp_path / "run", ImageData(name), AugmentationConfig(**TINY | settings))
    assert not (tmp_path / "run").exists()


# Losses

class Fixed(nn.Module):
    "Logits that are a linear function of the pixels."

    def __init__(self, n: int, K: int):
        super().__init__()
        self.layer = nn.Linear(n, K)

    def forward(self, x):
        return self.layer(x.flatten(1))


def one_pixel(monkeypatch):
    "Images as they come."
    monkeypatch.setattr("genlab.use.augmentation.crop", lambda x, padding: x)


def test_weights_are_repetitions(monkeypatch):
    "Exactly, where the repetitions are whole numbers; an image counts 1 on average, in whichever batch it is."
    one_pixel(monkeypatch)
    torch.manual_seed(0)
    counts = torch.tensor([6, 3, 2])
    y = torch.arange(3).repeat_interleave(counts)
    x = torch.randn(11, 1, 2, 2)
    net = Fixed(4, 3)
    recipe = TailRecipe(net, Policy(weighted=True), counts.float())
    times = torch.tensor([1, 2, 3])[y]
    repeated = F.cross_entropy(net(x.repeat_interleave(times, dim=0)), y.repeat_interleave(times))
    torch.testing.assert_close(recipe.loss(x, y)["loss"], repeated)
    one_by_one = torch.stack([recipe.loss(x[i:i + 1], y[i:i + 1])["loss"] for i in range(11)])
    torch.testing.assert_close(one_by_one.mean(), repeated)
    assert class_weights(counts.float())[y].mean().item() == pytest.approx(1)


def test_adjusted_logits_are_those_of_equal_shares(monkeypatch):
    "At the optimum of the adjusted loss over all data of two shares, the logits say log p(x|k), up to a constant."
    one_pixel(monkeypatch)
    likelihood = torch.tensor([[0.7, 0.2], [0.2, 0.3], [0.1, 0.5]])  # p(x|k) of three images and two classes
    shares = torch.tensor([0.9, 0.1])
    net = Fixed(3, 2)
    recipe = TailRecipe(net, Policy(adjusted=True), shares)
    x = torch.eye(3).repeat_interleave(2, dim=0).view(6, 1, 1, 3)
    y = torch.arange(2).repeat(3)
    weight = (likelihood * shares).flatten()
    opt = torch.optim.LBFGS(net.parameters(), max_iter=200, tolerance_grad=1e-10)

    def closure():
        opt.zero_grad()
        parts = [recipe.loss(x[i:i + 1], y[i:i + 1])["loss"] for i in range(6)]
        loss = (weight * torch.stack(parts)).sum()
        loss.backward()
        return loss

    for _ in range(20):
        opt.step(closure)
    said = net(torch.eye(3).view(3, 1, 1, 3)).softmax(dim=1)
    torch.testing.assert_close(said, likelihood / likelihood.sum(dim=1, keepdim=True), atol=1e-3, rtol=0)


def test_mixup_is_torchvisions(monkeypatch):
    "With the same share and the same partners: theirs are the neighbours, in a batch that is rolled by one."
    one_pixel(monkeypatch)
    torch.manual_seed(0)
    x, y = torch.rand(6, 1, 4, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    net = Fixed(16, 3)
    twin = v2.MixUp(alpha=0.4, num_classes=3)
    monkeypatch.setattr(torch, "randperm", lambda n, device=None: torch.arange(n).roll(1))
    torch.manual_seed(3)
    ours = TailRecipe(net, Policy(mixup=0.4), torch.ones(3)).loss(x, y)["loss"]
    torch.manual_seed(3)
    share = torch.distributions.Beta(0.4, 0.4).sample().item()
    monkeypatch.setattr(twin, "make_params", lambda flat: dict(lam=share))
    mixed, soft = twin(x, y)
    torch.testing.assert_close(ours, F.cross_entropy(net(mixed), soft))


def test_policies_differ_in_what_they_say(shapes):
    "Each changes the loss, the images, or what is done later."
    x, y = shapes["train"][torch.arange(32)]
    K = shapes["train"].n_labels
    counts = torch.tensor(tail_counts(K, 100, 10.0)).float()
    losses = {}
    for name, policy in POLICIES.items():
        torch.manual_seed(0)
        net = Fixed(x[0].numel(), K)
        torch.manual_seed(1)
        losses[name] = round(TailRecipe(net, policy, counts).loss(x, y)["loss"].item(), 5)
    assert losses["plain"] == losses["oversampling"] == losses["post-hoc"]
    assert len(set(losses.values())) == len(losses) - 2


def test_post_hoc_takes_the_prior_off(shapes, monkeypatch):
    data = some_of_each(shapes["train"], [20, 7, 3] + [1] * (shapes["train"].n_labels - 3))
    nets = [train_by(POLICIES[name], data, data, steps=2, batch_size=8) for name in ("plain", "post-hoc")]
    x = shapes["test"][torch.arange(9)][0]
    plain, adjusted = (net(x) for net in nets)
    counts = data.y.bincount().float()
    torch.testing.assert_close(adjusted, plain - (counts / counts.sum()).log())


def resnet_weights(path, change=lambda state: state):
    "A file such as torchvision downloads, with random numbers."
    torch.save(change(resnet18().state_dict()), path)
    return str(path)


def test_a_resnet_that_has_seen_photographs_keeps_all_but_its_last_layer(shapes, tmp_path):
    path = resnet_weights(tmp_path / "resnet18.pth")
    new = AugmentationConfig(classifier=path).new()
    data = some_of_each(shapes["train"], [3] * shapes["train"].n_labels)
    net, _ = new(data)
    given = torch.load(path, weights_only=True)
    for name, value in net.trunk.state_dict().items():
        assert torch.equal(value, given[name]), name
    assert net.head.out_features == data.n_labels
    seen = []
    net.trunk.register_forward_pre_hook(lambda layer, args: seen.append(args[0]))
    net(torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 28, 28))
    black, white = seen[0][:, :, 0, 0]
    assert black.tolist() == pytest.approx([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225], abs=1e-3)
    assert white.tolist() == pytest.approx([0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225], abs=1e-3)
    trained = train_by(POLICIES["oversampling"], Balanced(data, 4), data, 2, batch_size=8, new=new)
    assert not torch.equal(trained.trunk.conv1.weight.cpu(), given["conv1.weight"])


def test_weights_that_cannot_be_had_are_a_sentence_and_nothing_in_them_runs(shapes, tmp_path, monkeypatch):
    class Bad:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save(Bad(), tmp_path / "bad.pth")
    short = resnet_weights(tmp_path / "short.pth", lambda state: dict(list(state.items())[:5]))
    monkeypatch.setattr(ImageData, "load", lambda self: shapes)
    cases = {str(tmp_path / "none.pth"): "could not be had.*leave --classifier small", short: "does not fit",
             str(tmp_path / "bad.pth"): "not a file of PyTorch weights"}
    for path, said in cases.items():
        config = AugmentationConfig(classifier=path, **TINY)
        with pytest.raises(UserError, match=said):
            run_experiment(tmp_path / "run", ImageData("shapes"), config)
        assert not (tmp_path / "run").exists()
    assert not (tmp_path / "ran").exists()


# Numbers

def test_recalls_by_counting():
    c = torch.tensor([[3, 1, 0], [0, 2, 2], [1, 0, 0]])
    assert recalls(c).tolist() == [0.75, 0.5, 0.0]
    assert balanced_accuracy(torch.stack([c, c.T])).tolist() == pytest.approx([1.25 / 3, (3 / 4 + 2 / 3) / 3])


def test_confusion_counts_answers(shapes):
    data = shapes["test"]

    class Says(nn.Linear):
        def forward(self, x):
            return F.one_hot(torch.full((len(x),), 1), data.n_labels).float()

    c = confusion(Says(1, 1), data)
    assert torch.equal(c[:, 1], data.y.bincount(minlength=data.n_labels)) and c.sum() == len(data)


def test_the_interval_of_pairs_is_students():
    from scipy.stats import ttest_1samp

    d = torch.randn(9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mean, half = paired_interval(d)
    low, high = ttest_1samp(d.numpy(), 0).confidence_interval(0.95)
    assert (mean - half, mean + half) == pytest.approx((low, high))


def rows(**said) -> list[dict]:
    "Lines of an experiment with two classes: arm: share, replicate, validation, right answers of 10 in the first one."
    return [dict(arm=arm.replace("_", "+"), share=share, replicate=replicate, validation=v, seconds=1.0,
                 confusion=[[right, 10 - right], [5, 5]])
            for arm, lines in said.items() for share, replicate, v, right in lines]


def choosing(best: float) -> list[tuple]:
    "Two replicates, 2 and 3, that choose a share."
    return [(share, replicate, 0.9 if share == best else 0.1, 0) for share in SHARES[1:] for replicate in (2, 3)]


def test_the_share_is_chosen_on_validation_images_by_two_who_take_no_part():
    said = {0.25: (0.5, 0.6), 0.5: (0.7, 0.5), 1.0: (0.9, 0.2), 2.0: (0.1, 0.1)}
    found = rows(oversampling=[(0.0, 2, 0.5, 1), (0.0, 3, 0.6, 1), (0.0, 0, 0.99, 9)], oversampling_cvae=[
        (share, replicate, v, 1) for share in said for replicate, v in zip((2, 3), said[share], strict=True)])
    assert chosen_share(found, "strong+cvae", 2) == 0.5
    assert chosen_share(found, "only+cvae", 2) == chosen_share(found, "cheating+cvae", 2) == 1.0
    base = [(0.0, 2, 0.1, 1), (0.0, 3, 0.1, 1)]
    level = rows(oversampling=base, oversampling_cvae=[(s, r, 0.1, 1) for s in SHARES[1:] for r in (2, 3)])
    assert chosen_share(level, "oversampling+cvae", 2) == 0.25, "the fewest of equals, but never none"
    assert tuned(found, "cvae", 2) == pytest.approx({0.0: 0.55, 0.25: 0.55, 0.5: 0.6, 1.0: 0.55, 2.0: 0.1})


def test_the_table_is_what_the_lines_say():
    found = rows(oversampling=[(0.0, 0, 0.5, 2), (0.0, 1, 0.5, 4), (0.0, 2, 0.5, 9), (0.0, 3, 0.5, 9)],
                 oversampling_cvae=[(0.5, 0, 0.9, 5), (0.5, 1, 0.9, 8), *choosing(0.5)])
    assert matrices(found, "oversampling+cvae", 2)[:, 0, 0].tolist() == [5, 8]
    line = summary(found, 2).splitlines()[2].split()
    assert line[:2] == ["oversampling+cvae", "0.5"]
    assert float(line[2]) == pytest.approx(100 * (0.65 + 0.5) / 2, abs=0.051) and float(line[3]) == 50.0
    mean, half = paired_interval(torch.tensor([15.0, 20.0]), share=0.99)
    assert (float(line[4]), float(line[6])) == pytest.approx((mean, half), abs=0.051)


def test_copies_are_found(shapes):
    "What is copied lies at 1, new images of the class at about .5."
    x = shapes["train"].x
    learned, others, new = x[:40], x[:300], x[300:500]
    assert copies(learned, learned, others) == 1.0 and copies(learned, learned, others[:60]) is None
    assert 0.3 < copies(new, learned, others) < 0.7


# An experiment

def experiment(tmp_path, monkeypatch, **settings):
    monkeypatch.setattr(ImageData, "load", lambda self: {
        split: load_images("shapes", split, n=600) for split in ("train", "validation", "test")})
    return ImageData("shapes"), AugmentationConfig(**TINY | settings)


def test_it_goes_on_where_it_was_and_refuses_other_settings(tmp_path, monkeypatch):
    "To the same numbers, whichever line it was stopped after; half a line is no line."
    source, config = experiment(tmp_path, monkeypatch, arms=("plain", "oversampling+cvae"))
    table = run_experiment(tmp_path / "a", source, config)
    lines = (tmp_path / "a" / "trainings.jsonl").read_text().splitlines(keepends=True)
    assert len(lines) == 10 + 6, "two replicates that choose a share, and two with three arms"
    numbers = [line.split('"seconds"')[0] for line in lines]
    (tmp_path / "a" / "trainings.jsonl").write_text("".join(lines[:9]) + lines[9][:30])
    assert run_experiment(tmp_path / "a", source, config) == table
    again = (tmp_path / "a" / "trainings.jsonl").read_text().splitlines()
    assert [line.split('"seconds"')[0] for line in again] == numbers
    assert (tmp_path / "a" / "table.txt").read_text() == table + "\n"
    with pytest.raises(UserError, match="begun with other settings; .* steps 2"):
        run_experiment(tmp_path / "a", source, dataclasses.replace(config, steps=3))
    (tmp_path / "b").mkdir()
    with pytest.raises(UserError, match="no folder of `genlab augment`"):
        run_experiment(tmp_path / "b", source, config)


def test_replicates_share_nothing_and_arms_of_one_share_all(tmp_path, monkeypatch):
    "But for what they are about: the same images, the same first weights, the same order."
    import genlab.use.augmentation as module

    seen = []

    def noted(policy, shown, real, steps, batch_size, seed, new):
        seen.append((shown, real, seed))
        return SmallClassifier(real.shape[0], real.n_labels)

    monkeypatch.setattr(module, "train_by", noted)
    source, config = experiment(tmp_path, monkeypatch)
    made = Experiment(source, config, tmp_path)
    for replicate in (0, 1):
        for arm, share in (("oversampling", 0.0), ("oversampling+cvae", 1.0), ("only+cvae", 1.0),
                           ("cheating+cvae", 1.0)):
            made.classifier(arm, share, replicate)
    (a, real, _), (b, same, _), (only, _, _), (cheating, _, _), (other, another, seed) = seen[:5]
    assert real is same and len(a) == len(b) == len(only) == config.most and seed == 1
    assert not torch.equal(real.x, another.x) and real.names != another.names
    frequent = a.items[:, 0]
    assert torch.equal(frequent, b.items[:, 0]), "the most frequent class is untouched"
    assert (b.items >= len(real)).any()
    assert (only.items >= len(real)).all() and (cheating.items >= len(real)).all()


def test_generators_see_the_imbalanced_images_only(tmp_path, monkeypatch):
    import genlab.use.augmentation as module

    seen = []

    def not_trained(recipe, data, **kwargs):
        seen.append((recipe.splits, data, recipe.validate))
        return recipe.model, None

    monkeypatch.setattr(module, "fit", not_trained)
    source, config = experiment(tmp_path, monkeypatch)
    made = Experiment(source, config, tmp_path)
    for kind in ("cvae", "cvae-gan", "relgan"):
        made.generator(kind, 0)
    made.generator("cvae", 0, cheating=True)
    *honest, cheating = seen
    assert len(honest) == 4, "a CVAE-GAN trains its CVAE first"
    few = made.data(0)["train"]
    for splits, shown, validate in honest:
        assert all(images is few for images in splits.values())
        known = {image.numpy().tobytes() for image in few.x}
        assert all(image.numpy().tobytes() in known for image in shown.x)
        assert shown.y.bincount().tolist() == [config.most] * few.n_labels
        assert all(math.isnan(value) for value in validate(None).values()), "nobody who has seen more may choose"
    assert cheating[1].y.bincount().tolist() == [config.most] * few.n_labels
    assert len(cheating[1].x.unique(dim=0)) > len(few)


def test_the_command(few_images, tmp_path):
    "Killed in the middle, the same command goes on to the same numbers; its options say what can't be."
    asked = ["augment", "--classes", "sneaker", "bag", "--arms", "plain", "oversampling+cvae",
             *(f"--{name.replace('_', '-')}={value}" for name, value in TINY.items())]
    where = dict(cwd=tmp_path, env=environment(few_images), text=True)
    whole = subprocess.run(command(1, *asked, "--out", "whole"), capture_output=True, **where)
    assert whole.returncode == 0, whole.stderr
    with subprocess.Popen(command(1, *asked, "--out", "run"), stdout=subprocess.PIPE, **where) as begun:
        for _ in range(7):  # into the generator's training, or just behind it
            begun.stdout.readline()
        begun.kill()
    done = subprocess.run(command(1, *asked, "--out", "run"), capture_output=True, **where)
    assert done.returncode == 0 and done.stdout.startswith("["), done.stderr
    assert done.stdout.splitlines()[-8:] == whole.stdout.splitlines()[-8:], "the same table"
    wrong = subprocess.run(command(1, *asked, "--out", "run", "--replicates", "1"), capture_output=True, **where)
    assert wrong.returncode == 2 and "replicates" in wrong.stderr and "Traceback" not in wrong.stderr
