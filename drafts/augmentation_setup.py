"The set-up of chapter 80: balanced accuracy over steps and rates, on validation images of tuning replicates."
import sys, json, time
import torch; torch.set_num_threads(1)
from genlab.use.augmentation import *
from genlab.lab.pictures import ImageData
import genlab.use.augmentation as A
made = Experiment(ImageData("fashion_mnist"), AugmentationConfig(), Path("runs/setup"))
def go(name, steps, lr, replicate):
    data = made.data(replicate); policy = POLICIES[name]; real = data["train"]
    shown = Balanced(real, 1000, seed=replicate) if policy.balanced else real
    class R(TailRecipe):
        def __init__(self, net, policy, counts): super().__init__(net, policy, counts, lr=lr)
    keep, A.TailRecipe = A.TailRecipe, R
    start = time.process_time()
    net = train_by(policy, shown, real, steps, seed=replicate)
    A.TailRecipe = keep
    c = confusion(net, data["validation"]); t = confusion(net, real)
    r = recalls(c)
    print(json.dumps(dict(name=name, steps=steps, lr=lr, replicate=replicate, balanced=round(r.mean().item(), 4), rare=round(r[-4:].mean().item(), 4),
          train_rare=round(recalls(t)[-4:].mean().item(), 3), seconds=round(time.process_time() - start, 1))), flush=True)
for replicate in (10, 11):
    for steps in (200, 450, 900):
        for lr in (1e-3, 2e-3, 4e-3):
            for name in ("plain", "oversampling"):
                go(name, steps, lr, replicate)
