"More of the loop's promises, each for a fault that no other test saw: a factor, a missing line, a swapped argument."

import math
import signal
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.colors import same_color
from test_loop import Points
from torch import nn
from two_networks import Game

from genlab import UserError
from genlab.lab.training import Progress, Recipe, Update, check_optimizer, check_sharing, fit, only_these_learn, restore
from genlab.workshop.runs import choose_device, create_run, curve_names, first_nonfinite, load_checkpoint, plot_log


class Plain(Recipe):
    "A linear layer whose loss is its own output; `factor` makes gradients as long as a test wants."

    def __init__(self, factor: float = 1.0, **kwargs):
        torch.manual_seed(0)
        super().__init__(nn.Linear(2, 1), lr=1e-2, **kwargs)
        self.factor = factor

    def loss(self, x, y):
        return dict(loss=self.factor * self.model(x).square().mean())


def test_a_checkpoint_holds_every_number():
    recipe = Plain()
    before = Progress(recipe, decay=0.9)
    weights = before.average.module.state_dict()
    changed = dict(step=3, updates=5, seconds=7.0, log=[dict(step=2)], sums=dict(loss=1.0), counts=dict(loss=2),
                   best=dict(value=1.0, step=2, weights=weights), grows=False)
    for name, value in changed.items():
        setattr(before, name, value)
    after = Progress(Plain(), decay=0.9)
    restore(after, before.state_dict())
    assert {name: getattr(after, name) for name in changed} == changed


NOT_A_CHECKPOINT = {
    "a list": lambda state: [state],
    "nothing": lambda state: {},
    "step": lambda state: state | dict(step="abc"),
    "updates": lambda state: state | dict(updates=None),
    "log": lambda state: state | dict(log=5),
    "rows": lambda state: state | dict(log=[5]),
    "sums": lambda state: state | dict(sums=dict(loss="abc"), counts=dict(loss=1)),
    "counts": lambda state: state | dict(sums=dict(loss=1.0), counts={}),
    "best": lambda state: state | dict(best=5),
    "best value": lambda state: state | dict(best=dict(value="abc", step=1, weights=state["networks"]["model"])),
    "best weights": lambda state: state | dict(best=dict(value=1.0, step=1, weights={})),
    "best of others": lambda state: state | dict(best=dict(value=1.0, step=1, weights=dict(a=5))),
    "settings": lambda state: state | dict(settings=[]),
    "networks": lambda state: state | dict(networks=5),
    "optimizers": lambda state: state | dict(optimizers=dict(model=[])),
    "average": lambda state: state | dict(average=5),
    "half of the old form": lambda state: dict(model=state["networks"]["model"]),
}


@pytest.mark.parametrize("what", NOT_A_CHECKPOINT)
def test_what_is_no_checkpoint_is_a_sentence(tmp_path, what):
    run = create_run(tmp_path / "run", dict(model="plain"))
    fit(Plain(), Points(), steps=2, batch_size=32, out=run)
    path = run / "state" / "000000002.pt"
    state = NOT_A_CHECKPOINT[what](torch.load(path, weights_only=True))
    torch.save(state, path)
    with pytest.raises(UserError, match="is damaged|of another model than the settings describe") as error:
        fit(Plain(), Points(), steps=2, batch_size=32, out=run)
    assert len(str(error.value)) < 400 and "\\n" not in str(error.value)


@dataclass
class Settings:
    lr: float = 1e-2
    sides: tuple[int, ...] = (4, 4)
    model: Path = Path("here")


def test_a_run_goes_on_with_the_settings_that_it_was_begun_with(tmp_path):
    run = create_run(tmp_path / "run", dict(model="plain"))

    def go_on(ema=None, **changed):
        recipe = Plain()
        recipe.config = Settings(**changed)
        fit(recipe, Points(), steps=2, batch_size=32, out=run, ema=ema)

    go_on()
    go_on(model=Path("moved"))
    for changed, said in ((dict(lr=0.02), "lr 0.01, not 0.02"), (dict(sides=(4, 5)), "sides .4, 4., not .4, 5."),
                          (dict(ema=0.5), "ema None, not 0.5")):
        with pytest.raises(UserError, match=f"begun with {said}.*Put config.yaml back"):
            go_on(**changed)


