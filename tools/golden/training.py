"""Training steps of a variant with the classifier beside it, and its outputs before the first step."""

import torch

from lines import draw
from networks import adam, cross_entropy, dense, tensors
from variants import VARIANTS, VqVae


def group_of(name):
    """Returns the group of a parameter; `None` for the codebook, which no gradient trains."""
    if name in VqVae.STATE:
        return None
    return {"cls": "cls", "critic": "critic"}.get(name.split(".")[0], "ae")


def common(inputs, config):
    """Computes the values of a file `lines_common`: images of the recorded angles."""
    return {
        name.replace("angle", "x"): draw(angles, config["hw"])[:, None]
        for name, angles in inputs.items()
        if name.startswith("angle.")
    }


def model(common, own, variant, config, manifest):
    """Computes the values of a file `NETWORK_VARIANT` from the inputs of the common file and its own."""
    common, own = tensors(common), tensors(own)
    params = {}
    for file in (common, own):
        params |= {n.removeprefix("param0."): v for n, v in file.items() if n.startswith("param0.")}
    model = VARIANTS[variant](config, manifest["hyper"])
    moments = {name: (torch.zeros_like(v), torch.zeros_like(v)) for name, v in params.items()}
    values = {}
    for step in range(manifest["steps"]):
        at = f"step{step}"
        x, label = common[f"x.{at}"], common[f"label.{at}"]
        draws = {n.removeprefix(f"draw.{at}."): v for n, v in own.items() if n.startswith(f"draw.{at}.")}
        if step == 0:
            with torch.no_grad():
                values |= outputs(model, params, x, draws, common["h"])

        trained = {name: v for name, v in params.items() if group_of(name)}
        for value in trained.values():
            value.requires_grad_(True)
        losses = model.losses(params, x, draws)
        # The classifier's objective is differentiated with respect to the classifier only.
        error = cross_entropy(dense(params, "cls", losses.features), label).mean()
        objectives = losses.objectives | {"cls": error}
        reported = losses.reported | {"classify_latent": error}
        reported |= {f"objective_{group}": loss for group, loss in objectives.items()}
        values |= {f"loss.{at}.{name}": value.reshape(1) for name, value in reported.items()}
        values |= {name.format(at): value for name, value in losses.recorded.items()}

        # All gradients are those at the parameters before the step.
        gradients = {}
        for group, loss in objectives.items():
            names = [name for name in trained if group_of(name) == group]
            found = torch.autograd.grad(loss, [trained[name] for name in names], retain_graph=True)
            gradients |= dict(zip(names, found))
        if step == 0:
            values |= {f"grad_{group_of(name)}.{name}": value for name, value in gradients.items()}
        with torch.no_grad():
            for name, gradient in gradients.items():
                rate = manifest["hyper"]["lr"]
                params[name], moments[name] = adam(params[name], gradient, moments[name], rate, step + 1)
            model.after_step(params, losses)
            values |= {f"param{step + 1}.{name}": value for name, value in params.items()}
    return {name: value.detach().numpy() for name, value in values.items()}


def outputs(model, params, x, draws, h):
    """Returns all outputs for a batch before the first step; `h` are latents that do not come from images."""
    latent, features = model.latent(params, x, draws), model.features(params, x)
    out = {
        "encode": model.encode(params, x),
        "interp_latent": latent,
        "recon": model.decode(params, latent),
        "decode_h": model.decode(params, h),
        "cls_input": features,
        "cls_logits": dense(params, "cls", features),
    }
    return {f"out.{name}": value for name, value in (out | model.outputs(params, x, draws)).items()}
