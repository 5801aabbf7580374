"The loop's promises, each with a game of two networks: shards, kills, freezing, logs, scores, NaNs, averages."

import json
import math
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import environment
from torch import nn
from two_networks import Game, Points

from genlab import UserError
from genlab.lab.training import Progress, Recipe, as_today, batch_index, check_recipe, fit, make_average
from genlab.workshop.runs import create_run, load_checkpoint

GAME = Path(__file__).with_name("two_networks.py")
KEYS = ("discriminator_loss", "discriminator_r1", "generator_loss")


def play(
    folder: Path, name: str, steps: int, *, noise: bool = True, accumulate: int = 1, processes: int = 1, die_at=(),
) -> int:
    "Train the game in processes of its own; the exit code."
    launch = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes)] if processes > 1 else []
    arguments = [folder / name, steps, noise, accumulate, *die_at]
    command = [sys.executable, *launch, str(GAME), *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 or die_at, done.stderr
    return done.returncode


def logged(run: Path) -> np.ndarray:  # (rows, keys); NaN where a number was not logged
    log = json.loads((run / "log.json").read_text())
    return np.array([[row.get(key, math.nan) for key in KEYS] for row in log])


def assert_same_end(a: Path, b: Path) -> None:
    "Networks, optimisers, average, log: the same bits."
    ours, theirs = (torch.load(run / "end.pt", weights_only=True) for run in (a, b))
    ours["state"].pop("seconds"), theirs["state"].pop("seconds")
    assert_equal(ours, theirs)
    assert (a / "log.csv").read_text() == (b / "log.csv").read_text()


def assert_equal(a, b) -> None:
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_equal(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_equal(one, other)
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    else:
        assert a == b


def test_equal_products_of_processes_and_shards_agree(tmp_path):
    play(tmp_path, "four shards", 60, accumulate=4)
    play(tmp_path, "two by two", 60, accumulate=2, processes=2)
    runs = [tmp_path / "two by two", tmp_path / "four shards"]
    np.testing.assert_allclose(*map(logged, runs), rtol=1e-6, equal_nan=True)
    ends = [torch.load(run / "end.pt", weights_only=True)["model"] for run in runs]
    torch.testing.assert_close(*ends, rtol=1e-5, atol=1e-6)


class Plain(Game):
    "Without noise, and with optimizers that feel how long a gradient is."

    def __init__(self):
        super().__init__(noise=False)
        self.max_norm = math.inf
        self.optimizers = {name: torch.optim.SGD(n.parameters(), lr=0.1) for name, n in self.networks.items()}


@pytest.mark.parametrize("make", [lambda: Game(noise=False), Plain])
def test_different_products_agree_where_nothing_depends_on_the_shard(make):
    logs = []
    for accumulate in (1, 2, 4):
        _, progress = fit(make(), Points(), steps=60, batch_size=32, pictures=1, accumulate=accumulate)
        logs.append([[row.get(key, math.nan) for key in KEYS] for row in progress.log])
    for log in logs[1:]:
        np.testing.assert_allclose(log, logs[0], rtol=2e-5, equal_nan=True)
    noisy = [fit(Game(), Points(), steps=4, batch_size=32, pictures=1, accumulate=n)[1].log[-1] for n in (1, 2)]
    apart = noisy[0]["generator_loss"] - noisy[1]["generator_loss"]
    assert abs(apart) > 1e-4, "other shards have other noise"


@pytest.mark.parametrize("processes", [1, 2])
def test_killed_inside_an_update_of_d(tmp_path, processes):
    "Rows of three steps, and checkpoints every twenty, which fall inside of rows."
    play(tmp_path, "whole", 300, processes=processes)
    assert play(tmp_path, "killed", 300, processes=processes, die_at=(500,)) != 0
    saved = load_checkpoint(tmp_path / "killed" / "state")
    assert saved["step"] == 160, "three updates of D a step: the kill came in step 167"
    assert not (tmp_path / "killed" / "end.pt").exists()
    play(tmp_path, "killed", 300, processes=processes)
    assert_same_end(tmp_path / "killed", tmp_path / "whole")


def test_a_batch_wide_layer_refuses_shards():
    class Normed(Game):
        def __init__(self):
            super().__init__()
            self.networks["generator"].append(nn.BatchNorm1d(2))
            self.optimizers["generator"] = torch.optim.SGD(self.networks["generator"].parameters(), lr=1e-3)

    class Told(Game):
        batch_wide = True

    for recipe in (Normed, Told):
        fit(recipe(), Points(), steps=2, batch_size=32, pictures=1)
        with pytest.raises(UserError, match="look at a whole batch"):
            fit(recipe(), Points(), steps=2, batch_size=32, accumulate=2)


def test_a_parameter_outside_the_networks_is_refused():
    recipe = Game()
    recipe.optimizers["generator"].add_param_group(dict(params=[nn.Parameter(torch.zeros(2))]))
    with pytest.raises(UserError, match="in none of its networks"):
        fit(recipe, Points(), steps=2, batch_size=32)
    recipe = Game()
    recipe.averaged = "model"
    with pytest.raises(UserError, match="averages 'model'"):
        check_recipe(recipe)


def test_an_update_moves_its_own_network_only():
    class Watched(Game):
        def step(self, update, t):
            weights = {name: list(network.parameters()) for name, network in self.networks.items()}
            before = {name: [w.detach().clone() for w in ours] for name, ours in weights.items()}
            parts = update("generator", self.g_loss)
            same = {name: [*map(torch.equal, before[name], weights[name])] for name in weights}
            assert all(same["discriminator"]) and not all(same["generator"])
            assert all(w.grad is None and w.requires_grad for ours in weights.values() for w in ours)
            return parts

        def g_loss(self, x, y):
            assert not any(w.requires_grad for w in self.networks["discriminator"].parameters())
            return super().g_loss(x, y)

    fit(Watched(), Points(), steps=3, batch_size=32, pictures=1)


def test_each_update_has_its_own_batch_and_noise():
    class Watched(Game):
        seen = []

        def codes(self, x):
            self.batches = [*getattr(self, "batches", []), (x.detach().clone(), super().codes(x))]
            return self.batches[-1][1]

    recipe = Watched()
    fit(recipe, Points(), steps=2, batch_size=32, pictures=1)
    assert len(recipe.batches) == 8
    epoch = torch.cat([x for x, _ in recipe.batches])
    assert len(epoch.unique(dim=0)) == 256, "eight updates see each of 256 points once"
    noise = torch.cat([codes for _, codes in recipe.batches])
    assert len(noise.unique(dim=0)) == 256


def test_a_penalty_every_fourth_step_is_logged_by_its_own_mean():
    # Rows of four steps, each with one penalty.
    _, progress = fit(Game(), Points(), steps=400, batch_size=32, pictures=1)
    once = []

    class Watched(Game):
        def step(self, update, t):
            parts = super().step(update, t)
            once.append(float(parts["discriminator_r1"])) if "discriminator_r1" in parts else None
            return parts

    fit(Watched(), Points(), steps=400, batch_size=32, pictures=1)
    np.testing.assert_allclose([row["discriminator_r1"] for row in progress.log], once, rtol=1e-6)
    assert [row for row in progress.log if "discriminator_loss" not in row] == []


@pytest.mark.parametrize("direction,expected", [("lowest", 1.0), ("highest", 6.0)])
def test_the_best_moment_is_chosen_by_name_and_direction(direction, expected):
    class Scripted(Game):
        score = ("second", direction)
        script = [5.0, 4.0, 1.0, math.nan, 6.0, 3.0]

        def validate(self, model):
            weights = {k: v.clone() for k, v in model.state_dict().items()}
            self.seen_weights = [*getattr(self, "seen_weights", []), weights]
            return dict(first=-float(len(self.seen_weights)), second=self.script[len(self.seen_weights) - 1])

    recipe = Scripted()
    model, progress = fit(recipe, Points(), steps=60, batch_size=32, pictures=5)
    at = recipe.script.index(expected)
    assert progress.best["value"] == expected
    assert all(torch.equal(v, recipe.seen_weights[at][k]) for k, v in model.state_dict().items())


def test_a_score_that_is_not_measured_is_a_sentence():
    recipe = Game()
    recipe.score = ("fid", "lowest")
    with pytest.raises(UserError, match="chosen by 'fid', but held-out data gave distance"):
        fit(recipe, Points(), steps=4, batch_size=32)


class Counter(nn.Module):
    "Passes its input on, and counts batches in a buffer, as BatchNorm does; NaN once it is sick."

    def __init__(self):
        super().__init__()
        self.register_buffer("batches", torch.tensor(0))
        self.sick = False

    def forward(self, x):
        self.batches += 1
        return x * math.nan if self.sick else x


def test_a_nan_in_the_third_update_leaves_everything_as_it_was(tmp_path):
    class Sick(Game):
        def __init__(self):
            super().__init__()
            self.counter = Counter()
            self.networks["discriminator"].insert(2, self.counter)
            self.state = None

        def d_loss(self, x, y):
            self.counter.sick = self.seen == 3 * 12 + 2 or self.state is not None
            if self.counter.sick and self.state is None:
                self.state = {name: deepcopy(dict(network.state_dict())) for name, network in self.networks.items()}
            return super().d_loss(x, y)

    recipe = Sick()
    run = create_run(tmp_path / "run", dict(model="game"))
    said = r"in step 13, update 3 of it \(discriminator\): .* that of discriminator.2 \(Counter\)"
    with pytest.raises(UserError, match=said) as error:
        fit(recipe, Points(), steps=40, batch_size=32, out=run, save_every=5, pictures=1)
    assert "000000010.pt" in str(error.value)
    for name, network in recipe.networks.items():
        assert_equal(dict(network.state_dict()), recipe.state[name])
        assert all(w.grad is None for w in network.parameters())


def test_the_average_grows_into_its_decay():
    class Still(Recipe):
        "The weights are 1 from the first step on."

        def step(self, update, t):
            parts = update("model", self.loss)
            self.model.weight.data.fill_(1.0)
            return parts

        def loss(self, x, y):
            return dict(loss=self.model(x).sum())

    def trained(**options):
        torch.manual_seed(0)
        network = nn.Linear(2, 1, bias=False)
        network.weight.data.fill_(0.0)
        model, _ = fit(Still(network, lr=1e-3), Points(), steps=250, batch_size=32, **options)
        return model.weight[0, 0].item()

    assert trained() == pytest.approx(1, abs=1e-6), "the average began with the first step's weights, or forgot them"
    assert trained(ema=0.0) == 1.0


def test_the_decay_step_by_step():
    network = nn.Linear(1, 1, bias=False)
    average = make_average(network, decay=0.5)
    expected = None
    for k, value in enumerate([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0, 5.0, 3.0, 5.0]):
        network.weight.data.fill_(value)
        average.update_parameters(network)
        d = min(0.5, (1 + k) / (10 + k))
        expected = value if k == 0 else d * expected + (1 - d) * value
        assert average.module.weight.item() == pytest.approx(expected, rel=1e-6)


def test_an_old_checkpoint_keeps_its_constant_average():
    network = nn.Linear(2, 2)
    progress = Progress(Recipe(network, lr=1e-3), decay=0.9)
    optimizers = [progress.optimizers["model"].state_dict()]
    old = dict(model=network.state_dict(), ema=progress.average.state_dict(), optimizers=optimizers,
               step=7, seconds=1.0, log=[], sums=dict(loss=6.0), summed=3, best=None)
    today = as_today(old)
    assert today["grows"] is False and today["updates"] == 7 and today["counts"] == dict(loss=3)
    assert as_today(today) is today


def test_accumulate_is_inside_of_an_update():
    sizes = []

    class Watched(Game):
        def d_loss(self, x, y):
            sizes.append(len(x))
            return super().d_loss(x, y)

    _, progress = fit(Watched(), Points(), steps=2, batch_size=32, pictures=1, accumulate=4)
    assert sizes == [8] * (2 * 3 * 4) and progress.updates == 2 * 4


def test_a_point_recipe_can_share_its_batch():
    "Part 1's recipes know nothing of the lab, and the loop shards their batches as all others."
    from genlab.points.colored_pi import load_pi
    from genlab.points.vae import PointVAEConfig, PointVAERecipe

    pi = load_pi()
    torch.manual_seed(0)
    recipe = PointVAERecipe(PointVAEConfig(hidden=16, components=4), pi)
    _, progress = fit(recipe, pi.points, steps=20, batch_size=100, pictures=1, accumulate=2)
    assert progress.updates == 20 and progress.log[-1]["loss"] < progress.log[0]["loss"]


def killed_and_continued(make, dies_at: int, folder: Path, **settings) -> tuple[nn.Module, Progress]:
    "What `fit` gives for a recipe that dies at a step, and is continued with nothing but its run folder."
    run = create_run(folder / "run", dict(model="game"))
    recipe = make()
    recipe.dies_at = dies_at
    with pytest.raises(RuntimeError, match="killed"):
        fit(recipe, Points(), batch_size=32, out=run, **settings)
    torch.rand(7)  # the state of the generator at the kill is of no consequence
    return fit(make(), Points(), batch_size=32, out=run, **settings)


def test_the_best_moment_survives_a_resumption(tmp_path):
    class Falling(Game):
        score = ("quality", "highest")
        dies_at = None

        def validate(self, model):
            return dict(quality=-float(sum(w.abs().sum() for w in model.parameters())))  # best at first: weights grow

        def step(self, update, t):
            if update.step == self.dies_at:
                raise RuntimeError("killed")
            return super().step(update, t)

    whole, whole_progress = fit(Falling(), Points(), steps=100, batch_size=32, pictures=10)
    model, progress = killed_and_continued(Falling, 75, tmp_path, steps=100, pictures=10, save_every=60)
    assert whole_progress.best["step"] < 60 and progress.best["step"] == whole_progress.best["step"]
    assert progress.seconds > 0
    torch.testing.assert_close(model.state_dict(), whole.state_dict(), rtol=0, atol=0)


def test_the_averaged_network_is_the_one_that_is_named():
    recipe = Game()
    model, progress = fit(recipe, Points(), steps=1, batch_size=32, pictures=1, ema=0.0)
    generator = list(recipe.networks["generator"].parameters())
    assert [w.shape for w in model.parameters()] == [w.shape for w in generator]
    last = progress.average.module.parameters()  # without memory it is the network as it is
    assert all(torch.equal(a, b) for a, b in zip(last, generator, strict=True))


def test_rows_of_a_length_that_does_not_divide_the_steps():
    looks = []

    class Watched(Game):
        def validate(self, model):
            looks.append(1)
            return super().validate(model)

    _, progress = fit(Watched(), Points(), steps=205, batch_size=32, pictures=4)  # rows of two, and one of one
    assert [row["step"] for row in progress.log] == [*range(2, 205, 2), 205]
    assert [row["step"] for row in progress.log if "val_distance" in row] == [2, 52, 104, 156, 205] and len(looks) == 5


def test_batches_leave_out_what_is_less_than_one():
    batches = [batch_index(100, 30, seed=0, count=count) for count in range(6)]
    epochs = torch.stack([torch.cat(batches[:3]), torch.cat(batches[3:])])
    assert all(len(epoch.unique()) == 90 for epoch in epochs) and not torch.equal(*epochs)


def test_a_gradient_is_cut_to_the_recipes_norm():
    class Steep(Recipe):
        def loss(self, x, y):
            return dict(loss=100 * self.model(x).square().sum())

        def schedule(self, name, t):
            "A constant rate."

    moved = {}
    for max_norm in (0.5, 2.0):
        torch.manual_seed(0)
        network = nn.Linear(2, 1)
        before = nn.utils.parameters_to_vector(network.parameters()).detach().clone()
        recipe = Steep(network, lr=1.0, max_norm=max_norm)
        recipe.optimizers = dict(model=torch.optim.SGD(network.parameters(), lr=1.0))
        fit(recipe, Points(), steps=1, batch_size=32, pictures=1)
        moved[max_norm] = (nn.utils.parameters_to_vector(network.parameters()) - before).norm().item()
    assert moved == {0.5: pytest.approx(0.5, rel=1e-4), 2.0: pytest.approx(2.0, rel=1e-4)}


def test_a_norm_that_overflows_stops_a_recipe_that_accepts_it():
    class Huge(Recipe):
        def loss(self, x, y):
            return dict(loss=3e19 * sum(w.sum() for w in self.model.parameters()))

    with pytest.raises(UserError, match="in step 1: a gradient is NaN or infinite"):
        fit(Huge(nn.Linear(2, 1), lr=1e-3), Points(), steps=4, batch_size=32)


def test_the_schedule_reaches_every_group():
    recipe = Recipe(nn.Linear(2, 1), lr=1e-2)
    weight, bias = recipe.model.parameters()
    recipe.optimizers = dict(model=torch.optim.SGD([dict(params=[weight]), dict(params=[bias])], lr=1.0))
    recipe.schedule("model", 0.5)
    assert [group["lr"] for group in recipe.optimizers["model"].param_groups] == [pytest.approx(5e-3)] * 2


def test_buffers_are_copied_into_the_average():
    network = nn.BatchNorm1d(1)
    average = make_average(network)
    for value in (1.0, 5.0, 3.0):
        network.running_mean.fill_(value)
        average.update_parameters(network)
    assert average.module.running_mean.item() == 3.0


def test_a_run_goes_on_with_the_settings_that_it_began_with(tmp_path):
    run = create_run(tmp_path / "run", dict(model="game"))
    settings = dict(steps=20, batch_size=32, seed=0, accumulate=1)
    fit(Game(), Points(), out=run, **settings)
    others = dict(steps=(40, "steps 20, not 40"), batch_size=(16, "batch_size 32"), seed=(5, "seed 0"))
    others |= dict(accumulate=(2, "shards 1"))
    for name, (other, said) in others.items():
        with pytest.raises(UserError, match=said):
            fit(Game(), Points(), out=run, **settings | {name: other})
    fit(Game(), Points(), out=run, **settings)


def test_a_step_that_draws_numbers_itself_resumes_too(tmp_path):
    class Drawing(Game):
        dies_at = None

        def step(self, update, t):
            if update.step == self.dies_at:
                raise RuntimeError("killed")
            self.scale = torch.rand(())
            return super().step(update, t)

        def g_loss(self, x, y):
            return {name: self.scale * value for name, value in super().g_loss(x, y).items()}

    whole, _ = fit(Drawing(), Points(), steps=60, batch_size=32, pictures=3)
    pieces, _ = killed_and_continued(Drawing, 33, tmp_path, steps=60, pictures=3, save_every=10)
    torch.testing.assert_close(pieces.state_dict(), whole.state_dict(), rtol=0, atol=0)


def test_a_loss_that_is_nan_stops_the_run_even_if_its_gradient_is_not():
    class Logged(Game):
        def g_loss(self, x, y):
            loss = super().g_loss(x, y)["loss"]
            return dict(loss=loss + (loss.detach() * 0 + math.nan))

    with pytest.raises(UserError, match=r"in step 1, update 4 of it \(generator\)"):
        fit(Logged(), Points(), steps=4, batch_size=32)


def test_a_gradient_that_is_not_accepted_changes_nothing():
    class Choosy(Recipe):
        def accept(self, name, norm):
            return False

        def loss(self, x, y):
            return dict(loss=self.model(x).square().sum())

    network = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 1))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    _, progress = fit(Choosy(network, lr=1.0), Points(), steps=5, batch_size=32, pictures=1)
    assert progress.updates == 5
    assert_equal(dict(network.state_dict()), before)
