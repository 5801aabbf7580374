"What every transform of a flow has to prove, for the tests of part 7."

import torch

from genlab.flow.couplings import inverse_error, jacobian_log_det


def perturbed(module, scale=0.2, dtype=torch.float64):
    "The module with weights that are not those of the start."
    module = module.to(dtype)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(scale * torch.randn_like(p))
    return module


def proves(transform, x, context=None):
    "Inverse, log-det of both directions, in float64."
    z, log_det = transform(x, context)
    assert log_det.shape == (len(x),) and z[0].numel() == x[0].numel()
    assert inverse_error(transform, x, context) < 1e-10
    torch.testing.assert_close(log_det, jacobian_log_det(transform, x, context), rtol=0, atol=1e-10)
    torch.testing.assert_close(transform.inverse(z, context)[1], -log_det, rtol=0, atol=1e-10)