def test_shards_add_up_to_the_gradient_of_their_batch():
    def gradients(accumulate):  # Adam and clipping would hide a factor
        recipe = Plain()
        cpu = SimpleNamespace(device=torch.device("cpu"), num_processes=1, process_index=0, mixed_precision="no")
        parts = Update(recipe, Points(), Progress(recipe, 0.9), cpu, 10, 32, accumulate, seed=0).backward(recipe.loss)
        return [parts["loss"], *(w.grad for w in recipe.model.parameters())]

    torch.testing.assert_close(gradients(4), gradients(1))


@pytest.mark.parametrize("wanted", [True, False])
def test_a_recipe_can_refuse_autocast(wanted):
    recipe = Plain()
    recipe.autocast = wanted
    seen = []
    a = SimpleNamespace(device=torch.device("cpu"), num_processes=1, process_index=0, mixed_precision="bf16")
    update = Update(recipe, Points(), Progress(recipe, 0.9), a, steps=10, batch_size=32, accumulate=1, seed=0)
    update.backward(lambda x, y: seen.append(torch.is_autocast_enabled("cpu")) or recipe.loss(x, y))
    assert seen == [wanted]


def test_the_average_may_be_of_the_second_network():
    recipe = Game()
    recipe.averaged = "discriminator"
    recipe.validate = lambda model: dict(distance=1.0)
    model, _ = fit(recipe, Points(), steps=1, batch_size=32, ema=0.0)
    assert all(torch.equal(v, recipe.networks["discriminator"].state_dict()[k]) for k, v in model.state_dict().items())


def test_a_row_has_the_mean_of_its_own_steps_only():
    progress = Progress(Plain(), decay=0.9)
    for value in (1.0, 3.0):
        progress.count(dict(loss=torch.tensor(value)), progress.networks["model"])
        assert progress.close_row({}) == dict(step=progress.step, loss=value)


@pytest.mark.parametrize("at", [6, 7, 300])  # the end of a row, inside of one, the last step
def test_an_interrupt_saves_where_it_is(tmp_path, at):
    class Interrupted(Plain):
        def step(self, update, t):
            if update.step + 1 == at:
                signal.raise_signal(signal.SIGINT)
            return super().step(update, t)

    run, said = create_run(tmp_path / "run", dict(model="plain")), ""
    try:
        fit(Interrupted(), Points(), steps=300, batch_size=32, out=run, save_every=1000)
    except KeyboardInterrupt as e:  # pytest itself would stop at one
        said = str(e)
    assert said == (f"stopped after step {at} of 300" if at < 300 else ""), "after the last step all is done anyway"
    assert load_checkpoint(run / "state")["step"] == at


def test_a_batch_is_never_more_than_the_data():
    _, progress = fit(Plain(), Points(), steps=3, batch_size=1000)
    _, same = fit(Plain(), Points(), steps=3, batch_size=256)
    assert progress.log == same.log


class Judged(Plain):
    "Held-out numbers from a list."

    score = ("fid", "lowest")

    def __init__(self, *script):
        super().__init__()
        self.script = list(script)

    def validate(self, model):
        self.draws = [*getattr(self, "draws", []), float(torch.rand(()))]
        return dict(fid=self.script.pop(0))


def test_a_score_that_is_nan_is_never_the_best_and_of_equals_the_first_is():
    _, progress = fit(Judged(math.nan, 3.0, 2.0, 2.0), Points(), steps=4, batch_size=32, pictures=4)
    assert (progress.best["value"], progress.best["step"]) == (2.0, 3)


def test_held_out_draws_do_not_depend_on_shards():
    runs = [Judged(1.0, 2.0, 3.0) for _ in range(2)]
    for accumulate, recipe in enumerate(runs, start=1):
        fit(recipe, Points(), steps=3, batch_size=32, pictures=3, accumulate=accumulate)
    assert runs[0].draws == runs[1].draws and len(set(runs[0].draws)) == 3


def test_what_is_shown_and_returned_is_in_evaluation_mode(tmp_path):
    class Shown(Plain):
        def picture(self, model, seed):
            assert not model.training
            return np.zeros((4, 4, 3), np.uint8)

    run = create_run(tmp_path / "run", dict(model="plain"))
    model, _ = fit(Shown(), Points(), steps=2, batch_size=32, out=run)
    assert not model.training and not fit(Plain(), Points(), steps=2, batch_size=32)[0].training


def test_only_what_may_be_compiled_is(monkeypatch):
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(self))
    recipe = Game()
    fit(recipe, Points(), steps=1, batch_size=32, compile=True)
    assert compiled == [recipe.networks["generator"]]


def test_a_compiler_that_is_missing_is_a_sentence(monkeypatch):
    "As where there is no compiler for C++; what else goes wrong in a step stays what it is."
    for module, kind, said in (("torch._inductor.exc", UserError, "torch.compile failed .no working compiler.*without"),
                               ("torch", RuntimeError, "no working compiler")):
        error = type("InductorError", (RuntimeError,), dict(__module__=module))

        def step(self, update, t, error=error):
            raise error("no working compiler\n\nSet TORCHDYNAMO_VERBOSE=1")

        monkeypatch.setattr(Plain, "step", step, raising=False)
        with pytest.raises(kind, match=said):
            fit(Plain(), Points(), steps=1, batch_size=32)


def test_processes_count_as_shards():
    recipe = Plain()
    check_sharing(recipe, 32, accumulate=2, processes=2, trackers=())
    for accumulate, processes in ((1, 3), (3, 1), (16, 4), (0, 1), (-1, 1)):
        with pytest.raises(UserError, match="equal shards"):
            check_sharing(recipe, 32, accumulate, processes, trackers=())
    recipe.batch_wide = True
    with pytest.raises(UserError, match="look at a whole batch"):
        check_sharing(recipe, 32, accumulate=1, processes=2, trackers=())


def test_the_device_without_a_wish(monkeypatch):
    for there, expected in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert choose_device() == expected and choose_device("cpu") == "cpu"


def test_a_checkpoint_of_another_model_is_a_sentence(tmp_path):
    run = create_run(tmp_path / "run", dict(model="plain"))
    fit(Plain(), Points(), steps=2, batch_size=32, out=run)
    wider = Plain()
    wider.networks["model"] = nn.Linear(2, 3)
    wider.optimizers["model"] = torch.optim.AdamW(wider.model.parameters())
    other = Plain()
    other.optimizers["model"] = torch.optim.SGD([dict(params=[w]) for w in other.model.parameters()], lr=1e-3)
    for recipe in (wider, other, Game()):
        with pytest.raises(UserError, match="of another model than the settings describe"):
            fit(recipe, Points(), steps=4, batch_size=32, out=run)


def test_what_a_recipe_froze_stays_frozen():
    recipe = Plain()
    recipe.networks["model"].bias.requires_grad_(False)
    weights = [recipe.model.weight]
    with only_these_learn(weights, list(recipe.model.parameters())):
        pass
    assert not recipe.model.bias.requires_grad
    with pytest.raises(ZeroDivisionError), only_these_learn([], list(recipe.model.parameters())):
        assert not recipe.model.weight.requires_grad
        1 / 0  # noqa: B018
    assert recipe.model.weight.requires_grad


def test_the_search_for_a_nan_looks_into_tuples_and_leaves_no_hooks():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x / 0

    model = nn.Sequential(nn.Identity(), Pair())
    assert first_nonfinite(dict(model=model), lambda: model(torch.ones(2))) == "1 (Pair)"
    assert not any(part._forward_hooks for part in model.modules())


def test_curves_show_what_changes_after_the_beginning():
    log = [dict(step=1, loss=1000.0, skipped=0.0)]
    log += [dict(step=s, loss=1.0 + s / 100, skipped=0.0) for s in range(2, 101)]
    assert curve_names(log[:1]) == ["loss", "skipped"] and curve_names(log) == ["loss"]
    ax, = plot_log(log, steps=100).axes
    low, high = ax.get_ylim()
    assert 0.9 < low < 1.03 and 2.0 < high < 2.2 and ax.get_legend() is None
    log[-1]["val_loss"] = 1.5
    assert plot_log(log, steps=100).axes[0].get_legend() is not None


def test_a_curve_has_its_colour_and_early_values_are_left_out_only_if_they_tower():
    rising = [dict(step=s, accuracy=0.1 if s == 1 else 0.9 + s / 10_000) for s in range(1, 101)]
    (ax,) = plot_log(rising, steps=100).axes
    assert ax.get_ylim()[0] < 0.1 and ax.get_ylabel() == "", "where it began is seen, and it is no loss"
    falling = [dict(step=s, loss=1_000.0 if s == 1 else 2.0 + 1 / s) for s in range(1, 101)]
    (ax,) = plot_log(falling, steps=100).axes
    assert ax.get_ylim()[1] < 3 and ax.get_ylabel() == "per sample"
    held_out = [dict(step=s, val_loss=1 / s) for s in range(1, 101)]
    (ax,) = plot_log(held_out, steps=100).axes
    assert all(same_color(line.get_color(), "C1") for line in ax.lines), "as it would be beside the training's"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["held out"]


def test_a_tracker_needs_a_run_folder():
    with pytest.raises(UserError, match="a tracker writes into the run folder"):
        fit(Plain(), Points(), steps=1, batch_size=32, trackers=("tensorboard",))


def test_a_step_hears_the_share_that_is_done_and_held_out_data_the_average():
    class Heard(Plain):
        def step(self, update, t):
            self.heard = [*getattr(self, "heard", []), t]
            return super().step(update, t)

        def validate(self, model):
            assert model is not self.model
            return dict(loss=0.0)

    recipe = Heard()
    fit(recipe, Points(), steps=4, batch_size=32)
    assert recipe.heard == [0.0, 0.25, 0.5, 0.75]


def test_a_vae_s_step_weighs_the_kl_as_its_config_says():
    from genlab.points.colored_pi import load_pi
    from genlab.points.vae import BETAS, PointVAEConfig, PointVAERecipe, annealed_elbo

    pi = load_pi()
    recipe = PointVAERecipe(PointVAEConfig(hidden=16, components=4, beta="linear", free_bits=0.5), pi)
    x = pi.points[:64]
    for t in (0.0, 0.1, 0.9):
        losses = []
        expected = partial(annealed_elbo, recipe.model, beta=BETAS["linear"](t), free_bits=0.5)
        for loss in (recipe.step(lambda name, loss: loss, t), expected):
            torch.manual_seed(0)
            losses.append(float(loss(x)["loss"].detach()))
        assert losses[0] == losses[1]


def test_a_point_recipe_s_loop_settings():
    from genlab.points.colored_pi import load_pi
    from genlab.points.vae import PointVAEConfig, PointVAERecipe

    recipe = PointVAERecipe(PointVAEConfig(hidden=16, components=4, lr=3e-3), load_pi())
    assert not recipe.autocast and recipe.max_norm == 1.0
    recipe.schedule("model", 0.5)
    assert recipe.optimizers["model"].param_groups[0]["lr"] == pytest.approx(1.5e-3)


@pytest.mark.parametrize("mirror", [False, True])
def test_a_classifier_is_trained_as_its_recipe_says(monkeypatch, mirror):
    from genlab.lab import metrics

    flips = []
    monkeypatch.setattr(metrics, "flip", lambda x: flips.append(len(x)) or x)
    recipe = metrics.ClassifierRecipe(metrics.SmallClassifier(), mirror, lr=1.0)
    recipe.loss(torch.zeros(4, 1, 28, 28), torch.tensor([0, 1, 2, 3]))
    assert flips == [4] * mirror and recipe.max_norm == math.inf
    group, = recipe.optimizers["model"].param_groups
    rates = [(recipe.schedule("model", t), group["lr"])[1] for t in (0.1, 0.5, 1.0)]
    assert group["weight_decay"] == 0.05 and rates == pytest.approx([0.501 * 0.975528, 0.5, 0.0], abs=1e-5)


def test_a_checkpoint_with_another_network_beside_is_refused():
    both = Recipe(dict(model=nn.Linear(2, 1), probe=nn.Linear(2, 1)), lr=1e-3)
    with pytest.raises(ValueError, match="it has the networks model, probe, not model"):
        restore(Progress(Plain(), 0.9), Progress(both, 0.9).state_dict())


@pytest.mark.parametrize("make", [
    lambda w: torch.optim.SGD(w, lr=0.1), lambda w: torch.optim.SGD(w, lr=0.1, momentum=0.9),
    lambda w: torch.optim.RMSprop(w, lr=0.1), lambda w: torch.optim.AdamW(w, lr=0.1)])
def test_the_state_of_any_optimiser_is_taken_back_unless_it_is_of_another_size(make):
    "A mean that is shorter than its weights would be written beyond its end."
    layer = nn.Linear(3, 2)
    optimizer = make(layer.parameters())
    layer(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    state = optimizer.state_dict()
    check_optimizer(state, make(layer.parameters()))
    for kept in state["state"].values():
        for name, value in kept.items():
            if isinstance(value, torch.Tensor) and name != "step":
                kept[name] = value.flatten()[:1]
                with pytest.raises(ValueError, match=name):
                    check_optimizer(state, make(layer.parameters()))
                kept[name] = value
    state["param_groups"][0]["lr"] = "fast"
    with pytest.raises(TypeError, match="lr is 'fast'"):
        check_optimizer(state, make(layer.parameters()))
